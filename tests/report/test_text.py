from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.report import text
from pytest_multiplicity.report.colours import GOLD, METRICS, WHITE, blend, css, of_metric


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("lr0.05-seed3", "lr0.05-seed3"),
        ("two\nlines\tand\r\nmore ", "two lines and more"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("\ud800", "\\ud800"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("größe ∆ 大", "größe ∆ 大"),
    ],
)
def test_inert(raw: str, shown: str) -> None:
    assert text.inert(raw) == shown


def test_ascii_keeps_what_was_meant() -> None:
    assert text.inert("größe ∆", unicode=False) == "gr\\xf6\\xdfe \\u2206"


def test_the_middle_goes_first() -> None:
    assert text.inert("a" * 100 + "-seed3", 20) == "aaaaaaaaaaaaa…-seed3"
    assert text.inert("a" * 100 + "-seed3", 20, unicode=False) == "aaaaaaaaaaaa...seed3"


@given(raw=st.text(), limit=st.integers(8, 100), unicode=st.booleans())
def test_every_text_becomes_one_harmless_line(raw: str, limit: int, unicode: bool) -> None:
    line = text.inert(raw, limit, unicode=unicode)
    assert len(line) <= limit
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert unicode or line.isascii()


@given(raw=st.text(max_size=60))
def test_inert_text_stays_as_it_is(raw: str) -> None:
    once = text.inert(raw, 1_000)
    assert text.inert(once, 1_000) == once


def test_only_text_that_runs_right_to_left_is_isolated() -> None:
    assert text.isolated("seed 3") == "seed 3"
    assert text.isolated("אב") == "\u2068אב\u2069"


@pytest.mark.parametrize(
    ("value", "percent", "shown"),
    [
        (0.92846, True, "92.85"),
        (1.0, True, "100.00"),
        (0.0, True, "0.00"),
        (-0.0, True, "0.00"),
        (-0.01, True, "-1.00"),
        (0.000123456, False, "0.0001235"),
        (12345.6, False, "1.235e+04"),
        (None, True, "–"),  # noqa: RUF001
        (math.nan, True, "–"),  # noqa: RUF001
        (math.inf, False, "–"),  # noqa: RUF001
    ],
)
def test_numbers(value: float | None, percent: bool, shown: str) -> None:
    assert text.number(value, percent=percent) == shown


def test_intervals_options_assignments_plurals() -> None:
    assert text.interval(0.9, 0.95, dash="-") == "90.00-95.00"
    assert text.interval(None, 0.95) == ""
    assert text.option((1, ("a", None))) == "(1, (a, None))"
    assert text.assignment({"lr": 0.1, "name": "x"}) == "lr=0.1, name=x"
    assert [text.plural(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert text.plural(2, "family") == "2 families"


def luminance(colour: tuple[int, int, int]) -> float:
    channels = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*METRICS, GOLD])
def test_black_stands_out_on_every_shade(colour: tuple[int, int, int]) -> None:
    assert blend(colour, 0) == WHITE
    assert blend(colour, 1) == colour
    assert (luminance(colour) + 0.05) / 0.05 >= 7


def test_metrics_have_colours_in_turn() -> None:
    assert of_metric(0) == of_metric(len(METRICS)) != of_metric(1)
    assert css((1, 2, 255)) == "#0102ff"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (65, "1:05"), (3599.6, "1:00:00"), (7265, "2:01:05")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.clock(seconds) == shown


@pytest.mark.parametrize(
    ("value", "percent", "least", "said"),
    [
        (0.2578125, True, 0, "26"),
        (0.0028, True, 0, "0.28"),
        (0.9671, True, 0, "96.7"),
        (0.99617, True, 0, "99.62"),
        (0.8123, True, 1, "81.2"),
        (0.0, True, 0, "0"),
        (-0.0312, True, 0, "-3.1"),
        (3512.3, False, 0, "3512"),
        (0.45123, False, 0, "0.45"),
        (1.2e-6, False, 0, "1.2e-06"),
        (float("nan"), True, 0, text.DASH),
    ],
)
def test_two_digits_that_mean_something(value: float, percent: bool, least: int, said: str) -> None:
    assert text.brief(value, percent=percent, least=least) == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("assert 0.2578125 <= 0.2", "assert 0.26 <= 0.2"),
        ("assert 0.2004123123 <= 0.2", "assert 0.2004 <= 0.2"),
        ("0.93123123 >= 0.931299", "0.9312 >= 0.9313"),
        ("torch 2.9.10 and a0.123456789", "torch 2.9.10 and a0.123456789"),
        ("assert 0.0825 <= 0.05", "assert 0.0825 <= 0.05"),
    ],
)
def test_long_fractions_are_shortened_as_far_as_they_compare_alike(line: str, said: str) -> None:
    assert text.shortened(line) == said
