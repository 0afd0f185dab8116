"""How often the host may wait, and how much it may launch, in the steady state."""

from __future__ import annotations

import pytest
import simulated
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Arithmetic, preserved_rng
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.infer import BATCH, Infer
from pytest_multiplicity.interventions import Chain
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.fused_training import FusedTraining
from pytest_multiplicity.training.jobs import initial_module
from pytest_multiplicity.training.plain import PlainTraining

DEVICE = torch.device("cuda", 1)
LANES = 4


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 4)),
    )


def crops(image):
    return image.flip(-1) if torch.rand(()) < 0.5 else image


@pytest.fixture(scope="module")
def images() -> pm.Data:
    generator = torch.Generator().manual_seed(0)
    return pm.Data(torch.rand(144, 3, 8, 8, generator=generator), torch.arange(144) % 4)


def begun(job, images, fused, recorded=False, **settings):
    """Return a training in its steady state; an epoch has five steps, the last one of a part."""
    settings = {"model": network, "epochs": 5, "batch_size": 32, "data": images} | settings
    jobs = [job(seed, **settings) for seed in range(LANES)]
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    source = feed(images, DEVICE)
    training: FusedTraining | PlainTraining
    if fused:
        arithmetic = Arithmetic(fused=True, recorded=recorded)
        training = FusedTraining(jobs, modules, source, DEVICE, arithmetic)
    else:
        arithmetic = Arithmetic(recorded=recorded)
        training = PlainTraining(jobs[0], modules[0], source, DEVICE, arithmetic)
    for _ in range(4 if recorded else 1):  # after which the last batch, a part, is recorded, too
        training.run_epoch(lambda steps: None)
    return training


SETTINGS = [
    {},
    {"optimizer": "adam"},
    {"optimizer": "adamw", "weight_decay": 0.1},
    {"schedule": "constant", "precision": "bf16"},
    {"augment": "rand"},
    {"augment": "trivial"},
    {"augment": crops},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s)) or "usual")
@pytest.mark.parametrize("recorded", [False, True], ids=["launched", "recorded"])
@pytest.mark.parametrize("fused", [False, True], ids=["alone", "fused"])
def test_an_epoch_waits_once_and_a_step_never(job, images, fused, recorded, settings):
    with preserved_rng():
        training = begun(job, images, fused, recorded, **settings)
        waits = []

        def look(steps):
            waits.append(simulated.counts().get("wait", 0))

        with simulated.counted() as counts:
            training.run_epoch(look)
    assert waits == [0] * 5
    assert counts["wait"] == 1
    assert counts.get("item", 0) == 0


@pytest.mark.parametrize(
    ("fused", "settings", "most"),
    [
        (False, {}, 38),
        (False, {"optimizer": "adam"}, 39),
        (False, {"augment": "rand"}, 80),
        (False, {"augment": "trivial"}, 60),
        (True, {}, 55),
        (True, {"optimizer": "adam"}, 65),
        (True, {"augment": "rand"}, 100),  # of all lanes together
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_a_step_launches_few_kernels(job, images, fused, settings, most):
    with preserved_rng():
        training = begun(job, images, fused, **settings)
        with simulated.counted() as counts:
            training.run_epoch(lambda steps: None)
    assert counts["launch"] <= 5 * most


def still() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.BatchNorm1d(16), nn.Linear(16, 4))


@pytest.mark.parametrize(
    ("fused", "settings", "most"),
    [
        # the graph; inputs and targets into it, losses and predictions out of it; the rate
        (False, {"model": still}, 6),
        (False, {"model": still, "optimizer": "adam"}, 6),
        (False, {}, 8),  # and seed and offset of the generator that dropout draws from
        (True, {"model": still}, 6),
        (True, {"model": still, "optimizer": "adam"}, 6),
        (True, {}, 6 + 2 * LANES),  # of each lane
    ],
    ids=["alone", "alone-adam", "alone-dropout", "fused", "fused-adam", "fused-dropout"],
)
def test_a_recorded_step_is_one_launch_and_a_few_copies(job, images, fused, settings, most):
    with preserved_rng():
        training = begun(job, images, fused, recorded=True, **settings)
        with simulated.counted() as counts:
            training.run_epoch(lambda steps: None)
    assert training.graphs.reason is None
    assert counts["replay"] == 5
    gathered = 4 + fused  # of an epoch: rows, inputs, targets, losses
    assert counts["launch"] <= 5 * most + gathered
    assert counts["wait"] == 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_an_optimizer_s_step_is_one_launch(job, images, optimizer):
    with preserved_rng():
        training = begun(job, images, False, optimizer=optimizer)
        training.optimizer.zero_grad()
        for parameter in training.params:
            parameter.grad = torch.ones_like(parameter)
        with simulated.counted() as counts:
            training.update()
    kind = optimizer.removesuffix("w")
    assert counts[f"aten::_fused_{kind}_" if kind == "sgd" else f"aten::_fused_{optimizer}_"] == 1
    assert counts["launch"] <= 2  # and one that counts Adam's steps
    assert "wait" not in counts


def inferring(count):
    torch.manual_seed(0)
    models = [network().eval().requires_grad_(False).to(DEVICE) for _ in range(count)]
    return models, Infer(DEVICE, Counts(), Forms(DEVICE, lambda structure: count))


def waits(count, images, *steps):
    """Return how often the host waits in a second evaluation."""
    models, infer = inferring(count)
    for _ in range(2):
        with simulated.counted() as counts:
            infer(models, images, Chain(steps), lambda steps: None, alike=list(infer.alike))
    return counts["wait"]


@pytest.mark.parametrize("count", [1, 4])
def test_a_batch_of_an_evaluation_waits_once(count, images):
    whole = pm.Data(images.inputs.repeat(5, 1, 1, 1), images.targets.repeat(5))
    assert waits(count, whole) == -(-len(whole) // BATCH)


@pytest.mark.parametrize(
    ("attempts", "attack"),
    [
        (1, pm.PGD(0.01)),
        (1, pm.PGD(0.1, norm="l2", random_start=True)),
        (2, pm.PGD(0.001, random_start=True, restarts=2)),
        (3, pm.PGD(0.001, norm="l2", random_start=True, restarts=3)),
        (2, pm.PGD(0.001, targeted=2)),
        (4, pm.PGD(0.001, targeted=2, random_start=True, restarts=2)),
        (3, pm.PGD(1.0, steps=20, random_start=True, restarts=9)),  # which nobody needs
    ],
    ids=repr,
)
@pytest.mark.parametrize("count", [1, 4])
def test_an_attempt_of_an_attack_waits_once(count, images, attempts, attack):
    assert waits(count, images, attack) <= attempts + 1  # and once for the answers
