"""Chunks of a group's jobs, each trained by one task, here or in a worker process."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import torch

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    TOO_LITTLE,
    Advance,
    Arithmetic,
    Crashed,
    Done,
    Failed,
    Machine,
    Outcome,
    Running,
    Samples,
    Stalled,
    StalledError,
    UnsharableError,
    Work,
    WorkerPool,
    fewest_lanes,
    keeping_pages,
    let_go,
    named,
    out_of_memory,
    threads,
    unrecorded,
    watched,
)
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.training.batches import Feed, feed
from pytest_multiplicity.training.checkpoints import Checkpoint, Checkpoints, Keeper
from pytest_multiplicity.training.jobs import Diverged, Job, Trained, initial_module
from pytest_multiplicity.training.losses import takes_attributes
from pytest_multiplicity.training.plan import LACKING, WORKERS_SECONDS, Plan
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.remote import (
    Computing,
    Results,
    portable,
    train_task,
    train_together,
)

Result = tuple[Job, Trained | Diverged]


@dataclass(frozen=True)
class Chunk:
    """Jobs that one task trains, all from the same epoch on; several only where they are fused."""

    jobs: tuple[Job, ...]
    saved: tuple[Checkpoint, ...]
    arithmetic: Arithmetic
    seconds: float
    bytes: int = 0  # that its steps need
    attempts: int = 1
    lanes: int = FEWEST_LANES  # that few are filled up to
    fewer: tuple[int, ...] = ()  # that give the same bits
    lacking: bool = False  # whether the rule says another arithmetic, for which memory ran out
    unrecorded: str | None = None  # why its steps aren't recorded after all

    @property
    def how(self) -> Computing:
        """How it is trained."""
        return Computing(self.arithmetic, self.lanes)

    def smaller(self) -> list[Chunk]:
        """Return what to do after it failed for want of memory; nothing where all was tried.

        The same without recording its steps; two halves; fewer lanes, of those that give the same
        bits; it once more, as others may have let go of memory; and in the end each job by itself,
        which other bits may come of.
        """
        anew = replace(self, saved=(), attempts=1)
        if self.arithmetic.recorded:  # which keeps the memory of a step
            usual = replace(self.arithmetic, recorded=False)
            return [replace(self, arithmetic=usual, unrecorded=TOO_LITTLE)]
        if len(self.jobs) > self.lanes:
            return anew.split(2)
        if self.fewer and self.arithmetic.fused:
            less = replace(anew, lanes=self.fewer[0], fewer=self.fewer[1:])
            return less.split(math.ceil(len(self.jobs) / less.lanes))
        if self.attempts == 1:
            return [replace(self, attempts=2)]
        if not self.arithmetic.fused:
            return []
        alone = Arithmetic(threads=self.arithmetic.threads)
        last = replace(anew, arithmetic=alone, lacking=True, unrecorded=None)
        return last.split(len(self.jobs))

    def split(self, count: int) -> list[Chunk]:
        """Split it into so many chunks of even size."""
        bounds = [len(self.jobs) * i // count for i in range(count + 1)]
        return [self._of(slice(a, b)) for a, b in pairwise(bounds)]

    def apart(self, key: str | None, count: int) -> list[Chunk]:
        """Split off so many fused jobs with one among them, where that leaves as many."""
        at = next((i for i, job in enumerate(self.jobs) if job.key == key), None)
        if at is None or not self.arithmetic.fused or len(self.jobs) < 2 * count:
            return [self]
        at = min(at, len(self.jobs) - count)
        cuts = [slice(0, at), slice(at, at + count), slice(at + count, None)]
        return [self._of(each) for each in cuts if self.jobs[each]]

    def _of(self, part: slice) -> Chunk:
        share = len(self.jobs[part]) / len(self.jobs)
        each = replace(self, seconds=self.seconds * share, bytes=math.ceil(self.bytes * share))
        return replace(each, jobs=self.jobs[part], saved=self.saved[part])

    def told(self, results: Results) -> Iterator[Result]:
        """Yield its jobs with their results, which say where memory ran out."""
        for job, result in zip(self.jobs, results, strict=True):
            if isinstance(result, Trained):
                way = f"{result.way} ({LACKING})" if self.lacking else result.way
                result = replace(result, way=unrecorded(way, self.unrecorded))
            yield job, result


@dataclass(frozen=True)
class Trainer:
    """One training of a family; see `engine.train_early`."""

    machine: Machine
    pool: WorkerPool
    checkpoint_seconds: float
    advance: Advance
    stalled: list[Job] = field(default_factory=list)  # given up, since they made no progress
    noted: set[str] = field(default_factory=set)  # keys of jobs that sent a checkpoint
    first: str | None = None
    waits: Callable[[], bool] = lambda: True
    early: bool = False  # whether candidates are used while others are trained

    def results(self, plans: Sequence[Plan]) -> Iterator[Result | None]:
        """Train in worker processes, and then here what is none for these."""
        if away := self._ordered([plan for plan in plans if plan.in_workers]):
            yield from self._in_workers(deque(away))
        yield from self._chunks_here(self._ordered([p for p in plans if not p.in_workers]))

    def _ordered(self, plans: Sequence[Plan]) -> list[Chunk]:
        """Return the chunks of groups: the one that is wanted, then the longest first."""
        chunks = [chunk for plan in plans for chunk in self._chunks(plan)]
        return sorted(chunks, key=lambda chunk: (not self._is_wanted(chunk), -chunk.seconds))

    def _is_wanted(self, chunk: Chunk) -> bool:
        return any(job.key == self.first for job in chunk.jobs)

    def _in_workers(self, waiting: deque[Chunk]) -> Iterator[Result | None]:
        quick = waiting[0].seconds * self.pool.count <= WORKERS_SECONDS
        if self.early and quick and len(waiting) > 1 and self._is_wanted(waiting[0]):
            self.pool.workers.begin(min(len(waiting), self.pool.count) - 1)  # this is one, too
            yield from self._chunks_here([waiting.popleft()])
            yield None
        outcomes = self.pool.workers.perform(
            waiting,
            self._task,
            advance=self.advance,
            note=self._note,
            memory=lambda chunk: chunk.bytes,
            waits=self.waits,
        )
        left: list[Chunk] = []
        for chunk, outcome in outcomes:
            match outcome:
                case Done(value):
                    yield from chunk.told(value)
                    if self.early:
                        yield None
                case Running():
                    yield None
                case Failed(UnsharableError()):
                    left.append(chunk)
                case Stalled():
                    self.stalled.extend(chunk.jobs)
                case _:
                    waiting.extend(again(chunk, outcome))
        yield from self._chunks_here(left)

    def _chunks_here(self, chunks: Sequence[Chunk]) -> Iterator[Result | None]:
        feeds: dict[str, Feed] = {}
        waiting, spent = deque(chunks), 0.0
        while waiting:
            while not self.waits():
                yield None
            chunk = waiting.popleft()
            try:
                with threads(chunk.arithmetic.threads), keeping_pages():
                    results = self._train(chunk, feeds)
            except StalledError:
                self.stalled.extend(chunk.jobs)
            except Exception as error:
                waiting.extend(again(chunk, Failed(error)))
                let_go()
            else:
                yield from chunk.told(results)
                spent += chunk.seconds
                if self.early and spent > WORKERS_SECONDS:
                    yield None
                    spent = 0.0

    def _train(self, chunk: Chunk, feeds: dict[str, Feed]) -> Results:
        """Train a chunk here, under watch; `feeds` are those in use, by fingerprint."""
        keeper = Keeper(chunk.saved, partial(self._keep, chunk), self.checkpoint_seconds)
        data, device = chunk.jobs[0].recipe.data, self.machine.device
        what = f"training {named([job.id for job in chunk.jobs])}"
        with watched(what, self.machine.patience, self.advance) as advance:
            if data.fingerprint not in feeds:
                feeds[data.fingerprint] = feed(data, device)
            modules = [initial_module(job.recipe, job.seeds) for job in chunk.jobs]
            source = feeds[data.fingerprint]
            return train_together(chunk.jobs, modules, chunk.how, source, keeper, advance)

    def _task(self, chunk: Chunk) -> Work:
        there = [portable(job, self._samples(job.recipe)) for job in chunk.jobs]
        saved, seconds = self._saved(chunk), self.checkpoint_seconds
        device = torch.device(self.machine.device.type)  # the only one there, whatever its number
        return train_task(chunk.jobs, there, chunk.how, saved, seconds, device)

    def _samples(self, recipe: Recipe) -> Samples | None:
        asks = takes_attributes(recipe.loss) or recipe.weight is not None
        return self.pool.samples(recipe.data, attributes=asks)

    def _saved(self, chunk: Chunk) -> Sequence[Checkpoint]:
        """Return what a chunk goes on from: if it was lost, from what it sent, were that whole.

        Its jobs' checkpoints come one after the other, all of the same epoch.
        """
        if not all(job.key in self.noted for job in chunk.jobs):
            return chunk.saved
        found = [self._checkpoints(job, chunk.arithmetic).load() for job in chunk.jobs]
        kept = [saved for saved in found if saved]
        alike = len(kept) == len(found) and len({saved.epochs for saved in kept}) == 1
        return kept if alike else chunk.saved

    def _note(self, chunk: Chunk, note: tuple[int, Checkpoint]) -> None:
        self._keep(chunk, *note)
        self.noted.add(chunk.jobs[note[0]].key)

    def _keep(self, chunk: Chunk, position: int, checkpoint: Checkpoint) -> None:
        self._checkpoints(chunk.jobs[position], chunk.arithmetic).save(checkpoint)

    def _checkpoints(self, job: Job, arithmetic: Arithmetic) -> Checkpoints:
        return Checkpoints(self.machine.store, job.key, f"{arithmetic} on {self.machine.kind}")

    def _chunks(self, plan: Plan) -> list[Chunk]:
        """Split a group into chunks of jobs that start at the same epoch."""
        rows: dict[int, list[tuple[Job, Checkpoint | None]]] = {}
        for job in plan.group.jobs:
            saved = self._checkpoints(job, plan.arithmetic).load()
            rows.setdefault(saved.epochs if saved else 0, []).append((job, saved))
        chunks = []
        for row in rows.values():
            jobs = tuple(job for job, _ in row)
            kept = tuple(saved for _, saved in row if saved)
            count = math.ceil(len(jobs) / plan.lanes)
            seconds = plan.seconds * len(jobs) / len(plan.group.jobs)
            whole = Chunk(jobs, kept, plan.arithmetic, seconds, count * plan.bytes)
            lanes = fewest_lanes(self.machine.device)
            whole = replace(whole, lanes=lanes, fewer=plan.fewer, lacking=plan.lacking)
            for part in whole.apart(self.first, lanes):
                chunks += part.split(math.ceil(len(part.jobs) / plan.lanes))
        return chunks


def again(chunk: Chunk, outcome: Outcome) -> list[Chunk]:
    """Return what to do instead of a chunk that failed.

    Raises:
        Exception: the chunk's own error, unless it is one of memory.
        EvaluationError: it can't be made smaller, and failed twice.
    """
    if isinstance(outcome, Failed) and not out_of_memory(outcome.error):
        raise outcome.error
    if not (parts := chunk.smaller()):
        what = outcome.why if isinstance(outcome, Crashed) else "out of memory"
        raise EvaluationError(
            f"training {named([job.id for job in chunk.jobs])} killed its worker process twice "
            f"({what}): give the machine more memory, or the recipe a smaller batch_size"
        ) from (outcome.error if isinstance(outcome, Failed) else None)
    return parts
