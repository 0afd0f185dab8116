"""Models of one structure evaluated together: the same logits, whatever the way and company."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.inference import planning, schedules
from pytest_multiplicity.inference.counts import Work
from pytest_multiplicity.inference.executors import Abreast, Alone, Batch, Shelf, Way
from pytest_multiplicity.inference.folding import folded
from pytest_multiplicity.inference.infer import Infer, frozen
from pytest_multiplicity.inference.planning import Planner, Probe
from pytest_multiplicity.inference.schedules import Pace
from pytest_multiplicity.interventions import chain
from pytest_multiplicity.store import LocalStore

CPU = torch.device("cpu")
FORMS = [
    Way(),
    Way(folded=True),
    Way(channels_last=True),
    Way(lanes=4),
    Way(lanes=7, folded=True, channels_last=True),
]


@pytest.fixture(scope="module")
def digits():
    images, targets = load_digits(return_X_y=True)
    inputs = torch.tensor(images[:600], dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return pm.Data(inputs, torch.tensor(targets[:600]), name="digits")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        return self.head((x + F.relu(self.second(x))).mean((2, 3)))


def perceptron():
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(32, 10)),
    )


def convolutional():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32, 10)),
    )


ARCHITECTURES = {"mlp": perceptron, "cnn": convolutional, "residual": Residual}


@pytest.fixture(scope="module")
def trained(digits):
    """Seven networks of each architecture, after two epochs."""
    with torch.random.fork_rng():
        return {
            name: [fitted(build, digits, seed) for seed in range(7)]
            for name, build in ARCHITECTURES.items()
        }


def fitted(build, data, seed):
    torch.manual_seed(seed)
    module = build()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for rows in torch.randperm(2 * len(data)).remainder(len(data)).split(50):
        optimizer.zero_grad()
        F.cross_entropy(module(data.inputs[rows]), data.targets[rows]).backward()
        optimizer.step()
    return frozen(module, CPU)


@pytest.fixture
def inferring(tmp_path):
    """Makes an `Infer` over a store, which goes one way where one is given."""
    with ExitStack() as stores:

        def made(way=None, folder="store"):
            store = stores.enter_context(LocalStore(tmp_path / folder))
            infer = Infer(CPU, Work(), Planner(CPU, store, 35))
            if way is not None:
                infer.planner.way = lambda *_: way
            return infer

        yield made


def logits(infer, models, data, under=None):
    return torch.stack(infer(models, data, chain(under), lambda pairs: None))


@pytest.mark.parametrize("way", FORMS, ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_are_the_plain_ones(name, way, trained, digits, inferring):
    if way.channels_last and name == "mlp":
        way = replace(way, channels_last=False)
    models = trained[name]
    expected = torch.stack([model(digits.inputs) for model in models])
    got = logits(inferring(way), models, digits)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(got.argmax(2), expected.argmax(2))


@pytest.mark.parametrize("under", [None, pm.PGD(0.03, steps=3)], ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("way", [Way(lanes=4), Way(lanes=9, folded=True)], ids=str)
def test_whoever_else_is_there(name, way, under, trained, digits, inferring):
    models = [trained[name][i % 7] for i in range(35)]
    infer = inferring(way)
    data = pm.Data(digits.inputs[:300], digits.targets[:300])
    whole = logits(infer, models, data, under)
    for chosen in ([0], [3, 0, 1, 2], [6, 5, 4, 3, 2, 1, 0]):
        got = logits(infer, [models[i] for i in chosen], data, under)
        assert torch.equal(got, whole[chosen])


@pytest.mark.parametrize("size", [1, 33, 88])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_whatever_the_lane(name, size, trained, digits):
    """Odd batches would begin between two cache lines, in another place in each lane."""
    models, shelf = trained[name], Shelf()
    batch = Batch(digits.inputs[:size], digits.targets[:size], torch.arange(size), digits)
    for way in (Way(lanes=4), Way(lanes=7, folded=True, channels_last=name != "mlp")):
        chosen = models[: way.lanes]
        forwards = shelf.unit(chosen, way).logits(batch)
        assert torch.equal(shelf.unit(chosen[::-1], way).logits(batch).flip(0), forwards)
        alone = shelf.unit(chosen[-1:], way).logits(batch)
        assert torch.equal(alone[0], forwards[-1])


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("under", [pm.PGD(0.03), pm.PGD(0.1, norm="l2", steps=4)], ids=repr)
def test_an_attack_finds_what_it_finds_alone(name, under, trained, digits, inferring):
    models = trained[name]
    plain = logits(inferring(Way()), models, digits, under)
    fused = logits(inferring(Way(lanes=4, folded=True)), models, digits, under)
    robust = [(z.argmax(2) == digits.targets).sum(1) for z in (plain, fused)]
    assert (robust[0] - robust[1]).abs().max() <= 1
    assert (robust[0] < 600).all()


def darker(images, by):
    return (images - by).clamp(0, 1)


@pytest.mark.parametrize("under", [
    pm.PGD(0.02, steps=3) | pm.Corrupt(darker, by=0.1),
    pm.PGD(0.02, steps=3) | pm.InputNoise(0.05) | pm.PGD(0.01, steps=2),
    pm.PGD(0.02, steps=3, random_start=True, restarts=2),
], ids=repr)  # fmt: skip
def test_steps_after_an_attack(under, trained, digits, inferring):
    plain = logits(inferring(Way()), trained["cnn"], digits, under)
    fused = logits(inferring(Way(lanes=4)), trained["cnn"], digits, under)
    near = (plain - fused).abs().amax(2) < 1e-3
    assert near.double().mean() > 0.995  # a rounded gradient may have another sign


@pytest.mark.parametrize("schedule", ["one thread", "all threads", "at once"])
def test_the_schedule_changes_no_bits(schedule, trained, digits, inferring):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        way = Way(lanes=4, folded=True, schedule=schedule)
        got = logits(inferring(way), trained["cnn"], digits, pm.PGD(0.02, steps=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    way = replace(way, schedule="one thread")
    alone = logits(inferring(way), trained["cnn"], digits, pm.PGD(0.02, steps=2))
    assert torch.equal(got, alone)


# --- what is folded


def test_batch_norm_after_a_convolution_goes(trained):
    alone = folded(trained["cnn"][0])
    assert alone is not None
    assert not any(isinstance(part, nn.BatchNorm2d) for part in alone.modules())


class Twice(nn.Module):
    """Uses the convolution's output beside its norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x):
        x = self.conv(x)
        return (self.norm(x) + x).mean((2, 3))


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return (x if x.mean() > 0 else 2 * x).mean((2, 3))


