"""Families of recorded answers: long and wide tables of labels and probabilities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from support.recorded_suite import run, verdicts

SUITE = """
import numpy as np
import pandas as pd
import pytest
import torch
import pytest_multiplicity as pm

frame = pd.read_csv("truth.csv")

@pytest.fixture(scope="session")
def d():
    return pm.Data(torch.zeros(len(frame), 1), torch.tensor(frame["y"]), frame, name="quiz")

candidate = pm.answers({call})

def test_accuracy(candidate, d):
    "Half of them, at the least."
    assert candidate.accuracy(d) >= 0.5

@pytest.mark.unforeseen
def test_group(candidate, d):
    candidate.accuracy(d, under=pm.Group("hard"))
    {more}

def test_gate(survivors, d):
    assert survivors.ambiguity(d) <= 1
    assert survivors.disagreement(d) <= survivors.ambiguity(d)
"""
NAMES = ("a", "b", "c")


@pytest.fixture
def tables(pytester):
    """Sixty questions, and what three prompts said of them twice: sure of class 1 by `p`."""
    rng = np.random.default_rng(0)
    truth = pd.DataFrame({"q": [f"q{i}" for i in range(60)], "y": np.arange(60) % 2})
    truth["hard"] = np.arange(60) % 3 == 0
    truth.to_csv(pytester.path / "truth.csv", index=False)
    rows = [
        {"q": q, "prompt": name, "seed": seed, "p": np.clip(0.2 + 0.6 * y + z, 0.01, 0.99)}
        for name, scale in zip(NAMES, (0.2, 0.4, 0.6), strict=True)
        for seed in (0, 1)
        for q, y, z in zip(truth["q"], truth["y"], rng.normal(size=60) * scale, strict=True)
    ]
    long = pd.DataFrame(rows).sample(frac=1, random_state=0)
    long["said"] = (long["p"] > 0.5).astype(int)
    long["rest"] = 1 - long["p"]
    return truth, long


def judged(pytester, call, more="", *args):
    pytester.makepyfile(test_all=SUITE.format(call=call, more=more))
    result, report = run(pytester, *args)
    return result, report


def expected(truth, long):
    merged = long.merge(truth, on="q")
    return merged.assign(right=merged["said"] == merged["y"]).groupby(["prompt", "seed"])["right"]


@pytest.mark.usefixtures("few_exchanges")
@pytest.mark.parametrize("form", ["labels", "probability", "by class", "columns", "parquet"])
def test_long_tables(pytester, tables, form):
    truth, long = tables
    columns = {
        "labels": ["said"],
        "parquet": ["said"],
        "probability": ["p"],
        "by class": ["p", "rest"],
        "columns": ["rest", "p"],
    }[form]
    kept = long[["q", "prompt", "seed", *columns]]
    if form == "parquet":
        pytest.importorskip("pyarrow")
        kept.to_parquet(pytester.path / "said.parquet")
    kept.to_csv(pytester.path / "said.csv", index=False)
    how = {
        "labels": "",
        "parquet": "",
        "probability": ", probabilities='p'",
        "by class": ", probabilities={1: 'p', 0: 'rest'}",
        "columns": ", probabilities=['rest', 'p']",
    }[form]
    name = "said.parquet" if form == "parquet" else "said.csv"
    call = f"'{name}', {{'prompt': 'b'}}, id='q'{how}"
    sure = form not in ("labels", "parquet")
    more = "assert 0 <= candidate.measure('auroc', d) <= 1" if sure else ""
    result, report = judged(pytester, call, more)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    (family,) = report["families"]
    assert family["axes"] == {"prompt": ["b", *(n for n in family["axes"]["prompt"][1:])]}
    assert len(family["candidates"]) == 6
    means = expected(truth, long).mean()
    for each in family["candidates"]:
        own = means[each["config"]["prompt"], each["seed"]]
        assert each["scores"]["accuracy on quiz"] == pytest.approx(own)
    said = long.set_index("q").loc[truth["q"]].groupby(["prompt", "seed"])["said"].apply(list)
    votes = np.stack(said.to_list())
    found = {each["metric"]: each["before"] for each in family["predictive"]}
    assert found["ambiguity"] == pytest.approx((votes != votes[0]).any(axis=0).mean())
    assert ("rashomon_capacity" in found) == sure
    _, report_again = judged(pytester, call, more)
    assert report_again["families"][0]["sheets"] == family["sheets"]


@pytest.mark.parametrize("form", ["labels", "probabilities", "frame", "some"])
def test_wide_tables(pytester, tables, form):
    truth, long = tables
    first = long[long["seed"] == 0]
    values = "p" if form == "probabilities" else "said"
    wide = first.pivot(index="q", columns="prompt", values=values).reset_index()
    if form == "some":
        wide["note"] = "nothing"
    wide.to_csv(pytester.path / "wide.csv", index=False)
    call = {
        "labels": "'wide.csv', id='q'",
        "probabilities": "'wide.csv', id='q', probabilities=True",
        "frame": "pd.read_csv('wide.csv'), {'candidate': 'c'}, id='q'",
        "some": "'wide.csv', id='q', predict=['a', 'b', 'c']",
    }[form]
    result, report = judged(pytester, call)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    (family,) = report["families"]
    assert family["default"] == {"candidate": "c" if form == "frame" else "a"}
    means = expected(truth, first).mean()
    assert {
        each["config"]["candidate"]: each["scores"]["accuracy on quiz"]
        for each in family["candidates"]
    } == {name: pytest.approx(means[name, 0]) for name in NAMES}


def test_a_column_names_who_answers(pytester, tables):
    _, long = tables
    long["run"] = long["prompt"] + long["seed"].astype(str)
    long[["q", "run", "said"]].to_csv(pytester.path / "runs.csv", index=False)
    _, report = judged(pytester, "'runs.csv', id='q', candidate='run'")
    (family,) = report["families"]
    assert {each["config"]["run"] for each in family["candidates"]} == set(long["run"])
    assert family["seeds"] == [0]
    long[["q", "run", "prompt", "said"]].to_csv(pytester.path / "runs.csv", index=False)
    _, report = judged(pytester, "'runs.csv', {'prompt': 'a'}, id='q', candidate='run'")
    (family,) = report["families"]
    assert len(family["candidates"]) == 6
    assert family["seeds"] == [0, 1]
    assert len(verdicts(report)) == 7


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "candidate.accuracy(d, under=pm.PGD(0.1))",
            "recorded answers know nothing under PGD",
        ),
        ("candidate.accuracy(d, under=pm.InputNoise(0.1))", "record answers on the shifted data"),
        ("candidate.accuracy(d, under=pm.OutputNoise(1))", "is noise on the logits of classes"),
        ("candidate.probabilities(d)", "probabilities need logits"),
        ("candidate.module", "no torch module"),
        ("candidate.consistency(d, under=pm.PGD(0.1))", "recorded answers know nothing under"),
    ],
)
def test_what_lacks_says_what_it_lacks(pytester, tables, more, said):
    tables[1][["q", "prompt", "seed", "said"]].to_csv(pytester.path / "said.csv", index=False)
    result, _ = judged(pytester, "'said.csv', {'prompt': 'a'}, id='q'", more)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert said in " ".join(result.stdout.str().split())


def _without(long):
    return long[long["q"] != "q7"]


def _twice(long):
    return pd.concat([long, long[long["q"] == "q3"]])


def _unknown(long):
    return long.assign(said=np.where(long["said"] == 1, "yes", "no"))


def _improbable(long):
    return long.assign(p=2 * long["p"])


def _empty(long):
    return long.assign(said=long["said"].where(long["q"] != "q5"))


@pytest.mark.parametrize(
    ("change", "call", "said"),
    [
        (_without, "predict='said'", "has no answer about 1 of 60 samples of 'quiz': 'q7'; answer"),
        (_twice, "predict='said'", "sample 'q3' stands 2 times for one candidate"),
        (_unknown, "predict='said'", "names a class"),
        (_improbable, "probabilities='p'", "are no probabilities of a sample of 'quiz'"),
        (_empty, "predict='said'", "the answer about sample 'q5' of 'quiz' is missing"),
        (lambda long: long, "", "which column of the table holds the answers? Say predict="),
        (lambda long: long, "predict='sad'", "has no column 'sad'"),
        (lambda long: long, "predict='said', candidate='who'", "has no column 'who'"),
        (lambda long: long.head(0), "predict='said'", "has no rows: an empty family"),
        (lambda long: long, "predict='said', task='regression'", "the answers are for regression"),
        (
            lambda long: long.assign(q=range(len(long))),
            "predict='said'",
            "(ids are strs there, ints in the table)",
        ),
    ],
)
def test_bad_tables_are_told_in_one_sentence(pytester, tables, change, call, said):
    change(tables[1]).to_csv(pytester.path / "said.csv", index=False)
    result, _ = judged(pytester, f"'said.csv', {{'prompt': 'a'}}, id='q', {call}")
    assert result.ret != pytest.ExitCode.OK
    assert said in " ".join(result.stdout.str().replace("\nE ", "").split())


OTHERS = """
import pandas as pd
import pytest
import torch
import pytest_multiplicity as pm

