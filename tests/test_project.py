"""What the project says of itself is so: files exist that it names, versions agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import pytest_multiplicity

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
CHANGES = re.findall(r"^\| ([^|]+) \| (\d+) \| ([^|]+) \|$", ARCHITECTURE, re.MULTILINE)
NAMED = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.\w{2,4})`")


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "RELEASING.md"])
def test_files_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    places = [ROOT, ROOT / "pytest_multiplicity"]
    wrong = [n for n in NAMED.findall(text) if not any((place / n).exists() for place in places)]
    assert wrong == ["release.yml"] * wrong.count("release.yml")  # as PyPI wants it, without folder


def test_ten_changes_touch_as_many_files_as_they_say() -> None:
    assert len(CHANGES) == 10
    for change, count, files in CHANGES:
        unnamed = len(
            re.findall(r"\b(?:a new (?:file|folder) in|its module in|the module that)\b", files)
        )
        folders = len([n for n in NAMED.findall(files) if n.endswith("/")])
        assert int(count) == len(NAMED.findall(files)) - folders + unnamed, change


def test_the_picture_has_every_room_in_order() -> None:
    house = (ROOT / "tests" / "test_house.py").read_text("utf-8")
    (listed,) = re.findall(r"^STAGES = \((.*?)^\)", house, re.MULTILINE | re.DOTALL)
    arrows = " --> ".join(re.findall(r"^  ((?:\w+ --> )+\w+)$", ARCHITECTURE, re.MULTILINE))
    rooms = [*dict.fromkeys(arrows.split(" --> "))]
    assert rooms == re.findall(r'"(\w+)"', listed)


def test_every_session_is_told_of() -> None:
    command = [sys.executable, "-m", "nox", "--list", "-f", str(ROOT / "noxfile.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = re.findall(r"^[*-] (\S+) ->", done.stdout, re.MULTILINE)
    known = {re.sub(r"[-(](?!script).*", "", name).replace("script=", "") for name in names}
    told = {name.replace("'", "") for name in re.findall(r"nox -s ([\w()']+)", CONTRIBUTING)}
    assert {name.replace("'", "") for name in known} == told | {"lint", "types", "docs"}


def test_versions_agree() -> None:
    version = pytest_multiplicity.__version__
    assert PYPROJECT["project"]["version"] == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version


def test_every_python_that_is_claimed_is_tested() -> None:
    claimed = {
        c.rpartition(" ")[2] for c in PYPROJECT["project"]["classifiers"] if "Python :: 3." in c
    }
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert claimed <= set(re.findall(r"3\.\d+", workflow))
    assert PYPROJECT["project"]["requires-python"] == f">={min(claimed)}"


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/**/*.y*ml")), ids=lambda p: p.name)
def test_files_for_github_are_yaml(path: Path) -> None:
    assert yaml.safe_load(path.read_text("utf-8"))


def test_fragments_are_of_a_known_type() -> None:
    types = {each["directory"] for each in PYPROJECT["tool"]["towncrier"]["type"]}
    for path in ROOT.joinpath("changelog.d").glob("*.md"):
        if path.name != "README.md":
            assert path.name.split(".")[-2] in types, path.name
            assert path.read_text("utf-8").strip(), path.name


def test_the_page_on_bits_has_the_numbers_of_the_rule() -> None:
    from pytest_multiplicity.compute import arithmetic as rule  # torch, which nothing else needs

    page = (ROOT / "docs" / "same_bits.md").read_text("utf-8")
    assert page.count(f"at least {rule.FEWEST_FUSED} of one structure") == 2
    assert f"at most {rule.SMALL_STEP / 1e6:.0f} million operations (three times" in page
    assert f"more than {rule.SMALL_STEP / 1e6:.0f} million operations" in page
    assert f"{rule.BATCH} samples in at most {rule.FUSED_BATCH / 1e6:.0f} million" in page
    assert f"{rule.COMPILED_STEPS:,} steps" in page
    assert rule.BACKWARD == 3
