"""Every number on the page that says where it stands in the JSON report is the number there."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
from support.page_numbers import numbers, says

from pytest_multiplicity.report import as_json, html


def read_back(run: Any) -> list[tuple[str, str, Any]]:
    return numbers(html.render(run), json.loads(as_json.render(run)))


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_numbers_on_the_page_are_those_of_the_json_report(samples: ModuleType, build: str) -> None:
    found = read_back(getattr(samples, build)())
    assert len(found) > 300
    assert [each for each in found if not says(each[1], each[2])] == []


def test_the_first_screen_s_numbers_are_among_them(samples: ModuleType) -> None:
    ways = [way for way, _, _ in read_back(samples.paper_run())]
    for way in (
        "/families/0/pick/margin",
        "/families/0/sheets/7/after/delta_all",
        "/families/0/predictive/0/after",
        "/families/0/sheets/0/before/tables/@0/scores/0/0",
        "/families/0/specs/0/rejected",
        "/families/0/candidates/44/scores/@0",
    ):
        assert way in ways


@pytest.mark.parametrize(
    ("text", "value", "fits"),
    [("26", 0.2578125, True), ("27", 0.2578125, False), ("0.26", 0.2578125, True),
     ("0.27", 0.2578125, False), ("1e-05", 1.2e-5, True), ("–", None, True), ("0", None, False),  # noqa: RUF001
     ("3512", 3512.3, True), ("", 0.1, False)],
)  # fmt: skip
def test_what_counts_as_the_same_number(text: str, value: float | None, fits: bool) -> None:
    assert says(text, value) is fits
