"""What the closed form claims: against a search of another kind, and all claims of five data sets.

The other search is constrained minimisation of the loss, one sample at a time; the other building
is a dense solve in numpy, measured by the network itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import optimize
from sklearn import datasets
from support import reached
from support.bench import bench as bench
from torch import Tensor, nn

import pytest_multiplicity as pm
from pytest_multiplicity.reach import Base, OnData, Reach, head_of
from pytest_multiplicity.tasks import Classification

SIZES = {"digits": 500, "labels": 300, "credit": 300, "reviews": 400}
CROSS_ENTROPY = Classification().losses["cross_entropy"]


def converged(name: str, decay: float) -> tuple[nn.Linear, pm.Data, pm.Data]:
    """Return a linear model at the least loss with decay, and what it was trained on, and more."""
    raw = getattr(datasets, f"load_{name}")()
    scaled = (raw.data - raw.data.mean(0)) / (raw.data.std(0) + 1e-9)
    inputs = np.linalg.svd(scaled, full_matrices=False)[0][:, :4] * np.sqrt(len(scaled))
    order = np.random.default_rng(0).permutation(len(inputs))[:150]
    given = torch.tensor(inputs[order], dtype=torch.float32)
    data = [
        pm.Data(given[part], raw.target[order[part]], name=str(part), bounds=None)
        for part in (slice(0, 110), slice(110, 150))
    ]
    model = nn.Linear(4, int(raw.target.max()) + 1)
    weights = model.weight, model.bias
    optimizer = torch.optim.LBFGS(
        weights, max_iter=300, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data[0].inputs), data[0].targets)
        (loss + decay / 2 * sum((w**2).sum() for w in weights)).backward()
        return loss + decay / 2 * sum((w**2).sum() for w in weights)

    optimizer.step(closure)
    return model.requires_grad_(False), data[0], data[1]


def base_of(model: nn.Module, train: pm.Data, asked: pm.Data, decay: float) -> Base:
    head = head_of(model, asked, "a")
    looked, trained = (OnData(head.features(each), each.targets) for each in (asked, train))
    return Base(
        "a", head, looked, trained, trained, CROSS_ENTROPY.of_batch, CROSS_ENTROPY.of_lanes, decay
    )


def least_loss(base: Base, row: int, turn: Any, amount: float) -> float:
    """Return the least loss, over the base's own, of weights that turn a row so far."""
    features, targets = base.train.features.double(), base.train.targets
    start = base.head.weights.numpy()
    v = np.outer(turn, base.data.features[row].double().numpy()).ravel()

    def loss(flat: npt.NDArray[Any]) -> tuple[float, npt.NDArray[Any]]:
        weights = torch.tensor(flat.reshape(start.shape), requires_grad=True)
        total = nn.functional.cross_entropy(features @ weights.T, targets)
        total = total + base.decay / 2 * (weights**2).sum()
        (gradient,) = torch.autograd.grad(total, weights)
        return total.item(), gradient.numpy().ravel()

    constraint = {
        "type": "eq",
        "fun": lambda flat: (flat - start.ravel()) @ v - amount,
        "jac": lambda flat: v,
    }
    first = start.ravel() + amount * v / (v @ v)
    options = {"maxiter": 200, "ftol": 1e-10}
    minimize: Any = optimize.minimize
    found = minimize(
        loss, first, jac=True, constraints=[constraint], method="SLSQP", options=options
    )
    return float(found.fun - loss(start.ravel())[0])


@pytest.mark.parametrize(
    ("name", "decay"), [("iris", 1e-2), ("wine", 1e-2), ("digits", 1e-2), ("breast_cancer", 1e-3)]
)
def test_costs_are_those_of_a_search_for_the_least_loss(name: str, decay: float) -> None:
    model, train, asked = converged(name, decay)
    base = base_of(model, train, asked, decay)
    search = Reach(asked.task, base.outputs.argmax(1)[None], threshold=0.0)
    found = search.of([base])
    assert "then 4 steps of conjugate gradients" in search.by[0]
    assert (found.base == 0).all()  # nothing is asked of the score
    rows = range(0, len(asked), 2)
    costs = [
        least_loss(base, row, found.turn[row].numpy(), float(found.amount[row])) for row in rows
    ]
    near = found.cost[::2].numpy() / np.array(costs)
    assert near.min() > 0.99  # nobody does it for less than the least
    assert (near < 1.05).mean() >= 0.95


def test_every_claim_on_five_data_sets_is_built_again_and_holds(bench: Any) -> None:
    claims = {}
    for name in dict.fromkeys((*reached.SETS, *reached.CASES)):
        case = reached.case(name, size=SIZES.get(name, 185))
        claims[name] = all_hold(reached.survivors(bench, case, seeds=2), name, case)
    assert sum(claims[name] for name in reached.SETS) >= 1000
    assert min(claims.values()) >= 30


def all_hold(survivors: Any, name: str, case: reached.Case) -> int:
    """Raise where any claim isn't so for a model built by a dense solve; return how many."""
    found = survivors._reaching(case.report, case.select, 0.05, None).reached().found
    theirs = [each.predictions(case.report) for each in survivors]
    best = max(each.accuracy(case.select) for each in survivors)
    task, count = case.report.task, 0
    for place, survivor in enumerate(survivors):
        rows = (found.base == place).nonzero().flatten().tolist()
        module = survivor.module
        bodies = [module[:-1](each.inputs) for each in (case.select, case.report)]
        for row, weights in zip(
            rows, reached.all_rebuilt(name, module, case, found, rows), strict=True
        ):
            last = torch.tensor(weights, dtype=torch.float32)
            said = [body @ last[:, :-1].T + last[:, -1] for body in bodies]
            chosen, answered = (
                task.predictions(task.read_answers(each, data.targets, ""))
                for each, data in zip(said, (case.select, case.report), strict=True)
            )
            score = task.right(chosen, case.select.targets).double().mean()
            assert score == pytest.approx(float(found.score[row]), abs=1e-9)
            assert score >= best - 0.05 - 1e-9
            for each in theirs:
                apart = task.differ(answered, each)
                assert bool(apart.reshape(len(each), -1).any(1)[row])
            count += 1
    return count
