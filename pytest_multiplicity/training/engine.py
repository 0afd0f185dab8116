"""Training a family: each group the fastest way, each result as soon as it is there."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    Cluster,
    Crashed,
    Crew,
    Done,
    Failed,
    Outcome,
    Stalled,
    StalledError,
    UnsharableError,
    Work,
    available_cores,
    keeping_pages,
    named,
    threads,
    watched,
)
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.training.batches import Feed, feed
from pytest_multiplicity.training.checkpoints import SECONDS, Checkpoint, Checkpoints, Keeper
from pytest_multiplicity.training.groups import group_jobs
from pytest_multiplicity.training.jobs import (
    Advance,
    Diverged,
    Job,
    Progress,
    Trained,
    initial_module,
)
from pytest_multiplicity.training.planner import Plan, Planner
from pytest_multiplicity.training.remote import Results, train_task, train_way
from pytest_multiplicity.training.ways import Way

if TYPE_CHECKING:
    from pytest_multiplicity.store import Store

TICK_SECONDS = 0.1
Result = tuple[Job, Trained | Diverged]


def train(
    jobs: Sequence[Job],
    *,
    device: torch.device,
    store: Store,
    progress: Progress,
    cores: int | None = None,
    check: bool = True,
    checkpoint_seconds: float = SECONDS,
    patience: float = 0.0,
    cluster: Cluster | None = None,
    on_plan: Callable[[list[Plan]], None] = lambda plans: None,
) -> Iterator[Result]:
    """Train every job, and give each result as soon as it is finished.

    Args:
        jobs: what to train.
        device: on what.
        store: where plans are kept, and checkpoints of long trainings.
        progress: gets one task of as many steps as all jobs have.
        cores: how many cores to use; as many as this process may, by default.
        check: whether a candidate's independence of its neighbours is checked before fusing.
        checkpoint_seconds: how much work an interruption may cost.
        patience: seconds without a step after which a chunk is given up; 0 for never.
        cluster: whose workers train, instead of this machine's.
        on_plan: gets the plans, a plan for each group, before training starts.

    Raises:
        RecipeError: a job can't be trained as its recipe is written.
        EvaluationError: worker processes died over a job.
        StalledError: jobs hang, which it names; all others were trained by then.
    """
    if not jobs:
        return
    with Crew(cores or available_cores(), device, patience, cluster) as crew:
        stalled: list[Job] = []
        with progress.task("planning the training", len(jobs)):
            plans = _planned(Planner(device, store, crew, check), jobs, stalled)
        on_plan(plans)
        total = sum(job.steps for job in jobs)
        with progress.task("training", total) as task, _ticking(task.advance) as advance:
            run = _Run(device, store, crew, checkpoint_seconds, advance, stalled)
            yield from run.in_workers([plan for plan in plans if crew.takes(plan.way)])
            for plan in plans:
                if not crew.takes(plan.way):
                    yield from run.here(plan)
        if stalled:
            raise StalledError(f"training {_names(stalled)}", patience, stalled)


def plan(
    jobs: Sequence[Job],
    *,
    device: torch.device,
    store: Store,
    cores: int | None = None,
    check: bool = True,
    patience: float = 0.0,
    cluster: Cluster | None = None,
) -> list[Plan]:
    """Decide how jobs would be trained, and train nothing. Arguments are those of `train`.

    Raises:
        StalledError: a job hangs in the first steps, which are tried.
    """
    with Crew(cores or available_cores(), device, patience, cluster) as crew:
        return Planner(device, store, crew, check).plan(group_jobs(jobs))


def _planned(planner: Planner, jobs: Sequence[Job], stalled: list[Job]) -> list[Plan]:
    """Plan the training of all jobs but those that hang in the steps tried for it."""
    left = list(jobs)
    while left:
        try:
            return planner.plan(group_jobs(left))
        except StalledError as error:
            stalled += error.jobs
            left = [job for job in left if job not in error.jobs]
    return []


def _names(jobs: Sequence[Job]) -> str:
    return named([job.id for job in jobs])


@dataclass(frozen=True)
class _Chunk:
    """Jobs that one task trains, all from the same epoch on."""

    jobs: tuple[Job, ...]
    saved: tuple[Checkpoint, ...]
    way: Way
    seconds: float
    bytes: int = 0  # that its steps need
    attempts: int = 1

    def smaller(self) -> list[_Chunk]:
        """Give what to do after it failed for want of memory: two halves, or it once more."""
        if len(self.jobs) == 1:
            return [replace(self, attempts=self.attempts + 1)]
        lanes = max(FEWEST_LANES, math.ceil(self.way.lanes / 2))
        return replace(self, way=replace(self.way, lanes=lanes), saved=()).split(2)

    def split(self, count: int) -> list[_Chunk]:
        """Split it into so many chunks of even size."""
        bounds = [len(self.jobs) * i // count for i in range(count + 1)]
        return [
            _Chunk(self.jobs[a:b], self.saved[a:b], self.way, self.seconds / count, self.bytes)
            for a, b in pairwise(bounds)
        ]


@dataclass(frozen=True)
class _Run:
    """One training of a family."""

    device: torch.device
    store: Store
    crew: Crew
    checkpoint_seconds: float
    advance: Advance
    stalled: list[Job] = field(default_factory=list)  # given up, since they made no progress
    noted: set[str] = field(default_factory=set)  # keys of jobs that sent a checkpoint

    def in_workers(self, plans: Sequence[Plan]) -> Iterator[Result]:
        """Train in worker processes, the longest tasks first."""
        chunks = [chunk for plan in plans for chunk in self._chunks(plan)]
        waiting = deque(sorted(chunks, key=lambda chunk: -chunk.seconds))
        outcomes = self.crew.workers.perform(
            waiting,
            self._task,
            advance=self.advance,
            note=self._note,
            memory=lambda chunk: chunk.bytes,
        )
        left: list[_Chunk] = []
        for chunk, outcome in outcomes:
            match outcome:
                case Done(value):
                    yield from zip(chunk.jobs, value, strict=True)
                case Failed(UnsharableError()):
                    alone = replace(chunk, way=Way("plain"), saved=())
                    left += alone.split(len(chunk.jobs))
                case Stalled():
                    self.stalled.extend(chunk.jobs)
                case _:
                    waiting.extend(_again(chunk, outcome))
        yield from self._chunks_here(left)

    def here(self, plan: Plan) -> Iterator[Result]:
        """Train in this process."""
        yield from self._chunks_here(self._chunks(plan))

    def _chunks_here(self, chunks: Sequence[_Chunk]) -> Iterator[Result]:
        feeds: dict[int, Feed] = {}
        waiting = deque(chunks)
        while waiting:
            chunk = waiting.popleft()
            try:
                with threads(chunk.way.threads), keeping_pages():
                    results = self._train(chunk, feeds)
            except StalledError:
                self.stalled.extend(chunk.jobs)
            except Exception as error:
                waiting.extend(_again(chunk, Failed(error)))
            else:
                yield from zip(chunk.jobs, results, strict=True)

    def _train(self, chunk: _Chunk, feeds: dict[int, Feed]) -> Results:
        """Train a chunk here, under watch; ``feeds`` are those in use, by their data's id."""
        keeper = Keeper(chunk.saved, partial(self._keep, chunk), self.checkpoint_seconds)
        data = chunk.jobs[0].recipe.data
        what = f"training {_names(chunk.jobs)}"
        with watched(what, self.crew.patience, self.advance) as advance:
            if id(data) not in feeds:
                feeds[id(data)] = feed(data, self.device)
            modules = [initial_module(job.recipe, job.seeds) for job in chunk.jobs]
            source = feeds[id(data)]
            return train_way(chunk.jobs, modules, chunk.way, source, self.device, keeper, advance)

    def _task(self, chunk: _Chunk) -> Work:
        portable = [self.crew.portable(job) for job in chunk.jobs]
        saved, seconds = self._saved(chunk), self.checkpoint_seconds
        device = torch.device(self.device.type)  # over there the only one, whatever number it has
        return train_task(chunk.jobs, portable, chunk.way, saved, seconds, device)

    def _saved(self, chunk: _Chunk) -> Sequence[Checkpoint]:
        """Give what a chunk goes on from: if it was lost, from what it had sent, were that whole.

        Its jobs' checkpoints come one after the other, all of the same epoch.
        """
        if not all(job.key in self.noted for job in chunk.jobs):
            return chunk.saved
        found = [self._checkpoints(job, chunk.way).load() for job in chunk.jobs]
        kept = [saved for saved in found if saved]
        alike = len(kept) == len(found) and len({saved.epochs for saved in kept}) == 1
        return kept if alike else chunk.saved

    def _note(self, chunk: _Chunk, note: tuple[int, Checkpoint]) -> None:
        self._keep(chunk, *note)
        self.noted.add(chunk.jobs[note[0]].key)

    def _keep(self, chunk: _Chunk, position: int, checkpoint: Checkpoint) -> None:
        self._checkpoints(chunk.jobs[position], chunk.way).save(checkpoint)

    def _checkpoints(self, job: Job, way: Way) -> Checkpoints:
        return Checkpoints(self.store, job.key, str(way))

    def _chunks(self, plan: Plan) -> list[_Chunk]:
        """Split a group into chunks of jobs that start at the same epoch."""
        way = self.crew.spread(plan.way, len(plan.group.jobs))
        rows: dict[int, list[tuple[Job, Checkpoint | None]]] = {}
        for job in plan.group.jobs:
            saved = self._checkpoints(job, way).load()
            rows.setdefault(saved.epochs if saved else 0, []).append((job, saved))
        chunks = []
        for row in rows.values():
            jobs = tuple(job for job, _ in row)
            kept = tuple(saved for _, saved in row if saved)
            seconds = plan.seconds * len(jobs) / len(plan.group.jobs)
            whole = _Chunk(jobs, kept, way, seconds, plan.bytes_of_a_task(self.crew.count))
            chunks += whole.split(math.ceil(len(jobs) / way.lanes))
        return chunks


