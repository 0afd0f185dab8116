"""PGD against its definition, written out sample by sample in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, InterventionError
from pytest_multiplicity.interventions import PGD, Group
from pytest_multiplicity.interventions.geometry import NORMS
from pytest_multiplicity.interventions.randomness import Stream

N, CLASSES = 60, 4


def network(dtype=torch.float32, scale=1.0):
    """A small convolutional net whose logits can be scaled."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, CLASSES)
        )
    with torch.no_grad():
        net[-1].weight *= scale
        net[-1].bias *= scale
    return net.eval().requires_grad_(False).to(dtype)


@pytest.fixture(scope="module")
def data():
    """Images that the net classifies rightly, but for every sixth."""
    images = torch.rand(N, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = network()(images).argmax(1)
    labels[::6] = (labels[::6] + 1) % CLASSES
    return Data(images, labels, {"age": range(N)})


def attacked(pgd, data, model, inputs=None, rows=slice(None)):
    inputs = data.inputs if inputs is None else inputs
    return pgd.perturb(model, inputs[rows], data.targets[rows], data.rows[rows], data)


def robust(pgd, data, model):
    predictions = model(attacked(pgd, data, model)).argmax(1)
    return float((predictions == data.targets).double().mean())


# --- the definition


def naive(pgd, data, model):
    """The attack on one sample at a time, in float64, with every iterate judged by itself."""
    results = [
        naive_sample(pgd, model, image.double()[None], int(label), int(row))
        for image, label, row in zip(data.inputs, data.targets, data.rows, strict=True)
    ]
    return torch.cat(results)


def naive_sample(pgd, model, clean, label, row):
    if predicted(model, clean) != label:
        return clean
    others = [k for k in model(clean)[0].argsort(descending=True).tolist() if k != label]
    for restart in range(pgd.restarts):
        for aim in others[: pgd.targeted] or [None]:
            x = clean
            if pgd.random_start:
                stream = Stream(f"PGD restart {restart}", pgd.seed)
                offset = NORMS[pgd.norm].random(stream, torch.tensor([row]), clean.shape[1:])
                x = (clean + pgd.eps * offset).clamp(0, 1)
            for _ in range(pgd.steps):
                if predicted(model, x) != label:
                    return x
                x = naive_step(pgd, model, x, clean, label, aim)
            if predicted(model, x) != label:
                return x
    return x


def naive_step(pgd, model, x, clean, label, aim):
    x = x.clone().requires_grad_()
    z = model(x)[0]
    others = torch.stack([z[k] for k in range(CLASSES) if k != label])
    lead = others.logsumexp(0) if aim is None else z[aim]
    gradient = torch.autograd.grad(lead - z[label], x)[0]
    x = x.detach()
    size = 2.5 * pgd.eps / pgd.steps if pgd.step_size is None else pgd.step_size
    if pgd.norm == "linf":
        offset = x + size * gradient.sign() - clean
        offset = torch.minimum(offset, torch.tensor(pgd.eps)).maximum(torch.tensor(-pgd.eps))
    else:
        offset = x + size * gradient / gradient.square().sum().sqrt() - clean
        offset = offset * min(1.0, pgd.eps / float(offset.square().sum().sqrt()))
    return (clean + offset).clamp(0, 1).detach()


def predicted(model, x):
    return int(model(x)[0].argmax())


@pytest.mark.parametrize(
    "pgd",
    [
        PGD(0.03),
        PGD(0.1, steps=3),
        PGD(0.05, step_size=0.02),
        PGD(0.05, random_start=True),
        PGD(0.05, steps=4, random_start=True, restarts=3, seed=7),
        PGD(0.05, targeted=2),
        PGD(0.3, norm="l2"),
        PGD(0.3, steps=5, norm="l2", random_start=True, restarts=2),
        PGD(0.4, norm="l2", targeted=3),
    ],
    ids=repr,
)
def test_follows_the_definition(pgd, data):
    model = network(torch.float64)

    found = attacked(pgd, data, model, data.inputs.double())

    wrong = model(found).argmax(1) != data.targets
    assert 0.1 < wrong.double().mean() < 1
    assert torch.allclose(found, naive(pgd, data, model), atol=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e5])
def test_is_right_in_float32_whatever_the_scale_of_the_logits(scale, data):
    exact = network(torch.float64, scale)
    truth = (exact(naive(PGD(0.05), data, exact)).argmax(1) == data.targets).double().mean()

    assert truth < 0.7
    assert abs(robust(PGD(0.05), data, network(scale=scale)) - float(truth)) <= 1.01 / N
    if scale == 1e5:
        assert cross_entropy_robust(data, network(scale=scale)) > truth + 0.05


