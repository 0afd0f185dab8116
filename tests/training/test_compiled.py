"""The plain way compiled: it learns the same, and one compilation serves all candidates."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.training import planner as planner_module
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.engine import plan, train
from pytest_multiplicity.training.jobs import Job, Trained
from pytest_multiplicity.training.plain import train_plain
from pytest_multiplicity.training.probe import why_not
from pytest_multiplicity.training.ways import Way

Make = Callable[..., Job]
CPU = torch.device("cpu")
PLAIN, COMPILED = Way("plain"), Way("plain", compiled=True)

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
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("compiler")
def test_one_compilation_serves_all_candidates(job: Make, blobs: Data) -> None:
    source, jobs = feed(blobs, CPU), [job(seed, model=wide) for seed in range(4)]
    train_plain(jobs[0], source, CPU, way=COMPILED)
    before = compilations()
    for each in jobs:
        plain, compiled = (train_plain(each, source, CPU, way=w) for w in (PLAIN, COMPILED))
        assert isinstance(plain, Trained)
        assert isinstance(compiled, Trained)
        for name, value in plain.state.items():
            torch.testing.assert_close(compiled.state[name], value, rtol=1e-3, atol=1e-4)
    assert compilations() == before


@pytest.mark.usefixtures("compiler")
def test_the_compiler_is_tried_where_it_may_pay(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bool] = []
    probe = planner_module.probe

    def counted(jobs: Any, modules: Any, ways: Any, *args: Any, **options: Any) -> Any:
        found = probe(jobs, modules, ways, *args, **options)
        tried.extend(way.compiled for way in ways)
        if ways[0].compiled:
            (only,) = found.probed
            assert only.setup > 0
            found.probed[:] = [type(only)(only.way, 0.0, 0)]  # as fast as can be
        return found

    monkeypatch.setattr(planner_module, "probe", counted)
    monkeypatch.setattr(planner_module, "COMPILES", {"cpu"})
    jobs = [job(seed, model=wide) for seed in range(2)]
    (made,) = plan(jobs, device=CPU, store=store, cores=1)
    assert not any(tried)  # 30 s to save milliseconds
    assert not made.way.compiled
    store.entries.clear()
    monkeypatch.setattr(planner_module, "COMPILE_SECONDS", 0.0)
    (made,) = plan(jobs, device=CPU, store=store, cores=1)
    assert made.way.compiled
    assert str(made.way).endswith("compiled")
    results = dict(train(jobs, device=CPU, store=store, progress=bar, cores=1))
    assert all(isinstance(result, Trained) for result in results.values())


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

    source, way = feed(blobs, CPU), COMPILED
    for build, verdict in ((wide, None), (Deep, "compiling changes the gradients")):
        module = build()
        assert why_not([job(0, model=build)], [module], way, source, CPU) == verdict


def test_what_cannot_be_compiled_is_not(
    job: Make, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(planner_module, "COMPILES", {"cpu"})
    monkeypatch.setattr(planner_module, "COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(torch, "compile", broken)
    (made,) = plan([job(0)], device=CPU, store=store, cores=1)
    assert not made.way.compiled
