"""Logits of many candidates on one data set under one chain of interventions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, dropwhile, islice
from threading import Event, Lock

import torch
from torch import Tensor

from pytest_multiplicity.compute import let_go, out_of_memory, precision, threads
from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.inference.at_once import AtOnce, at_once
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.executors import Model as Model
from pytest_multiplicity.inference.executors import Shelf, Unit
from pytest_multiplicity.inference.form import Alike, Batch, Demand, Form, Step
from pytest_multiplicity.inference.pieces import Columns, Due, Piece, one_ahead
from pytest_multiplicity.interventions import Chain

BATCH = 256  # fixed: another batch size could pick another kernel and change the last bit
ONE_BY_ONE = Lock()  # interventions: they may draw from global generators
PRECISION = "float32"  # of every evaluation, in whatever precision a model was trained


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
    changing: Event = field(default_factory=Event)
    """Set while interventions change inputs, also after one that didn't end."""
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

        Inputs under interventions that need no model are made once for all models, in this thread:
        those of the next batch while models compute on one, where all of these compute in other
        threads. After an interruption `hung` tells what was being computed.

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

    def anew(self) -> None:
        """Forget what the question before left behind."""
        self.begun.clear()
        self.changing.clear()
        self.lacking.clear()

    @property
    def hung(self) -> set[int]:
        """Positions of the models that were computing when they were given up.

        None where it was an intervention beside which they computed.
        """
        if self.changing.is_set():
            return set()
        return {position for each in self.begun.values() for position in each}

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
        columns = Columns([pieces]) if pieces else self._columns(models, cores, len(starts))
        ahead = columns.apart and cores > 1
        with at_once(cores) as beside, columns.one_thread_each() if ahead else nullcontext():
            rounds = self._rounds(columns, chain([first], batches))
            if ahead:
                rounds = one_ahead(self._begun(beside, columns, now, advance) for now in rounds)
            for now in rounds:
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
            self.changing.set()
            for step in leading:
                assert not step.needs_model
                with threads(1):
                    inputs = step.apply(inputs, data.rows[rows], data)
            self.changing.clear()
            self.counts.intervened += bool(leading) and counted
        targets = kinds.to(data.targets[rows], self.device)
        return Batch(inputs, targets, data.rows[rows], data, steps)

    def _columns(self, models: Sequence[Model], cores: int, batches: int) -> Columns:
        """Return the pieces that compute a batch, once for each batch that is computed at once.

        These are more than one where there are fewer units than cores.
        """
        pieces = [piece for each in self.alike for piece in self._pieces(models, *each, cores)]
        count = min(batches, math.ceil(cores / len(pieces)))
        if not all(piece.beside for piece in pieces):
            count = 1
        return Columns([pieces, *([piece.twin for piece in pieces] for _ in range(count - 1))])

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

    def _rounds(self, columns: Columns, batches: Iterator[Batch]) -> Iterator[list[Due]]:
        """Yield what is computed at once."""
        while now := columns.pairs(list(islice(batches, len(columns)))):
            yield now

    def _begun(
        self,
        beside: AtOnce,
        columns: Columns,
        pairs: Sequence[Due],
        advance: Callable[[int], None],
    ) -> list[Due]:
        """Have pairs computed, while something else is done here."""
        advance(0)  # that inputs are changed is progress, too
        return [self._begin(beside, columns, pair) for pair in pairs]

    def _begin(self, beside: AtOnce, columns: Columns, pair: Due) -> Due:
        return columns.begin(beside, pair, partial(self._logits, pair))

    def _computed(
        self, beside: AtOnce, columns: Columns, pairs: Sequence[Due]
    ) -> Iterator[tuple[Piece, Tensor]]:
        """Compute pairs.

        What took too much memory is computed again in smaller pieces, now and from now on.
        """
        for pair, logits in self._answered(beside, columns, pairs):
            if logits is not None:
                yield pair.piece, logits
                continue
            for part in columns.divide(pair.piece):
                yield from self._computed(beside, columns, [Due(part, pair.batch)])

    def _answered(
        self, beside: AtOnce, columns: Columns, pairs: Sequence[Due]
    ) -> Iterator[tuple[Due, Tensor | None]]:
        """Yield what pairs give as soon as it is there; those in turn come last.

        They have all threads of numpy's, of which units that multiply by it have one.
        """
        with columns.one_thread_each():
            together = [pair for pair in pairs if pair.piece.beside]
            begun = [
                each if each.found else self._begin(beside, columns, each) for each in together
            ]
            for pair in begun:
                assert pair.found is not None
                yield pair, pair.found.result()
        for pair in pairs:
            if not pair.piece.beside:
                yield pair, self._logits(pair)

    def _logits(self, pair: Due) -> Tensor | None:
        """Return a piece's logits; None where it took too much memory and may be divided."""
        piece, batch = pair.piece, pair.batch
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
