"""Which samples a model as good would answer otherwise: by closed form, then built and measured.

Every claim is a model: its weights are rounded to what the module can hold, its outputs computed
on the selecting data, and it counts only if it is good enough there and answers its sample as
nobody does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_multiplicity.reach.base import Base, Inverses
from pytest_multiplicity.reach.curvature import Inverse
from pytest_multiplicity.reach.polish import STEPS, polished, worth_it
from pytest_multiplicity.reach.scoring import EQUAL, Scoring
from pytest_multiplicity.tasks import MOST_WAYS, Task

FARTHER = 1e-3  # a turn goes this share beyond the boundary, and by what rounding may take back:
ROUNDING = 1e-5
CHUNK_BYTES = 1 << 27  # weights that are built at once
MOST_COMPARED = 1 << 22  # answers that are held against survivors' at once: 32 MB

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
    as_good: Tensor
    """Whether models were met that turn it and score what the best survivor does."""

    @classmethod
    def nothing(cls, n: int, k: int, to: Tensor) -> Found:
        """Return nothing about n samples; `to` is of the form of predictions."""
        unknown = torch.full((4, n), torch.nan, dtype=torch.float64)
        cost, score, fresh, amount = unknown.clone()
        turn = torch.zeros(n, k, dtype=torch.float64)
        base = torch.full((n,), -1, dtype=torch.int64)
        steps = torch.zeros(n, dtype=torch.int64)
        good = torch.zeros(n, dtype=torch.bool)
        return cls(base, torch.zeros_like(to), cost, score, fresh, turn, amount, steps, good)

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


class Tries(NamedTuple):
    """Models to be built: for which rows, by which ways of all bases, at which place of each."""

    rows: Tensor
    ways: Tensor
    places: Tensor


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

    Beside, it looks which samples are turned by models that score `best`, if that is given.
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
        best: float | None = None,
    ) -> None:
        assert task.turning is not None  # as was asked before
        self.turning, self.said = task.turning, said
        self.threshold, self._judge = threshold, judge
        self.best = threshold if best is None else best
        self._least = torch.tensor([threshold, self.best], dtype=torch.float64)
        self._polish = polish and judge is None
        self.scoring = Scoring(task, task.turning)
        self.by: list[str] = []  # how Hessians were inverted, in words

    @staticmethod
    def rounds(bases: Sequence[Base]) -> int:
        """Return how often `of` advances."""
        return len(bases) * MOST_WAYS

    def of(self, bases: Sequence[Base], advance: Advance = lambda steps: None) -> Found:
        """Return what is reached of each sample; the ways are tried in the order of their cost.

        First the cheapest of each, then, while models are few, twice as many at once: of those that
        are good enough the first counts.
        """
        inverses = Inverses(bases)
        plans = [self._plan(base, inverses.of(i)) for i, base in enumerate(bases)]
        n, k = len(bases[0].outputs), max(len(base.head.weights) for base in bases)
        room = CHUNK_BYTES // (8 * max(base.head.weights.numel() for base in bases))
        found = Found.nothing(n, k, self.said[0])
        costs = torch.cat([plan.costs for plan in plans], dim=1)  # [n, S * MOST_WAYS]
        order = costs.argsort(dim=1, stable=True)
        there = costs.gather(1, order).isfinite()
        at, width = 0, 1
        while at < order.shape[1]:
            rows = self._open(found).nonzero().flatten()
            width = max(1, min(width, room // max(1, len(rows))))
            for part in torch.split(rows, max(1, room // width)):
                some, places = there[part, at : at + width].nonzero(as_tuple=True)
                tries = Tries(part[some], order[part[some], at + places], places)
                self._round(bases, inverses, plans, tries, found)
            advance(min(width, order.shape[1] - at))
            at, width = at + width, 2 * width
        return found

    def _open(self, found: Found) -> Tensor:
        """Return of which samples more is to be known."""
        unknown = found.base < 0
        return unknown if self._judge is not None else unknown | ~found.as_good

    def _round(
        self,
        bases: Sequence[Base],
        inverses: Inverses,
        plans: Sequence[Costed],
        tries: Tries,
        found: Found,
    ) -> None:
        """Build and measure some models, and enter the first of each row that is good enough."""
        measured = []
        first = torch.full(found.base.shape, MOST_WAYS * len(bases))
        for i, (base, plan) in enumerate(zip(bases, plans, strict=True)):
            own = (tries.ways // MOST_WAYS == i).nonzero().flatten()
            if not len(own):
                continue
            rows, ways = tries.rows[own], tries.ways[own] % MOST_WAYS
            turns, amounts = plan.directions[plan.which[rows, ways]], plan.amounts[rows, ways]
            weights = base.turned(inverses.of(i), rows, turns, amounts)
            built = Turned(i, base, rows, turns, amounts, weights)
            unknown = found.base[rows] < 0
            least = torch.where(unknown, self._least[0], self._least[1])
            to, score = self._measured(built, least)
            good = (score >= self.threshold - EQUAL).nonzero().flatten()
            places = tries.places[own][good]
            if self._judge is None:
                found.as_good[rows[score >= self.best - EQUAL]] = True
            first.scatter_reduce_(0, rows[good], places, "amin")
            measured.append((built.some(good), to[good], score[good], places))
        for built, to, score, places in measured:
            kept = (places == first[built.rows]) & (found.base[built.rows] < 0)
            polish = plans[built.position].polish
            inverse = inverses.of(built.position) if polish else None
            self._enter(built.some(kept), to[kept], score[kept], inverse, found)

    def _plan(self, base: Base, inverse: Inverse) -> Costed:
        """Return the ways from a base, with what each costs to second order."""
        ways = self.turning.ways(base.outputs.cpu(), self.said)
        missing = MOST_WAYS - ways.which.shape[1]
        which = F.pad(ways.which, (0, missing))
        amounts = F.pad(ways.amounts, (0, missing), value=torch.inf)
        size = base.outputs.cpu().abs().amax(1, keepdim=True)
        amounts = amounts * (1 + FARTHER) + ROUNDING * (1 + size)
        costs = amounts**2 / (2 * self._leverages(base, inverse, ways.directions, which, amounts))
        costs = costs.nan_to_num(torch.inf, torch.inf)
        polish = self._polish and worth_it(base, inverse, costs)
        said = inverse.said + (f", then {STEPS} steps of conjugate gradients" if polish else "")
        if said not in self.by:
            self.by.append(said)
        return Costed(ways.directions, which, amounts, costs, polish)

    def _leverages(
        self, base: Base, inverse: Inverse, directions: Tensor, which: Tensor, amounts: Tensor
    ) -> Tensor:
        """Return `v' H^-1 v` of each way `[n, MOST_WAYS]`; nan where there is none."""
        features = base.data.features.double()
        found = torch.full_like(amounts, torch.nan)
        turns = directions[which]
        used = (turns != 0).any(1).to(features.device)
        squares = inverse.squares(features, used)
        if squares is not None:
            found = ((turns @ squares.cpu()) * turns).sum(2)
            return found.masked_fill(amounts.isinf(), torch.nan)
        for number, direction in enumerate(directions.to(features.device)):
            rows, columns = ((which == number) & amounts.isfinite()).nonzero(as_tuple=True)
            if len(rows):
                found[rows, columns] = inverse.leverages(features[rows], direction).cpu()
        return found

    def _enter(
        self, built: Turned, to: Tensor, score: Tensor, inverse: Inverse | None, found: Found
    ) -> None:
        """Enter built models that are good enough, polished by an inverse if there is one."""
        if self._judge is not None:
            fine = [self._judge(built.position, weights) for weights in built.weights]
            kept = torch.tensor(fine, dtype=torch.bool)
            built, to, score = built.some(kept), to[kept], score[kept]
        if not len(built.rows):
            return
        cost = built.base.losses_of(built.weights) - built.base.lost
        steps = torch.zeros(len(built.rows), dtype=torch.int64)
        if inverse is not None:
            steps = self._lower(built, inverse, to, score, cost)
        fresh = self.scoring.scores(built.base.data, built.weights)
        turned = F.pad(built.turns, (0, found.turn.shape[1] - built.turns.shape[1]))
        where = torch.full((len(built.rows),), built.position)
        good = found.as_good[built.rows] | (score >= self.best - EQUAL)
        numbers = cost, score, fresh
        found.note(built.rows, Found(where, to, *numbers, turned, built.amounts, steps, good))

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
        less, (its, good) = (
            base.losses_of(other.weights) - base.lost,
            self._measured(other, self._least[0].expand(len(cost))),
        )
        better = ((less < cost).cpu() & (good >= self.threshold - EQUAL)).nonzero().flatten()
        for into, of in ((weights, other.weights), (to, its), (score, good), (cost, less)):
            into[better] = of[better]
        steps = torch.zeros(len(cost), dtype=torch.int64)
        steps[better] = STEPS
        return steps

    def _measured(self, built: Turned, least: Tensor) -> tuple[Tensor, Tensor]:
        """Return what models say of their rows, and their scores on the selecting data.

        Those who say what a survivor says have none, nor those who score less than `least`: nan.
        """
        own = built.base.data.features[built.rows].double()
        outputs = torch.einsum("bkf,bf->bk", built.weights.double(), own)
        to = self.turning.said(outputs).cpu()
        score = torch.full((len(to),), torch.nan, dtype=torch.float64)
        kept = self.unheard(to, built.rows)
        score[kept] = self.scoring.good(built.base, built.weights[kept], least[kept])
        return to, score

    def unheard(self, to: Tensor, rows: Tensor) -> Tensor:
        """Return which answers `[b, ...]` about rows of the data `[b]` no survivor gives."""
        kept = torch.ones(len(rows), dtype=torch.bool)
        for some in torch.split(self.said, max(1, MOST_COMPARED // max(1, to.numel()))):
            theirs = some[:, rows].to(to.dtype).flatten(0, 1)
            own = to.expand(len(some), *to.shape).flatten(0, 1)
            kept &= self.turning.differ(own, theirs).reshape(len(some), len(rows)).all(0)
        return kept
