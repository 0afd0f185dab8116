"""Models as good that nobody trained: every claim is built again and measured by other code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support import reached
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.design import Recorded
from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.evaluation.recorded import RecordedPopulation
from pytest_multiplicity.evaluation.survivors import Survivors

COLUMNS = ["reachable", "to", "cost", "score", "fresh", "arbitrary", "base"]
WITHIN = 0.04


def check_claim(survivors: Survivors, case: reached.Case, frame: pd.DataFrame, row: int) -> Any:
    """Raise where a claim isn't so for its model, asked by plain torch; return the model."""
    twin = survivors.twin(case.report, row, case.select, within=WITHIN)
    claim, task = frame.loc[row], case.report.task
    with torch.no_grad():
        said = twin.module(case.report.inputs)
        answers = task.read_answers(said, case.report.targets, "report")
        chosen = task.read_answers(twin.module(case.select.inputs), case.select.targets, "select")
    predicted = task.predictions(answers)
    right = task.right(task.predictions(chosen), case.select.targets).double().mean()
    assert right == pytest.approx(claim.score, abs=1e-9)
    best = max(each.accuracy(case.select) for each in survivors)
    assert right >= best - WITHIN - 1e-9
    for each in survivors:
        theirs = each.predictions(case.report)
        assert bool(task.differ(predicted, theirs).reshape(len(predicted), -1).any(1)[row])
    told = task.told(predicted[row].numpy())
    assert told == (pytest.approx(claim.to, rel=1e-3) if isinstance(told, float) else claim.to)
    assert twin.accuracy(case.select) == pytest.approx(claim.score)
    assert twin.accuracy(case.report) == pytest.approx(claim.fresh)
    return twin.module


@pytest.mark.parametrize("name", reached.CASES)
def test_what_is_claimed_is_so_and_as_a_dense_solve_has_it(bench: Any, name: str) -> None:
    case = reached.case(name)
    survivors = reached.survivors(bench, case)
    frame = survivors.reachable(case.report, case.select, within=WITHIN)
    assert list(frame.columns) == COLUMNS
    assert len(frame) == len(case.report)
    arbitrary = survivors.ambiguity(case.report)
    assert frame.arbitrary.mean() == pytest.approx(arbitrary)
    assert frame.reachable.mean() > max(0.2, arbitrary)
    assert frame[~frame.reachable][["cost", "score", "fresh"]].isna().all(axis=None)
    by_id = {each.id: each for each in survivors}
    for row in reached.rows_of(frame, 5):
        module = check_claim(survivors, case, frame, row)
        base = by_id[frame.base[row]].module
        turned, weights = reached.head(module, case.report)
        change = (turned[row] @ weights.T) - (turned[row] @ reached.head(base, case.report)[1].T)
        if name != "digits":
            expected = reached.rebuilt(name, base, case, row, _direction(name, change))
            assert weights == pytest.approx(expected, rel=1e-3, abs=1e-4)


def _direction(name: str, change: Any) -> Any:
    """Return d / m of what was asked for: that `d` times the outputs moves by `m`."""
    if name == "cancer":
        d = np.sign(change)
        return d / (d @ change)
    d = np.zeros_like(change)
    d[np.abs(change).argmax()] = 1.0
    return d / (d @ change)


def test_it_is_looked_up_the_second_time_and_the_same_elsewhere(
    bench: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, epochs=3)
    first = survivors.reachable(case.report, case.select)
    other = type(bench)(tmp_path / "other")
    with other.store:
        again = reached.survivors(other, case, epochs=3)
        pd.testing.assert_frame_equal(again.reachable(case.report, case.select), first)
        assert again.twin(case.report, 0, case.select, within=0.2).id
    monkeypatch.setattr("pytest_multiplicity.evaluation.reaching.Reach", None)
    pd.testing.assert_frame_equal(survivors.reachable(case.report, case.select), first)
    assert first.attrs["loss"] == "cross_entropy on train with weight decay 0.001"
    assert first.attrs["solved by"] == "the whole Hessian"


def test_a_wider_budget_reaches_more(bench: Any) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, seeds=1, epochs=5)
    shares = [
        survivors.reachable(case.report, case.select, within=w).reachable.mean()
        for w in (0, 0.01, 0.05, 1)
    ]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] == 1.0


def test_where_both_of_two_classes_are_said_nothing_is_left(bench: Any) -> None:
    case = reached.case("one logit")
    survivors = reached.survivors(bench, case, seeds=3, epochs=2)
    frame = survivors.reachable(case.report, case.select, within=1)
    assert frame.arbitrary.any()
    assert not (frame.arbitrary & frame.reachable).any()