def cross_entropy_robust(data, model, eps=0.05, steps=10):
    """The usual attack: its loss is 0 in float32, and so is its gradient, at large margins."""
    clean = x = data.inputs
    right = model(x).argmax(1) == data.targets
    for _ in range(steps):
        x = x.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(x), data.targets, reduction="sum")
        step = 2.5 * eps / steps * torch.autograd.grad(loss, x)[0].sign()
        x = (clean + (x + step - clean).clamp(-eps, eps)).clamp(0, 1).detach()
        right &= model(x).argmax(1) == data.targets
    return float(right.double().mean())


# --- what always holds


@settings(max_examples=25)
@given(
    eps=st.floats(0, 0.4),
    steps=st.integers(1, 4),
    norm=st.sampled_from(["linf", "l2"]),
    random_start=st.booleans(),
    targeted=st.integers(0, 2),
)
def test_stays_in_the_ball_and_the_bounds_and_below_clean(
    eps, steps, norm, random_start, targeted, data
):
    pgd = PGD(eps, steps=steps, norm=norm, random_start=random_start, targeted=targeted)
    model = network()

    found = attacked(pgd, data, model)

    moved = (found - data.inputs).flatten(1)
    lengths = moved.abs().amax(1) if norm == "linf" else moved.norm(dim=1)
    assert lengths.max() <= eps + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    clean = model(data.inputs).argmax(1) == data.targets
    assert not ((model(found).argmax(1) == data.targets) & ~clean).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_eps_0_is_clean_and_asks_no_model(norm, data):
    pgd = PGD(0, norm=norm, random_start=True, restarts=2)

    assert torch.equal(attacked(pgd, data, None), data.inputs)


@given(rows=st.sets(st.integers(0, N - 1), min_size=1))
@settings(max_examples=15)
def test_of_a_group_is_the_group_of_it(rows, data):
    pgd = PGD(0.06, steps=3, random_start=True, restarts=2)
    rows = torch.tensor(sorted(rows))
    model = network(torch.float64)
    inputs = data.inputs.double()

    whole = attacked(pgd, data, model, inputs)

    assert torch.allclose(attacked(pgd, data, model, inputs, rows), whole[rows], atol=1e-9)


def test_of_a_view_draws_the_numbers_of_its_root(data):
    pgd = PGD(0.2, steps=1, step_size=1e-9, random_start=True)
    group = data.where("age >= 20")
    assert torch.equal(Group("age >= 20").rows(data), group.rows)

    whole = attacked(pgd, data, network())

    assert torch.allclose(attacked(pgd, group, network()), whole[20:], atol=1e-6)


def test_more_restarts_and_targets_only_fool_more(data):
    model = network()
    one = robust(PGD(0.04, random_start=True), data, model)

    assert robust(PGD(0.04, random_start=True, restarts=5), data, model) <= one
    assert robust(PGD(0.04, targeted=3), data, model) <= robust(PGD(0.04, targeted=1), data, model)


def test_a_value_outside_the_bounds_goes_no_further_out(data):
    inputs = data.inputs * 1.5 - 0.25

    found = attacked(PGD(0.1), data, network(), inputs)

    assert (found >= inputs.clamp(max=0)).all()
    assert (found <= inputs.clamp(min=1)).all()
    assert (found - inputs).abs().max() <= 0.1 + 1e-6


def test_without_bounds_nothing_is_clamped(data):
    free = Data(data.inputs, data.targets, bounds=None)

    assert attacked(PGD(3.0), free, network()).min() < 0


# --- work and side effects


class Counting(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.sizes = model, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.model(x)


def test_fooled_samples_leave_the_batch(data):
    model = Counting(network())

    attacked(PGD(0.1), data, model)

    assert model.sizes[0] == N
    assert model.sizes[1] == N - N // 6
    assert sum(model.sizes) < 0.7 * 11 * N
    assert all(size > 0 for size in model.sizes)


def test_stops_when_all_are_fooled(data):
    model = Counting(network())

    attacked(PGD(1.0, steps=50), data, model)

    assert len(model.sizes) < 20


def test_computes_no_gradients_for_parameters_and_changes_nothing(data):
    model = network().requires_grad_(True)
    before = data.inputs.clone()
    state = torch.get_rng_state()

    found = attacked(PGD(0.05, random_start=True), data, model)

    assert all(parameter.grad is None for parameter in model.parameters())
    assert not found.requires_grad
    assert torch.equal(data.inputs, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_works_in_every_grad_mode(mode, data):
    model = network()
    expected = attacked(PGD(0.05), data, model)

    with mode():
        inputs = data.inputs.clone()
        assert torch.equal(attacked(PGD(0.05), data, model, inputs), expected)


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": -0.1}, r"PGD: eps=-0.1 makes no sense: give a number, 0 or more"),
        ({"eps": math.nan}, "eps=nan"),
        ({"eps": math.inf}, "eps=inf"),
        ({"eps": "big"}, "eps='big'"),
        ({"eps": 0.1, "steps": 0}, "steps=0 makes no sense: give a whole number, 1 or more"),
        ({"eps": 0.1, "steps": 2.5}, "steps=2.5"),
        ({"eps": 0.1, "step_size": 0}, "step_size=0 makes no sense: give a positive number"),
        ({"eps": 0.1, "step_size": -1}, "step_size=-1"),
        ({"eps": 0.1, "norm": "l1"}, "no norm='l1': use 'linf' or 'l2'"),
        ({"eps": 0.1, "restarts": 0}, "restarts=0"),
        ({"eps": 0.1, "restarts": 3}, "find the same: add random_start=True"),
        ({"eps": 0.1, "targeted": -1}, "targeted=-1"),
        ({"eps": 0.1, "seed": -1}, "seed=-1"),
    ],
)
def test_unfitting_parameters(arguments, message):
    with pytest.raises(InterventionError, match=message):
        PGD(**arguments)


