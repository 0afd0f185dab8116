"""Models by other ways than the last layer's formula: dropped features, gradients, paths.

- dropout: inputs of the last layer are dropped (Bernoulli) or scaled (Gaussian) for good, as
  dropout at prediction does for a moment (Hsu et al. 2024).
- path: weights between two survivors' (Frankle et al. 2020); the largest rise of the loss on the
  way is the barrier.
- weights: all weights move along the gradient of what would turn a sample (Hsu and Calmon 2022).

The first two aim at nobody: each model may turn many samples, and the cheapest counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.inference import tensor_of
from pytest_multiplicity.reach.base import Base
from pytest_multiplicity.reach.parts import of_all
from pytest_multiplicity.reach.scoring import EQUAL
from pytest_multiplicity.reach.search import FARTHER, Found, Reach

DROPOUT, WEIGHTS, PATH = "dropout", "weights", "path"
WAYS = (DROPOUT, WEIGHTS, PATH)
RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
DRAWS = 10  # for each rate and kind
POINTS = 9  # between two survivors
PAIRS = 10
LONGER = (1.01, 2.0, 4.0, 8.0)  # than a straight line would turn a sample

Outputs = Callable[[Data], Tensor]
"""Of all samples of a data set, `[n, k]`."""


@dataclass(frozen=True, eq=False)
class Origin:
    """A survivor's model, with its base; `seed` is that of what is drawn from it.

    `rows` are those of `train` that its loss is about.
    """

    base: Base
    model: Any
    seed: int
    train: Data
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Wanted:
    """The data sets that all models are asked about."""

    data: Data
    select: Data


@dataclass(frozen=True, eq=False)
class Drawn:
    """A model from the survivor at `position`, known again by `number`."""

    position: int
    number: int
    outputs: Outputs
    built: Callable[[], Any]


def dropped(sources: Sequence[Origin]) -> Iterator[Drawn]:
    """Yield models whose last layer has lost inputs, or has them scaled, the mildest first."""
    for position, source in enumerate(sources):
        features = cache(source.base.head.features)  # of each data set once, for all draws
        for number in range(2 * len(RATES) * DRAWS):
            yield _dropped(source, position, number, features)


def _dropped(source: Origin, position: int, number: int, features: Outputs) -> Drawn:
    head = source.base.head
    rate, kind = RATES[number // (2 * DRAWS)], number % 2
    draw = torch.Generator().manual_seed((source.seed * 1_000_003 + number) % 2**63)
    width = head.weights.shape[1]
    if kind:
        spread = (rate / (1 - rate)) ** 0.5  # as a Bernoulli mask's
        mask = 1 + spread * torch.randn(width, generator=draw, dtype=torch.float64)
    else:
        mask = (torch.rand(width, generator=draw, dtype=torch.float64) >= rate) / (1 - rate)
    weights = head.rounded(head.weights * mask.to(head.weights.device))
    return Drawn(
        position,
        number,
        lambda data: features(data).double() @ weights.double().T,
        lambda: head.built(weights),
    )


def between(sources: Sequence[Origin]) -> Iterator[Drawn]:
    """Yield models on the straight lines between survivors.

    Raises MeasurementError where no two have weights of the same names and shapes.
    """
    pairs = [
        (i, j)
        for i, j in combinations(range(len(sources)), 2)
        if _alike(sources[i].model, sources[j].model)
    ][:PAIRS]
    if not pairs:
        raise MeasurementError(
            "how='path' goes from one survivor to another: there are no two networks with weights "
            "of the same names and shapes"
        )
    for pair, (i, j) in enumerate(pairs):
        for point in range(POINTS):
            share = (point + 1) / (POINTS + 1)
            model = _mixed(sources[i].model, sources[j].model, share)
            outputs = _outputs_of(model)
            yield Drawn(i, pair * POINTS + point, outputs, partial(_itself, model))


def _itself(model: nn.Module) -> nn.Module:
    return model


def _alike(some: Any, other: Any) -> bool:
    if not (isinstance(some, nn.Module) and isinstance(other, nn.Module)):
        return False
    first, second = some.state_dict(), other.state_dict()
    return [(n, t.shape) for n, t in first.items()] == [(n, t.shape) for n, t in second.items()]


def _mixed(some: nn.Module, other: nn.Module, share: float) -> nn.Module:
    model, there = copy.deepcopy(some), other.state_dict()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(there[name].to(tensor.device), share)
    return model


def _outputs_of(model: nn.Module) -> Outputs:
    device = next(model.parameters()).device

    @torch.no_grad()
    def of_batch(batch: kinds.Batch) -> Tensor:
        given = tensor_of(kinds.call(model, kinds.to(batch, device)), kinds.length(batch))
        return given.reshape(len(given), -1).double()

    return partial(of_all, of_batch=of_batch)


def along_gradients(
    source: Origin, position: int, data: Data, row: int, reach: Reach
) -> Iterator[Drawn]:
    """Yield models for a row: all weights of a survivor moved along a gradient until it turns.

    Raises MeasurementError for what has no gradients.
    """
    if not isinstance(source.model, nn.Module):
        raise MeasurementError(
            f"how='weights' moves all weights of a network along a gradient, and "
            f"{source.base.name} is none"
        )
    outputs = source.base.outputs[[row]].cpu()
    ways = reach.turning.ways(outputs, reach.said[:, [row]])
    for way, amount in enumerate(ways.amounts[0].tolist()):
        if amount < float("inf"):
            direction = ways.directions[ways.which[0, way]]
            for drawn in _moved(source.model, data, row, direction, amount * (1 + FARTHER)):
                yield replace(drawn, position=position, number=way * len(LONGER) + drawn.number)


def _moved(
    start: nn.Module, data: Data, row: int, direction: Tensor, amount: float
) -> Iterator[Drawn]:
    """Yield the model a straight line would turn, then farther ones."""
    model = copy.deepcopy(start).requires_grad_()
    parameters = [each for each in model.parameters() if each.is_floating_point()]
    device = parameters[0].device
    with torch.enable_grad():
        batch = kinds.to(data.take(torch.tensor([row])), device)
        given = tensor_of(kinds.call(model, batch), 1).reshape(-1)
        pulled = (given * direction.to(given)).sum()
        slopes = torch.autograd.grad(pulled, parameters, allow_unused=True)
    known = [(p, g) for p, g in zip(parameters, slopes, strict=True) if g is not None]
    size = sum(float((slope**2).sum()) for _, slope in known)
    before = 0.0
    for number, longer in enumerate(LONGER):
        step = longer * amount / max(size, 1e-30)
        with torch.no_grad():
            for parameter, slope in known:
                parameter.add_(slope, alpha=step - before)
        before = step
        own = copy.deepcopy(model).requires_grad_(False)
        yield Drawn(0, number, _outputs_of(own), partial(_itself, own))


def search(how: str, reach: Reach, sources: Sequence[Origin], asked: Wanted) -> tuple[Found, str]:
    """Return what is reachable by one of `WAYS`, and how that was found, in words."""
    n, k = len(asked.data), max(len(source.base.head.weights) for source in sources)
    found = Found.nothing(n, k, reach.said[0])
    rise = lru_cache(maxsize=1)(partial(_rise, sources))
    everybody = torch.arange(n)
    if how != WEIGHTS:
        count, rises = 0, []
        for each in dropped(sources) if how == DROPOUT else between(sources):
            enter(reach, rise, asked, each, found, everybody)
            count += 1
            if how == PATH:
                rises.append(rise(each))
        told = f"{count} models by {how}"
        return found, told + (f", barrier {max(rises):.3g}" if rises else "")
    position = max(range(len(sources)), key=lambda i: own_score(reach, sources[i].base))
    for row in range(n):
        for each in along_gradients(sources[position], position, asked.data, row, reach):
            enter(reach, rise, asked, each, found, torch.tensor([row]))
            if int(found.base[row]) >= 0:
                break
    return found, f"gradients of all weights of {sources[position].base.name}"


def own_score(reach: Reach, base: Base) -> float:
    """Return a survivor's score on the selecting data."""
    return float(reach.scoring.scores(base.select, base.head.rounded(base.head.weights)[None])[0])


