"""Columns of the funnel are data: what is added to their list stands in every report."""

from __future__ import annotations

import html as escaping
import re
from types import ModuleType

import pytest

from pytest_multiplicity.report import columns, html, markdown, terminal

HALVED = columns.Column("halved", lambda step: f"{step.kept}/2")


@pytest.fixture
def texts(samples: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The three reports of a run, with one more column."""
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, HALVED))
    run = samples.paper_run()
    page = re.sub(r"<[^>]*>", " ", html.render(run))
    return [
        terminal.render(run, width=120, level=terminal.Level.SHEETS),
        markdown.render(run),
        escaping.unescape(page),
    ]


def test_a_column_that_is_added_stands_in_every_report(texts: list[str]) -> None:
    for text in texts:
        headings = next(line for line in text.splitlines() if "alone" in line and "kept" in line)
        assert headings.split().index("left") < headings.split().index("halved")
        assert len(re.findall(r"\d+/2", text)) == 8  # four specs reject, four only measure


def test_a_column_without_anything_to_say_is_left_out(samples: ModuleType) -> None:
    (family,) = samples.paper_run().families
    assert [each.heading for each in columns.columns(family)] == [
        "kept", "rejected", "alone", "left",
    ]  # fmt: skip
