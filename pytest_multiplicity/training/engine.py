"""Training a family: each group in its arithmetic, each result as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pytest_multiplicity.compute import Machine, Patient, StalledError, WorkerPool, named
from pytest_multiplicity.training.checkpoints import SECONDS
from pytest_multiplicity.training.chunks import Result, Trainer
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.plan import Declared, Plan, Planner

COMMON = ("pytest_multiplicity.training",)  # what each worker needs


def train(jobs: Sequence[Job], machine: Machine, **options: Any) -> Iterator[Result]:
    """Train every job, and yield each result as soon as it is finished; see `train_early`."""
    return (result for result in train_early(jobs, machine, **options) if result is not None)


def train_early(
    jobs: Sequence[Job],
    machine: Machine,
    *,
    declared: Declared | None = None,
    checkpoint_seconds: float = SECONDS,
    on_plan: Callable[[list[Plan]], None] = lambda plans: None,
    first: str | None = None,
    waits: Callable[[], bool] = lambda: True,
) -> Iterator[Result | None]:
    """Train every job, and let what is there be used between two results.

    None is yielded where it may be, if the machine is for that: worker processes go on meanwhile.

    Args:
        jobs: what to train.
        machine: what trains; checkpoints of long trainings are kept in its store.
        declared: the design that the jobs belong to, by which it is decided in what arithmetic
            they are trained; the jobs themselves, by default.
        checkpoint_seconds: how much work an interruption may cost.
        on_plan: gets the plans, a plan for each group, before training starts.
        first: the key of the job that is wanted before all others.
        waits: whether there is nothing else to do than to wait for more.

    Raises:
        RecipeError: a job can't be trained as its recipe is written.
        EvaluationError: worker processes died over a job.
        StalledError: jobs hang, which it names; all others were trained by then.
    """
    if not jobs:
        return
    with WorkerPool(machine, common=COMMON) as pool:
        pool.foresee(len(jobs))
        with machine.progress.task("planning the training", len(jobs)):
            planner = Planner(machine, pool)
            plans = planner.plans(jobs, declared or Declared.of(jobs), forgiving=True)
        on_plan(plans)
        stalled: list[Job] = []
        with Patient(machine.progress, "training", sum(j.steps for j in jobs), waits) as shown:
            early = machine.early and not pool.takes_all  # else these need what users do
            how = checkpoint_seconds, shown.advance, stalled
            trainer = Trainer(machine, pool, *how, first=first, waits=waits, early=early)
            for result in trainer.results(plans):
                if result is None:
                    shown.hide()
                yield result
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
