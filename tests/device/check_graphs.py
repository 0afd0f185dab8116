"""Steps of a training as graphs: the bits of steps that aren't, fewer launches, and who says no."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from itertools import count

import pandas as pd
import pytest
import simulated
import torch
from torch import nn
from torch.nn import functional as F

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Arithmetic, Machine
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checkpoints import Checkpoints, Keeper
from pytest_multiplicity.training.checks import Trial
from pytest_multiplicity.training.engine import plan as planned
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.fused_training import train_fused
from pytest_multiplicity.training.jobs import initial_module
from pytest_multiplicity.training.plain import train_plain

DEVICE = torch.device("cuda", 1)
PLAIN, FUSED = Arithmetic(recorded=True), Arithmetic(fused=True, recorded=True)
EPOCHS = 6  # of three whole steps and a part, which is recorded in the fourth


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3)),
    )


def trained(jobs, arithmetic, **options):
    """Return what jobs come to, and how often a graph was replayed."""
    source = feed(jobs[0].recipe.data, DEVICE)
    with simulated.counted() as counts:
        if arithmetic.fused:
            modules = [initial_module(each.recipe, each.seeds) for each in jobs]
            results = train_fused(jobs, modules, source, DEVICE, arithmetic, **options)
        else:
            results = [
                train_plain(each, source, DEVICE, arithmetic=arithmetic, **options) for each in jobs
            ]
    return results, counts.get("replay", 0)


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.history == other.history
        assert one.state.keys() == other.state.keys()
        assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)


def jobs_of(job, arithmetic, **settings):
    settings = {"model": network, "epochs": EPOCHS} | settings
    return [job(seed, **settings) for seed in range(3 if arithmetic.fused else 1)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.0, "weight_decay": 0.01},
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
        {"schedule": "constant", "precision": "bf16"},
        {"schedule": lambda step: 1 / (1 + step)},
        {"loss": lambda answers, targets: F.cross_entropy(answers, targets, label_smoothing=0.1)},
        {"augment": lambda sample: sample + 0.1 * torch.randn(sample.shape)},
    ],
    ids=lambda settings: "-".join(map(str, settings)) or "usual",
)
@pytest.mark.parametrize("arithmetic", [PLAIN, FUSED], ids=str)
def test_bits_are_those_of_steps_that_are_not_recorded(job, arithmetic, settings):
    jobs = jobs_of(job, arithmetic, **settings)
    found, replays = trained(jobs, arithmetic)
    wanted, none = trained(jobs, replace(arithmetic, recorded=False))
    assert (replays, none) == ((18 - 3) + (6 - 3), 0)
    same(found, wanted)
    assert {each.way for each in found} == {str(arithmetic)}


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))


@pytest.mark.parametrize("augment", ["rand", "trivial"])
@pytest.mark.parametrize("arithmetic", [PLAIN, FUSED], ids=str)
def test_images_of_several_steps_are_augmented_at_once_to_the_same_bits(
    job, images, arithmetic, augment, monkeypatch
):
    from pytest_multiplicity.training import augmenting

    settings = {"model": small, "data": images, "batch_size": 8, "augment": augment}
    jobs = jobs_of(job, arithmetic, **settings)
    found, launches = [], []
    for nbytes in (1, augmenting.AHEAD_BYTES):
        monkeypatch.setattr(augmenting, "AHEAD_BYTES", nbytes)
        with simulated.counted() as counts:
            found.append(trained(jobs, arithmetic)[0])
        launches.append(counts["launch"])
    same(*found)
    assert launches[1] < 0.7 * launches[0]
    here = train_plain(jobs[0], feed(images, torch.device("cpu")), torch.device("cpu"))
    assert found[0][0].history[-1]["loss"] == pytest.approx(here.history[-1]["loss"], rel=1e-3)


class Two(nn.Module):
    """Takes two inputs by their names."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, one, other):
        return self.one(one) + self.other(other)


