"""The tables of docs/options.md are those of the options that are registered."""

from __future__ import annotations

import re

import pytest
from support.pages import page

from pytest_multiplicity.plugin import options

PAGE = page("options.md")
COMMAND_LINE, INI, _ = re.findall(r"^\| .*?\n\n", PAGE + "\n", re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| `multiplicity_(\w+)` \| ([^|]+) \|", INI, re.MULTILINE)


def test_the_table_of_options_is_that_of_the_options(pytestconfig: pytest.Config) -> None:
    added = pytestconfig._parser.getgroup("multiplicity").options
    known = [name for option in added for name in option.names()]
    assert sorted(re.findall(r"--multiplicity-[\w-]+", COMMAND_LINE)) == sorted(known)
    alike = {"json", "html", "markdown"}
    valued = {n: row.metavar for n, row in options.ROWS.items() if row.metavar and n not in alike}
    for name, metavar in valued.items():
        shown = re.search(rf"--multiplicity-{name} (\{{[\w,.]+\}}|[A-Z]+)", COMMAND_LINE)
        assert shown is not None
        assert shown[1].replace(",...", "") == metavar.replace(",...", ""), name


def test_the_table_of_the_ini_file_is_that_of_the_rows() -> None:
    known = {n for n, row in options.ROWS.items() if not (row.metavar or row.switch)}
    assert {name for name, _ in ROWS} == known


@pytest.mark.parametrize(("name", "values"), ROWS, ids=[name for name, _ in ROWS])
def test_values_are_those_there_are_the_default_first(
    name: str, values: str, pytestconfig: pytest.Config
) -> None:
    row = options.ROWS[name]
    told = re.findall(r"`([^`]+)`", values)
    if told:
        assert told[0] == row.ini
    for value in told:
        assert row.read is not None
        row.read(value, name, pytestconfig)
    kind = type(row.read(told[0], name, pytestconfig)) if told and row.read else None
    if isinstance(kind, type(options.Check)):
        assert set(told) == {member.value for member in kind}
