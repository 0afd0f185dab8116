"""Want of memory at every allocation of a small run: the same bits, or an error; never another end.

As SQLite's tests do it. EVERY=1 fails at each allocation, EVERY=7 at each seventh.
"""

from __future__ import annotations

import gc
import os
from functools import partial
from itertools import count

import pytest
import simulated
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Machine, out_of_memory
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.form import Form
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import Chain
from pytest_multiplicity.training import remote
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.plain import train_plain

DEVICE = torch.device("cuda", 1)
EVERY = int(os.environ.get("EVERY", "7"))
MESSAGES = (
    simulated.OUT_OF_MEMORY,
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3))


def trained(job, store, bar, count, **settings):
    """Return states and how they were trained."""
    settings = {"model": network, "epochs": 1, "batch_size": 32} | settings
    jobs = [job(seed, **settings) for seed in range(count)]
    machine = Machine(DEVICE, store, bar, cores=1)
    return {each.key: (result.state, result.way) for each, result in train(jobs, machine)}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, (state, way) in wanted.items():
        assert found[key][1].partition(" (no graphs")[0] == way
        assert all(torch.equal(found[key][0][name], value) for name, value in state.items())


def ended(error: BaseException) -> bool:
    """Say whether an error tells of too little memory."""
    causes = [error, error.__cause__, error.__context__]
    return any(map(out_of_memory, causes)) and isinstance(error, EvaluationError | RuntimeError)


def outcomes(run, check):
    """Fail at one allocation after the other; return how often it went on all the same."""
    wanted = run()
    with simulated.counted() as counts:
        same_again = run()
    check(same_again, wanted)
    went_on = 0
    for which, number in zip(range(1, counts["allocation"] + 1, EVERY), count(), strict=False):
        found = errors = None
        with simulated.failing(which, MESSAGES[number % len(MESSAGES)]):
            try:
                found = run()
            except Exception as error:
                errors = error
        if errors is None:
            check(found, wanted)
            went_on += 1
        else:
            told = f"allocation {which} of {counts['allocation']}: {errors!r}"
            assert ended(errors), told
    check(run(), wanted)  # and nothing is left of it
    return went_on


@pytest.mark.parametrize(
    ("candidates", "settings"),
    [(1, {}), (3, {}), (1, {"optimizer": "adam"}), (1, {"epochs": 5}), (3, {"epochs": 5})],
    ids=str,
)
def test_training(job, store, bar, candidates, settings):
    assert outcomes(lambda: trained(job, store, bar, candidates, **settings), same)


def test_evaluation():
    torch.manual_seed(0)
    models = [
        network().eval().requires_grad_(False).to(DEVICE) for _ in range(6)
    ]  # eight lanes or four
    data = pm.Data(torch.rand(20, 4), torch.arange(20) % 3, bounds=None)

    def run():
        infer = Infer(DEVICE, Counts(), Forms(DEVICE, lambda structure: 6))
        under = Chain((pm.PGD(0.01, steps=2),))
        found = infer(models, data, under, lambda steps: None)
        return {str(i): ({"": each}, str(infer.alike[0][1])) for i, each in enumerate(found)}

    assert outcomes(run, same)


def wide() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))


def squeezed(run):
    """Run with ever less memory until it is too little; return what each run gave."""
    run()
    gc.collect()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    others = torch.cuda.memory_allocated(DEVICE)
    run()
    nbytes, found = torch.cuda.max_memory_allocated(DEVICE) - others, []
    while True:
        gc.collect()
        torch.cuda.empty_cache()
        with simulated.limited(torch.cuda.memory_allocated(DEVICE) + nbytes):
            try:
                found.append(run())
            except Exception as error:
                return found, error
        nbytes -= nbytes // 8


def checked(found, fused, plain):
    """Compare states with those of the way that was said; return the ways in their order."""
    ways = []
    for states in found:
        (way,) = {way.partition(" (no graphs")[0] for _, way in states.values()}
        wanted = fused if way == "fused" else plain
        same(states, {key: (state, way) for key, (state, _) in wanted.items()})
        ways += [way] * (way not in ways)
    return ways


