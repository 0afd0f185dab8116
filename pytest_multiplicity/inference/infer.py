"""Logits of many candidates on one data set under one chain of interventions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, dropwhile, islice
from threading import Lock

import torch
from torch import Tensor

from pytest_multiplicity.compute import let_go, numpy_threads, out_of_memory, precision, threads
from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.inference.at_once import AtOnce, at_once
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.executors import Model as Model
from pytest_multiplicity.inference.executors import Shelf, Unit
from pytest_multiplicity.inference.form import Alike, Batch, Demand, Form, Step
from pytest_multiplicity.interventions import Chain

BATCH = 256  # fixed: another batch size could pick another kernel and change the last bit
ONE_BY_ONE = Lock()  # interventions: they may draw from global generators
PRECISION = "float32"  # of every evaluation, in whatever precision a model was trained


@dataclass(frozen=True)
class Piece:
    """A unit, the positions of its models, and whether it computes beside others."""

    positions: tuple[int, ...]
    unit: Unit
    beside: bool

    def smaller(self) -> Iterator[Piece]:
        """Yield pieces that need less memory, to be computed one after the other."""
        positions = self.positions
        for unit in self.unit.smaller():
            yield Piece(positions[: unit.count], unit, self.beside)
            positions = positions[unit.count :]


@dataclass(frozen=True)
class Infer:
    """How to compute logits: on which device, in which forms, counting what.

    `cores`: how many units compute at once; by default as many as torch has threads.
    """

    device: torch.device
    counts: Counts
    forms: Forms
    cores: int | None = None
    shelf: Shelf = field(default_factory=Shelf)
    begun: dict[Unit, tuple[int, ...]] = field(default_factory=dict)
    """Units that have begun to compute and not ended, with the positions of their models."""
    alike: list[Alike] = field(default_factory=list)
    """How the models are evaluated that were asked last."""
    lacking: set[int] = field(default_factory=set)
    """The ids of models that are evaluated in another way, since memory ran out."""

    def __call__(
        self,
        models: Sequence[Model],
        data: Data,
        under: Chain,
        advance: Callable[[int], None],
        starts: Sequence[int] | None = None,
        alike: Sequence[Alike] = (),
        pieces: Sequence[Piece] = (),
    ) -> list[Tensor]:
        """Logits `[n, C]` (CPU, float32) of each model, in the order of `data`.

        Inputs under interventions that need no model are made once for all models. After an
        interruption `begun` tells what was being computed, and who asks again clears it.

        Args:
            models: modules and callables.
            data: what they are evaluated on.
            under: the interventions before their answers.
            advance: is called with the number of (model, batch) pairs done.
            starts: of the batches that are wanted, where not all of them are.
            alike: how models are evaluated, where it was decided before.
            pieces: what computes them, where it was `made` before.
        """
        with precision(PRECISION, self.device):
            return self._inferred(models, data, under, advance, starts, alike, pieces)

    def decided(self, models: Sequence[Model], data: Data, under: Chain) -> list[Alike]:
        """Return how models are evaluated, which the first batch tells."""
        steps = own_steps(under)
        with precision(PRECISION, self.device):
            first = self._batch(data, 0, under, steps, counted=False)
            return list(self.forms.of(models, first, Demand.of(steps)))

    def made(self, models: Sequence[Model], alike: Sequence[Alike]) -> list[Piece]:
        """Return what computes models so.

        Some are traced for that, while which no module may be called in another thread.
        """
        self.shelf.begin(self.device)
        return [piece for each in alike for piece in self._pieces(models, *each, cores=1)]

    def _inferred(
        self,
        models: Sequence[Model],
        data: Data,
        under: Chain,
        advance: Callable[[int], None],
        starts: Sequence[int] | None,
        alike: Sequence[Alike],
        pieces: Sequence[Piece],
    ) -> list[Tensor]:
        if not pieces:
            self.shelf.begin(self.device)
        whole = starts is None
        starts = range(0, len(data), BATCH) if starts is None else starts
        parts: list[list[Tensor]] = [[] for _ in models]
        steps = own_steps(under)
        batches = (self._batch(data, start, under, steps) for start in starts)
        first = next(batches)
        self.alike[:] = alike or self.forms.of(models, first, Demand.of(steps))
        cores = self.cores or torch.get_num_threads()
        columns = [[*pieces]] if pieces else self._columns(models, cores, len(starts))
        with at_once(cores) as beside:
            waiting = chain([first], batches)
            while now := list(islice(waiting, len(columns))):
                for piece, logits in self._computed(beside, columns, now):
                    for position, lane in zip(piece.positions, logits, strict=True):
                        parts[position].append(lane)
                        if piece.unit.form.lacking:
                            self.lacking.add(id(models[position]))
                    advance(len(piece.positions))
        self.counts.inferred += len(models) * whole
        parts.reverse()  # so that what was put together is let go of: both need not fit in memory
        return [torch.cat(parts.pop()) for _ in models]

    def _batch(
        self,
        data: Data,
        start: int,
        under: Chain,
        steps: tuple[Step, ...],
        *,
        counted: bool = True,
    ) -> Batch:
        """Return the inputs after the leading steps that are the same for every model.

        With one thread, as in every worker: bits don't depend on how many there are, and none that
        has nothing more to do takes a core from the units that compute next.
        """
        rows = torch.arange(start, min(start + BATCH, len(data)))
        leading = under.inputs[: len(under.inputs) - len(steps)]
        with ONE_BY_ONE:
            inputs = kinds.to(data.take(rows), self.device)
            for step in leading:
                assert not step.needs_model
                with threads(1):
                    inputs = step.apply(inputs, data.rows[rows], data)
            self.counts.intervened += bool(leading) and counted
        targets = kinds.to(data.targets[rows], self.device)
        return Batch(inputs, targets, data.rows[rows], data, steps)

    def _columns(self, models: Sequence[Model], cores: int, batches: int) -> list[list[Piece]]:
        """Return the pieces that compute a batch, once for each batch that is computed at once.

        These are more than one where there are fewer units than cores.
        """
        pieces = [piece for each in self.alike for piece in self._pieces(models, *each, cores)]
        count = min(batches, math.ceil(cores / len(pieces)))
        if not all(piece.beside for piece in pieces):
            count = 1
        return [pieces, *([_twin(piece) for piece in pieces] for _ in range(count - 1))]

    def _pieces(
        self, models: Sequence[Model], positions: Sequence[int], form: Form, cores: int
    ) -> Iterator[Piece]:
        """Divide models of one structure into units."""
        width = form.width(len(positions), cores)
        for start in range(0, len(positions), width):
            yield from self._made(models, tuple(positions[start : start + width]), form, width)

    def _made(
        self, models: Sequence[Model], positions: tuple[int, ...], form: Form, lanes: int
    ) -> Iterator[Piece]:
        """Yield the piece of some models, or smaller ones where there is too little memory."""
        beside = not form.in_turn and self.device.type == "cpu"
        try:
            unit = self.shelf.unit([models[i] for i in positions], form, lanes)
        except Exception as error:
            if not out_of_memory(error) or not form.arithmetic.fused:
                raise
        else:
            yield Piece(positions, unit, beside)
            return
        let_go()
        fewer = form.fewer(lanes)
        form = form if fewer else form.alone
        for start in range(0, len(positions), fewer or 1):
            some = positions[start : start + (fewer or 1)]
            yield from self._made(models, some, form, fewer or 1)

    def _computed(
        self, beside: AtOnce, columns: list[list[Piece]], batches: Sequence[Batch]
    ) -> Iterator[tuple[Piece, Tensor]]:
        """Compute every batch by the pieces of its column.

        What took too much memory is computed again in smaller pieces, now and from now on.
        """
        for piece, logits in self._answered(beside, columns, batches):
            if logits is not None:
                yield piece, logits
                continue
            (column,) = (each for each in columns if piece in each)
            batch, parts = batches[columns.index(column)], list(piece.smaller())
            column[column.index(piece) : column.index(piece) + 1] = parts
            for part in parts:
                yield from self._computed(beside, [[part]], [batch])

    def _answered(
        self, beside: AtOnce, columns: list[list[Piece]], batches: Sequence[Batch]
    ) -> Iterator[tuple[Piece, Tensor | None]]:
        """Yield what pieces give as soon as it is there; those in turn come last.

        They have all threads of numpy's, of which units that multiply by it have one.
        """
        pairs = [
            (piece, partial(self._logits, piece, batch))
            for column, batch in zip(columns, batches, strict=False)
            for piece in column
        ]
        together = [pair for pair in pairs if pair[0].beside]
        by_numpy = any(piece.unit.form.arithmetic.by_numpy for piece, _ in together)
        with numpy_threads(1) if by_numpy else nullcontext():
            found = beside([compute for _, compute in together])
            yield from zip([piece for piece, _ in together], found, strict=True)
        for piece, compute in pairs:
            if not piece.beside:
                yield piece, compute()

    def _logits(self, piece: Piece, batch: Batch) -> Tensor | None:
        """Return a piece's logits; None where it took too much memory and may be divided."""
        self.begun[piece.unit] = piece.positions
        try:
            logits = piece.unit.logits(batch)
        except Exception as error:
            form = piece.unit.form
            if not out_of_memory(error) or not (form.arithmetic.fused or form.lacking):
                raise
            if form.lacking:
                raise EvaluationError(
                    "a model by itself takes more memory than there is: free memory, run fewer "
                    "processes at once (-n), or measure on smaller inputs"
                ) from error
            logits = None
            self.shelf.drop(piece.unit)
            let_go()
        self.begun.pop(piece.unit, None)
        return logits


def own_steps(under: Chain) -> tuple[Step, ...]:
    """Return the steps from the first on that needs a model: the inputs are each model's own."""
    return tuple(dropwhile(lambda step: not step.needs_model, under.inputs))


def _twin(piece: Piece) -> Piece:
    return Piece(piece.positions, piece.unit.twin(), piece.beside)