def estimators(bench: Any, make: Any, case: reached.Case) -> Survivors:
    """Fit some estimators, all of which survive."""

    def fitted(config: Any) -> Any:
        rows = np.random.default_rng(config.seed).permutation(len(case.train))[:100]
        inputs, targets = case.train.inputs.numpy(), case.train.targets.numpy()
        return make().fit(inputs[rows], targets[rows])

    population = bench.family(fitted, default={"net": "linear"}, vary={}, seeds=2)
    return Survivors(population, range(2))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cancer", lambda: make_pipeline(StandardScaler(), LogisticRegression())),
        ("digits", lambda: LogisticRegression(max_iter=500)),
        ("diabetes", LinearRegression),
    ],
    ids=["pipeline", "ten classes", "values"],
)
def test_linear_models_are_all_head(bench: Any, name: str, make: Any) -> None:
    case = reached.case(name)
    survivors = estimators(bench, make, case)
    frame = survivors.reachable(case.report, case.select, within=0.02)
    assert frame.attrs["loss"].endswith(" on select")
    assert frame.reachable.mean() > 0.3
    for row in reached.rows_of(frame, 3):
        twin = survivors.twin(case.report, row, case.select, within=0.02)
        assert twin.accuracy(case.select) == pytest.approx(frame.score[row])
        assert twin.predictions(case.report)[row] == pytest.approx(frame.to[row], rel=1e-3)


def test_a_twin_is_a_candidate_that_is_compared_with_the_family(bench: Any) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, epochs=5)
    frame = survivors.reachable(case.report, case.select)
    row = reached.rows_of(frame, 1)[0]
    twin = survivors.twin(case.report, row, case.select)
    assert twin.id == f"twin of {frame.base[row]} at {row} of report"
    score = twin.accuracy(case.select)
    assert score.within(0.01)
    assert score.metric.best == max(*(each.accuracy(case.select) for each in survivors), score)
    assert twin.measure("f1", case.select).metric.scores.shape == (4,)
    assert twin.accuracy(case.report, under=pm.OutputNoise(1)) <= 1
    assert 0 <= twin.consistency(case.report, under=pm.InputNoise(0.1)) <= 1
    assert all("twin" not in each.id for each in survivors)
    assert score.in_top(1.0, cells=True)
    age = np.where(np.arange(len(case.select)) % 2, "old", "young")
    data = pm.Data(case.select.inputs, case.select.targets, {"age": age}, name="aged", bounds=None)
    by_age = pm.cascade(twin, data, "age")
    assert by_age.score.mean() == pytest.approx(float(twin.accuracy(data)))


class Elsewhere(nn.Module):
    """A network whose last layer is followed by something."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(30, 2), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


class Tied(nn.Module):
    """A network that uses the weights of its last layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(30, 2)
        self.square = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.square(self.square(self.into(x)).relu())


def of(bench: Any, make: Any) -> Survivors:
    """Return a family of what a function makes, as the only survivor."""
    return Survivors(bench.family(lambda config: make(), default={"a": 0}, vary={}, seeds=1), [0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(30, 2), nn.Dropout(), nn.LogSoftmax(1)),
        lambda: nn.Sequential(nn.Linear(30, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)),
        lambda: Elsewhere(nn.Identity()),
    ],
    ids=["log-softmax", "no bias", "own class"],
)
def test_a_last_layer_is_found(bench: Any, make: Any) -> None:
    case = reached.case("cancer")
    torch.manual_seed(0)
    survivors = of(bench, make)
    frame = survivors.reachable(case.report, case.select, within=0.2)
    for row in reached.rows_of(frame, 2):
        twin = survivors.twin(case.report, row, case.select, within=0.2)
        assert twin.predictions(case.report)[row] == frame.to[row]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Elsewhere(nn.ReLU()), "no linear one that could be seen"),
        (lambda: Elsewhere(nn.BatchNorm1d(2)), "no linear one that could be seen"),
        (Tied, "uses the weights of its last layer elsewhere"),
        (lambda: lambda batch: torch.zeros(len(batch), 2), "whose weights nobody sees"),
    ],
    ids=["relu", "norm", "tied", "function"],
)
def test_without_a_linear_last_layer_it_says_so(bench: Any, make: Any, message: str) -> None:
    case = reached.case("cancer")
    with pytest.raises(MeasurementError, match=rf"{message}.*last step of a\s+pipeline"):
        of(bench, make).reachable(case.report, case.select)


