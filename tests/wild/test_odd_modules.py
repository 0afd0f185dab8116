"""Modules that torch trains, and that look odd from outside."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.jobs import Bar, MemoryStore, blobs, job
from torch import Tensor, nn
from torch.nn.utils import prune

from pytest_multiplicity.compute import Machine, copied
from pytest_multiplicity.training import Diverged, Job, Trained, initial_module
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.fused_training import train_fused
from pytest_multiplicity.training.plain import train_plain

__all__ = ["blobs", "job"]

CPU = torch.device("cpu")
Make = Callable[..., Job]


def trained_by(jobs: list[Job], **settings: Any) -> dict[str, Trained | Diverged]:
    machine = Machine(CPU, MemoryStore(), Bar(), cores=1, **settings)  # type: ignore[arg-type]
    return {job.id: outcome for job, outcome in train(jobs, machine)}


class Masked(nn.Module):
    def __init__(self, value: float = -torch.inf, *, is_buffer: bool = True) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)
        mask = torch.full((4, 4), value).triu(1)
        if is_buffer:
            self.register_buffer("mask", mask)
        else:
            self.mask = nn.Parameter(mask, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.mask.nan_to_num(neginf=-torch.inf) + self.first(x)[:, None, :]
        out: Tensor = self.last(scores.softmax(-1).mean(1))
        return out


def best() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 3))
    net.register_buffer("best_loss", torch.tensor(torch.inf))
    return net


MASKED = {
    "causal mask": Masked,
    "nan": lambda: Masked(torch.nan),
    "frozen parameter": lambda: Masked(is_buffer=False),
    "best so far": best,
}


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("fused", [False, True])
def test_what_is_infinite_from_the_start_is_no_divergence(
    job: Make, name: str, fused: bool
) -> None:
    jobs = [job(seed, model=MASKED[name], lr=0.1) for seed in range(4)]
    source = feed(jobs[0].recipe.data, CPU)
    if fused:
        modules = [initial_module(each.recipe, each.seeds) for each in jobs]
        results = train_fused(jobs, modules, source, CPU)
    else:
        results = [train_plain(jobs[0], source, CPU)]
    assert all(isinstance(each, Trained) for each in results)


def _steep(logits: Tensor, targets: Tensor) -> Tensor:
    return 1e4 * nn.functional.cross_entropy(logits, targets)


def test_weights_that_become_infinite_still_are(job: Make) -> None:
    diverging = job(model=Masked, lr=1e38, epochs=1, batch_size=50, loss=_steep)
    result = train_plain(diverging, feed(diverging.recipe.data, CPU), CPU)
    assert isinstance(result, Diverged)
    assert "mask" not in result.reason


def pruned() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    return net


def normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(torch.nn.utils.weight_norm(nn.Linear(4, 8)), nn.Linear(8, 3))


def keeping() -> nn.Module:
    """Return a module that keeps what it computed last, as many do to plot it."""
    net = nn.Sequential(nn.Linear(4, 3))
    net.kept = net(torch.ones(1, 4))
    return net


UNCOPIED = {"pruned": pruned, "weight norm": normed, "keeps what it computed": keeping}


@pytest.mark.parametrize("name", UNCOPIED)
def test_what_deepcopy_refuses_is_copied_and_trained(job: Make, name: str) -> None:
    module = UNCOPIED[name]()
    twin = copied(module)
    assert torch.equal(twin(torch.ones(2, 4)), module(torch.ones(2, 4)))
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in module.parameters()}
    jobs = [job(seed, model=UNCOPIED[name]) for seed in range(4)]
    assert all(isinstance(each, Trained) for each in trained_by(jobs).values())
