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
MY_PROJECT = """
    import pandas as pd
    import torch
    from torch import nn


    def load(part="test"):
        "Two classes, of which one is brighter, and how old people are."
        rng = torch.Generator().manual_seed(len(part))
        targets = torch.arange(200) % 2
        inputs = (torch.rand(200, 4, generator=rng) + 3 * targets[:, None]) / 4
        return inputs, targets, pd.DataFrame({"age": [20 + i % 60 for i in range(200)]})


    def net(width):
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_first_specification_runs(pytester: pytest.Pytester) -> None:
    conftest, specs = blocks("python")
    pytester.makepyfile(my_project=MY_PROJECT)
    (pytester.path / "conftest.py").write_text(conftest)
    (pytester.path / "test_faces.py").write_text(specs)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--multiplicity-device=cpu")
    assert result.ret == pytest.ExitCode.OK
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] + outcomes.get("rejected", 0) == 2 * 15 + 1
    result.stdout.fnmatch_lines(["*candidates survive*", "*passed  test_somebody_ships*"])


def test_every_python_block_is_run_above() -> None:
    assert len(blocks("python")) == 2


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
    for folder in re.findall(r"pytest (specs\S*)", README):
        assert (ROOT / folder).is_dir()
    extras = set(re.findall(r"\.\[(\w+)\]", README))
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert extras
    assert all(f"\n{extra} = [" in pyproject for extra in extras)
