"""The examples of docs/concepts.md, measure.md and ci.md run beside the README's family."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.pages import DOCS, blocks, page
from support.recorded_suite import run
from torchvision.transforms import v2

import pytest_multiplicity as pm

README = (DOCS.parent / "README.md").read_text("utf-8")
PAGES = ("concepts.md", "measure.md", "ci.md")
TEXT = "\n".join(map(page, PAGES))
INLINE = re.findall(r"`([^`\n]+)`", TEXT)
IMPORTS = """
import pytest
from hypothesis import given, settings, strategies as st
import pytest_multiplicity as pm
from sklearn.ensemble import RandomForestClassifier
from conftest import train

"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")
    pytester.makeconftest(blocks(README)[0].partition("def test_")[0].replace("keep=True", ""))
    return pytester.path


def test_families_and_specifications(pytester: pytest.Pytester, suite: Path) -> None:
    family = IMPORTS + "\n".join(blocks(page("concepts.md")))
    pytester.makepyfile(test_concepts=family)
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    (found,) = report["families"]
    assert len(found["candidates"]) == 20  # as the picture has them
    assert found["design"] == "star"


def test_measures_and_gates(pytester: pytest.Pytester, suite: Path) -> None:
    pytester.makepyfile(
        test_measure=IMPORTS + "\n".join(blocks(page("measure.md"))),
        test_ci=IMPORTS + "\n".join(blocks(page("ci.md"))),
    )
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert [gate["outcome"] for gate in report["gates"]] == ["passed"] * 3
    (found,) = report["families"]
    assert {spec["kind"] for spec in found["specs"]} == {"enforced", "unforeseen"}


@pytest.mark.parametrize("text", sorted({t for t in INLINE if t.startswith("under=")}))
def test_interventions_can_be_written_so(text: str) -> None:
    said = eval(f"dict({text.replace(chr(92), '')})", {"pm": pm, "v2": v2, "dict": dict})
    assert hasattr(said["under"], "__or__")


def test_there_are_interventions() -> None:
    assert sum(text.startswith("under=") for text in INLINE) >= 5


@pytest.mark.parametrize(
    "text", sorted({t for t in INLINE if re.match(r"(candidate|survivors)\.", t)})
)
def test_methods_exist(text: str) -> None:
    owner = {"candidate": pm.Candidate, "survivors": pm.Survivors}[text.partition(".")[0]]
    called = re.match(r"\w+\.(\w+)", text)
    assert called is not None
    assert hasattr(owner, called[1])


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_public_names_exist(path: Path) -> None:
    for name in set(re.findall(r"\bpm\.(\w+)", path.read_text("utf-8"))):
        assert hasattr(pm, name), name


def test_sources_of_randomness_are_those_there_are() -> None:
    from pytest_multiplicity.design.design import SOURCES

    assert set(re.findall(r"seed\.\w+", page("concepts.md"))) == set(SOURCES)
