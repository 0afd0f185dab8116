"""Reachable through the user's door: gates, specs that judge built models, every report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate
from safetensors.torch import load_file

from pytest_multiplicity.report import as_json

FAMILY = """
import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import pytest_multiplicity as pm


@pytest.fixture(scope="session")
def data():
    raw = load_breast_cancer()
    inputs = torch.tensor((raw.data - raw.data.mean(0)) / raw.data.std(0), dtype=torch.float32)
    order = np.random.default_rng(0).permutation(len(inputs))
    names = ["train", "select", "report"]
    return {
        name: pm.Data(
            inputs[rows], raw.target[rows], {"group": rows % 2}, name=name, bounds=None
        )
        for name, rows in zip(names, np.array_split(order[:240], 3))
    }


@pm.family(default={"width": 8}, seeds=2)
def candidate(config, data):
    return pm.Recipe(
        lambda: nn.Sequential(nn.Linear(30, config.width), nn.ReLU(), nn.Linear(config.width, 2)),
        data["train"], epochs=8, batch_size=32, lr=0.05,
    )
"""
SPECS = """
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytest_multiplicity as pm


def test_accuracy(candidate, data):
    assert candidate.accuracy(data["select"]).within(0.05)


@pytest.mark.parametrize("floor", [0.9])
def test_loss(candidate, data, floor):
    assert candidate.measure("f1", data["select"]) >= floor


@settings(max_examples=2)
@given(scale=st.floats(0.01, 0.02))
def test_noise(candidate, data, scale):
    assert candidate.accuracy(data["select"], under=pm.InputNoise(scale)) >= 0.5


def test_gate(survivors, data):
    found = survivors.reachable(data["report"], data["select"], within=0.03)
    assert found["reachable"].mean() >= 0.05
    stricter = survivors.reachable(data["report"], data["select"], within=0.03, specs=True)
    assert 0 < stricter.reachable.sum() <= found.reachable.sum()
    row = int(found.reachable.to_numpy().argmax())
    assert survivors.twin(data["report"], row, data["select"], within=0.03).module


def test_too_many(survivors, data):
    assert survivors.reachable(data["report"], data["select"], 0.03)["reachable"].mean() <= 0.01
"""


EXTREMES = """
import pytest_multiplicity as pm


def test_accuracy(candidate, data):
    assert candidate.accuracy(data["select"]).within(0.05)


def test_gate(survivors, data):
    gap = pm.Gap("group", of="positive rate")
    asked = data["report"], data["select"], 0.03
    worst, fairer = survivors.worst(*asked), survivors.best(*asked, of=gap)
    kept = survivors.worst(*asked, specs=True)
    assert kept.accuracy(data["select"]).within(0.05)
    assert fairer.measure(gap, data["report"]) <= worst.measure(gap, data["report"])
    survivors.twin(data["report"], survivors.reachable(*asked).cost.idxmin(), data["select"], 0.03)
"""
LOCK = ("--multiplicity-lock=lock.json", "--multiplicity-update-lock")
FEW = """
def test_accuracy(candidate, data):
    assert candidate.accuracy(data["select"]).within(0.05)


def test_gate(survivors, data):
    survivors.reachable(data["report"], data["select"], within=0.03)
