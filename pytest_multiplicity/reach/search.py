"""Which samples a model as good would answer otherwise: by closed form, then built and measured.

Every claim is a model: its weights are rounded to what the module can hold, its outputs computed
on the selecting data, and it counts only if it is good enough there and answers its sample as
nobody does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_multiplicity.reach.base import Base, Inverses, OnData, at_once, outputs_of
from pytest_multiplicity.reach.curvature import Inverse
from pytest_multiplicity.reach.polish import STEPS, polished, worth_it
from pytest_multiplicity.tasks import MOST_WAYS, Task

FARTHER = 1e-3  # a turn goes this share beyond the boundary, and by what rounding may take back:
ROUNDING = 1e-5
EQUAL = 1e-9  # shares differ by 1/n or not at all
CHUNK_BYTES = 1 << 27  # weights that are built at once

Advance = Callable[[int], None]
Judge = Callable[[int, Tensor], bool]
"""Position of a base, and weights `[k, F]` -> whether the model is kept besides."""


@dataclass(frozen=True, eq=False)
class Found:
    """What was found of each of n samples; where nothing was, `base` is -1 and numbers are nan.

    `turn` `[n, k]`, `amount` `[n]` and `steps` `[n]`, of `polish`, say how the model is built anew.
    """

    base: Tensor
    to: Tensor
    cost: Tensor
    score: Tensor
    fresh: Tensor
    turn: Tensor
    amount: Tensor
    steps: Tensor

    @classmethod
    def nothing(cls, n: int, k: int, to: Tensor) -> Found:
        """Return nothing about n samples; `to` is of the form of predictions."""
        unknown = torch.full((4, n), torch.nan, dtype=torch.float64)
        cost, score, fresh, amount = unknown.clone()
        turn = torch.zeros(n, k, dtype=torch.float64)
        base = torch.full((n,), -1, dtype=torch.int64)
        steps = torch.zeros(n, dtype=torch.int64)
        return cls(base, torch.zeros_like(to), cost, score, fresh, turn, amount, steps)

    def note(self, rows: Tensor, other: Found) -> None:
        """Enter what was found of some rows."""
        for name, into in vars(self).items():
            of = getattr(other, name)
            into[rows] = of.to(into.device, into.dtype).reshape(into[rows].shape)


@dataclass(frozen=True, eq=False)
class Costed:
    """The ways from one base, `[n, MOST_WAYS]` each: by which direction, how far, at what cost."""

    directions: Tensor
    which: Tensor
    amounts: Tensor
    costs: Tensor
    polish: bool


@dataclass(frozen=True, eq=False)
class Turned:
    """Models `weights` `[b, k, F]` built from one base, each for a row of the data."""

    position: int
    base: Base
    rows: Tensor
    turns: Tensor
    amounts: Tensor
    weights: Tensor

    def some(self, chosen: Tensor) -> Turned:
        """Return the models at some positions."""
        names = ("rows", "turns", "amounts", "weights")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


class Reach:
    """Looks for models that score `threshold` or more on the selecting data.

    `said` is what the survivors predict of the data, `[S, n, ...]`: none of them is to be agreed
    with.
    """

    def __init__(
        self,
        task: Task,
        said: Tensor,
        threshold: float,
        judge: Judge | None = None,
        *,
        polish: bool = True,
    ) -> None:
        assert task.turning is not None  # as was asked before
        self._task, self.turning, self.said = task, task.turning, said
        self.threshold, self._judge = threshold, judge
        self._polish = polish and judge is None
        self.by: list[str] = []  # how Hessians were inverted, in words

    @staticmethod
    def rounds(bases: Sequence[Base]) -> int:
        """Return how often `of` advances."""
        return len(bases) * MOST_WAYS

    def of(self, bases: Sequence[Base], advance: Advance = lambda steps: None) -> Found:
        """Return what is reached of each sample; the ways are tried in the order of their cost."""
        inverses = Inverses(bases)
        plans = [self._plan(base, inverses.of(i)) for i, base in enumerate(bases)]
        n, k = len(bases[0].outputs), max(len(base.head.weights) for base in bases)
        found = Found.nothing(n, k, self.said[0])
        costs = torch.cat([plan.costs for plan in plans], dim=1)  # [n, S * MOST_WAYS]
        for column in costs.argsort(dim=1, stable=True).T:
            open_ = (found.base < 0) & costs.gather(1, column[:, None])[:, 0].isfinite()
            rows = open_.nonzero().flatten()
            for i, base in enumerate(bases):
                own = rows[column[rows] // MOST_WAYS == i]
                if len(own):
                    ways = column[own] % MOST_WAYS
                    self._try(i, base, inverses.of(i), plans[i], own, ways, found)
            advance(1)
        return found

    def _plan(self, base: Base, inverse: Inverse) -> Costed:
        """Return the ways from a base, with what each costs to second order."""
        ways = self.turning.ways(base.outputs.cpu(), self.said)
        missing = MOST_WAYS - ways.which.shape[1]
        which = F.pad(ways.which, (0, missing))
        amounts = F.pad(ways.amounts, (0, missing), value=torch.inf)
        size = base.outputs.cpu().abs().amax(1, keepdim=True)
        amounts = amounts * (1 + FARTHER) + ROUNDING * (1 + size)
        costs = torch.full_like(amounts, torch.inf)
        features = base.data.features.double()
        for number, direction in enumerate(ways.directions.to(features.device)):
            rows, columns = ((which == number) & amounts.isfinite()).nonzero(as_tuple=True)
            if len(rows):
                own = features[rows]
                reach = inverse.leverages(own, direction).cpu()
                moved = amounts[rows, columns]
                costs[rows, columns] = moved**2 / (2 * reach)
        polish = self._polish and worth_it(base, inverse, costs)
        said = inverse.said + (f", then {STEPS} steps of conjugate gradients" if polish else "")
        if said not in self.by:
            self.by.append(said)
        return Costed(ways.directions, which, amounts, costs, polish)

    def _try(
        self,
        position: int,
        base: Base,
        inverse: Inverse,
        plan: Costed,
        rows: Tensor,
        ways: Tensor,
        found: Found,
    ) -> None:
        size = max(1, CHUNK_BYTES // (8 * base.head.weights.numel()))
        order = plan.which[rows, ways].argsort(stable=True)
        for chosen in torch.split(order, size):
            part, numbers = rows[chosen], plan.which[rows[chosen], ways[chosen]]
            amounts = plan.amounts[part, ways[chosen]]
            built = torch.cat(
                [
                    base.turned(inverse, part[own], plan.directions[number], amounts[own])
                    for number in torch.unique(numbers).tolist()
                    for own in [(numbers == number).nonzero().flatten()]
                ]
            )
            turns = plan.directions[numbers]
            models = Turned(position, base, part, turns, amounts, built)
            self._enter(models, inverse if plan.polish else None, found)

    def _enter(self, built: Turned, inverse: Inverse | None, found: Found) -> None:
        """Enter those of the built models that are what they are built for."""
        to, score = self._measured(built)
        kept = (score >= self.threshold - EQUAL).nonzero().flatten()
        if self._judge is not None:
            fine = [self._judge(built.position, built.weights[i]) for i in kept.tolist()]
            kept = kept[torch.tensor(fine, dtype=torch.bool)]
        if not len(kept):
            return
        built, to, score = built.some(kept), to[kept], score[kept]
        cost = built.base.losses_of(built.weights) - built.base.lost
        steps = torch.zeros(len(kept), dtype=torch.int64)
        if inverse is not None:  # to be polished by it
            steps = self._lower(built, inverse, to, score, cost)
        fresh = self.scores(built.base.data, built.weights)
        turned = F.pad(built.turns, (0, found.turn.shape[1] - built.turns.shape[1]))
        where = torch.full((len(kept),), built.position)
        numbers = cost, score, fresh
        found.note(built.rows, Found(where, to, *numbers, turned, built.amounts, steps))

    def _lower(
        self, built: Turned, inverse: Inverse, to: Tensor, score: Tensor, cost: Tensor
    ) -> Tensor:
        """Put models of less loss in the place of those that these are as good as.

        Return by how many steps each was found. Writes to all that is given of the models.
        """
        base, weights = built.base, built.weights
        other = replace(
            built, weights=polished(base, inverse, built.rows, built.turns, built.weights)
        )
        less, (its, good) = base.losses_of(other.weights) - base.lost, self._measured(other)
        better = ((less < cost).cpu() & (good >= self.threshold - EQUAL)).nonzero().flatten()
        for into, of in ((weights, other.weights), (to, its), (score, good), (cost, less)):
            into[better] = of[better]
        steps = torch.zeros(len(cost), dtype=torch.int64)
        steps[better] = STEPS
        return steps

    def _measured(self, built: Turned) -> tuple[Tensor, Tensor]:
        """Return what models say of their rows, and their scores on the selecting data.

        Those who say what a survivor says have none: nan.
        """
        own = built.base.data.features[built.rows].double()
        outputs = torch.einsum("bkf,bf->bk", built.weights.double(), own)
        to = self.turning.said(outputs).cpu()
        rows = built.rows
        apart = [self.turning.differ(to, said[rows].to(to.dtype)) for said in self.said]
        score = torch.full((len(rows),), torch.nan, dtype=torch.float64)
        kept = torch.stack(apart).all(0)
        score[kept] = self.scores(built.base.select, built.weights[kept])
        return to, score

    def share_right(self, said: Tensor, targets: Tensor) -> float:
        """Return the accuracy of one model's predictions of a data set."""
        right = self._task.right(said.reshape(len(said), *targets.shape[1:]), targets)
        return float(right.double().mean())

    def scores(self, on: OnData, built: Tensor) -> Tensor:
        """Return the accuracies `[b]`, float64 on the CPU, of models on a data set."""
        found = [torch.zeros(0, dtype=torch.float64)]
        for each in torch.split(built, at_once(on.features, built)):
            said = self.turning.said(outputs_of(each, on.features))
            form = (*said.shape[:2], *on.targets.shape[1:])
            right = self._task.right(said.reshape(form), on.targets)
            found.append(right.double().mean(1).cpu())
        return torch.cat(found)
