"""Training on a device: from any device, with any loss, and to the same bits every time."""

from __future__ import annotations

from functools import partial

import pytest
import simulated
import torch
from torch import nn
from torch.nn import functional as F

from pytest_multiplicity.compute import Arithmetic, preserved_rng, seed_step
from pytest_multiplicity.compute.devices import random_states
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checkpoints import Checkpoints, Keeper
from pytest_multiplicity.training.checks import Trial
from pytest_multiplicity.training.fused_training import train_fused
from pytest_multiplicity.training.jobs import initial_module
from pytest_multiplicity.training.plain import train_plain

CPU, DEVICE = torch.device("cpu"), torch.device("cuda", 1)
FUSED = Arithmetic(fused=True)


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))


def still() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def alike(state, other, **tolerances):
    assert state.keys() == other.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, other[name], **tolerances)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_it_learns_what_the_cpu_does(job, blobs, optimizer):
    made = job(model=still, optimizer=optimizer, lr=0.01, weight_decay=0.01)
    here, there = (train_plain(made, feed(blobs, device), device) for device in (CPU, DEVICE))
    alike(here.state, there.state, rtol=1e-4, atol=1e-5)
    assert here.history[-1]["loss"] == pytest.approx(there.history[-1]["loss"], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_side_by_side_it_learns_the_same(job, blobs, optimizer):
    jobs = [job(seed, model=still, optimizer=optimizer, lr=0.01) for seed in range(3)]
    source = feed(blobs, DEVICE)
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    together = train_fused(jobs, modules, source, DEVICE)
    for each, result in zip(jobs, together, strict=True):
        alike(train_plain(each, source, DEVICE).state, result.state, rtol=1e-4, atol=1e-5)


def test_dropout_does_not_depend_on_what_was_drawn_before(job, blobs):
    source, made = feed(blobs, DEVICE), job(model=dropping)
    first = train_plain(made, source, DEVICE)
    torch.rand(7, device=DEVICE)
    alike(first.state, train_plain(made, source, DEVICE).state, rtol=0, atol=0)


def test_a_step_seeds_its_own_device_and_no_other():
    with preserved_rng():
        torch.cuda.manual_seed_all(1)
        other = torch.rand(3, device="cuda:0")
        torch.cuda.manual_seed_all(1)
        seed_step(5, DEVICE)
        first = torch.rand(3, device=DEVICE)
        assert torch.equal(torch.rand(3, device="cuda:0"), other)
        seed_step(5, DEVICE)
        assert torch.equal(torch.rand(3, device=DEVICE), first)


def test_random_states_are_put_back_on_every_device():
    def states():
        return [state.tolist() for state in random_states()[0]]

    before = states()
    with preserved_rng():
        torch.rand(3, device=DEVICE)
        torch.rand(3, device="cuda:0")
        assert states() != before
    assert states() == before


def weighing(weights):
    return lambda answers, targets: F.cross_entropy(answers, targets, weight=weights)


WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=WEIGHTS),
        weighing(WEIGHTS),
        partial(F.cross_entropy, weight=WEIGHTS),
        weighing(nn.CrossEntropyLoss(weight=WEIGHTS).weight),
    ],
    ids=["module", "function", "partial", "buffer"],
)
@pytest.mark.parametrize("arithmetic", [Arithmetic(), FUSED], ids=str)
def test_weights_of_a_loss_come_along(job, blobs, loss, arithmetic):
    made = job(model=still, loss=loss)

    def trained(device):
        if not arithmetic.fused:
            return train_plain(made, feed(blobs, device), device)
        module = initial_module(made.recipe, made.seeds)
        return train_fused([made], [module], feed(blobs, device), device)[0]

    alike(trained(CPU).state, trained(DEVICE).state, rtol=1e-4, atol=1e-5)
    assert WEIGHTS.device == CPU


def test_transforms_may_make_tensors_on_the_cpu(job, blobs):
    def noisy(sample):
        return sample + 0.1 * torch.randn(sample.shape)

    made = job(model=still, augment=noisy)
    here, there = (train_plain(made, feed(blobs, device), device) for device in (CPU, DEVICE))
    alike(here.state, there.state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("arithmetic", [Arithmetic(), FUSED], ids=str)
def test_what_was_begun_on_a_device_goes_on_without_it(
    job, blobs, store, optimizer, arithmetic, monkeypatch
):
    made = job(model=still, optimizer=optimizer, lr=0.01)
    kept = Checkpoints(store, made.key, "any")

    def trained(device, keeper):
        if not arithmetic.fused:
            return train_plain(made, feed(blobs, device), device, keeper=keeper)
        module = initial_module(made.recipe, made.seeds)
        return train_fused([made], [module], feed(blobs, device), device, keeper=keeper)[0]

    def keep(position, checkpoint):
        if checkpoint.epochs == 2:
            kept.save(checkpoint)

    whole = trained(DEVICE, Keeper(keep=keep, seconds=0))
    monkeypatch.setattr(simulated, "COUNT", 1)
    for device in (CPU, torch.device("cuda:0")):
        resumed = trained(device, Keeper([kept.load()]))
        alike(whole.state, resumed.state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [still, dropping])
def test_models_are_fused_whatever_masks_other_kernels_draw(job, blobs, model):
    jobs = [job(seed, model=model) for seed in range(4)]
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    assert Trial(jobs, modules, feed(blobs, DEVICE), DEVICE).why_not(FUSED) is None


def test_who_depends_on_neighbours_is_not_fused(job, blobs, monkeypatch):
    """As where a kernel takes another way for the lanes in the end of a batch of products."""
    from pytest_multiplicity.compute import fused

    def leaking(self, inputs, own=fused.FusedModule.__call__):
        answers = own(self, inputs)
        return answers * (1 + 1e-3 * answers.detach()[-1].mean() * (answers.dtype is torch.float32))

    monkeypatch.setattr(fused.FusedModule, "__call__", leaking)
    jobs = [job(seed, model=still) for seed in range(4)]
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    told = Trial(jobs, modules, feed(blobs, DEVICE), DEVICE).why_not(FUSED)
    assert told == "a candidate would depend on its neighbours"


@pytest.mark.parametrize("count", [1, 5])
def test_a_candidate_s_bits_are_the_same_in_any_number(job, blobs, count):
    jobs = [job(seed, model=dropping) for seed in range(16)]
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    source = feed(blobs, DEVICE)
    many = train_fused(jobs, modules, source, DEVICE)
    few = train_fused(jobs[:count], modules[:count], source, DEVICE)
    for one, other in zip(many[:count], few, strict=True):
        alike(one.state, other.state, rtol=0, atol=0)


def test_a_run_on_the_cpu_leaves_devices_alone(process, tmp_path):
    suite = tmp_path / "test_suite.py"
    suite.write_text(
        "import pytest, torch, pytest_multiplicity as pm\n"
        "from torch import nn\n"
        "data = pm.Data(torch.rand(40, 4), torch.arange(40) % 2, name='all')\n"
        "@pm.family(default={'lr': 0.1}, vary={}, seeds=2)\n"
        "def candidate(config):\n"
        "    return pm.Recipe(lambda: nn.Linear(4, 2), data, epochs=1, lr=config.lr)\n"
        "def test_it(candidate):\n"
        "    assert candidate.accuracy(data) >= 0\n"
        "    assert not torch.cuda.is_initialized()\n"
    )
    told = process(
        *("-W", "error", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", suite),
        *("--multiplicity-device=cpu", f"--multiplicity-store={tmp_path / 'store'}"),
    )
    assert "2 passed" in told