def test_eps_over_the_bounds(data):
    PGD(1).check(data)
    PGD(5.9, norm="l2").check(data)

    for pgd in (PGD(8), PGD(6.1, norm="l2")):
        with pytest.raises(InterventionError, match=r"eps is more than the bounds.*8/255 and not"):
            attacked(pgd, data, network())


def test_more_targets_than_classes(data):
    with pytest.raises(InterventionError, match="there are 3 other classes to aim at, not 4"):
        attacked(PGD(0.1, targeted=4), data, network())


@pytest.mark.parametrize(
    "model",
    [
        lambda x: network()(x.detach()),
        lambda x: network()(x.detach()) * torch.ones((), requires_grad=True),
    ],
)
def test_a_model_without_gradients(model, data):
    with pytest.raises(InterventionError, match="this one has none with respect to its input"):
        attacked(PGD(0.1), data, model)


@pytest.mark.parametrize("pgd", [PGD(0.1), PGD(0.1, random_start=True)], ids=repr)
def test_a_label_that_the_model_cannot_give(pgd, data):
    beyond = Data(data.inputs, data.targets + 1)

    with pytest.raises(DataError, match=r"go up to 4 .* the model gives 4 logits"):
        attacked(pgd, beyond, network())


def test_gradients_that_are_nan_for_samples_that_are_fooled_are_no_matter(data):
    net = network()

    def model(x):
        fooled = (net(x).argmax(1) != data.targets[: len(x)]) & (len(x) == N)
        root = (x.flatten(1)[:, 0] * (1 - fooled.to(x.dtype))).sqrt()  # of 0, where fooled
        return net(x) + torch.stack([root, *[torch.zeros_like(root)] * 3], dim=1)

    assert torch.isfinite(attacked(PGD(0.01, steps=1), data, model)).all()


def test_gradients_that_are_nan(data):
    net = network()

    with pytest.raises(InterventionError, match="met gradients that are nan"):
        attacked(PGD(0.1), data, lambda x: net(x) + (x * 0).flatten(1).sum(1, keepdim=True).sqrt())


# --- several models at once


def side_by_side(models, seen=None):
    """Several networks as one callable, from [K, b, ...] to [K, b, classes]."""

    def joint(batch):
        if seen is not None:
            seen.append(batch.shape[1])
        return torch.stack([model(samples) for model, samples in zip(models, batch, strict=True)])

    return joint


def relabelled(order):
    """The network with its classes in another order: other samples of it are fooled."""
    net = network()
    return nn.Sequential(net, Reordered(order))


class Reordered(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order = order

    def forward(self, logits):
        return logits[:, self.order]


@pytest.mark.parametrize(
    "pgd",
    [
        PGD(0.02),
        PGD(0.05, norm="l2"),
        PGD(0.05, random_start=True, restarts=2, steps=3),
        PGD(0.05, targeted=2, steps=3),
        PGD(0.0),
    ],
    ids=repr,
)
def test_several_models_at_once_are_attacked_each_as_alone(pgd, data):
    models = [network(), network(scale=3.0), relabelled([1, 0, 2, 3]), network(scale=-1.0)]
    joint = data.inputs.expand(len(models), *data.inputs.shape)
    found = pgd.perturb_all(side_by_side(models), joint, data.targets, data.rows, data)
    for model, inputs in zip(models, found, strict=True):
        alone = attacked(pgd, data, model)
        torch.testing.assert_close(inputs, alone, rtol=0, atol=1e-6)


def test_the_batch_is_as_wide_as_the_model_with_most_left_needs(data):
    weak, strong = network(scale=-1.0), network()
    seen = []
    joint = data.inputs.expand(2, *data.inputs.shape)
    PGD(0.001).perturb_all(side_by_side([weak, strong], seen), joint, data.targets, data.rows, data)
    assert seen[0] == 64  # 60, filled up
    seen.clear()
    PGD(0.3).perturb_all(side_by_side([weak, weak], seen), joint, data.targets, data.rows, data)
    assert seen[-1] == 32