@pytest.mark.parametrize("build", [lambda: nn.Linear(2, 2), Twice, Deciding])
def test_what_cannot_be_folded_is_not(build):
    assert folded(build().eval()) is None


# --- the choice


def counted_probes(monkeypatch):
    found = []
    best = Probe.best

    def counted(self, *, alike):
        found.append(alike)
        return best(self, alike=alike)

    monkeypatch.setattr(Probe, "best", counted)
    return found


def test_a_way_is_chosen_once_for_a_structure(trained, digits, inferring, monkeypatch):
    probes = counted_probes(monkeypatch)
    infer = inferring()
    first = logits(infer, trained["cnn"], digits)
    logits(infer, trained["cnn"][:2], digits, pm.InputNoise(0.1))
    assert len(probes) == 1
    assert torch.equal(logits(inferring(), trained["cnn"][3:], digits), first[3:])
    assert len(probes) == 1  # another process reads it
    logits(infer, trained["cnn"], digits, pm.PGD(0.01, steps=2))
    assert len(probes) == 2  # gradients are another matter
    logits(infer, trained["mlp"], digits)
    assert len(probes) == 3


def test_a_way_has_a_second_chance_where_it_was_not_hopeless(
    trained, digits, inferring, monkeypatch
):
    """Something else may have run on the machine just when it was tried."""
    tried: Counter[Way] = Counter()

    def needed(self, way, schedule):
        if schedule == "all threads":
            tried[way] += 1
        if way == Way(lanes=4, folded=True, channels_last=True):
            return 0.4 if tried[way] > 1 else 0.7  # at first it was disturbed
        if way.lanes == 4:
            return 5.0
        return 1.0 - 0.2 * way.folded - 0.2 * way.channels_last

    monkeypatch.setattr(planning, "_lanes", lambda count, cores: [4])
    monkeypatch.setattr(Probe, "_needed", needed)
    infer = inferring()
    logits(infer, trained["cnn"], digits)
    (way,) = infer.planner.ways
    assert replace(way, schedule=None) == Way(lanes=4, folded=True, channels_last=True)
    assert tried == {
        Way(): 1,
        Way(folded=True): 1,
        Way(folded=True, channels_last=True): 1,
        Way(lanes=4, folded=True, channels_last=True): 2,
    }


def test_a_search_stacks_a_family_once(trained, digits, inferring, monkeypatch):
    stacked = []
    initial = Abreast.__init__

    def counted(self, modules, lanes, **options):
        stacked.append(len(modules))
        initial(self, modules, lanes, **options)

    monkeypatch.setattr(Abreast, "__init__", counted)
    infer = inferring(Way(lanes=4))
    for scale in (0.01, 0.02, 0.03):
        logits(infer, trained["cnn"], digits, pm.InputNoise(scale))
    assert stacked == [4, 3]


def test_the_shelf_is_bounded(trained, monkeypatch):
    monkeypatch.setattr("pytest_multiplicity.inference.executors.SHELF_BYTES", 1)
    shelf, models = Shelf(), trained["mlp"][:4]
    one = shelf.unit(models, Way(lanes=4))
    assert shelf.unit(models, Way(lanes=4)) is one
    shelf.unit(models[::-1], Way(lanes=4))
    assert shelf.unit(models, Way(lanes=4)) is not one


