"""The README is true: its examples run, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.pages import blocks
from support.recorded_suite import run

import pytest_multiplicity as pm
from pytest_multiplicity.plugin import options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
FIRST, *MORE = blocks(README)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")


def test_the_first_specifications_run_as_they_stand(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_patients.py").write_text(FIRST)
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK
    (family,) = report["families"]
    assert (family["trained"], len(family["candidates"])) == (10, 10)
    assert [gate["name"] for gate in report["gates"]] == ["test_somebody_ships"]
    (pytester.path / "test_patients.py").write_text(FIRST + "".join(MORE))
    pytester.makeini("".join(blocks(README, "ini")))
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK
    (family,) = report["families"]
    assert (family["trained"], family["stored"]) == (0, 10)  # the rest of the file is not its code
    assert {each["incumbent"] for each in family["comparisons"]} == {"production"}
    assert {gate["outcome"] for gate in report["gates"]} == {"passed"}


def test_it_is_a_page_and_no_manual() -> None:
    assert README.count("\n") <= 130


def test_public_names_exist() -> None:
    for name in set(re.findall(r"\bpm\.(\w+)", README)):
        assert hasattr(pm, name), name


def test_ini_options_exist() -> None:
    known = {f"multiplicity_{name}" for name, row in options.ROWS.items() if row.ini is not None}
    assert set(re.findall(r"\bmultiplicity_\w+", README)) <= known


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", README.replace("\n", " ").replace("  ", " "))
    local = [target for target in targets if "://" not in target]
    assert "docs/multiplicity.yml" in local
    for target in local:
        assert (ROOT / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", ["README.md", "docs/studies.md", "docs/start.md"])
def test_commands_name_what_exists(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for folder in re.findall(r"pytest (specs[\w/]*)", text):
        assert (ROOT / folder).is_dir()
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    for extra in set(re.findall(r"\.\[(\w+)\]", text)):
        assert f"\n{extra} = [" in pyproject, extra
