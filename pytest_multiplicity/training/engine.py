"""Training a family: each job as fast as it goes, each result as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from pytest_multiplicity.training.checkpoints import SECONDS, Checkpoints
from pytest_multiplicity.training.course import (
    Advance,
    Diverged,
    Job,
    Progress,
    Task,
    Trained,
)
from pytest_multiplicity.training.feed import Feed, feed
from pytest_multiplicity.training.plain import train_plain

if TYPE_CHECKING:
    from pytest_multiplicity.store import Store

TICK_SECONDS = 0.1


def train(
    jobs: Sequence[Job],
    *,
    device: torch.device,
    store: Store,
    progress: Progress,
    checkpoint_seconds: float = SECONDS,
) -> Iterator[tuple[Job, Trained | Diverged]]:
    """Train every job and give each result as soon as it is finished.

    Args:
        jobs: what to train.
        device: on what.
        store: where checkpoints of long trainings are kept.
        progress: gets one task of as many steps as all jobs have.
        checkpoint_seconds: how much work an interruption may cost.

    Raises:
        RecipeError: a job can't be trained as its recipe is written.
    """
    with (
        progress.task("training", sum(job.steps for job in jobs)) as task,
        _ticking(task) as advance,
    ):
        feeds: dict[int, Feed] = {}
        for job in jobs:
            data = job.recipe.data
            if id(data) not in feeds:
                feeds[id(data)] = feed(data, device)
            checkpoints = Checkpoints(store, job.key, "plain", checkpoint_seconds)
            yield (
                job,
                train_plain(
                    job,
                    feeds[id(data)],
                    device,
                    way="plain",
                    checkpoints=checkpoints,
                    advance=advance,
                ),
            )


@contextmanager
def _ticking(task: Task) -> Iterator[Advance]:
    """Move the bar ten times a second at most: drawing it must not cost what a step costs."""
    waiting, last = 0, time.monotonic()

    def advance(steps: int) -> None:
        nonlocal waiting, last
        waiting += steps
        if waiting and time.monotonic() - last >= TICK_SECONDS:
            task.advance(waiting)
            waiting, last = 0, time.monotonic()

    yield advance
    if waiting:
        task.advance(waiting)
