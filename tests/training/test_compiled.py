"""The plain way compiled: it learns the same, and one compilation serves all candidates."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pytest_multiplicity.compute.arithmetic import Arithmetic
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.data import Data
from pytest_multiplicity.training import plain as plain_module
from pytest_multiplicity.training import plan as plan_module
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checks import Trial
from pytest_multiplicity.training.engine import plan, train
from pytest_multiplicity.training.jobs import Job, Trained, initial_module
from pytest_multiplicity.training.plain import train_plain

Make = Callable[..., Job]
CPU = torch.device("cpu")
PLAIN, COMPILED = Arithmetic(), Arithmetic(compiled=True)

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="on a CPU the compiler needs one of C++: g++"
)


def wide() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def compilations() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


@pytest.fixture
def compiler() -> Any:
    from torch._inductor import config

    torch.compiler.reset()
    # processes that compile beside one another import torch first, for kernels that take a moment
    with config.patch(compile_threads=1):
        yield
    torch.compiler.reset()


@pytest.mark.usefixtures("compiler")
def test_one_compilation_serves_all_candidates(job: Make, blobs: Data) -> None:
    source, jobs = feed(blobs, CPU), [job(seed, model=wide) for seed in range(4)]
    train_plain(jobs[0], source, CPU, arithmetic=COMPILED)
    before = compilations()
    for each in jobs:
        plain, compiled = (train_plain(each, source, CPU, arithmetic=a) for a in (PLAIN, COMPILED))
        assert isinstance(plain, Trained)
        assert isinstance(compiled, Trained)
        for name, value in plain.state.items():
            torch.testing.assert_close(compiled.state[name], value, rtol=1e-3, atol=1e-4)
    assert compilations() == before


@pytest.mark.usefixtures("compiler")
def test_compiled_candidates_train_as_planned(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "of_training", lambda *args, **settings: COMPILED)
    jobs = [job(seed, model=wide) for seed in range(2)]
    (made,) = plan(jobs, Machine(CPU, store, bar, cores=1))
    assert made.arithmetic == COMPILED
    results = dict(train(jobs, Machine(CPU, store, bar, cores=1)))
    assert {result.way for result in results.values() if isinstance(result, Trained)} == {
        "plain, compiled"
    }


def test_what_is_compiled_is_compared_in_float32(
    job: Make, blobs: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 two right gradients are further apart than a wrong one may be."""
    casts = []

    class Compiled(nn.Module):
        def __init__(self, own: nn.Module) -> None:
            super().__init__()
            self.own = own

        def forward(self, inputs: torch.Tensor) -> Any:
            casts.append(torch.is_autocast_enabled("cpu"))
            return self.own(inputs)

    monkeypatch.setattr(plain_module, "_compiled", lambda module, device: Compiled(module))
    made = job(model=wide, precision="bf16")
    trial = Trial([made], [initial_module(made.recipe, made.seeds)], feed(blobs, CPU), CPU)
    assert trial.why_not(COMPILED) is None
    assert set(casts) == {False}


@pytest.mark.usefixtures("compiler")
def test_what_is_compiled_is_compared(job: Make, blobs: Data) -> None:
    class Deep(nn.Module):
        """It computes something else when compiled."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(x)
            return 2 * out if torch.compiler.is_compiling() else out

    for build, verdict in ((wide, None), (Deep, "compiling changes the gradients")):
        module = build()
        trial = Trial([job(0, model=build)], [module], feed(blobs, CPU), CPU)
        assert trial.why_not(COMPILED) == verdict


def test_what_cannot_be_compiled_is_not(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(plan_module, "of_training", lambda *args, **settings: COMPILED)
    monkeypatch.setattr(torch, "compile", broken)
    (made,) = plan([job(0)], Machine(CPU, store, bar, cores=1))
    assert made.arithmetic == PLAIN
    assert made.reason == "RuntimeError: no compiler here"