def built_again(
    how: str, reach: Reach, sources: Sequence[Origin], asked: Wanted, row: int, found: Found
) -> Any:
    """Return the model that turned a row."""
    position, number = int(found.base[row]), int(found.steps[row])
    if how == DROPOUT:
        source = sources[position]
        return _dropped(source, position, number, source.base.head.features).built()
    drawn = (
        between(sources)
        if how == PATH
        else along_gradients(sources[position], position, asked.data, row, reach)
    )
    return next(each for each in drawn if each.number == number).built()


def enter(
    reach: Reach,
    rise: Callable[[Drawn], float],
    asked: Wanted,
    drawn: Drawn,
    found: Found,
    rows: Tensor,
) -> None:
    """Enter a model at those of the rows that it turns for less than what was found before.

    Its cost is asked last: it takes answers about all training samples.
    """
    outputs = drawn.outputs(asked.data)
    said = reach.turning.said(outputs).cpu()
    turned = reach.unheard(said, torch.arange(len(said)))
    turned = rows[turned[rows]]
    if not len(turned):
        return
    chosen = reach.turning.said(drawn.outputs(asked.select)).cpu()
    score = reach.scoring.share_right(chosen, asked.select.targets)
    if score < reach.threshold - EQUAL:
        return
    if score >= reach.best - EQUAL:
        found.as_good[turned] = True
    cost = rise(drawn)
    cheaper = turned[~(found.cost[turned] <= cost)]
    one = torch.ones(len(cheaper), dtype=torch.float64)
    found.note(
        cheaper,
        Found(
            base=torch.full((len(cheaper),), drawn.position),
            to=said[cheaper],
            cost=cost * one,
            score=score * one,
            fresh=reach.scoring.share_right(said, asked.data.targets) * one,
            turn=torch.zeros(len(cheaper), found.turn.shape[1]),
            amount=0 * one,
            steps=torch.full((len(cheaper),), drawn.number),
            as_good=found.as_good[cheaper],
        ),
    )


def _rise(sources: Sequence[Origin], drawn: Drawn) -> float:
    """Return how much larger the training loss is than that of whom a model is drawn from."""
    source = sources[drawn.position]
    base = source.base
    trained = drawn.outputs(source.train)[source.rows].to(base.head.weights.device)
    return float(base.loss(trained, base.train.targets) - base.plain_loss)
