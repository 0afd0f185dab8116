"""Logits computed on a cluster, here one of this machine's processes: the same to the last bit."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Arithmetic
from pytest_multiplicity.compute.workers import Workers
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.inference import Counts
from pytest_multiplicity.inference import on_cluster as elsewhere
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.form import IN_TURN, Form
from pytest_multiplicity.inference.given import frozen
from pytest_multiplicity.inference.infer import BATCH, Infer
from pytest_multiplicity.inference.on_cluster import FarInfer, shared_out
from pytest_multiplicity.interventions import chain

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need a socket pair")


class Processes:
    """Two worker processes in the place of a cluster, counting the tasks they get."""

    def __init__(self, stack: ExitStack) -> None:
        self.workers = stack.enter_context(Workers(2))
        self.count, self.tasks = 2, 0

    def pool(self, device, patience, *, as_here=False):
        assert as_here
        return self

    def perform(self, waiting, make, **settings):
        def counted(item):
            self.tasks += 1
            return make(item)

        return self.workers.perform(waiting, counted, **settings)


@pytest.fixture(scope="module")
def cluster():
    with ExitStack() as stack:
        yield Processes(stack)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(6 * BATCH + 10) % 3
    return pm.Data(torch.rand(len(targets), 1, 6, 6, generator=generator), targets)


@pytest.fixture(scope="module")
def models():
    def made(seed, width):
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten()
        return frozen(nn.Sequential(*layers, nn.Linear(16 * width, 3)), CPU)

    with torch.random.fork_rng():
        return [made(seed, 4 + 2 * (seed % 2)) for seed in range(9)]


@pytest.fixture
def infer():
    made = Infer(CPU, Counts(), Forms(CPU, lambda structure: 9))
    made.forms._found = lambda *_: Form(Arithmetic(fused=True), (4, 8))
    return made


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(elsewhere, "PAYS", 0.0)


@pytest.mark.parametrize(
    "under",
    [None, pm.PGD(0.05, steps=3), pm.InputNoise(0.1), pm.InputNoise(0.1) | pm.PGD(0.05, steps=2)],
    ids=str,
)
def test_logits_and_counts_are_those_of_an_evaluation_here(
    under, models, data, infer, cluster, always
):
    moves, before = Counter(), cluster.tasks
    expected = infer(models, data, chain(under), lambda pairs: moves.update(here=pairs))
    counted = asdict(infer.counts)
    infer.counts.inferred = infer.counts.intervened = 0
    far = FarInfer(infer, cluster, 0.0)
    got = far(models, data, chain(under), lambda pairs: moves.update(far=pairs))
    assert torch.equal(torch.stack(got), torch.stack(expected))
    assert asdict(infer.counts) == counted
    assert moves["far"] == moves["here"] == 7 * len(models)
    assert cluster.tasks - before == 4  # two for each worker, of the five batches that are left


def test_a_short_evaluation_stays_here(models, data, infer, cluster, monkeypatch):
    monkeypatch.setattr(elsewhere, "PAYS", 600.0)
    before = cluster.tasks
    got = FarInfer(infer, cluster, 0.0)(models, data, chain(None), lambda pairs: None)
    assert torch.equal(torch.stack(got), torch.stack(infer(models, data, chain(None), print)))
    assert cluster.tasks == before


def test_callables_stay_here(models, data, infer, cluster, always):
    before = cluster.tasks
    opaque = [*models[:2], lambda batch: models[2](batch)]
    got = FarInfer(infer, cluster, 0.0)(opaque, data, chain(None), lambda pairs: None)
    assert len(got) == 3
    assert cluster.tasks == before


def test_what_may_mind_threads_stays_here(models, data, infer, cluster, always):
    infer.forms._found = lambda *_: IN_TURN
    before = cluster.tasks
    got = FarInfer(infer, cluster, 0.0)(models[:2], data, chain(None), lambda pairs: None)
    assert len(got) == 2
    assert cluster.tasks == before


def test_what_cannot_be_sent_is_computed_here(models, data, infer, cluster, always):
    class Stuck(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = models[0]

        def forward(self, batch):
            return self.net(batch)

        def __deepcopy__(self, memo):
            return self

        def __reduce__(self):
            raise TypeError("not on a journey")

    stuck = frozen(Stuck(), CPU)
    infer.forms._found = lambda *_: Form()
    got = FarInfer(infer, cluster, 0.0)([stuck], data, chain(None), lambda pairs: None)
    expected = infer([models[0]], data, chain(None), lambda pairs: None)
    assert torch.equal(got[0], expected[0])


def test_a_network_that_kills_workers_is_an_error(data, infer, cluster, always):
    parent = os.getpid()

    class Deadly(nn.Linear):
        def forward(self, batch):
            if os.getpid() != parent:
                os._exit(1)
            return super().forward(batch.flatten(1))

    infer.forms._found = lambda *_: Form()
    far = FarInfer(infer, cluster, 0.0)
    with pytest.raises(EvaluationError, match=r"killed a worker process twice \(exit status"):
        far([frozen(Deadly(36, 3), CPU)], data, chain(None), lambda pairs: None)


@given(st.integers(1, 50), st.integers(1, 40), st.integers(1, 64))
def test_every_batch_of_every_model_is_computed_once(batches, models, workers):
    starts = range(2 * BATCH, (2 + batches) * BATCH, BATCH)
    shares = shared_out(starts, models, workers)
    pairs = Counter((start, model) for s in shares for start in s.starts for model in s.models)
    assert set(pairs.values()) == {1}
    assert len(pairs) == batches * models
    assert len(shares) <= max(2 * workers, batches)
    if batches >= workers:
        assert all(len(share.models) == models for share in shares)  # inputs are made once
