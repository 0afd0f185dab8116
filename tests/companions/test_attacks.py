"""PGD against two other libraries, and the attacks of three through Attack.

Skipped where a library isn't installed; `nox -s attacks` installs all three.
"""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.interventions import PGD, Attack

HALF_A_POINT = 0.005
STEPS = 10
pytestmark = pytest.mark.filterwarnings("default")  # of the peers' own making


def needs(library):
    """Skip where a library isn't installed, before any model is trained."""
    return pytest.mark.skipif(
        importlib.util.find_spec(library) is None,
        reason=f"{library} isn't installed: run `nox -s attacks`",
    )


def peer(name):
    """Import a library, whose warnings are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def all_digits():
    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return inputs, torch.tensor(labels)


@pytest.fixture(scope="module")
def digits(all_digits):
    """The 797 digits that the model wasn't trained on."""
    inputs, targets = all_digits
    return Data(inputs[1000:], targets[1000:], name="digits")


@pytest.fixture(scope="module")
def model(all_digits):
    """A small network, trained for a few seconds."""
    inputs, targets = all_digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, 10),
        )  # fmt: skip
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for _ in range(8):
            for rows in torch.randperm(1000).split(50):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(inputs[rows]), targets[rows]).backward()
                optimizer.step()
    return net.eval().requires_grad_(False)


class Scaled(nn.Module):
    """A model whose margins are a thousand times as large."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return 1000 * self.model(inputs)


def right(model, inputs, data):
    with torch.no_grad():
        return model(inputs).argmax(1) == data.targets


def ours(intervention, model, data):
    inputs = intervention.perturb(model, data.inputs, data.targets, data.rows, data)
    return float(right(model, inputs, data).double().mean())


def every_iterate(attack_of, model, data):
    """Robust accuracy by the any-iterate rule: iterate t is what t steps end at."""
    robust = right(model, data.inputs, data)
    for steps in range(1, STEPS + 1):
        robust &= right(model, attack_of(steps)(data.inputs, data.targets), data)
    return float(robust.double().mean())


def by_torchattacks(model, norm, eps):
    library = peer("torchattacks")
    kind = {"linf": library.PGD, "l2": library.PGDL2}[norm]

    def attack_of(steps):
        return kind(model, eps=eps, alpha=2.5 * eps / STEPS, steps=steps, random_start=False)

    return attack_of


def by_foolbox(model, norm, eps):
    library = peer("foolbox")
    attacks = importlib.import_module("foolbox.attacks")
    kind = {"linf": attacks.LinfPGD, "l2": attacks.L2PGD}[norm]
    target = library.PyTorchModel(model, bounds=(0, 1))

    def attack_of(steps):
        attack = kind(abs_stepsize=2.5 * eps / STEPS, steps=steps, random_start=False)
        return lambda inputs, labels: attack(target, inputs, labels, epsilons=eps)[1]

    return attack_of


@pytest.mark.parametrize(
    "by",
    [
        pytest.param(by_torchattacks, marks=needs("torchattacks")),
        pytest.param(by_foolbox, marks=needs("foolbox")),
    ],
)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.02), ("linf", 0.1), ("l2", 0.1), ("l2", 0.6)])
def test_pgd_agrees(by, norm, eps, model, digits):
    theirs = every_iterate(by(model, norm, eps), model, digits)
    robust = ours(PGD(eps, norm=norm), model, digits)

    print(f"{by.__name__} {norm} eps={eps}: theirs {theirs:.4f}, ours {robust:.4f}")
    assert 0.02 < robust < 0.98
    assert robust == pytest.approx(theirs, abs=HALF_A_POINT)


@needs("torchattacks")
def test_large_margins_mislead_the_others_and_not_us(model, digits):
    scaled = Scaled(model).eval()
    truth = ours(PGD(0.05), model, digits)
    robust = ours(PGD(0.05), scaled, digits)
    theirs = every_iterate(by_torchattacks(scaled, "linf", 0.05), scaled, digits)

    print(f"logits x1000: theirs {theirs:.4f}, ours {robust:.4f}, without scaling {truth:.4f}")
    assert robust <= truth + HALF_A_POINT
    assert theirs > truth + 0.05


# --- attack objects


def fgsm_torchattacks(model):
    return peer("torchattacks").FGSM(model, eps=0.05)


def fgsm_foolbox(model):
    target = peer("foolbox").PyTorchModel(model, bounds=(0, 1))
    attack = importlib.import_module("foolbox.attacks").LinfFastGradientAttack(random_start=False)
    return lambda inputs, labels: attack(target, inputs, labels, epsilons=0.05)


def fgsm_art(model):
    peer("art")
    estimators = importlib.import_module("art.estimators.classification")
    evasion = importlib.import_module("art.attacks.evasion")
    estimator = estimators.PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1)
    )
    return evasion.FastGradientMethod(estimator, eps=0.05)


def square_torchattacks(model):
    return peer("torchattacks").Square(model, norm="Linf", eps=0.1, n_queries=50, n_restarts=1)


def deepfool_foolbox(model):
    target = peer("foolbox").PyTorchModel(model, bounds=(0, 1))
    attack = importlib.import_module("foolbox.attacks").LinfDeepFoolAttack(steps=10)
    return lambda inputs, labels: attack(target, inputs, labels, epsilons=0.05)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(fgsm_torchattacks, marks=needs("torchattacks")),
        pytest.param(fgsm_foolbox, marks=needs("foolbox")),
        pytest.param(fgsm_art, marks=needs("art")),
    ],
)
def test_every_library_takes_the_same_single_step(make, model, digits):
    one_step = PGD(0.05, steps=1, step_size=0.05)

    moved = Attack(make).perturb(model, digits.inputs, digits.targets, digits.rows, digits)

    clean = right(model, digits.inputs, digits)
    robust = float((clean & right(model, moved, digits)).double().mean())
    print(f"{make.__name__}: clean {float(clean.double().mean()):.4f}, robust {robust:.4f}")
    assert robust < clean.double().mean() - 0.02
    assert robust == pytest.approx(ours(one_step, model, digits), abs=HALF_A_POINT)
    assert (moved - digits.inputs).abs().max() <= 0.05 + 1e-6


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(square_torchattacks, marks=needs("torchattacks")),
        pytest.param(deepfool_foolbox, marks=needs("foolbox")),
    ],
)
def test_other_attacks_of_theirs(make, model, digits):
    few = digits.split(0.1).select
    state = torch.get_rng_state()

    first = ours(Attack(make), model, few)

    assert first < float(right(model, few.inputs, few).double().mean())
    assert ours(Attack(make), model, few) == first
    assert torch.equal(torch.get_rng_state(), state)


@needs("torchattacks")
def test_an_attack_on_a_function_that_is_no_module(model, digits):
    few = digits.split(0.1).select

    assert ours(Attack(fgsm_torchattacks), lambda inputs: model(inputs), few) == ours(
        Attack(fgsm_torchattacks), model, few
    )
