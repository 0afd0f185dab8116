from __future__ import annotations

import re
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.marked import OURS, PLAIN, tokens

from pytest_multiplicity.findings import FamilyReport, GateReport, RunReport
from pytest_multiplicity.report import markdown


def shown(text: str) -> str:
    """What a reader sees."""
    return "".join(token.content for token in tokens(text) if token.type == "text")


def test_it_says_what_the_run_says(samples: ModuleType) -> None:
    text = shown(markdown.render(samples.paper_run()))
    for said in (
        "gates: 1 failed, 1 passed",
        "19 of 45 candidates survive",
        "45 candidates: 0 trained, 45 from the store",
        "assert 0.0825 <= 0.05",
        "accuracy on UTKFace under PGD(0.01)",
        "learning_rate=0.1, batch_size=128",
        "81% seed, mostly the test set; no axis stands out",
        "The share of samples whose predicted class is the target",
    ):
        assert said in text


def test_the_tables_hold_the_numbers(samples: ModuleType) -> None:
    lines = [shown(line) for line in markdown.render(samples.paper_run()).splitlines()]
    assert "test_minority|36|9|5|36" in [re.sub(r" *\| *", "|", line).strip("|") for line in lines]


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_nothing_but_our_own_markup_is_parsed(samples: ModuleType, build: str) -> None:
    found = tokens(markdown.render(getattr(samples, build)()))
    assert {token.type for token in found} <= PLAIN
    raw = [t.content for t in found if t.type in ("html_inline", "html_block")]
    assert not [each for each in raw if re.sub(r"&#\d+;|[^<>]", "", OURS.sub("", each))]


@given(
    name=st.text(max_size=100) | st.from_regex(r"[\[\]()*_`<>!|#@$~\n -]{1,20}x", fullmatch=True)
)
def test_any_name_is_inert(name: str) -> None:
    gate = GateReport(name=name, nodeid=name, family=name, outcome="failed", message=name)
    family = FamilyReport(name=name, design="star", default={}, axes={}, seeds=(0,), notes=[name])
    run = RunReport(complete=False, partial_reason=name, device="cpu", families=[family, family],
              gates=[gate], warnings=[name])  # fmt: skip
    text = markdown.render(run)
    found = tokens(text)
    assert {token.type for token in found} <= PLAIN
    table = next(line for line in text.splitlines() if line.startswith("| ❌"))
    assert len(re.findall(r"(?<!\\)\|", table)) == 5
    assert "http:" not in text
    assert not re.search(r"@\w", text)


@pytest.mark.parametrize("limit", [2_000, markdown.COMMENT_LIMIT, markdown.SUMMARY_LIMIT])
@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_it_stays_below_the_limit(samples: ModuleType, build: str, limit: int) -> None:
    text = markdown.render(getattr(samples, build)(), limit=limit, full_report="report.html")
    assert len(text.encode()) <= limit
    if limit == 2_000:
        assert shown(text).endswith("left out here: see report.html.")


def test_what_fits_is_whole(samples: ModuleType) -> None:
    text = markdown.render(samples.paper_run())
    assert "left out" not in text
    assert text.count("<details>") == text.count("</details>") == 1 + 9 + 1


def test_a_partial_run_says_so(samples: ModuleType) -> None:
    text = shown(markdown.render(samples.paper_run(complete=False)))
    assert "partial: 34 of 72 pairs" in text
    assert "not evaluated" in text


def test_the_rejected_are_marked(samples: ModuleType) -> None:
    assert "92.37×" in markdown.render(samples.paper_run())  # noqa: RUF001
