"""What worker processes do: small functions of plain arguments, which travel by name."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from pytest_multiplicity.compute import Advance, Arithmetic, Reporter, Samples
from pytest_multiplicity.training.batches import Feed, feed
from pytest_multiplicity.training.checkpoints import Checkpoint, Keeper
from pytest_multiplicity.training.fused_training import train_filled
from pytest_multiplicity.training.jobs import Diverged, Job, Trained, initial_module
from pytest_multiplicity.training.plain import train_plain

CPU = torch.device("cpu")
Results = list[Trained | Diverged]


@dataclass(frozen=True)
class Computing:
    """How jobs are trained: in which arithmetic, filled up to how many lanes if they are fused."""

    arithmetic: Arithmetic
    lanes: int


def portable(job: Job, samples: Samples | None) -> Job:
    """Return a job without its model function, and with bare samples where its data is in memory.

    The module is built where the function lives and travels by itself: the function may hold on to
    anything.
    """
    recipe = copy.copy(replace(job.recipe, model=_built_elsewhere))
    if samples is not None:
        object.__setattr__(recipe, "data", samples)  # past the check, which wants a whole Data
    return replace(job, recipe=recipe)


def _built_elsewhere() -> nn.Module:
    raise AssertionError("a worker gets its modules ready-made")


def train_task(
    jobs: Sequence[Job],
    portable_jobs: Sequence[Job],
    how: Computing,
    saved: Sequence[Checkpoint],
    seconds: float,
    device: torch.device = CPU,
) -> partial[Results]:
    """Make the task of training jobs, from checkpoints where there are any.

    It notes (position of the job, checkpoint) every so many `seconds`.
    """
    modules = [initial_module(job.recipe, job.seeds) for job in jobs]
    return partial(_train, list(portable_jobs), modules, how, list(saved), seconds, device)


def _train(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    how: Computing,
    saved: Sequence[Checkpoint],
    seconds: float,
    device: torch.device,
    reporter: Reporter,
) -> Results:
    keeper = Keeper(saved, lambda lane, kept: reporter.note((lane, kept)), seconds)
    source = feed(jobs[0].recipe.data, device)
    return train_together(jobs, modules, how, source, keeper, reporter)


def train_together(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    how: Computing,
    feed: Feed,
    keeper: Keeper,
    advance: Advance,
) -> Results:
    """Train jobs (one, unless they are to be fused) from their initial modules."""
    arithmetic = how.arithmetic
    if arithmetic.fused:
        return train_filled(
            jobs, modules, feed, how.lanes, arithmetic, keeper=keeper, advance=advance
        )
    result = train_plain(
        jobs[0],
        feed,
        feed.targets.device,
        module=modules[0],
        arithmetic=arithmetic,
        keeper=keeper,
        advance=advance,
    )
    return [result]