table = pd.DataFrame({{
    "q": [f"q{{i}}" for i in range(40)] * 2,
    "who": ["x"] * 40 + ["y"] * 40,
    "value": [float(i) for i in range(40)] + [i + 0.5 * (i % 4) for i in range(40)],
    "text": ["yes", "no"] * 20 + ["yes", "perhaps"] * 20,
}})

@pytest.fixture(scope="session")
def d():
    frame = table[["q"]].head(40)
    targets = {targets}
    return pm.Data(torch.zeros(40, 1), targets, frame, name="quiz"{more})

candidate = pm.answers(table, id="q", candidate="who", predict="{predict}")

def test_spec(candidate, d):
    {spec}
"""


def test_answers_that_are_values(pytester):
    spec = "assert candidate.measure('mae', d) <= 1"
    body = OTHERS.format(
        targets="torch.arange(40.0)", more=", tolerance=0.6", predict="value", spec=spec
    )
    pytester.makepyfile(test_all=body)
    result, report = run(pytester)
    result.assert_outcomes(passed=2)
    (family,) = report["families"]
    assert [each["scores"]["mae on quiz"] for each in family["candidates"]] == [0, 0.75]
    assert family["sheets"][0]["unit"] == "unit of the target"


def test_answers_that_are_text_about_data_without_targets(pytester):
    spec = "assert candidate.measure(lambda said, _: said.unique().numel(), d, name='kinds') == 2"
    body = OTHERS.format(targets="None", more="", predict="text", spec=spec)
    gate = (
        "def test_gate(survivors, d):\n    said = [each.predictions(d) for each in survivors]\n"
        "    assert (said[0] != said[1]).float().mean() == 0.5\n"
    )
    pytester.makepyfile(test_all=body + gate)
    result, _ = run(pytester)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()


def test_a_table_that_is_not_there(pytester, tables):
    result, _ = judged(pytester, "'none.csv', id='q'")
    assert "can't read the answers" in result.stdout.str()
    (pytester.path / "said.csv").write_text("sample,a,b\n1,0,1\n")
    result, _ = judged(pytester, "'said.csv', id='q'")
    assert "has no column 'q', which id= names" in result.stdout.str()
    assert torch.initial_seed() is not None