def test_an_estimator_without_coefficients_says_so(bench: Any) -> None:
    case = reached.case("cancer")
    with pytest.raises(MeasurementError, match="ends in a KNeighborsClassifier, which has no coef"):
        estimators(bench, KNeighborsClassifier, case).reachable(case.report, case.select)


def test_recorded_answers_have_nothing_to_build_on() -> None:
    table = pd.DataFrame({"lr": [1, 1], "seed": [0, 1], "overall": [90.0, 91.0]})
    recorded = Recorded(table, {"lr": 1}, "seed", "percent", {}, "test")
    population = RecordedPopulation(recorded, recorded.design(None))
    data = reached.case("cancer").report
    with pytest.raises(MeasurementError, match="these are recorded"):
        Survivors(population, [0, 1]).reachable(data, data)


@pytest.mark.parametrize("within", [-0.1, float("nan"), float("inf"), "a", True])
def test_a_bad_budget_is_refused(bench: Any, within: Any) -> None:
    case = reached.case("cancer")
    with pytest.raises(MeasurementError, match="within="):
        of(bench, lambda: nn.Linear(30, 2)).reachable(case.report, case.select, within=within)


def test_bad_data_and_rows_are_refused(bench: Any) -> None:
    case, other = reached.case("cancer"), reached.case("labels")
    survivors = of(bench, lambda: nn.Linear(30, 2))
    with pytest.raises(DataError, match=r"select=3 is no pm\.Data"):
        survivors.reachable(case.report, 3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="give data of one task"):
        survivors.reachable(case.report, other.select)
    for row in (-1, 150, "a"):
        with pytest.raises(MeasurementError, match=rf"row={row!r}: give the position .* to 149"):
            survivors.twin(case.report, row, case.select)  # type: ignore[arg-type]


def test_a_sample_that_is_not_reachable_has_no_twin(bench: Any) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, seeds=1, epochs=5)
    frame = survivors.reachable(case.report, case.select, within=0)
    row = int(np.flatnonzero(~frame.reachable)[0])
    with pytest.raises(MeasurementError, match=rf"row={row} of 'report' isn't reachable within 0"):
        survivors.twin(case.report, row, case.select, within=0)


def test_the_selecting_data_may_not_be_those_looked_at(bench: Any) -> None:
    case = reached.case("cancer")
    survivors = reached.survivors(bench, case, seeds=1, epochs=2)
    survivors._population.prepare_gates({})
    survivors.reachable(case.report, case.select)
    assert not bench.told
    survivors.reachable(case.report, case.report)
    assert any("optimistic" in text for text in bench.told)


@pytest.mark.parametrize("how", ["dropout", "path", "weights"])
def test_other_ways_are_measured_alike(bench: Any, how: str) -> None:
    case = reached.case("digits", size=60)
    survivors = reached.survivors(bench, case, seeds=2)
    frame = survivors.reachable(case.report, case.select, within=0.1, how=how)
    assert list(frame.columns) == COLUMNS
    assert how in frame.attrs["solved by"] or how == "weights"
    assert frame.reachable.any()
    best = max(float(each.accuracy(case.select)) for each in survivors)
    assert (frame.score.dropna() >= best - 0.1 - 1e-9).all()
    for row in reached.rows_of(frame, 2):
        twin = survivors.twin(case.report, row, case.select, within=0.1, how=how)
        assert twin.predictions(case.report)[row] == frame.to[row]
        assert all(
            twin.predictions(case.report)[row] != s.predictions(case.report)[row] for s in survivors
        )
        assert twin.accuracy(case.select) == pytest.approx(frame.score[row], abs=1e-9)


def test_other_ways_say_what_they_lack(bench: Any) -> None:
    case = reached.case("cancer")
    survivors = estimators(bench, LogisticRegression, case)
    with pytest.raises(MeasurementError, match="moves all weights of a network"):
        survivors.reachable(case.report, case.select, how="weights")
    with pytest.raises(MeasurementError, match="there are no two networks"):
        survivors.reachable(case.report, case.select, how="path")
    with pytest.raises(MeasurementError, match="how='luck': give one of 'last layer', 'dropout'"):
        survivors.reachable(case.report, case.select, how="luck")
    with pytest.raises(MeasurementError, match="which only gates can"):
        survivors.reachable(case.report, case.select, specs=True)
