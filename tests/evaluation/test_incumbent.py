"""Candidates beside an incumbent: counts by loops, tables in any order, and who there isn't."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.design import Standing
from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.evaluation import Survivors
from pytest_multiplicity.inference import Models, ToldTable


@pytest.fixture
def people():
    n = 300
    rng = torch.Generator().manual_seed(3)
    targets = torch.arange(n) % 2
    inputs = (torch.rand(n, 1, 2, 2, generator=rng) + 0.3 * targets[:, None, None, None]) / 1.3
    attributes = {"row": np.arange(n) + 1000, "sex": np.where(np.arange(n) % 3 == 0, "f", "m")}
    return pm.Data(inputs, targets, pd.DataFrame(attributes), name="people")


def trained(bench, seeds=2):
    return bench.family(lambda config: bench.recipe(config, epochs=8), seeds=seeds)


def told(bench, made, name="production", id=None):
    def production():
        return made

    production.__name__ = name
    definition = Standing.of(production)
    if made is None:
        return pm.Incumbent(name, None)
    if isinstance(made, pd.DataFrame | pd.Series):
        made = ToldTable(made, definition.where, id)
    machine = bench.family(lambda config: lambda x: x.sum((1, 2, 3)), seeds=1).models.machine
    models = Models(name, definition, definition.design(), [made], machine=machine, run_id="run")
    return pm.Incumbent(name, models, bench.told.append)


def linear(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))


@pytest.fixture
def production(bench):
    return told(bench, linear(7))


def test_counts_are_those_of_loops(bench, people, production):
    family = trained(bench, 3)
    said = [c.predictions(people).tolist() for c in family.candidates]
    was, truth = production.predictions(people).tolist(), people.targets.tolist()
    for candidate, own in zip(family.candidates, said, strict=True):
        triples = list(zip(was, own, truth, strict=True))
        flips = sum(w == t != s for w, s, t in triples) / 300
        churn = sum(w != s for w, s, _ in triples) / 300
        gain = (sum(s == t for _, s, t in triples) - sum(w == t for w, _, t in triples)) / 300
        assert candidate.flips(production, people) == pytest.approx(flips)
        assert candidate.churn(production, people) == pytest.approx(churn)
        assert candidate.gain(production, people) == pytest.approx(gain)
    assert production.accuracy(people) == sum(map(int.__eq__, was, truth)) / 300
    report = family.metrics["flips against production on people"].record().aside["comparison"]
    for i, own in enumerate(said):
        kept = [w == t == s for w, s, t in zip(was, own, truth, strict=True)]
        new = [w == t != s for w, s, t in zip(was, own, truth, strict=True)]
        wrong = [s != t for s, t in zip(own, truth, strict=True)]
        assert report["trust"][str(i)] == pytest.approx(sum(kept) / (sum(kept) + sum(new)))
        assert report["flips_per_error"][str(i)] == pytest.approx(sum(new) / sum(wrong))
    pairs = [(i, j) for k in (0, 3) for i in range(k, k + 3) for j in range(k, k + 3) if i != j]
    expected = [
        [a == t != b for a, b, t in zip(said[i], said[j], truth, strict=True)] for i, j in pairs
    ]
    assert report["flips_floor"] == pytest.approx(np.mean(expected))
    changed = [[a != b for a, b in zip(said[i], said[j], strict=True)] for i, j in pairs]
    assert report["churn_floor"] == pytest.approx(np.mean(changed))


def test_scores_have_intervals_and_compare(bench, people, production):
    family = trained(bench, 3)
    candidate = family.candidates[0]
    for score in (
        candidate.flips(production, people, under=pm.Group("sex == 'f'")),
        candidate.churn(production, people, under=pm.InputNoise(0.05)),
        candidate.gain(production, people),
    ):
        low, high = score.interval()
        assert low <= score <= high
        assert score.metric.sheet().noise.floor >= 0
        assert score.within(1.0)
        assert score.in_top(1.0)
        assert score.beyond_doubt.within(1.0)
        assert bool(score.beyond_doubt <= 1.0)
        assert not bool(score.beyond_doubt <= -1.0)
    score = candidate.flips(production, people, under=pm.Group("sex == 'f'"))
    assert score.metric.name == "flips against production on people under Group(\"sex == 'f'\")"
    assert score.metric.n == 100
    assert not score.metric.higher_is_better
    with pytest.raises(MeasurementError, match="compares accuracies sample by sample"):
        score.not_worse_than(production)


def test_not_worse_than(bench, people, production):
    family = trained(bench, 2)
    score = family.candidates[0].accuracy(people)
    assert score.not_worse_than(production, by=0.9)
    mine = told(bench, family.candidates[0].module, "mine")
    assert not score.not_worse_than(mine)  # the same is not shown to be better
    assert "not shown" in repr(score.not_worse_than(mine))
    with pytest.raises(MeasurementError, match="by=-1"):
        score.not_worse_than(production, by=-1)
    with pytest.raises(MeasurementError, match=r"by=5.* such as 0\.05 for 5 points"):
        score.not_worse_than(production, by=5)
    with pytest.raises(MeasurementError, match="by=None"):
        score.not_worse_than(production, by=None)
    with pytest.raises(MeasurementError, match=r"keep=\) compares with an incumbent, and got"):
        Survivors(family, [0]).pick(people, keep="production")
    with pytest.raises(MeasurementError, match="got Linear"):
        family.candidates[0].flips(torch.nn.Linear(4, 2), people)
    noisy = family.candidates[0].accuracy(people, under=pm.OutputNoise(0.5))
    assert isinstance(bool(noisy.not_worse_than(production, by=0.5)), bool)


def test_an_ensemble_that_abstains_is_compared_on_what_it_answers(bench, people, production):
    survivors = Survivors(trained(bench, 3), range(3))
    ensemble = survivors.ensemble(abstain=1.0)
    assert 0 < ensemble.coverage(people) < 1
    score = ensemble.accuracy(people)
    answered = ensemble.predictions(people) >= 0
    right = (production.predictions(people) == people.targets)[answered].double().mean()
    found = repr(score.not_worse_than(production, by=0.5))
    assert f"of {int(answered.sum())}, {float(score) - float(right):+.3f} against" in found


def table(candidate, data):
    return pd.DataFrame(
        {"row": data.attributes["row"], "says": candidate.predictions(data).numpy()}
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"yes": 0.3}, "column 'yes' says 0.3 of a sample of 'people', which is no class"),
        ({"yes": 0.3, "no": 0.7, "perhaps": 0.0}, "a column 'perhaps' among those of probabil"),
        ({"yes": 0.3, "No": 0.7}, "a column 'No' among those of probabilities"),
    ],
    ids=["one", "unknown", "misspelt"],
)
def test_probabilities_are_never_taken_for_another_class(bench, people, columns, message):
    named = np.where(people.targets.numpy() == 1, "yes", "no")
    data = pm.Data(people.inputs, named, people.attributes, name="people")
    told_by = told(bench, pd.DataFrame({"row": data.attributes["row"]}).assign(**columns))
    with pytest.raises(DataError, match=message):
        trained(bench).candidates[0].churn(told_by, data)


def test_a_table_is_matched_whatever_its_order(bench, people):
    family = trained(bench, 2)
    first, second = family.candidates[:2]
    answers = table(first, people)
    in_order = told(bench, answers, "straight")
    mixed = told(bench, answers.sample(frac=1, random_state=1), "mixed")
    more = told(bench, pd.concat([answers.assign(row=-answers["row"]), answers]), "more")
    series = told(bench, answers.set_index("row")["says"], "series")
    for incumbent in (in_order, mixed, more, series):
        assert first.churn(incumbent, people) == 0
        assert second.churn(incumbent, people) == second.churn(in_order, people) > 0
    sure = first.probabilities(people).numpy()
    both = pd.DataFrame({"row": people.attributes["row"], "no": sure[:, 0], "yes": sure[:, 1]})
    assert first.churn(told(bench, both, "sure"), people) == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.iloc[:290], DataError, "no answer about 10 of 300 samples of 'people': 1290"),
        (lambda t: t.assign(says=t["says"] + 1), MeasurementError, "says class 2 about"),
        (lambda t: t.rename(columns={"row": "id"}), DataError, "the table has id, says, and"),
        (lambda t: t.assign(other=["a"] * 300), DataError, "which column of the table holds"),
        (lambda t: pd.concat([t, t.iloc[:1]]), DataError, "sample 1000 stands 2 times"),
    ],
)
def test_tables_that_do_not_fit(bench, people, change, error, message):
    candidate = trained(bench, 1).candidates[0]
    incumbent = told(bench, change(table(candidate, people)))
    with pytest.raises(error, match=message):
        candidate.flips(incumbent, people)


def test_an_incumbent_with_other_classes(bench, people):
    candidate = trained(bench, 1).candidates[0]

    def five(x):
        return torch.nn.functional.one_hot(torch.arange(len(x)) % 5).float() * 9 - 4

    with pytest.raises(MeasurementError, match="production says class 2 about"):
        candidate.churn(told(bench, five), people)
    many = bench.family(lambda config: lambda x: torch.zeros(len(x), 5), seeds=1).candidates[0]
    with pytest.raises(DataError, match=r"the incumbent production: .* gives 2 logits"):
        many.churn(told(bench, linear(7)), five_classes())


def five_classes():
    attributes = pd.DataFrame({"row": range(20)})
    return pm.Data(torch.rand(20, 1, 2, 2), torch.arange(20) % 5, attributes, name="five")


def test_without_targets_churn_works_and_flips_says_why_not(bench, people, production):
    bare = pm.Data(people.inputs, None, people.attributes, name="unlabelled")
    candidate = trained(bench, 2).candidates[0]
    assert candidate.churn(production, bare) == candidate.churn(production, people)
    with pytest.raises(MeasurementError, match="without targets; how many answers change"):
        candidate.flips(production, bare)
    with pytest.raises(DataError, match=r"Split\(.* is no pm.Data"):
        candidate.flips(production, people.split())
    with pytest.raises(MeasurementError, match="'auroc' needs targets, and this data set has none"):
        candidate.measure("auroc", bare)
    with pytest.raises(MeasurementError, match="of its target needs targets"):
        candidate.privacy(bare, people)
    aside = candidate.churn(production, bare).metric.record().aside["comparison"]
    assert aside["flips"] == {}
    assert aside["gain"] == {}
    assert aside["flips_floor"] is None


def test_values_flip_by_the_tolerance(bench):
    values = torch.linspace(0, 1, 40)
    data = pm.Data(values[:, None], values, name="values", tolerance=0.1)
    family = bench.family(lambda config: lambda x: x[:, 0] + config.lr, seeds=1)
    old = told(bench, lambda x: x[:, 0] * 1.2, "old")
    first = family.candidates[1]  # half a tolerance beside every target
    assert first.flips(old, data) == 0
    assert first.gain(old, data) == pytest.approx(float((0.2 * values > 0.1).double().mean()))
    loose = pm.Data(values[:, None], values, name="loose", task="regression")
    with pytest.raises(MeasurementError, match="tolerance"):
        first.churn(old, loose)


def test_positions_are_counted_by_sample(bench):
    rng = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 2, (30, 6), generator=rng)
    targets[:, 5] = -100
    data = pm.Data(torch.rand(30, 6, generator=rng), targets, name="masks", task="dense")

    def tagger(cut):
        return lambda x: torch.stack([torch.full_like(x, cut), x], dim=1)

    family = bench.family(lambda config: tagger(0.5 + config.lr), seeds=1)
    old = told(bench, tagger(0.5), "old")
    first = family.candidates[0]
    kept = targets != -100
    was, own = old.predictions(data), first.predictions(data)
    flips = ((was == targets) & (own != targets))[kept].double().mean()
    assert first.flips(old, data) == pytest.approx(float(flips))
    assert first.flips(old, data).interval().high > flips
    low, high = first.gain(old, data).interval()
    assert low <= first.gain(old, data) <= high


def test_nobody_to_compare_with(bench, people):
    family = trained(bench, 2)
    nobody = told(bench, None)
    assert not nobody
    first = family.candidates[0]
    for score in (first.flips(nobody, people), first.churn(nobody, people)):
        assert float(score) == 0.0
        assert score <= -1
        assert score >= 5
        assert score.within(0)
        assert score.beyond_doubt <= -1
    assert first.accuracy(people).not_worse_than(nobody)
    assert family.absent == ["production", "production"]
    assert [*family.metrics] == ["accuracy on people"]
    assert Survivors(family, [0, 1]).pick(people, keep=nobody).candidate in family.candidates
    with pytest.raises(MeasurementError, match="returned None"):
        nobody.predictions(people)


def test_pick_keeps_the_incumbent_on_ties(bench, people, production):
    family = trained(bench, 2)
    everybody = Survivors(family, range(4))
    best = everybody.pick(people).candidate
    mine = told(bench, best.module, "mine")
    kept = everybody.pick(people, keep=mine)
    assert kept.candidate is mine
    assert kept.runner_up is best
    assert kept.margin == 0
    assert str(kept).startswith("mine with ")
    wrong = told(bench, table(best, people).assign(says=lambda t: 1 - t["says"]), "wrong")
    assert everybody.pick(people, keep=wrong).candidate is best
    by = everybody.pick(lambda c: c.accuracy(people, under=pm.Group("sex == 'f'")), keep=mine)
    assert by.candidate is mine
    group = everybody.pick(people, under=pm.Group("sex == 'f'"), keep=mine)
    assert group.candidate.id == by.candidate.id


def test_an_incumbent_is_evaluated_once_and_kept(bench, people):
    module, calls = linear(7), SimpleNamespace(count=0)
    module.register_forward_hook(lambda *given: None)
    first = trained(bench, 1).candidates[0]
    first.flips(told(bench, linear(7)), people)
    again = told(bench, linear(7))
    first.churn(again, people)
    assert again._models.counts.inferred == 0
    assert calls.count == 0