def _again(chunk: _Chunk, outcome: Outcome) -> list[_Chunk]:
    """Give what to do instead of a chunk that failed.

    Raises:
        Exception: the chunk's own error, unless it is one of memory.
        EvaluationError: it can't be made smaller, and failed twice.
    """
    if isinstance(outcome, Failed) and not _is_memory(outcome.error):
        raise outcome.error
    if len(chunk.jobs) == 1 and chunk.attempts > 1:
        what = outcome.why if isinstance(outcome, Crashed) else "out of memory"
        raise EvaluationError(
            f"training {chunk.jobs[0].id} killed its worker process twice ({what}): "
            "give the machine more memory, or the recipe a smaller batch_size"
        ) from (outcome.error if isinstance(outcome, Failed) else None)
    return chunk.smaller()


def _is_memory(error: Exception) -> bool:
    memory = MemoryError | torch.OutOfMemoryError
    return isinstance(error, memory) or "can't allocate memory" in str(error)


@contextmanager
def _ticking(move: Callable[[int], None]) -> Iterator[Advance]:
    """Move the bar ten times a second at most: drawing it must not cost what a step costs."""
    waiting, last = 0, time.monotonic()

    def advance(steps: int) -> None:
        nonlocal waiting, last
        waiting += steps
        if waiting and time.monotonic() - last >= TICK_SECONDS:
            move(waiting)
            waiting, last = 0, time.monotonic()

    yield advance
    if waiting:
        move(waiting)