@pytest.mark.parametrize("arithmetic", [PLAIN, FUSED], ids=str)
def test_all_that_a_batch_has_comes_along(job, arithmetic):
    generator = torch.Generator().manual_seed(0)
    inputs = {
        name: torch.rand(50, n, generator=generator) for name, n in (("one", 4), ("other", 2))
    }
    weights = pd.DataFrame({"worth": torch.rand(50, generator=generator).numpy()})
    data = pm.Data(inputs, torch.arange(50) % 3, attributes=weights)
    jobs = jobs_of(job, arithmetic, model=Two, data=data, weight="worth")
    found, replays = trained(jobs, arithmetic)
    assert replays
    same(found, trained(jobs, replace(arithmetic, recorded=False))[0])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("arithmetic", [PLAIN, FUSED], ids=str)
def test_what_was_interrupted_goes_on_to_the_same_bits(job, store, arithmetic, optimizer):
    jobs = jobs_of(job, arithmetic, optimizer=optimizer, lr=0.01)
    kept = [Checkpoints(store, each.key, "any") for each in jobs]

    def keep(position, checkpoint):
        if checkpoint.epochs == 2:
            kept[position].save(checkpoint)

    whole, _ = trained(jobs, arithmetic, keeper=Keeper(keep=keep, seconds=0))
    saved = [each.load() for each in kept]
    for again in (arithmetic, replace(arithmetic, recorded=False)):
        resumed, replays = trained(jobs, again, keeper=Keeper(saved))
        assert (replays > 0) is again.recorded
        same(resumed, whole)


class Counting(nn.Module):
    """Counts its passes on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.passes = nn.Linear(4, 3), 0

    def forward(self, x):
        self.passes += 1
        return self.layer(x)


class Rebinding(Counting):
    """Keeps a mean in a tensor that is another one after each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(3)

    def forward(self, x):
        answers = self.layer(x) - self.mean.to(x.device)
        self.mean = 0.9 * self.mean.to(x.device) + answers.detach().mean(0)
        return answers


class Drawing(Counting):
    """Leaves out itself by a draw on the host."""

    def forward(self, x):
        return self.layer(x) * (2.0 if torch.rand(()) < 0.5 else 1.0)


class Seeding(Counting):
    """Seeds, which nobody may while a graph is recorded, and which nothing shows before."""

    def forward(self, x):
        torch.cuda.manual_seed(7)
        return F.dropout(self.layer(x), 0.2)


def hooked() -> nn.Module:
    model = nn.Linear(4, 3)
    model.register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


