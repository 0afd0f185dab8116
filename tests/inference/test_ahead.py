"""Inputs of the next batch are changed while models compute: one at a time, the same bits."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from threading import Event, Lock
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Arithmetic, StalledError
from pytest_multiplicity.inference import Counts
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.form import Form
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import chain

CPU = torch.device("cpu")
SIDE_BY_SIDE = Form(Arithmetic(fused=True), (4,))
BY_NUMPY = Form(Arithmetic(fused=True, by_numpy=True), (4,))
SECONDS = 30  # until what should happen meanwhile is given up


@pytest.fixture(scope="module")
def data():
    inputs = torch.rand(1100, 6, generator=torch.Generator().manual_seed(0))
    return pm.Data(inputs, torch.arange(1100) % 3, name="drawn")


def infer(cores=2, form=None):
    made = Infer(CPU, Counts(), Forms(CPU, lambda structure: 6), cores=cores)
    if form is not None:
        made.forms._found = lambda *_: form
    return made


def networks(count=6):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)) for _ in range(count))
        return [module.eval().requires_grad_(False) for module in made]


def asked(infer, models, data, under):
    return infer(models, data, chain(under), lambda steps: None)


class Meeting(nn.Module):
    """Computes once something else has happened, and notes whether it has."""

    def __init__(self, awaited, noted):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.play = SimpleNamespace(awaited=awaited, noted=noted)

    def forward(self, inputs):
        self.play.noted.append(self.play.awaited.wait(SECONDS))
        return self.layer(inputs)


def drawn(images):
    return images + torch.rand(images.shape) * np.random.rand()  # noqa: NPY002


@pytest.mark.parametrize(
    "under",
    [pm.InputNoise(0.1), pm.Corrupt(drawn), pm.Corrupt(drawn) | pm.PGD(0.05, random_start=True)],
    ids=repr,
)
@pytest.mark.parametrize("form", [SIDE_BY_SIDE, BY_NUMPY, Form()], ids=["torch", "numpy", "alone"])
def test_the_bits_are_those_of_one_core(form, under, data):
    expected = asked(infer(1, form), networks(), data, under)
    for cores in (2, 3, 9):  # the last with several batches at once
        torch.random.manual_seed(cores)
        before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
        got = asked(infer(cores, form), networks(), data, under)
        assert all(torch.equal(*pair) for pair in zip(got, expected, strict=True))
        after = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
        assert torch.equal(before[0], after[0])
        assert before[1] == after[1]


def test_the_next_batch_is_changed_while_models_compute(data):
    second, noted, changed = Event(), [], []

    def seen(images):
        changed.append((threading.current_thread(), len(noted)))
        if len(changed) == 2:
            second.set()
        return images

    models = [Meeting(second, noted) for _ in range(2)]
    here = infer(form=Form())
    asked(here, models, data, pm.Corrupt(seen))
    assert noted == [True] * 2 * 5
    assert [thread for thread, _ in changed] == [threading.current_thread()] * 5
    ahead = [batch - done // 2 for batch, (_, done) in enumerate(changed)]
    assert max(ahead) <= 1  # in memory: a batch that is computed, and one that is changed
    assert here.counts.intervened == 5


def test_in_one_thread_inputs_are_changed_in_turn(data):
    noted, changed = [], []
    models = [Meeting(Event(), noted) for _ in range(2)]
    for model in models:
        model.play.awaited.set()

    def seen(images):
        changed.append(len(noted))
        return images

    asked(infer(1, Form()), models, data, pm.Corrupt(seen))
    asked(infer(2, Form(in_turn=True)), models, data, pm.Corrupt(seen))
    assert changed == [*range(0, 10, 2), *range(10, 20, 2)]


def test_no_unit_computes_two_batches_at_once(data):
    class Once(Meeting):
        def forward(self, inputs):
            free = self.play.awaited.acquire(blocking=False)
            self.play.noted.append(free)
            out = self.layer(inputs)
            if free:
                self.play.awaited.release()
            return out

    noted = []
    models = [Once(Lock(), noted) for _ in range(4)]
    asked(infer(3, Form()), models, data, pm.Corrupt(torch.clone))
    assert noted == [True] * 4 * 5


def failing_at(call):
    calls = []

    def shy(images):
        calls.append(1)
        if len(calls) == call:
            raise ValueError("no more")
        return images

    return pm.Corrupt(shy), calls


def test_an_error_of_an_intervention_is_raised_once_and_leaves_no_thread(data):
    before = threading.active_count()
    under, calls = failing_at(3)
    here, done = infer(), []
    with pytest.raises(ValueError, match="no more"):
        here(networks(), data, chain(under), done.append)
    assert len(calls) == 3
    assert sum(done) == 2 * 6  # what came before it
    assert threading.active_count() == before
    assert not here.begun


def test_an_error_of_a_model_comes_before_that_of_a_later_batch(data):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, inputs):
            raise ArithmeticError("of the model")

    under, calls = failing_at(2)
    before = threading.active_count()
    with pytest.raises(ArithmeticError, match="of the model"):
        asked(infer(form=Form()), [Broken(), Broken()], data, under)
    assert len(calls) == 2
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, StalledError("drawn", 1)])
def test_what_interrupts_an_intervention_comes_at_once(error, data):
    changed, noted = [], []
    go = Event()

    def interrupted(images):
        changed.append(1)
        if len(changed) == 2:
            threading.Timer(0.2, go.set).start()
            raise error
        return images

    here, before = infer(form=Form()), threading.active_count()
    models = [Meeting(go, noted) for _ in range(4)]
    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind):
        asked(here, models, data, pm.Corrupt(interrupted))
    assert here.hung == set()  # models were computing, and it wasn't they who were waited for
    assert go.wait(SECONDS)
    deadline = time.monotonic() + SECONDS
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(noted) <= 2  # what had begun
    assert threading.active_count() <= before


def test_a_piece_that_takes_too_much_memory_is_divided_for_the_next_batch_too(data, monkeypatch):
    expected = asked(infer(1, SIDE_BY_SIDE), networks(), data, pm.InputNoise(0.1))
    here = infer(2, replace(SIDE_BY_SIDE, lanes=(4, 8)))
    logits, refused = type(here)._logits, []

    def poor(self, pair):
        if pair.piece.unit.count > 4:
            refused.append(len(pair.batch.rows))
            return None
        return logits(self, pair)

    monkeypatch.setattr(type(here), "_logits", poor)
    here.forms._found = lambda *_: Form(Arithmetic(fused=True), (4, 16))
    got = asked(here, networks(12), data, pm.InputNoise(0.1))
    assert all(torch.equal(*pair) for pair in zip(got[:6], expected, strict=True))
    assert 0 < len(refused) <= 2 * 2  # those of the first batch, and of the one begun meanwhile
