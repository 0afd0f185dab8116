"""A family for each kind of inputs, from its answers to every report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_multiplicity.plugin.state import STATE

FAMILIES = """
    import numpy as np
    import pandas as pd
    import pytest
    import torch
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from torch import nn

    import pytest_multiplicity as pm

    N = 60
    RNG = np.random.default_rng(0)
    y = np.arange(N) % 2
    IDS = torch.from_numpy(RNG.integers(0, 9, (N, 4)) + y[:, None])
    X = torch.from_numpy(RNG.random((N, 4))).float() + torch.from_numpy(y)[:, None]
    FRAME = pd.DataFrame({"age": RNG.normal(40, 10, N) + 9 * y, "pay": RNG.normal(0, 1, N),
                          "job": RNG.choice(["<b>cook</b>", "nurse"], N)})
    FRAME.loc[::7, "age"] = np.nan
    FRAME.loc[::5, "job"] = None
    TEXTS = [" ".join(RNG.choice(["so", "<i>film</i>", "good" if each else "bad"], 5))
             for each in y]
    ROWS = {"row": range(N)}

    def data(inputs, name):
        return pm.Data(inputs, y, ROWS, name=name).split(0.5)

    INPUTS = {
        "ids": data(IDS, "ids"),
        "tokens": data({"ids": IDS, "mask": IDS > 2}, "tokens"),
        "pair": data((X, IDS), "pair"),
        "frame": data(FRAME, "frame"),
        "texts": data(TEXTS, "texts"),
        "objects": data([{"x": float(each)} for each in X[:, 0]], "objects"),
    }

    class Weigh:
        def __init__(self, config):
            self.weight = config.c + torch.rand(()).item()

        def __call__(self, batch):
            return [[0.9 * self.weight, each["x"]] for each in batch]

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(10, 4), nn.Linear(4, 2)

        def forward(self, ids, mask=None):
            words = self.words(ids)
            return self.out((words if mask is None else words * mask[..., None]).mean(1))

    class Pair(Words):
        def forward(self, x, ids):
            return super().forward(ids) + x[:, :2]

    def family(make, **more):
        def function(config):
            torch.manual_seed(config.seed)
            return make(config)
        return pm.family(default={"c": 1.0}, vary={"c": [0.01]}, seeds=2, **more)(function)

    def fitted(steps, on):
        def fit(config):
            some = np.random.default_rng(config.seed).permutation(N)[:20]
            made = make_pipeline(steps(), LogisticRegression(C=config.c))
            return made.fit([on[i] for i in some] if isinstance(on, list) else on.iloc[some],
                            y[some])
        return fit

    def columns():
        return ColumnTransformer([
            ("numbers", SimpleImputer(), ["age", "pay"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["job"])])

    ids = family(lambda config: Words())
    tokens = family(lambda config: Words())
    pair = family(lambda config: Pair())
    frame = family(fitted(columns, FRAME), keep=True)
    texts = family(fitted(CountVectorizer, TEXTS), keep=True)
    objects = family(Weigh, keep=True)

    def pytest_configure(config):
        pytest.inputs = INPUTS
"""
SPECS = """
    import pytest
    import pytest_multiplicity as pm
    from pytest_multiplicity.data import kinds

    KINDS = ["ids", "tokens", "pair", "frame", "texts", "objects"]
    inputs = pytest.inputs

    def changed(batch):
        if kinds.is_frame(batch):
            return batch.assign(pay=-batch["pay"])
        if isinstance(batch, list):
            return [{"x": 1 - each["x"]} if isinstance(each, dict) else each.replace("so", "very")
                    for each in batch]
        return kinds.mapped(batch, lambda x: x.flip(1))

    @pm.intervention
    def again(batch):
        return batch

    def measured(candidate, name):
        select, report = inputs[name]
        assert candidate.accuracy(select) >= 0
        assert candidate.accuracy(select, under=pm.Group("row < 30")) >= 0
        assert candidate.accuracy(select, under=pm.Corrupt(changed) | again()) >= 0
        assert candidate.accuracy(select, under=pm.OutputNoise(1)) >= 0
        assert candidate.consistency(report, under=pm.Corrupt(changed)) >= 0
        if name in ("pair", "frame"):
            assert candidate.accuracy(report, under=pm.InputNoise(0.5)) >= 0

    def test_ids(ids):
        measured(ids, "ids")

    def test_tokens(tokens):
        measured(tokens, "tokens")

    def test_pair(pair):
        measured(pair, "pair")

    def test_frame(frame):
        measured(frame, "frame")

    def test_texts(texts):
        measured(texts, "texts")

    def test_objects(objects):
        measured(objects, "objects")

    @pytest.mark.family("ids")
    def test_ids_gate(survivors):
        survivors.ambiguity(inputs["ids"].report)

    @pytest.mark.family("tokens")
    def test_tokens_gate(survivors):
        survivors.ambiguity(inputs["tokens"].report)

    @pytest.mark.family("pair")
    def test_pair_gate(survivors):
        survivors.ambiguity(inputs["pair"].report)

    @pytest.mark.family("frame")
    def test_frame_gate(survivors):
        survivors.ambiguity(inputs["frame"].report)

    @pytest.mark.family("texts")
    def test_texts_gate(survivors):
        survivors.ambiguity(inputs["texts"].report)

    @pytest.mark.family("objects")
    def test_objects_gate(survivors):
        survivors.ambiguity(inputs["objects"].report)
"""
OUTPUTS = ["html", "markdown", "export", "lock"]
NAMES = ["ids", "tokens", "pair", "frame", "texts", "objects"]


class Work:
    """A plugin of an inner run that notes how many models were asked for answers, by family."""

    def __init__(self) -> None:
        self.inferred: dict[str, int] = {}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for family in session.config.stash[STATE].families:
            if family.population is not None:
                self.inferred[family.name] = family.population.models.counts.inferred


def run(pytester: pytest.Pytester, *more: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the JSON report, and how many models were asked for answers, by family."""
    reports = [f"--multiplicity-{kind}=out.{kind}" for kind in OUTPUTS]
    work = Work()
    result = pytester.runpytest_inprocess(
        "--multiplicity-json=out.json", *reports, "-p", "no:randomly", *more, plugins=[work]
    )
    assert result.ret == 0, result.stdout.str()
    told = json.loads(Path("out.json").read_text())
    return told, work.inferred


def test_every_kind_goes_all_the_way(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(FAMILIES)
    pytester.makepyfile(test_inputs=SPECS)
    told, inferred = run(pytester, "--multiplicity-update-lock")

    assert [each["name"] for each in told["families"]] == NAMES
    assert {each["outcome"] for each in told["gates"]} == {"passed"}
    for family in told["families"]:
        assert len(family["sheets"]) >= 5
        assert {"ambiguity"} <= {row["metric"] for row in family["predictive"]}
    page = Path("out.html").read_text()
    for shown in ("b&gt;cook", "i&gt;film", "missing", "{&#39;x&#39;: "):
        assert shown in page
    for markup in ("<b>cook", "<i>film"):
        assert markup not in page
    assert all(inferred.values())
    warm, inferred = run(pytester)
    assert not any(inferred.values()), inferred
    for one, other in zip(told["families"], warm["families"], strict=True):
        assert one["sheets"] == other["sheets"]
    spread, _ = run(pytester, "-n2")
    for one, other in zip(told["families"], spread["families"], strict=True):
        assert one["sheets"] == other["sheets"]
        assert one["predictive"] == other["predictive"]
