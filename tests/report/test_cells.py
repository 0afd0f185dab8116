"""No cell of a CSV is a formula, whatever program opens it, and numbers stay numbers."""

from __future__ import annotations

import csv
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.report import individuals_csv
from pytest_multiplicity.report.cells import NUMBER, cell

BAD = "=+-@\uff1d\uff0b\uff0d\uff20"
TEXTS = st.text(st.sampled_from(BAD + ";, \t\r\n|'\"a1(") | st.characters(codec="utf-8"))


@given(TEXTS)
def test_no_part_of_a_cell_begins_a_formula(text: str) -> None:
    found = cell(text)
    assert "\n" not in found
    assert "\t" not in found
    for separator in ";,|":
        for part in found.split(separator):
            assert part.lstrip(' "')[:1] not in tuple(BAD) or NUMBER.fullmatch(found)


@pytest.mark.parametrize("text", ["-5", "+1", "-1.5", "1e-05", "-2.5e+10", "a-b", "x=1"])
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert cell(text) == text


def test_hostile_names_stay_in_their_cells(samples: ModuleType) -> None:
    text = individuals_csv.render(samples.hostile_run())
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 5
    assert {len(row) for row in rows} == {len(individuals_csv.COLUMNS)}
    assert {row["conflict"] for row in rows} == {"0.25"}
    assert text.isprintable() or {c for c in text if not c.isprintable()} == {"\n"}
