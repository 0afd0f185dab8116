"""Each training has loss, schedule and transform of its own, as they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.jobs import Bar, MemoryStore, blobs, job
from torch import Tensor

from pytest_multiplicity.compute import Machine
from pytest_multiplicity.training import Job, Trained
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checkpoints import Keeper
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.own import own, stepped
from pytest_multiplicity.training.plain import train_plain

__all__ = ["blobs", "job"]

CPU = torch.device("cpu")
Make = Callable[..., Job]


class Annealed:
    """Label smoothing that fades: it counts its own steps."""

    def __init__(self) -> None:
        self.step = 0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.step += 1
        return F.cross_entropy(logits, targets, label_smoothing=max(0.0, 0.9 - 0.1 * self.step))


def counting() -> Callable[[Tensor, Tensor], Tensor]:
    count = {"step": 0}

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        count["step"] += 1
        return F.cross_entropy(logits, targets) / count["step"]

    return loss


def falling() -> Callable[[int], float]:
    factor = 1.0

    def schedule(step: int) -> float:
        nonlocal factor
        factor *= 0.9
        return factor

    return schedule


class Shaken:
    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, sample: Tensor) -> Tensor:
        return sample + 0.1 * torch.randn(sample.shape, generator=self.generator)


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "an object": lambda: {"loss": Annealed()},
    "a closure": lambda: {"loss": counting()},
    "a bound method": lambda: {"loss": Annealed().__call__},
    "a schedule": lambda: {"schedule": falling()},
    "a transform with a generator": lambda: {"augment": Shaken()},
}


def all_trained(jobs: list[Job]) -> dict[str, Trained]:
    machine = Machine(CPU, MemoryStore(), Bar(), cores=1)  # type: ignore[arg-type]
    return {job.id: found for job, found in train(jobs, machine) if isinstance(found, Trained)}


@pytest.mark.parametrize("kind", KINDS)
def test_neither_checks_nor_neighbours_step_it(job: Make, kind: str) -> None:
    common = KINDS[kind]()
    together = all_trained([job(seed, **common) for seed in range(4)])
    alone = train_plain(job(3, **KINDS[kind]()), feed(job().recipe.data, CPU), CPU)
    assert isinstance(alone, Trained)
    again = all_trained([job(seed, **common) for seed in range(4)])
    for name, value in together["job-seed3"].state.items():
        torch.testing.assert_close(value, alone.state[name])
        assert torch.equal(value, again["job-seed3"].state[name])
    lrs = [row["lr"] for row in together["job-seed3"].history]
    assert lrs == pytest.approx([row["lr"] for row in alone.history])


@pytest.mark.parametrize("kind", KINDS)
def test_what_checkpoints_would_lose_keeps_none(job: Make, kind: str) -> None:
    kept: list[object] = []
    keeper = Keeper(keep=lambda position, saved: kept.append(saved), seconds=0)
    made = job(**KINDS[kind]())
    train_plain(made, feed(made.recipe.data, CPU), CPU, keeper=keeper)
    assert not kept
    usual = job()
    train_plain(usual, feed(usual.recipe.data, CPU), CPU, keeper=keeper)
    assert kept


def test_data_and_what_cannot_be_copied_are_used_as_they_are(job: Make) -> None:
    import threading

    lock, weight, data = threading.Lock(), torch.ones(3), job().recipe.data

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        with lock:
            return F.cross_entropy(logits, targets, weight=weight * (len(data) > 0))

    made = job(loss=loss)
    copy = own(made, CPU)
    captured = dict(zip(loss.__code__.co_freevars, copy.recipe.loss.__closure__, strict=True))
    assert captured["lock"].cell_contents is lock
    assert captured["data"].cell_contents is data
    assert captured["weight"].cell_contents is not weight
    assert not stepped(own(job(), CPU).recipe, job().recipe)