class Stubborn(nn.Module):
    """Decides by a value, so that it can't run side by side."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(x.flatten(1)) * (2.0 if self.head.weight.sum() > 0 else 1.0)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(x.flatten(1)) + 0 * torch.rand(1)


def hooked():
    module = perceptron()
    module.register_forward_hook(lambda module, inputs, outputs: outputs + 1)
    return module


@pytest.mark.parametrize("build", [Stubborn, Noisy, hooked])
def test_what_cannot_be_fused_is_evaluated_all_the_same(build, digits, inferring):
    models = [frozen(build(), CPU) for _ in range(5)]
    infer = inferring()
    got = logits(infer, models, digits)
    expected = torch.stack([model(digits.inputs) for model in models])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    batch = SimpleNamespace(inputs=digits.inputs[:256])
    demand = planning.Demand(gradients=False, joint=True, parallel=True)
    assert infer.planner.way(models, batch, demand).lanes == 1


def test_mixed_families(trained, digits, inferring):
    def opaque(batch):
        return batch.flatten(1)[:, :10]

    models = [trained["cnn"][0], opaque, trained["mlp"][0], trained["cnn"][1], hooked().eval()]
    infer = inferring()
    got = logits(infer, models, digits)
    expected = torch.stack([model(digits.inputs) for model in models])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert infer.work.inferred == 5


def test_the_global_random_state_is_left_alone(trained, digits, inferring):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    logits(inferring(), trained["cnn"], digits, pm.PGD(0.01, steps=2))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert states[2] == random.getstate()


def test_what_takes_too_much_memory_is_halved(trained, digits, inferring, monkeypatch):
    tried = []
    shared = Abreast.shared

    def limited(self, inputs):
        tried.append(self._lanes)
        if self._lanes > 4:
            raise torch.OutOfMemoryError("no room")
        return shared(self, inputs)

    monkeypatch.setattr(Abreast, "shared", limited)
    got = logits(inferring(Way(lanes=8)), trained["cnn"], digits)
    assert tried == [8, 4, 4, 4, 4, 4, 4]  # three batches, the later ones in what fits
    expected = torch.stack([model(digits.inputs) for model in trained["cnn"]])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_a_model_alone_that_takes_too_much_memory_is_an_error(digits, inferring):
    def greedy(batch):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        logits(inferring(), [greedy], digits)
    assert Alone(greedy).smaller() == []


# --- the schedule


def test_the_fastest_schedule_is_found_and_looked_for_again():
    pace, clock = Pace(), SimpleNamespace(now=0.0)
    costs = {"all threads": 1.0, "at once": 2.0, "one thread": 4.0}

    def rounds(count):
        chosen = []
        for _ in range(count):
            with pace.timed(tuple(costs), 10) as schedule:
                clock.now += 10 * costs[schedule]
            chosen.append(schedule)
        return chosen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules.time, "perf_counter", lambda: clock.now)
        assert rounds(3) == list(costs)
        assert set(rounds(30)) == {"all threads"}
        costs["all threads"] = 100.0  # somebody else has come
        assert rounds(9).count("all threads") == 2
        costs["all threads"] = 1.0  # and gone
        later = rounds(2000)
        assert later[-1] == "all threads"
        assert later.count("one thread") <= 0.05 * len(later)


@pytest.mark.parametrize("accident", [0, 5])
def test_a_schedule_that_was_slow_by_accident_is_soon_used_again(accident):
    """A first run is often slow, and any may be; what it is compared with need not be better."""
    pace, clock, chosen = Pace(), SimpleNamespace(now=0.0), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules.time, "perf_counter", lambda: clock.now)
        for _ in range(30):
            with pace.timed(("all threads", "one thread"), 256, 20) as schedule:
                slow = 3.0 if len(chosen) == accident else 1.0
                clock.now += {"all threads": slow, "one thread": 2.5}[schedule]
            chosen.append(schedule)
    assert chosen[10:] == ["all threads"] * 20
    assert accident == 0 or chosen.count("one thread") == 1


def test_the_rest_of_a_data_set_tells_nothing_of_speed():
    """Five samples take as long as fifty: by the sample any schedule would look ten times slow."""
    pace, clock = Pace(), SimpleNamespace(now=0.0)
    spent = dict.fromkeys(("all threads", "one thread"), 0.0)
    costs = {"all threads": 1.0, "one thread": 3.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules.time, "perf_counter", lambda: clock.now)
        for samples, passes in ((256, 20), (256, 20), (5, 20), (256, 1)) * 20:
            with pace.timed(tuple(costs), samples, passes) as schedule:
                seconds = costs[schedule] * max(50, samples) * passes
                clock.now += seconds
            spent[schedule] += seconds
    assert spent["one thread"] < 0.1 * clock.now, spent
