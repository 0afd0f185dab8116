"""The worst model as good, and the best: steps within an ellipsoid of little loss, all measured.

What is looked at, a churn or a gap between groups, is made of predictions and has no slope. So each
step asks what turning each sample to its nearest other answer would do to it, moves the outputs of
those that would help, the nearest the most, by a Newton step of that sum, and keeps the change of
the weights within `delta' H delta <= r^2`. The radius grows until nothing there is good enough, and
is then halved into. From the best of all models on the way, single samples are turned, as long as
one of them helps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_multiplicity.reach.base import Base
from pytest_multiplicity.reach.curvature import Inverse
from pytest_multiplicity.reach.scoring import EQUAL
from pytest_multiplicity.reach.search import Reach
from pytest_multiplicity.tasks import Turning

STEPS = 6  # within one radius
RADII, HALVINGS = 14, 4
FIRST = 1e-3  # radius, of the distance at which half of the samples turn by themselves
BEYOND = 1e-3
CLIMBS, TRIED = 16, 64  # samples that are turned one by one at the end, each the best of so many
JUDGED = 8  # of these, at most, where it is asked whether a model may be

Value = Callable[[Tensor], float]
"""Outputs `[n, k]` -> what is to be as large as it can be."""
Gains = Callable[[Tensor, Tensor], Tensor]
"""Outputs, and those with every sample turned -> what turning each alone would add, `[n]`."""
Keeps = Callable[[Tensor], bool]
"""Weights `[k, F]` -> whether a model may have them besides."""


@dataclass(frozen=True, eq=False)
class Extreme:
    """Weights `[k, F]` as the model holds them, what they reach, and what they score.

    `score` is on the selecting data, `fresh` on those that they are aimed at.
    """

    weights: Tensor
    value: float
    score: float
    fresh: float


def extreme(
    base: Base,
    inverse: Inverse,
    reach: Reach,
    value: Value,
    gains: Gains,
    keeps: Keeps = lambda weights: True,
) -> Extreme | None:
    """Return the model with the largest value that `reach` takes for good enough; None: none is.

    `keeps` is asked about those models only that would be returned.
    """
    start = base.head.weights
    features, trained = (on.features.double() for on in (base.data, base.train))
    best = _measured(base, features, reach, start, value)
    if best is not None and not keeps(best.weights):
        best = None
    radius, step, failed = FIRST * _typical(base, inverse, reach.turning), 2.0, False
    left = HALVINGS
    change = torch.zeros_like(start)
    for _ in range(RADII + HALVINGS):
        before, good = change, False
        for _ in range(STEPS):
            towards = _direction(features, inverse, reach.turning, start + change, gains)
            if towards is None:
                break
            change = _inside(change + towards * (radius / 2), base, trained, radius)
            found = _measured(base, features, reach, start + change, value)
            if found is not None:
                better = best is None or found.value > best.value
                if better and not keeps(found.weights):
                    continue
                good = True
                best = found if better else best
        if not good:
            failed, change = True, before
        if failed:
            step, left = step**0.5, left - 1
        radius = radius * step if good else radius / step
        if left < 0:
            break
    return None if best is None else _climbed(base, inverse, reach, best, value, gains, keeps)


def _climbed(
    base: Base,
    inverse: Inverse,
    reach: Reach,
    best: Extreme,
    value: Value,
    gains: Gains,
    keeps: Keeps,
) -> Extreme:
    """Return a model with the samples turned, one after the other, that help most."""
    features = base.data.features.double()
    for _ in range(CLIMBS):
        outputs = features @ best.weights.double().T
        short, directions = _nearest(reach.turning, outputs)
        amounts = short * (1 + BEYOND) + BEYOND
        helps = gains(outputs, outputs + amounts[:, None] * directions) > 0
        rows = torch.where(helps, short, torch.inf).argsort(stable=True)[:TRIED]
        rows = rows[helps[rows]]
        if not len(rows):
            break
        v = _of_rows(directions[rows], features[rows])
        u = inverse.apply(v)
        far = (amounts[rows] / (v * u).sum((1, 2)))[:, None, None]
        built = base.head.rounded(best.weights.double() + far * u)
        scores = reach.scoring.scores(base.select, built)
        found = [
            _measured(base, features, reach, built[i], value)
            for i in (scores >= reach.threshold - EQUAL).nonzero().flatten().tolist()
        ]
        better = [each for each in found if each is not None and each.value > best.value]
        better.sort(key=lambda each: -each.value)
        kept = next((each for each in better[:JUDGED] if keeps(each.weights)), None)
        if kept is None:
            break
        best = kept
    return best


def _measured(
    base: Base, features: Tensor, reach: Reach, weights: Tensor, value: Value
) -> Extreme | None:
    held = base.head.rounded(weights)
    (score,) = reach.scoring.scores(base.select, held[None]).tolist()
    if score < reach.threshold - EQUAL:
        return None
    (fresh,) = reach.scoring.scores(base.data, held[None]).tolist()
    return Extreme(held, value(features @ held.double().T), score, fresh)


def _direction(
    features: Tensor, inverse: Inverse, turning: Turning, weights: Tensor, gains: Gains
) -> Tensor | None:
    """Return the Newton step `[k, F]`, of length 1 in H, that helps most; None: nothing would."""
    outputs = features @ weights.T
    short, directions = _nearest(turning, outputs)
    turned = outputs + (short * (1 + BEYOND) + BEYOND)[:, None] * directions
    worth = gains(outputs, turned)
    if not bool(worth.any()):
        return None
    width = short.median().clamp_min(1e-9)
    slope = torch.sigmoid(-short / width)
    pull = (worth * slope * (1 - slope))[:, None] * directions
    gradient = pull.T @ features
    newton = inverse.apply(gradient[None])[0]
    length = (gradient * newton).sum().clamp_min(1e-300).sqrt()
    return newton / length


def _nearest(turning: Turning, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far each sample is from another answer `[n]`, and in which direction `[n, k]`."""
    there = outputs.cpu()
    ways = turning.ways(there, turning.said(there)[None])
    directions = ways.directions[ways.which[:, 0]]
    scaled = directions / (directions**2).sum(1, keepdim=True)
    return ways.amounts[:, 0].to(outputs.device), scaled.to(outputs.device)


def _typical(base: Base, inverse: Inverse, turning: Turning) -> float:
    """Return the distance in H at which a sample turns, the median."""
    some = torch.arange(0, len(base.outputs), max(1, len(base.outputs) // 64))
    short, directions = _nearest(turning, base.outputs[some])
    v = _of_rows(directions, base.data.features[some].double())
    reach = (v * inverse.apply(v)).sum((1, 2))
    return float((short / reach.sqrt()).median())


def _of_rows(directions: Tensor, features: Tensor) -> Tensor:
    """Return v `[b, k, F]`: `v' W` is how far a row is along its direction, as `_nearest` tells."""
    norm = (directions**2).sum(1, keepdim=True)
    return (directions / norm)[:, :, None] * features[:, None]


def _inside(change: Tensor, base: Base, trained: Tensor, radius: float) -> Tensor:
    """Return the change within the ellipsoid: shortened where it is outside."""
    moved = trained @ change.T
    bent = torch.einsum("nk,nkc,nc->n", moved, base.slopes.second, moved).mean()
    length = (bent + base.ridge * (change**2).sum()).clamp_min(0).sqrt()
    return change if float(length) <= radius else change * (radius / length)