"""


@pytest.fixture
def study(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nmultiplicity_store = store\n")
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_specs=SPECS)
    return pytester


def report(study: pytest.Pytester, *options: str) -> tuple[Any, dict[str, Any]]:
    named = {kind: f"--multiplicity-{kind}=report.{kind}" for kind in ("json", "html", "markdown")}
    result = study.runpytest_inprocess("-p", "no:randomly", *named.values(), *options)
    return result, json.loads((study.path / "report.json").read_text())


def test_gates_ask_and_every_report_tells(study: pytest.Pytester) -> None:
    result, document = report(study, "-n", "0", "--multiplicity-export=selection")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = {gate["name"]: gate["outcome"] for gate in document["gates"]}
    assert outcomes == {"test_gate": "passed", "test_too_many": "failed"}
    validate(document, as_json.schema())
    plain, judged = document["families"][0]["reachable"]
    assert (plain["data"], plain["select"], plain["within"]) == ("report", "select", 0.03)
    assert plain["loss"] == "cross_entropy on train"
    assert judged["specs"]
    assert not plain["specs"]
    assert 0 < judged["share"] <= plain["share"]
    assert plain["as_good"] <= plain["share"]
    costs = [each["cost"] for each in plain["contested"]]
    assert costs == sorted(costs)
    assert plain["curve"][-1] == [0.03, plain["share"]]
    share = f"{100 * plain['share']:.1f}%"
    result.stdout.fnmatch_lines(["reachable on report, as good on select", f"*{share}  reachable*"])
    (family,) = json.loads((study.path / "selection/selection.json").read_text())["families"]
    (twin,) = family["twins"]
    assert twin["id"].startswith("twin of default-seed")
    assert load_file(study.path / "selection" / twin["weights"])["2.weight"].shape == (2, 8)
    assert not any("optimistic" in line for line in result.outlines)
    for kind in ("html", "markdown"):
        text = (study.path / f"report.{kind}").read_text()
        assert "eachable on report" in text.replace("&#44;", ",")
        assert share.replace("%", "") in text


def files(store: Path) -> list[tuple[str, int]]:
    """Return what a store has of models that nobody trained: written anew, it is another inode."""
    found = [each for each in store.rglob("*") if each.is_file() and "reachable" in each.parts]
    return sorted((each.name, each.stat().st_ino) for each in found)


def test_the_worst_and_the_best_are_told_and_exported(study: pytest.Pytester) -> None:
    study.makepyfile(test_specs=EXTREMES)
    result, document = report(study, "-n", "0", "--multiplicity-export=selection", *LOCK)
    assert result.ret == 0
    validate(document, as_json.schema())
    worst, best, kept = document["families"][0]["extremes"]
    assert [each["specs"] for each in (worst, best, kept)] == [False, False, True]
    assert kept["id"].startswith("worst churn that specs keep of ")
    assert (worst["end"], worst["of"], worst["within"]) == ("worst", "churn", 0.03)
    assert worst["value"] > worst["survivors"][1]
    assert (best["end"], best["of"]) == ("best", "positive rate gap by group")
    assert best["value"] <= best["survivors"][0]
    assert best["score"] >= best["best"] - 0.03 - 1e-9
    (family,) = json.loads((study.path / "selection/selection.json").read_text())["families"]
    ends = [each["id"].split()[0] for each in family["twins"]]
    assert ends == ["worst", "best", "worst", "twin"]
    weights = [load_file(study.path / "selection" / each["weights"]) for each in family["twins"]]
    assert all(each["2.weight"].shape == (2, 8) for each in weights)
    assert {(each["select"], each["within"]) for each in family["twins"]} == {("select", 0.03)}
    asked = f"worst churn against {worst['against']} on report, as good on select within 3 points"
    lock = (study.path / "lock.json").read_text()
    assert f'"{asked}"' in lock
    assert f'"{asked}, kept by all specifications"' in lock
    line = "positive rate gap by group on report"
    texts = [(study.path / f"report.{kind}").read_text() for kind in ("html", "markdown")]
    assert all("he worst and the best model as good" in text and line in text for text in texts)
    result.stdout.fnmatch_lines(["nobody trained, as good"])


def test_workers_and_a_second_run_say_the_same(study: pytest.Pytester) -> None:
    study.makepyfile(test_specs=EXTREMES)
    first = report(study, "-n", "0", *LOCK)[1]["families"][0]
    kept = files(study.path / "store")
    again = report(study, "-n", "2")[1]["families"][0]
    for part in ("reachable", "extremes"):
        assert again[part] == first[part]
    assert files(study.path / "store") == kept
    assert (
        "reachable on report, as good on select within 0.03"
        in (study.path / "lock.json").read_text()
    )
    assert (again["trained"], again["stored"]) == (0, 2)


def test_a_fixture_that_the_gate_cannot_see_is_named(study: pytest.Pytester) -> None:
    study.makepyfile(
        test_other="""
        import pytest

        @pytest.fixture
        def hidden():
            return 0.5

        def test_hidden(candidate, data, hidden):
            assert candidate.accuracy(data["select"]) >= hidden
        """,
        test_specs=FEW.replace("within=0.03", "within=0.03, specs=True"),
    )
    _, document = report(study, "-n", "0")
    (gate,) = document["gates"]
    assert "takes the fixture 'hidden', which the gate test_gate can't see" in gate["message"]


def test_recorded_answers_say_what_they_lack(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmultiplicity_store = store\n")
    pytester.makepyfile(
        """
        import pandas as pd
        import pytest
        import torch
        import pytest_multiplicity as pm

        TABLE = pd.DataFrame({"q": range(8), "one": [0, 1] * 4, "two": [0, 1, 1, 1] * 2})

        @pytest.fixture(scope="session")
        def quiz():
            return pm.Data(torch.zeros(8, 1), [0, 1] * 4, TABLE[["q"]], name="quiz")

        candidate = pm.answers(TABLE, id="q")

        def test_accuracy(candidate, quiz):
            assert candidate.accuracy(quiz) >= 0.5

        def test_gate(survivors, quiz):
            survivors.reachable(quiz, quiz)
        """
    )
    _, document = report(pytester, "-n", "0")
    (gate,) = document["gates"]
    assert "is known by its recorded answers: reachable needs the model" in gate["message"]
