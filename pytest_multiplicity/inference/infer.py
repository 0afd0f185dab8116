"""Logits of many candidates on one data set under one chain of interventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile

import torch
from torch import Tensor, nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.inference.counts import Work
from pytest_multiplicity.inference.executors import (
    Alone,
    Batch,
    Schedule,
    Step,
    Unit,
    Way,
    out_of_memory,
)
from pytest_multiplicity.inference.executors import Model as Model
from pytest_multiplicity.inference.planning import Demand, Planner
from pytest_multiplicity.inference.schedules import Run, perform
from pytest_multiplicity.interventions import Chain

BATCH = 256  # fixed: another batch size could pick another kernel and change the last bit


@dataclass(frozen=True)
class Piece:
    """A unit, the positions of its models, and its schedule: none is any."""

    positions: tuple[int, ...]
    unit: Unit
    schedule: Schedule | None

    def smaller(self) -> Iterator[Piece]:
        """Give pieces that need less memory, one after the other."""
        positions = self.positions
        for unit in self.unit.smaller():
            yield Piece(positions[: unit.count], unit, "one thread")
            positions = positions[unit.count :]


Group = tuple[tuple[int, ...], Way | None]  # positions of models, and their way; None: opaque


@dataclass(frozen=True)
class Infer:
    """How to compute logits: on which device, by whose plans, counting what."""

    device: torch.device
    work: Work
    planner: Planner
    begun: dict[Unit, tuple[int, ...]] = field(default_factory=dict)
    """Units that have begun to compute and not ended, with the positions of their models."""
    groups: list[Group] = field(default_factory=list)
    """How the models are evaluated that were asked last."""

    def __call__(
        self, models: Sequence[Model], data: Data, under: Chain, advance: Callable[[int], None]
    ) -> list[Tensor]:
        """Logits ``[n, C]`` (CPU, float32) of each model, in the order of ``data``.

        Inputs under interventions that need no model are made once for all models. ``advance`` is
        called with the number of (model, batch) pairs done. After an interruption ``begun`` tells
        what was being computed.
        """
        logits = self.part(models, data, under, range(0, len(data), BATCH), advance)
        self.work.inferred += len(models)
        return logits

    def part(
        self,
        models: Sequence[Model],
        data: Data,
        under: Chain,
        starts: Sequence[int],
        advance: Callable[[int], None],
        groups: Sequence[Group] = (),
    ) -> list[Tensor]:
        """Logits of the batches that start at these positions of ``data``.

        ``groups`` are how models are evaluated, where it was decided before.
        """
        parts: list[list[Tensor]] = [[] for _ in models]
        self.begun.clear()
        self.groups[:] = groups
        steps = tuple(dropwhile(lambda step: not step.needs_model, under.inputs))
        demand = Demand.of(steps)
        offered = self._schedules(demand)
        pieces: list[Piece] | None = None
        with perform() as run:
            for start in starts:
                rows = torch.arange(start, min(start + BATCH, len(data)))
                batch = self._batch(data, rows, under, steps)
                if not self.groups:
                    self.groups[:] = self._grouped(models, batch, demand)
                pieces = self._pieces(models) if pieces is None else pieces
                pace = self.planner.pace(demand, [piece.unit for piece in pieces])
                with pace.timed(offered, len(rows), under.passes) as schedule:
                    for piece, logits in self._computed(run, pieces, batch, schedule):
                        for position, lane in zip(piece.positions, logits, strict=True):
                            parts[position].append(lane)
                        advance(len(piece.positions))
        return [torch.cat(part) for part in parts]

    def _batch(self, data: Data, rows: Tensor, under: Chain, steps: tuple[Step, ...]) -> Batch:
        """The inputs after the leading steps that are the same for every model."""
        inputs = data.take(rows).to(self.device)
        leading = under.inputs[: len(under.inputs) - len(steps)]
        for step in leading:
            assert not step.needs_model
            inputs = step.apply(inputs, data.rows[rows], data)
        self.work.intervened += bool(leading)
        targets = data.targets[rows].to(self.device)
        return Batch(inputs, targets, data.rows[rows], data, steps)

    def _schedules(self, demand: Demand) -> list[Schedule]:
        """Those that may be chosen from."""
        if self.device.type != "cpu" or torch.get_num_threads() == 1:
            return ["all threads"]
        if demand.parallel:
            return ["all threads", "at once", "one thread"]
        return ["all threads", "one thread"]

    def _grouped(self, models: Sequence[Model], batch: Batch, demand: Demand) -> Iterator[Group]:
        """Put modules of one structure together, with their way."""
        alike: dict[str | None, list[int]] = {}
        for position, model in enumerate(models):
            if isinstance(model, nn.Module):
                kind = self.planner.structure(model) or f"module {position}"
                alike.setdefault(kind, []).append(position)
            else:
                yield (position,), None
        for positions in alike.values():
            modules = [model for i in positions if isinstance(model := models[i], nn.Module)]
            yield tuple(positions), self.planner.way(modules, batch, demand)

    def _pieces(self, models: Sequence[Model]) -> list[Piece]:
        """Divide groups into units, of as many models as their way says."""
        pieces = []
        for positions, way in self.groups:
            if way is None:
                pieces.append(Piece(positions, Alone(models[positions[0]]), "all threads"))
            else:
                modules = [model for i in positions if isinstance(model := models[i], nn.Module)]
                pieces += self._divided(modules, positions, way)
        return pieces

    def _divided(
        self, modules: Sequence[nn.Module], positions: Sequence[int], way: Way
    ) -> Iterator[Piece]:
        for start in range(0, len(modules), way.lanes):
            end = start + way.lanes
            unit = self.planner.shelf.unit(modules[start:end], way)
            yield Piece(tuple(positions[start:end]), unit, way.schedule)

    def _computed(
        self, run: Run, pieces: list[Piece], batch: Batch, schedule: Schedule
    ) -> Iterator[tuple[Piece, Tensor]]:
        """Compute every piece, and those again in smaller ones that took too much memory."""
        positions = {piece.unit: piece.positions for piece in pieces}

        def work(unit: Unit) -> Tensor | None:
            self.begun[unit] = positions[unit]
            try:
                logits = unit.logits(batch)
            except Exception as error:
                if not (out_of_memory(error) and unit.smaller()):
                    raise
                logits = None  # to be computed again, in smaller pieces
            self.begun.pop(unit, None)
            return logits

        found = run([(piece.schedule or schedule, piece.unit) for piece in pieces], work)
        for piece, logits in zip(tuple(pieces), found, strict=True):
            if logits is not None:
                yield piece, logits
                continue
            parts = list(piece.smaller())
            pieces[pieces.index(piece) : pieces.index(piece) + 1] = parts
            yield from self._computed(run, parts, batch, schedule)


def frozen(module: nn.Module, device: torch.device) -> nn.Module:
    """The module in eval mode on ``device``, without gradients for its parameters."""
    return module.eval().requires_grad_(False).to(device)
