"""The README is true: its examples run, its options exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from torchvision.transforms import v2

import pytest_multiplicity as pm
from pytest_multiplicity.interventions import Intervention
from pytest_multiplicity.plugin import options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
INLINE = re.findall(r"`([^`\n]+)`", README)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_first_specifications_run(pytester: pytest.Pytester) -> None:
    names = ("conftest", "test_patients", "test_digits")
    for name, block in zip(names, blocks("python"), strict=True):
        (pytester.path / f"{name}.py").write_text(block)
    result = pytester.runpytest_inprocess(
        "-p", "no:randomly", "--multiplicity-device=cpu", "--multiplicity-seeds=3"
    )
    assert result.ret == pytest.ExitCode.OK
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] + outcomes.get("rejected", 0) == 3 * 9 + 9 + 1
    result.stdout.fnmatch_lines(["*candidates survive*", "*passed  test_somebody_ships*"])


@pytest.mark.parametrize("text", [t for t in INLINE if t.startswith(("under=", "`under="))])
def test_interventions_can_be_written_so(text: str) -> None:
    said = eval(f"dict({text.replace(chr(92), '')})", {"pm": pm, "v2": v2, "dict": dict})
    assert hasattr(said["under"], "__or__")


def test_there_are_interventions() -> None:
    assert sum(text.startswith("under=") for text in INLINE) >= 5
    assert Intervention.__or__


@pytest.mark.parametrize(
    "text", sorted({t for t in INLINE if re.match(r"(candidate|survivors)\.", t)})
)
def test_methods_exist(text: str) -> None:
    owner = {"candidate": pm.Candidate, "survivors": pm.Survivors}[text.partition(".")[0]]
    assert hasattr(owner, re.match(r"\w+\.(\w+)", text)[1])


def test_public_names_exist() -> None:
    for name in set(re.findall(r"\bpm\.(\w+)", README)):
        assert hasattr(pm, name), name


def test_the_table_of_options_is_that_of_the_options(pytestconfig: pytest.Config) -> None:
    (table,) = re.findall(r"^\| option \|.*?\n\n", README, re.MULTILINE | re.DOTALL)
    added = pytestconfig._parser.getgroup("multiplicity").options
    known = [name for option in added for name in option.names()]
    assert sorted(re.findall(r"--multiplicity-[\w-]+", table)) == sorted(known)
    alike = {"json", "html", "markdown"}
    valued = {n: row.metavar for n, row in options.ROWS.items() if row.metavar and n not in alike}
    for name, metavar in valued.items():
        shown = re.search(rf"--multiplicity-{name} (\{{[\w,.]+\}}|[A-Z]+)", table)[1]
        assert shown.replace(",...", "") == metavar.replace(",...", ""), name


def test_ini_options_exist_with_the_values_told() -> None:
    known = {f"multiplicity_{name}" for name, row in options.ROWS.items() if row.ini is not None}
    assert set(re.findall(r"\bmultiplicity_\w+", README)) <= known
    told = re.findall(r"`(multiplicity_\w+) = (\w+ \|[\w |]+)`", README)
    kinds = {
        "independence": options.Independence,
        "partial": options.Partial,
        "same_data": options.SameData,
        "undecided": options.Undecided,
    }
    for name, values in told:
        kind = kinds[name.removeprefix("multiplicity_")]
        assert values.split(" | ") == [member.value for member in kind]
    assert len(told) == len(kinds)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", README.replace("\n", " ").replace("  ", " "))
    local = [target for target in targets if "://" not in target]
    assert "docs/multiplicity.yml" in local
    for target in local:
        assert (ROOT / target.partition("#")[0]).exists(), target


def test_commands_name_what_exists() -> None:
    for folder in re.findall(r"pytest (specs[\w/]*)", README):
        assert (ROOT / folder).is_dir()
    extras = set(re.findall(r"\.\[(\w+)\]", README))
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert extras
    assert all(f"\n{extra} = [" in pyproject for extra in extras)
