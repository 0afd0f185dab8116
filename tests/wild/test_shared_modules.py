"""No candidate trains on, or is measured with, weights of another."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from support.jobs import Bar, MemoryStore, blobs, job
from torch import Tensor, nn

from pytest_multiplicity.compute import Machine
from pytest_multiplicity.errors import DefinitionError
from pytest_multiplicity.inference.loaded import each_its_own
from pytest_multiplicity.training import Job, Trained, initial_module
from pytest_multiplicity.training.engine import train

__all__ = ["blobs", "job"]

Make = Callable[..., Job]

BACKBONE = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
TABLE = torch.rand(8, 4)
NET = nn.Linear(4, 3)
START = copy.deepcopy(BACKBONE.state_dict()) | {"table": TABLE.clone()}


class Tabled(nn.Module):
    """Its weight lies in memory of a tensor that all have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Parameter(TABLE), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last((x @ self.table.T).relu())
        return out


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = NORM, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.norm(x))
        return out


NORM = nn.BatchNorm1d(4, affine=False)
SHARED: dict[str, Callable[[], nn.Module]] = {
    "backbone": lambda: nn.Sequential(BACKBONE, nn.Linear(8, 3)),
    "memory": Tabled,
    "buffers": Counted,
    "all of it": lambda: NET,
}


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("optimizer", ["sgd", lambda params, lr: torch.optim.SGD(params, lr)])
def test_each_trains_its_own_copy(job: Make, name: str, optimizer: object) -> None:
    machine = Machine(torch.device("cpu"), MemoryStore(), Bar(), cores=1)  # type: ignore[arg-type]
    jobs = [job(seed, model=SHARED[name], optimizer=optimizer) for seed in range(3)]
    for each in jobs:
        initial_module(each.recipe, each.seeds)  # as is done for the keys of a family
    together = {each.id: found for each, found in train(jobs, machine)}
    alone = dict(train(jobs[2:], machine))
    one, other = together[jobs[2].id], alone[jobs[2]]
    assert isinstance(one, Trained)
    assert isinstance(other, Trained)
    torch.testing.assert_close(one.state, other.state, rtol=1e-4, atol=1e-5)
    kept = BACKBONE.state_dict() | {"table": TABLE}
    assert all(torch.equal(value, START[name]) for name, value in kept.items())
    assert int(NORM.num_batches_tracked) == 0


def loaded(seed: int) -> nn.Module:
    NET.load_state_dict({"weight": torch.full((3, 4), float(seed)), "bias": torch.zeros(3)})
    return NET


def assigned(seed: int) -> nn.Module:
    state = {"weight": torch.full((3, 4), float(seed)), "bias": torch.zeros(3)}
    NET.load_state_dict(state, assign=True)
    return NET


def written(seed: int) -> nn.Module:
    NET.weight.data.fill_(seed)
    return nn.Sequential(NET)


@pytest.mark.parametrize("make", [loaded, assigned, written])
def test_one_module_loaded_into_again_is_refused(make: Callable[[int], nn.Module]) -> None:
    ids = ["seed0", "seed1", "seed2"]
    with pytest.raises(DefinitionError, match=r"changed the weights of seed0.*into=Net"):
        list(each_its_own((make(seed) for seed in range(3)), ids, "loaded"))


def test_what_is_shared_and_left_alone_is_not() -> None:
    made = [nn.Sequential(BACKBONE, nn.Linear(8, 3)) for _ in range(3)]
    assert list(each_its_own(iter([*made, len]), ["a", "b", "c", "d"], "given")) == [*made, len]
