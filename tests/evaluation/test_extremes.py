"""The worst and the best model as good: measured, and no worse than what twins show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import reached

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.reaching import Reaching

WITHIN = 0.03


def churn(candidate: Any, other: Any, data: pm.Data) -> float:
    return float((candidate.predictions(data) != other.predictions(data)).double().mean())


@pytest.fixture
def digits(bench: Any) -> Any:
    case = reached.case("digits")
    return case, reached.survivors(bench, case, seeds=2)


def grouped(data: pm.Data) -> pm.Data:
    """Give samples a group that has nothing to do with their targets."""
    drawn = np.random.default_rng(1).integers(0, 2, len(data))
    group = {"group": np.where(drawn == 1, "a", "b")}
    return pm.Data(data.inputs, data.targets, group, name=data.name, bounds=None)


def test_the_worst_churn_is_more_than_any_twins(digits: Any) -> None:
    case, survivors = digits
    worst = survivors.worst(case.report, case.select, within=WITHIN)
    best = max(survivors, key=lambda each: float(each.accuracy(case.select)))
    score = float(worst.accuracy(case.select))
    assert score >= best.accuracy(case.select) - WITHIN - 1e-9
    assert worst.id.startswith("worst churn of ")
    frame = survivors.reachable(case.report, case.select, within=WITHIN)
    twins = [
        survivors.twin(case.report, row, case.select, within=WITHIN)
        for row in reached.rows_of(frame, 5)
    ]
    assert churn(worst, best, case.report) > max(churn(each, best, case.report) for each in twins)
    assert churn(worst, best, case.report) >= 0.05
    again = survivors.worst(case.report, case.select, within=WITHIN)
    assert torch.equal(again.logits(case.report), worst.logits(case.report))


def test_a_gap_can_be_wide_or_narrow(bench: Any) -> None:
    case = reached.case("cancer")
    report = grouped(case.report)
    survivors = reached.survivors(bench, case, seeds=2, epochs=10)
    gap = pm.Gap("group", of="positive rate")
    found = {
        name: float(
            getattr(survivors, name)(report, case.select, 0.04, of=gap).measure(gap, report)
        )
        for name in ("worst", "best")
    }
    theirs = [float(each.measure(gap, report)) for each in survivors]
    assert found["worst"] >= max(theirs) + 0.02
    assert found["best"] <= min(theirs)


def test_any_measure_can_be_bad(bench: Any) -> None:
    case = reached.case("cancer", size=80)
    survivors = reached.survivors(bench, case, seeds=1, epochs=10)

    def share_of_second(logits: torch.Tensor, targets: torch.Tensor) -> float:
        return float(logits.argmax(1).double().mean())

    before = share_of_second(survivors[0].logits(case.report), case.report.targets)
    lower = survivors.worst(case.report, case.select, 0.05, of=share_of_second)
    higher = survivors.best(case.report, case.select, 0.05, of=share_of_second)
    found = [
        share_of_second(each.logits(case.report), case.report.targets) for each in (lower, higher)
    ]
    assert found[0] < before < found[1]


def right(module: Any, data: pm.Data) -> float:
    """Return what a network has right, asked directly."""
    return float((module(data.inputs).argmax(1) == data.targets).double().mean())


def test_specs_have_a_say(digits: Any) -> None:
    case, survivors = digits
    best = max(survivors, key=lambda each: float(each.accuracy(case.select)))
    asked = case.report, case.select, WITHIN
    plain = survivors.worst(*asked)
    least = (right(plain.module, case.train) + right(best.module, case.train)) / 2
    with pytest.raises(MeasurementError, match="specs=True asks the enforced specifications"):
        survivors.worst(*asked, specs=True)
    survivors.judge = lambda built: right(built.module, case.train) >= least
    kept = survivors.worst(*asked, specs=True)
    assert right(plain.module, case.train) < least <= right(kept.module, case.train)
    assert right(kept.module, case.select) >= right(best.module, case.select) - WITHIN - 1e-9
    assert churn(kept, best, case.report) > 0
    told = list(survivors._population.beside.extremes.values())
    assert [each.specs for each in told] == [False, True]
    assert len({each.id for each in told}) == 2  # each is exported
    survivors.judge = lambda built: False
    with pytest.raises(MeasurementError, match="and is kept by every enforced specification"):
        survivors.best(*asked, against=survivors[1], specs=True)


def test_the_best_is_nearer_to_another_model(digits: Any) -> None:
    case, survivors = digits
    other = survivors[1]
    only = survivors[:1]
    nearer = only.best(case.report, case.select, within=WITHIN, against=other)
    assert churn(nearer, other, case.report) < churn(survivors[0], other, case.report)


def test_what_was_found_is_kept_and_told(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = reached.case("cancer")
    report = grouped(case.report)
    survivors = reached.survivors(bench, case, seeds=2, epochs=10)
    gap = pm.Gap("group", of="positive rate")

    def share_of_young(answers: torch.Tensor, targets: torch.Tensor, people: Any) -> float:
        chosen = torch.tensor(people["group"].eq("a").tolist())
        return float(answers[chosen].argmax(1).double().mean())

    asked = [{"of": gap}, {"of": share_of_young}, {}]
    first = [survivors.worst(report, case.select, 0.04, **each) for each in asked]
    told = list(survivors._population.beside.extremes.values())
    values = [
        float(first[0].measure(gap, report)),
        float(first[1].measure(share_of_young, report)),
        churn(first[2], max(survivors, key=lambda s: float(s.accuracy(case.select))), report),
    ]
    assert [each.value for each in told] == pytest.approx(values)
    for each, facts in zip(first, told, strict=True):
        assert (facts.id, facts.end, facts.within) == (each.id, "worst", 0.04)
        assert facts.score == pytest.approx(each.accuracy(case.select))
        assert facts.fresh == pytest.approx(each.accuracy(report))
    theirs = [float(each.measure(gap, report)) for each in survivors]
    assert told[0].survivors == pytest.approx((min(theirs), max(theirs)))
    assert told[2].against in {each.id for each in survivors}
    monkeypatch.setattr("pytest_multiplicity.evaluation.extremes.extreme", None)
    again = [survivors.worst(report, case.select, 0.04, **each) for each in asked]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.logits(report), other.logits(report))
    with pytest.raises(TypeError):  # another question
        survivors.worst(report, case.select, 0.05, of=gap)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"of": "gap"}, r"say between whom, as in of=pm\.Gap"),
        ({"of": pm.Gap("group", of="f1")}, "give a gap of a rate"),
        ({"of": "f1", "against": 3}, "against=3 is for of='churn'"),
        ({"against": "best"}, "against='best': give an incumbent, or a candidate"),
        ({"of": "nothing such"}, "nothing such"),
    ],
    ids=["gap", "measure", "against", "whom", "unknown"],
)
def test_what_cannot_be_asked_says_so(bench: Any, asked: Any, message: str) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, seeds=1, epochs=1)
    with pytest.raises(MeasurementError, match=message):
        survivors.worst(grouped(case.report), case.select, **asked)


def test_the_least_churn_against_itself_is_no_question(bench: Any) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, seeds=1, epochs=1)
    with pytest.raises(MeasurementError, match="give against="):
        survivors.best(case.report, case.select)


def test_where_no_built_model_is_good_enough_it_says_so(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, seeds=1, epochs=1)
    monkeypatch.setattr(Reaching, "threshold", 1.1)
    with pytest.raises(MeasurementError, match=r"no model that was built scores 1\.1 on 'select'"):
        survivors.worst(case.report, case.select, within=0)