class Growing:
    """A loss with a state."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, answers, targets):
        self.calls += 1
        return F.cross_entropy(answers, targets) * (1 + 0.01 * self.calls)


def looking(answers, targets):
    """Look at its own value."""
    loss = F.cross_entropy(answers, targets)
    return loss * 2 if loss.item() > 0.7 else loss


OTHERWISE = {
    "counting": ({"model": Counting}, "the model sets passes in each step"),
    "rebinding": ({"model": Rebinding}, "the model sets mean in each step"),
    "drawing": ({"model": Drawing}, "draws random numbers on the host"),
    "seeding": ({"model": Seeding}, "only if new seed is the same"),
    "hooked": ({"model": hooked}, "the model has hooks"),
    "a loss that waits": ({"loss": looking}, "the host waits for the device in a step"),
    "a loss with a state": ({"loss": Growing()}, "the loss keeps a state"),
    "an optimizer": (
        {"optimizer": lambda params, lr: torch.optim.SGD(params, lr)},
        "custom optimizer",
    ),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_can_not_be_recorded_is_told_and_trained_all_the_same(job, store, bar, name):
    settings, reason = OTHERWISE[name]
    jobs = jobs_of(job, PLAIN, **settings)
    found, replays = trained(jobs, PLAIN)
    wanted, _ = trained(jobs, Arithmetic())
    assert replays == 0
    same(found, wanted)
    assert found[0].way.startswith("plain (no graphs: ")
    assert reason in found[0].way
    machine = Machine(DEVICE, store, bar, cores=1)
    (plan,) = planned(jobs, machine)
    assert not plan.arithmetic.recorded
    assert reason in str(plan)
    ((_, result),) = train(jobs, machine)
    assert result.way == "plain"  # as planned
    same([result], wanted)


@pytest.mark.parametrize("fused", [False, True])
def test_a_family_is_planned_and_trained_in_recorded_steps(job, store, bar, fused):
    jobs = jobs_of(job, FUSED if fused else PLAIN)
    machine = Machine(DEVICE, store, bar, cores=1)
    (plan,) = planned(jobs, machine)
    assert str(plan) == (
        "3 fused, 16 at once, steps as graphs" if fused else "1 plain, steps as graphs"
    )
    with simulated.counted() as counts:
        results = {each.key: result for each, result in train(jobs, machine)}
    assert counts["replay"] == 2 * 3 + 18  # in the trial, and in the training
    wanted, _ = trained(jobs, Arithmetic(fused=fused))
    same([results[each.key] for each in jobs], wanted)


def test_who_comes_to_other_bits_is_not_recorded(job, monkeypatch):
    """As where a library takes another kernel on another stream, or a graph misses something."""
    from pytest_multiplicity.compute import graphs

    def skewed(*arguments, own=graphs.recorded):
        graph, given = own(*arguments)
        return graph, [given[0] + 1, *given[1:]]

    monkeypatch.setattr(graphs, "recorded", skewed)
    jobs = jobs_of(job, FUSED)
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    trial = Trial(jobs, modules, feed(jobs[0].recipe.data, DEVICE), DEVICE)
    assert trial.why_unrecorded(FUSED) == "other bits come of it"
    assert trial.why_unrecorded(PLAIN) == "other bits come of it"


@pytest.mark.parametrize(
    ("settings", "version", "reason"),
    [
        ({"epochs": 1}, None, "too few steps"),
        ({}, "2.9.1+cu128", "torch 2.9.1+cu128 doesn't clear up after a recording that fails"),
    ],
)
def test_what_is_not_worth_it_or_not_safe_is_not_recorded(
    job, monkeypatch, settings, version, reason
):
    monkeypatch.setattr(torch, "__version__", version or torch.__version__)
    jobs = jobs_of(job, PLAIN, **settings)
    module = initial_module(jobs[0].recipe, jobs[0].seeds)
    trial = Trial(jobs, [module], feed(jobs[0].recipe.data, DEVICE), DEVICE)
    assert trial.why_unrecorded(PLAIN) == reason


@pytest.mark.parametrize("arithmetic", [PLAIN, FUSED], ids=str)
def test_graphs_go_with_their_training(job, arithmetic):
    jobs = jobs_of(job, arithmetic)
    trained(jobs, arithmetic)
    gc.collect()
    before = torch.cuda.memory_allocated(DEVICE)
    gc.disable()
    try:
        trained(jobs, arithmetic)
        for _ in range(500):  # until autograd's thread has let go of the last tensor
            if torch.cuda.memory_allocated(DEVICE) == before:
                break
            time.sleep(0.01)
        assert torch.cuda.memory_allocated(DEVICE) == before
    finally:
        gc.enable()


@pytest.mark.parametrize("arithmetic", [PLAIN, FUSED], ids=str)
def test_too_little_memory_for_a_graph_is_told_and_changes_nothing(job, arithmetic, monkeypatch):
    from pytest_multiplicity.compute import graphs

    jobs = jobs_of(job, arithmetic)
    wanted, _ = trained(jobs, replace(arithmetic, recorded=False))
    own, failed = graphs.recorded, []

    def failing(*arguments):
        with simulated.failing(which):
            try:
                return own(*arguments)
            except torch.OutOfMemoryError:
                failed.append(which)
                raise

    monkeypatch.setattr(graphs, "recorded", failing)
    for which in count(1, 4):
        found, _ = trained(jobs, arithmetic)
        same(found, wanted)
        if which not in failed:
            break
        ways = {each.way for each in found}
        assert ways == {f"{arithmetic} (no graphs: too little memory)"}
    assert len(failed) >= 3