APART = "plain (memory ran out)"


@pytest.fixture
def lanes(monkeypatch):
    """Note in how many lanes each attempt was that trains side by side."""
    seen = []
    filled = remote.train_filled

    def noted(jobs, modules, source, count, *rest, **options):
        seen.append(count)
        return filled(jobs, modules, source, count, *rest, **options)

    monkeypatch.setattr(remote, "train_filled", noted)
    return seen


@pytest.mark.parametrize("epochs", [1, 5])
def test_less_memory_than_planned_is_fewer_lanes_and_in_the_end_none(
    job, store, bar, lanes, epochs
):
    """Others took it in the meantime."""
    jobs = [job(seed, model=wide, epochs=epochs, batch_size=32) for seed in range(4)]
    machine = Machine(DEVICE, store, bar, cores=1)
    tried = []

    def run():
        lanes.clear()
        limit = simulated.device.limit()
        simulated.device.set_limit(1 << 30)
        results = train(jobs, machine, on_plan=lambda plans: simulated.device.set_limit(limit))
        states = {each.key: (result.state, result.way) for each, result in results}
        tried.append(tuple(lanes))
        return states

    fused = run()
    plain = {
        each.key: (train_plain(each, feed(each.recipe.data, DEVICE), DEVICE).state, "")
        for each in jobs
    }
    found, error = squeezed(run)
    assert checked(found, fused, plain) == ["fused", APART]
    graphs = (16,) * (epochs > 3)  # are tried first, and without them
    usual = [(16,), (16, 8), (16, 8, 4), (16, 8, 4, 4)]
    # others begin where autograd's thread still holds a tensor of a graph that was tried
    whole = [each for each in dict.fromkeys(tried) if each[:1] == (16,)]
    assert whole == [(16,)] * bool(graphs) + [graphs + each for each in usual]
    assert isinstance(error, EvaluationError)
    assert "give the machine more memory" in str(error)


def test_too_little_memory_to_look_at_several_is_each_by_itself(job, store, bar, lanes):
    run = partial(trained, job, store, bar, 4, model=wide)
    fused = run()
    jobs = [job(seed, model=wide, epochs=1, batch_size=32) for seed in range(4)]
    plain = {
        each.key: (train_plain(each, feed(each.recipe.data, DEVICE), DEVICE).state, "")
        for each in jobs
    }
    found, error = squeezed(run)
    assert checked(found, fused, plain) == ["fused", APART]
    assert ended(error)


def test_an_evaluation_goes_on_with_fewer_models_and_in_the_end_one():
    torch.manual_seed(0)
    models = [wide().eval().requires_grad_(False).to(DEVICE) for _ in range(6)]
    data = pm.Data(torch.rand(300, 4), torch.arange(300) % 3, bounds=None)
    under = Chain((pm.PGD(0.01, steps=2),))
    whole = Infer(DEVICE, Counts(), Forms(DEVICE, lambda structure: 6))
    fused = whole(models, data, under, lambda steps: None)
    alike = list(whole.alike)
    assert [str(form) for _, form in alike] == ["fused"]
    plain_forms = [((i,), Form()) for i in range(6)]
    plain = whole(models, data, under, lambda steps: None, alike=plain_forms)
    assert not whole.lacking

    def run():
        infer = Infer(DEVICE, Counts(), Forms(DEVICE, lambda structure: 6))
        found = infer(models, data, under, lambda steps: None, alike=alike)
        return found, {i for i, model in enumerate(models) if id(model) in infer.lacking}

    found, error = squeezed(run)
    assert ended(error)
    assert "a model by itself" in str(error)
    alone = [lacking for _, lacking in found]
    for answers, lacking in found:
        for i in range(6):
            wanted = [fused[i], plain[i]] if i in lacking else [fused[i]]
            for rows in (slice(256), slice(256, None)):
                assert any(torch.equal(answers[i][rows], each[rows]) for each in wanted)
    assert alone[0] == set()
    assert alone[-1] == set(range(6))
