"""Training a family: each group in its arithmetic, each result as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pytest_multiplicity.compute import Advance, Machine, StalledError, WorkerPool, named
from pytest_multiplicity.training.checkpoints import SECONDS
from pytest_multiplicity.training.chunks import Result, Trainer
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.plan import Declared, Plan, Planner

TICK_SECONDS = 0.1
COMMON = ("pytest_multiplicity.training",)  # what each worker needs


def train(
    jobs: Sequence[Job],
    machine: Machine,
    *,
    declared: Declared | None = None,
    checkpoint_seconds: float = SECONDS,
    on_plan: Callable[[list[Plan]], None] = lambda plans: None,
) -> Iterator[Result]:
    """Train every job, and yield each result as soon as it is finished.

    Args:
        jobs: what to train.
        machine: what trains; checkpoints of long trainings are kept in its store.
        declared: the design that the jobs belong to, by which it is decided in what arithmetic
            they are trained; the jobs themselves, by default.
        checkpoint_seconds: how much work an interruption may cost.
        on_plan: gets the plans, a plan for each group, before training starts.

    Raises:
        RecipeError: a job can't be trained as its recipe is written.
        EvaluationError: worker processes died over a job.
        StalledError: jobs hang, which it names; all others were trained by then.
    """
    if not jobs:
        return
    with WorkerPool(machine, common=COMMON) as pool:
        with machine.progress.task("planning the training", len(jobs)):
            planner = Planner(machine, pool)
            plans = planner.plans(jobs, declared or Declared.of(jobs), forgiving=True)
        on_plan(plans)
        total = sum(job.steps for job in jobs)
        stalled: list[Job] = []
        with machine.progress.task("training", total) as task, _ticking(task.advance) as advance:
            trainer = Trainer(machine, pool, checkpoint_seconds, advance, stalled)
            yield from trainer.in_workers([plan for plan in plans if plan.in_workers])
            yield from trainer.here([plan for plan in plans if not plan.in_workers])
        if stalled:
            what = f"training {named([job.id for job in stalled])}"
            raise StalledError(what, machine.patience, stalled)


def plan(jobs: Sequence[Job], machine: Machine, *, declared: Declared | None = None) -> list[Plan]:
    """Decide how jobs would be trained, and train nothing. Arguments are those of `train`.

    Raises:
        StalledError: a job hangs in the first steps, which are tried.
    """
    with WorkerPool(machine) as pool:
        return Planner(machine, pool).plans(jobs, declared or Declared.of(jobs))


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
