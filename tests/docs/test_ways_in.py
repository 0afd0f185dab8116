"""Every example of docs/ways_in.md runs, on models that its library has trained and written.

Skipped where the library isn't installed; `nox -s ways_in` installs them all.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ways_in.md").read_text("utf-8")
WAYS = Path(__file__).parent / "ways"
LIBRARIES = {
    "A Lightning checkpoint": ["lightning"],
    "A timm model": ["timm"],
    "A Hugging Face image classifier": ["transformers"],
    "An ONNX model": ["onnx", "onnxruntime"],
}
CALLABLES = ("A scikit-learn model", "An ONNX model")
RUNS = "A folder of runs"


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


PREFACE, *SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
EXAMPLES = {text.partition("\n")[0]: blocks(text) for text in SECTIONS}


def script_of(example: str) -> str:
    """What trains and writes the models that the example reads."""
    return re.sub("[ -]", "_", example.lower()) + ".py"


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], tuple[pytest.RunResult, Any]]:
    """A project that has trained models in the way of an example, and takes that way in."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the models are tiny

    def run(example: str, more: str = "") -> tuple[pytest.RunResult, Any]:
        if not (pytester.path / "conftest.py").exists():
            data, specs = blocks(PREFACE)
            shutil.copytree(WAYS, pytester.path, dirs_exist_ok=True)
            for folder in ("models", "weights"):
                pytester.mkdir(folder)
            (pytester.path / "conftest.py").write_text(data + "".join(EXAMPLES[example]))
            (pytester.path / "test_specs.py").write_text(specs + more)
            assert pytester.runpython(script_of(example)).ret == 0
        result = pytester.runpytest_subprocess(
            "-p", "no:randomly", "--multiplicity-device=cpu", "--multiplicity-json=report.json"
        )
        return result, json.loads((pytester.path / "report.json").read_text("utf-8"))

    return run


def needs(example: str) -> Any:
    """The example as a parameter, skipped where a library of its isn't installed."""
    missing = [each for each in LIBRARIES.get(example, ()) if not importlib.util.find_spec(each)]
    why = f"{', '.join(missing)} isn't installed: run `nox -s ways_in`"
    return pytest.param(example, marks=pytest.mark.skipif(bool(missing), reason=why))


def test_every_example_is_run() -> None:
    assert {script_of(example) for example in EXAMPLES} <= {file.name for file in WAYS.iterdir()}
    assert all(len(each) == 1 for each in EXAMPLES.values())
    assert len(blocks(PREFACE)) == 2


def test_links_lead_to_the_examples() -> None:
    anchors = {title.lower().replace(" ", "-") for title in EXAMPLES}
    assert set(re.findall(r"\(#([^)]+)\)", PAGE)) == anchors


ATTACK = """

def test_attack(candidate, images):
    assert candidate.accuracy(images.select, under=pm.PGD(1 / 255, steps=2)) <= 1
"""


@pytest.mark.parametrize("example", [needs(e) for e in EXAMPLES if e not in (*CALLABLES, RUNS)])
def test_modules(project: Callable[..., Any], example: str) -> None:
    result, report = project(example, ATTACK)
    assert result.ret == pytest.ExitCode.OK
    check(report)


@pytest.mark.parametrize("example", [needs(e) for e in CALLABLES])
def test_callables(project: Callable[..., Any], pytester: pytest.Pytester, example: str) -> None:
    result, report = project(example)
    assert result.ret == pytest.ExitCode.OK
    check(report)
    logits = sorted(pytester.path.glob(".multiplicity/*/logits/*/*"))
    assert logits
    assert project(example)[1] == report
    assert sorted(pytester.path.glob(".multiplicity/*/logits/*/*")) == logits  # by fingerprint


def check(report: dict[str, Any]) -> None:
    """Every candidate was judged by every spec, and the best knows what it was trained for."""
    (family,) = report["families"]
    assert report["complete"]
    assert [gate["outcome"] for gate in report["gates"]] == ["passed"]
    assert len(family["candidates"]) >= 2
    assert all(spec["judged"] == len(family["candidates"]) for spec in family["specs"])
    (before,) = [
        sheet["before"]
        for sheet in family["sheets"]
        if sheet["metric"] == "accuracy on images-select"
    ]
    scores = [
        score
        for table in before["tables"].values()
        for row in table["scores"]
        for score in row
        if score is not None
    ]
    assert max(scores) > 0.9


def test_runs_that_never_were_are_holes(project: Callable[..., Any]) -> None:
    result, report = project(RUNS)
    assert result.ret == pytest.ExitCode.OK
    check(report)
    (family,) = report["families"]
    ids = [candidate["id"] for candidate in family["candidates"]]
    assert ids == [
        "default-seed0",
        "default-seed1",
        "lr0.01-seed0",
        "width16-seed0",
        "width16-seed1",
    ]
    table = family["sheets"][0]["before"]["tables"]["lr"]
    assert table["options"] == [0.1, 0.01]
    assert [[score is None for score in row] for row in table["scores"]] == [
        [False, False],
        [False, True],
    ]


def test_a_way_in_is_in_the_readme() -> None:
    assert "(docs/ways_in.md)" in (ROOT / "README.md").read_text("utf-8")
