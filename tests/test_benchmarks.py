"""Figures of benchmarks/README.md: each row has the command that printed it, and commands exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
PAGE = (FOLDER / "README.md").read_text("utf-8")
COMMANDS, _, MEASURED = PAGE.partition("## What was measured")
NAMED = re.compile(r"`(?:python -m )?benchmarks\.(\w+)([^`]*)`")
Rows = tuple[str, list[str]]
"""What stands before a table and at its head, and the first cells of its rows."""


def tables(text: str) -> Iterator[Rows]:
    """Yield the tables of a page."""
    before = ""
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().splitlines()
        if len(lines) > 2 and lines[1].startswith("|--"):
            yield before + lines[0], [line.split(" | ")[0] for line in lines[2:]]
        before = block


def without(known: str, rows: list[str]) -> list[str]:
    """Return the rows of a table that no command is told of."""
    found, above = [], ""
    for row in rows:
        told = bool(NAMED.search(row))
        continues = row.lstrip("| ")[:1].islower() and above
        if not (told or continues or NAMED.search(known)):
            found.append(row)
        above = row if told else above if continues else ""
    return found


def test_each_row_of_figures_has_the_command_that_printed_it() -> None:
    measured = list(tables(MEASURED))
    assert len(measured) > 5
    assert [row for known, rows in measured for row in without(known, rows)] == []


def test_a_row_without_a_command_is_found() -> None:
    rows = ["| `benchmarks.keep`: 24", "| the same, later", "| Of the second run"]
    assert without("| figure | measured", rows) == rows[2:]
    assert without("by `python -m benchmarks.keep`, | figure", rows) == []


@pytest.mark.parametrize("name", sorted({name for name, _ in NAMED.findall(PAGE)}))
def test_commands_that_are_named_can_be_run(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    assert 'if __name__ == "__main__":' in source
    known = source + (FOLDER / "common.py").read_text("utf-8")
    said = " ".join(rest for other, rest in NAMED.findall(PAGE) if other == name)
    for option in re.findall(r"--[a-z][\w-]*", said):
        assert f'"{option}"' in known, option


def test_every_command_is_in_the_table_of_commands() -> None:
    there = {each.stem for each in FOLDER.glob("*.py") if "__main__" in each.read_text("utf-8")}
    assert there == {name for name, _ in NAMED.findall(COMMANDS)}
