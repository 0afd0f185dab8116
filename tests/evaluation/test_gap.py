"""Gaps of candidates: values by loops, what can't be asked, and what stands beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.evaluation import Survivors


@pytest.fixture
def people():
    n = 800
    rng = torch.Generator().manual_seed(3)
    targets = torch.arange(n) % 2
    inputs = (torch.rand(n, 1, 2, 2, generator=rng) + 0.3 * targets[:, None, None, None]) / 1.3
    attributes = {
        "sex": np.where(np.arange(n) % 3 == 0, "f", "m"),
        "age": (np.arange(n) // 2) % 4,
        "odd": np.where(np.arange(n) < 5, "few", "many"),
    }
    return pm.Data(inputs, targets, pd.DataFrame(attributes), name="people")


def by_loop(candidate, data, of, by="sex"):
    said, truth = candidate.predictions(data).numpy(), data.targets.numpy()
    rates = []
    for group in np.unique(data.attributes[by]):
        rows = [i for i in range(len(truth)) if data.attributes[by][i] == group]
        if of == "true positive rate":
            rows = [i for i in rows if truth[i] == 1]
        if of == "false positive rate":
            rows = [i for i in rows if truth[i] != 1]
        hits = [said[i] == truth[i] if of == "accuracy" else said[i] == 1 for i in rows]
        rates.append(sum(hits) / len(rows))
    return rates


RATES = ["accuracy", "positive rate", "true positive rate", "false positive rate"]


@pytest.mark.parametrize("of", RATES)
def test_gaps_and_ratios_are_those_of_a_loop(bench, people, of):
    candidate = bench.family().candidates[2]
    rates = by_loop(candidate, people, of)
    gap = candidate.gap(people, by="sex", of=of)
    assert gap == pytest.approx(max(rates) - min(rates), abs=1e-12)
    assert gap.metric.name == f"{of} gap by sex on people"
    assert not gap.metric.higher_is_better
    low, high = gap.interval()
    assert low <= gap <= high
    assert f"[{low:.4f}, {high:.4f}]" in repr(gap)
    ratio = candidate.gap(people, "sex", of, ratio=True)
    assert ratio == pytest.approx(min(rates) / max(rates), abs=1e-12)
    assert ratio.metric.higher_is_better


def test_a_gap_stands_where_a_measure_does(bench, people):
    candidate = bench.family().candidates[0]
    gap = candidate.measure(pm.Gap(["sex", "age"]), people, under=pm.Group("age < 3"))
    assert gap.metric.name == "accuracy gap by sex and age on people under Group('age < 3')"
    found = gap.metric.record().aside
    assert list(found["groups"]) == ["f, 0", "f, 1", "f, 2", "m, 0", "m, 1", "m, 2"]
    assert sum(found["groups"].values()) == 600
    assert found["null"] == "no gap given the target"
    assert 0 < found["floor"] <= found["floor_95"]
    assert len(found["candidates"]) == 4
    assert gap.metric.sheet().noise is not None
    assert gap.within(1.0)
    assert gap.in_top(1.0)


def test_beyond_doubt_is_by_the_interval_of_a_family(bench, people):
    score = bench.family().candidates[0].gap(people, by="sex")
    low, high = score.metric.behind.interval(0, 1 - 0.05 / 4)
    assert bool(score.beyond_doubt <= high)
    assert "beyond doubt" in repr(score.beyond_doubt <= high)
    assert "undecided" in repr(score.beyond_doubt <= (low + high) / 2)
    assert not bool(score.beyond_doubt >= high + 0.01)
    with pytest.raises(MeasurementError, match="compares candidates sample by sample"):
        score.beyond_doubt.within(0.01)


def test_of_what_is_no_share_it_is_said_how_many_times_the_samples_decide(bench, people):
    score = bench.family().candidates[0].gap(people, by="sex", of=mean_logit)
    undecided = score.beyond_doubt <= float(score) + 1e-4
    assert "times as many samples would decide" in repr(undecided)
    assert undecided.verdict.samples is None
    assert "too close for any number" in repr(score.beyond_doubt <= float(score))


def worst_logit(logits, targets):
    return float(logits.max())


def mean_logit(logits, targets):
    return float(logits[:, 1].mean())


def lower(logits, targets):
    return float(targets.double().mean() - 1)


def test_gap_of_a_measure(bench, people):
    candidate = bench.family(seeds=1).candidates[0]
    gap = candidate.gap(people, by="sex", of=worst_logit)
    largest = [
        float(candidate.logits(people)[(people.attributes["sex"] == sex).tolist()].max())
        for sex in ("f", "m")
    ]
    assert gap == pytest.approx(abs(largest[0] - largest[1]))
    assert gap.metric.name == "worst_logit gap by sex on people"
    assert gap.interval().low <= gap <= gap.interval().high
    assert not gap.metric.proportion
    assert candidate.gap(people, by="sex", of="brier").metric.name == "brier gap by sex on people"


def five(n=200):
    targets = torch.arange(n) % 5
    attributes = pd.DataFrame({"group": np.arange(n) // 5 % 2})
    return pm.Data(torch.rand(n, 1, 2, 2), targets, attributes, name="five")


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda c, d: c.gap(d, by="race"), DataError, "no attribute 'race'.*there are sex, age"),
        (lambda c, d: c.gap(d, by="sxe"), DataError, "did you mean 'sex'"),
        (lambda c, d: c.gap(d, by="odd"), DataError, r"fewer than 20 samples in few \(5\)"),
        (lambda c, d: c.gap(d.where("sex == 'f'"), by="sex"), DataError, "only 'f'"),
        (lambda c, d: c.gap(d, by=[]), MeasurementError, "name an attribute"),
        (lambda c, d: c.gap(d, by="sex", minimum=0), MeasurementError, "minimum=0"),
        (lambda c, d: c.gap(d, by=5), MeasurementError, "by=5: name an attribute"),
        (lambda c, d: c.gap(d, by="sex", positive=1), MeasurementError, "positive=1.*leave it out"),
        (lambda c, d: c.gap(d, by="sex", of="f1", positive=1), MeasurementError, "the f1 gap by"),
        (lambda c, d: c.gap(d, by="sex", of="acuracy"), MeasurementError, "no gap of 'acuracy'"),
        (
            lambda c, d: c.gap(d, by="sex", of=lower, ratio=True),
            MeasurementError,
            "lower ratio by sex on people: -0.50[0-9]* in f, and what lies below 0 has no ratio",
        ),
        (
            lambda c, d: c.gap(d, by="sex", of="positive rate", positive="yes"),
            MeasurementError,
            "got 'yes': say positive=",
        ),
        (
            lambda c, d: c.gap(pm.Data(d.inputs, d.targets, name="bare"), by="sex"),
            DataError,
            "'bare' has no attributes",
        ),
    ],
)
def test_what_has_no_gap(bench, people, ask, error, message):
    with pytest.raises(error, match=message):
        ask(bench.family().candidates[0], people)


def some(config):
    return lambda x: torch.rand(len(x), 5, generator=torch.manual_seed(1))


def test_of_five_classes_it_must_be_said_which_is_positive(bench):
    candidate, data = bench.family(some).candidates[0], five()
    with pytest.raises(MeasurementError, match="0, 1, 2, 3, 4, which of them is positive isn't"):
        candidate.gap(data, by="group", of="positive rate")
    score = candidate.gap(data, by="group", of="positive rate", positive=3)
    assert score.metric.name == "positive rate of 3 gap by group on five"


def test_no_targets_have_positive_rates_only(bench, people):
    bare = pm.Data(people.inputs, None, people.attributes, name="unlabelled")
    candidate = bench.family().candidates[0]
    assert candidate.gap(bare, by="sex", of="positive rate") >= 0
    with pytest.raises(MeasurementError, match="true positive rate needs targets"):
        candidate.gap(bare, by="sex", of="true positive rate")
    with pytest.raises(MeasurementError, match="accuracy needs targets"):
        candidate.gap(bare, by="sex")


def test_samples_with_a_missing_value_are_in_no_group(bench, people):
    attributes = people.attributes.copy()
    attributes.loc[:99, "sex"] = None
    data = pm.Data(people.inputs, people.targets, attributes, name="holes")
    candidate = bench.family().candidates[0]
    groups = candidate.gap(data, by="sex").metric.record().aside["groups"]
    assert sum(groups.values()) == 700


@pytest.mark.parametrize("of", ["ambiguity", "self-consistency"])
def test_arbitrariness_by_group(bench, people, of):
    family = bench.family(lambda config: bench.recipe(config, epochs=8), seeds=3)
    everybody = Survivors(family, range(6))
    said = np.stack([c.predictions(people).numpy() for c in everybody])
    worth = (said != said[0]).any(0).astype(float)
    if of == "self-consistency":
        pairs = [said[i] == said[j] for i in range(6) for j in range(i)]
        worth = np.mean(pairs, axis=0)
    groups = (people.attributes["sex"] == "m").to_numpy()
    gap = everybody.gap(people, by="sex", of=of)
    assert gap.groups["value"].to_dict() == pytest.approx(
        {"f": worth[~groups].mean(), "m": worth[groups].mean()}
    )
    assert gap.groups["samples"].to_dict() == {"f": 267, "m": 533}
    assert float(gap) == pytest.approx(abs(worth[groups].mean() - worth[~groups].mean()))
    low, high = gap.interval()
    assert low <= gap <= high
    assert 0 < gap.floor.p_value <= 1
    assert repr(gap).startswith(f"{float(gap):.4f} [")
    some = everybody.gap(people, by=["sex", "age"], of=of, under=pm.Group("age < 2"))
    assert list(some.groups.index) == ["f, 0", "f, 1", "m, 0", "m, 1"]
    with pytest.raises(DataError, match="fewer than 20 samples in few"):
        everybody.gap(people, by="odd", of=of)
    with pytest.raises(MeasurementError, match="there are ambiguity, self-consistency"):
        everybody.gap(people, by="sex", of="accuracy")
    with pytest.raises(MeasurementError, match=r"by=\[\]: name an attribute"):
        everybody.gap(people, by=[], of=of)
    with pytest.raises(MeasurementError, match="minimum=nan: give a number of samples"):
        everybody.gap(people, by="sex", of=of, minimum=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match="confidence=95"):
        gap.interval(95)
    with pytest.raises(MeasurementError, match="1 survivor: this needs 2"):
        everybody[:1].gap(people, by="sex", of=of)
