"""What comes back from the store answers as what was trained did."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.jobs import blobs, job
from torch import Tensor, nn

from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training import Job, Trained, initial_module, restore
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checkpoints import Checkpoint, Keeper
from pytest_multiplicity.training.fused_training import train_fused
from pytest_multiplicity.training.plain import train_plain
from pytest_multiplicity.training.state import REST

__all__ = ["blobs", "job"]

CPU = torch.device("cpu")
Make = Callable[..., Job]


class Learning(nn.Module):
    """Learns its scale in training, in a place of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.start()

    def start(self) -> None:
        raise NotImplementedError

    def learn(self, x: Tensor) -> Tensor | float:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(x * self.learn(x))
        return out


class InBuffer(Learning):
    scale: Tensor

    def start(self) -> None:
        self.register_buffer("scale", torch.ones(4), persistent=False)

    def learn(self, x: Tensor) -> Tensor:
        if self.training:
            self.scale.mul_(0.5).add_(x.detach().abs().mean(0))
        return self.scale


class InTensor(Learning):
    def start(self) -> None:
        self.scale = torch.ones(4)

    def learn(self, x: Tensor) -> Tensor:
        if self.training:
            self.scale = 0.5 * self.scale + x.detach().abs().mean(0)
        return self.scale


class InNumber(Learning):
    def start(self) -> None:
        self.steps = 0

    def learn(self, x: Tensor) -> float:
        self.steps += self.training
        return 1 + self.steps / 10


class InDict(Learning):
    def start(self) -> None:
        self.seen = {"steps": [0]}

    def learn(self, x: Tensor) -> float:
        if self.training:
            self.seen["steps"].append(1)
        return 1 + sum(self.seen["steps"]) / 10


class InNewBuffer(Learning):
    def start(self) -> None:
        pass

    def learn(self, x: Tensor) -> Tensor:
        if "scale" not in self._buffers:
            self.register_buffer("scale", x.detach().abs().mean(0) + 1)
        scale: Tensor = self.get_buffer("scale")
        return scale


class InExtra(Learning):
    def start(self) -> None:
        self.steps = 0

    def learn(self, x: Tensor) -> float:
        self.steps += self.training
        return 1 + self.steps / 10

    def get_extra_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


KEPT = [InBuffer, InTensor, InNumber, InDict, InNewBuffer, InExtra]


def answers_of(module: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = module.eval()(inputs)
    return out


@pytest.mark.parametrize("kind", KEPT)
def test_is_kept(job: Make, kind: type[Learning]) -> None:
    made = job(model=kind, epochs=2)
    module, data = initial_module(made.recipe, made.seeds), made.recipe.data
    trained = train_plain(made, feed(data, CPU), CPU, module=module)
    assert isinstance(trained, Trained)
    again = initial_module(made.recipe, made.seeds)
    restore(again, trained.state)
    assert torch.equal(answers_of(again, data.inputs), answers_of(module, data.inputs))


@pytest.mark.parametrize("kind", KEPT)
def test_an_interrupted_training_goes_on_with_it(job: Make, kind: type[Learning]) -> None:
    made, kept = job(model=kind), list[Checkpoint]()
    source = feed(made.recipe.data, CPU)
    keeper = Keeper(keep=lambda position, saved: kept.append(copy.deepcopy(saved)), seconds=0)
    whole = train_plain(made, source, CPU, keeper=keeper)
    resumed = train_plain(made, source, CPU, keeper=Keeper(kept[:1]))
    assert isinstance(whole, Trained)
    assert isinstance(resumed, Trained)
    assert all(torch.equal(value, resumed.state[name]) for name, value in whole.state.items())


@pytest.mark.parametrize("kind", [InBuffer, InNumber])
def test_is_kept_of_candidates_side_by_side(job: Make, kind: type[Learning]) -> None:
    jobs = [job(seed, model=kind) for seed in range(4)]
    source = feed(jobs[0].recipe.data, CPU)
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    fused = train_fused(jobs, modules, source, CPU)
    for each, found in zip(jobs, fused, strict=True):
        module = initial_module(each.recipe, each.seeds)
        train_plain(each, source, CPU, module=module)
        again = initial_module(each.recipe, each.seeds)
        assert isinstance(found, Trained)
        restore(again, found.state)
        inputs = each.recipe.data.inputs
        got, expected = answers_of(again, inputs), answers_of(module, inputs)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


class Remembering(nn.Module):
    """Leaves there what it computed last, which nothing rests on."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.calls = nn.Linear(4, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.hidden = self.last(x)
        return self.hidden


class Hiding(Learning):
    def start(self) -> None:
        self.past: deque[float] = deque(maxlen=5)

    def learn(self, x: Tensor) -> float:
        if self.training:
            self.past.append(float(x.mean()))
        return 1 + sum(self.past)


class Untold(InExtra):
    def get_extra_state(self) -> dict[str, Any]:
        return {"steps": Hiding}


def test_what_nothing_rests_on_is_not(job: Make) -> None:
    made = job(model=Remembering)
    trained = train_plain(made, feed(made.recipe.data, CPU), CPU)
    assert isinstance(trained, Trained)
    assert REST not in trained.state


@pytest.mark.parametrize(("kind", "name"), [(Hiding, "past"), (Untold, "_extra_state")])
def test_what_cannot_be_stored_is_refused_early(job: Make, kind: type[Learning], name: str) -> None:
    made, steps = job(model=kind, epochs=5), list[int]()
    with pytest.raises(RecipeError, match=rf"keeps {name} where it can't be stored"):
        train_plain(made, feed(made.recipe.data, CPU), CPU, advance=steps.append)
    assert sum(steps) <= made.steps_per_epoch
