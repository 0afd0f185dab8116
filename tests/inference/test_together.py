"""Models of one structure evaluated together: the same logits, whatever the form and company."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Arithmetic, forms, machine_class, pixel_by_pixel, threads
from pytest_multiplicity.inference import Counts, agreeing, folding
from pytest_multiplicity.inference.agreeing import LANES
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.executors import Abreast, Alone, Batch, Shelf, made, size_of
from pytest_multiplicity.inference.folding import folded
from pytest_multiplicity.inference.form import Demand, Form
from pytest_multiplicity.inference.given import frozen
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import chain

CPU = torch.device("cpu")
FORMS = [
    Form(),
    Form(Arithmetic(folded=True)),
    Form(Arithmetic(channels_last=True)),
    Form(Arithmetic(fused=True), (4,)),
    Form(Arithmetic(fused=True, folded=True, channels_last=True), (7,)),
]
FUSED = Arithmetic(fused=True)
FOUR, NINE = Form(FUSED, (4,)), Form(replace(FUSED, folded=True), (9,))


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
def inferring():
    """Makes an `Infer`, which uses one form where one is given."""

    def made(form=None, declared=35):
        infer = Infer(CPU, Counts(), Forms(CPU, lambda structure: declared))
        if form is not None:
            infer.forms._found = lambda *_: form
        return infer

    return made


def logits(infer, models, data, under=None):
    return torch.stack(infer(models, data, chain(under), lambda pairs: None))


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_are_the_plain_ones(name, form, trained, digits, inferring):
    if name == "mlp":
        form = replace(form, arithmetic=replace(form.arithmetic, channels_last=False))
    models = trained[name]
    expected = torch.stack([model(digits.inputs) for model in models])
    got = logits(inferring(form), models, digits)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(got.argmax(2), expected.argmax(2))


@pytest.mark.parametrize("under", [None, pm.PGD(0.03, steps=3)], ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("form", [FOUR, NINE], ids=str)
def test_whoever_else_is_there(name, form, under, trained, digits, inferring):
    models = [trained[name][i % 7] for i in range(35)]
    infer = inferring(form)
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
    every = Arithmetic(fused=True, folded=True, channels_last=name != "mlp")
    for arithmetic, lanes in ((FUSED, 4), (every, 7)):
        chosen, form = models[:lanes], Form(arithmetic, (lanes,))
        forwards = shelf.unit(chosen, form, lanes).logits(batch)
        backwards = shelf.unit(chosen[::-1], form, lanes).logits(batch)
        assert torch.equal(backwards.flip(0), forwards)
        alone = shelf.unit(chosen[-1:], form, lanes).logits(batch)
        assert torch.equal(alone[0], forwards[-1])


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("under", [pm.PGD(0.03), pm.PGD(0.1, norm="l2", steps=4)], ids=repr)
def test_an_attack_finds_what_it_finds_alone(name, under, trained, digits, inferring):
    models = trained[name]
    plain = logits(inferring(Form()), models, digits, under)
    fused = logits(inferring(replace(NINE, lanes=(4,))), models, digits, under)
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
    plain = logits(inferring(Form()), trained["cnn"], digits, under)
    fused = logits(inferring(FOUR), trained["cnn"], digits, under)
    near = (plain - fused).abs().amax(2) < 1e-3
    assert near.double().mean() > 0.995  # a rounded gradient may have another sign


@pytest.mark.parametrize("form", [None, Form(), FOUR], ids=str)
@pytest.mark.parametrize("count", [1, 7])
def test_the_number_of_cores_changes_no_bits(count, form, trained, digits, inferring):
    """Seven units or fewer in up to five threads, so batches compute at once, too."""
    models, under = trained["cnn"][:count], pm.PGD(0.02, steps=2)
    expected = logits(inferring(form), models, digits, under)
    for cores in (1, 2, 5):
        with threads(cores):
            got = logits(inferring(form), models, digits, under)
            assert torch.get_num_threads() == cores
        assert torch.equal(got, expected), cores


class Remembering(nn.Module):
    """Keeps what it computes: two batches in one object at once would mix."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        self.hidden = self.layer(x.flatten(1))
        time.sleep(0.002)
        return self.hidden * 1.0


def test_batches_at_once_share_no_module(digits, inferring):
    model = frozen(Remembering(), CPU)
    with threads(3):
        got = logits(inferring(Form()), [model], digits)
    assert torch.equal(got[0], model.layer(digits.inputs.flatten(1)))


def numpy_has():
    """How many threads compute a product of numpy's."""
    (found,) = {each["num_threads"] for each in threadpool_info() if "numpy" in each["filepath"]}
    return found


def test_numpy_has_a_thread_in_a_unit_and_all_for_models_in_turn(digits, inferring, monkeypatch):
    """Products of one and of two threads differ in their last bits."""
    had = []
    layers = forms.layers

    def counted(*of):
        had.append(numpy_has())
        return layers(*of)

    monkeypatch.setattr(forms, "layers", counted)
    module = frozen(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), CPU)

    def own(batch):
        had.append(numpy_has())
        return module(batch)

    form = Form(Arithmetic(fused=True, by_numpy=True), (4,))
    with threads(2):
        logits(inferring(form), [module], digits)
        assert had == [1] * 3
        had.clear()
        logits(inferring(), [own], digits)
        assert had == [2] * 3


# --- what is folded


def test_batch_norm_after_a_convolution_goes(trained):
    alone = folded(trained["cnn"][0])
    assert alone is not None
    assert not any(isinstance(part, nn.BatchNorm2d) for part in alone.modules())


def test_pooling_comes_before_a_relu(trained, digits):
    """The same values, to the last bit: the largest of what isn't negative is the largest."""
    build = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)),
    )
    alone = folded(build.eval())
    called = [node.target for node in alone.graph.nodes if node.op == "call_module"]
    assert called == ["0", "3", "2", "4", "5", "6"]
    inputs = digits.inputs[:50] - 0.5
    first = alone.get_submodule("0")(inputs)
    expected = build[3:](build[2](first))
    assert torch.equal(alone(inputs), expected)


class Shown(nn.Module):
    """Uses what comes before the pooling, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        return x.mean((2, 3)) + self.pool(x).mean((2, 3))


def test_a_relu_that_is_used_elsewhere_stays(digits):
    build = Shown().eval()
    alone = folded(build)
    called = [node.target for node in alone.graph.nodes if node.op == "call_module"]
    assert called == ["conv", "relu", "pool"]
    torch.testing.assert_close(alone(digits.inputs[:9]), build(digits.inputs[:9]))


class Seen(nn.Module):
    """Uses what a ReLU has changed in place, and indices of what was pooled."""

    def __init__(self, *, indices):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(2, return_indices=indices)

    def forward(self, x):
        x = self.norm(self.conv(x))
        pooled = self.pool(self.relu(x))
        if self.pool.return_indices:
            return pooled[0].mean((2, 3)) + pooled[1].float().mean((2, 3))
        return pooled.mean((2, 3)) + x.mean((2, 3))


@pytest.mark.parametrize("indices", [False, True])
def test_a_relu_stays_whose_place_shows(digits, indices):
    build = Seen(indices=indices).eval()
    alone = folded(build)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in alone.modules())
    torch.testing.assert_close(alone(digits.inputs[:9]), build(digits.inputs[:9]))


class Copies(TorchDispatchMode):
    """Counts the values that are copied into another order in memory."""

    def __init__(self):
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.clone.default, torch.ops.aten.copy_.default):
            self.values += args[0].numel()
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("lanes", [1, 4])
def test_images_of_one_channel_lie_pixel_by_pixel_from_the_start(lanes, trained, digits):
    """Nothing of the first convolution's size is put in order for the second."""
    arithmetic = Arithmetic(fused=lanes > 1, channels_last=True, folded=True)
    unit = made(trained["cnn"][:lanes], Form(arithmetic=arithmetic, lanes=(lanes,)), lanes)
    with Copies() as copies, torch.no_grad():
        got = unit.shared(digits.inputs[:64])
    expected = torch.stack([module(digits.inputs[:64]) for module in trained["cnn"][:lanes]])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert copies.values < 64 * lanes * 8 * 8 * 8
    assert pixel_by_pixel(digits.inputs[:2]).stride() == (64, 1, 8, 1)
    assert torch.equal(pixel_by_pixel(digits.inputs), digits.inputs)


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


def counted_checks(monkeypatch):
    found = []
    of = Forms._found

    def counted(self, module, known, batch, demand):
        found.append(demand)
        return of(self, module, known, batch, demand)

    monkeypatch.setattr(Forms, "_found", counted)
    return found


def test_a_form_is_checked_once_for_a_structure(trained, digits, inferring, monkeypatch):
    checks = counted_checks(monkeypatch)
    infer = inferring()
    first = logits(infer, trained["cnn"], digits)
    logits(infer, trained["cnn"][:2], digits, pm.InputNoise(0.1))
    assert len(checks) == 1
    assert torch.equal(logits(inferring(), trained["cnn"][3:], digits), first[3:])
    logits(infer, trained["cnn"], digits, pm.PGD(0.01, steps=2))
    assert len(checks) == 3  # gradients are another matter
    logits(infer, trained["mlp"], digits)
    assert len(checks) == 4


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("under", [None, pm.PGD(0.03, steps=3)], ids=str)
def test_whatever_is_asked_first(name, under, trained, digits, inferring):
    """By which candidates, on which data, in which order: bits and forms are the same."""
    models, infer, other = trained[name], inferring(), inferring()
    whole = logits(infer, models, digits, under)
    other_data = pm.Data(digits.inputs[:40].flip(0), digits.targets[:40].flip(0))
    for chosen in ([4], [2, 0], [6, 5, 4, 3, 1]):
        logits(other, [models[i] for i in chosen], other_data, under)
        again = logits(other, [models[i] for i in chosen], digits, under)
        assert torch.equal(again, whole[chosen])
    assert other.forms.used == infer.forms.used


def test_small_networks_are_fused_and_large_ones_are_not(trained, digits, inferring):
    batch = Batch(digits.inputs[:9], digits.targets[:9], torch.arange(9), digits)
    demand = Demand(gradients=False, joint=True)
    forms = inferring().forms

    def of(model: nn.Module, batch: Batch, demand: Demand) -> Form:
        return next(forms.of([model], batch, demand))[1]

    form = of(trained["cnn"][0], batch, demand)
    by_numpy = machine_class(CPU).numpy_multiplies_faster
    fused = Arithmetic(fused=True, folded=True, by_numpy=by_numpy)
    assert form.arithmetic == replace(fused, channels_last=True)
    assert form.lanes == LANES
    assert of(trained["residual"][0], batch, demand).arithmetic.folded
    small = of(trained["mlp"][0], batch, demand)
    assert small.arithmetic == fused
    ((_, few),) = inferring(declared=2).forms.of(trained["cnn"][:1], batch, demand)
    assert few == Form(Arithmetic(folded=True, channels_last=True))
    large = frozen(nn.Sequential(nn.Conv2d(1, 64, 3), nn.Conv2d(64, 512, 5), nn.Flatten()), CPU)
    assert of(large, batch, demand) == Form(Arithmetic(channels_last=True))


def test_as_many_side_by_side_as_leave_no_core_idle():
    form = Form(FUSED, (4, 8, 16))
    assert [form.width(count, 2) for count in (1, 8, 9, 16, 17, 64)] == [4, 4, 8, 8, 16, 16]
    assert [form.width(64, cores) for cores in (1, 4, 8, 32)] == [16, 16, 8, 4]
    assert Form().width(64, 2) == 1


def test_a_search_stacks_a_family_once(trained, digits, inferring, monkeypatch):
    stacked = []
    initial = Abreast.__init__

    def counted(self, modules, form, lanes):
        stacked.append(len(modules))
        initial(self, modules, form, lanes)

    monkeypatch.setattr(Abreast, "__init__", counted)
    infer = inferring(FOUR)
    for scale in (0.01, 0.02, 0.03):
        logits(infer, trained["cnn"], digits, pm.InputNoise(scale))
    assert stacked == [4, 3]


@pytest.fixture
def room(monkeypatch):
    """Have a shelf hold so many units of two MLPs."""

    def give(count, models):
        size = 2 * sum(size_of(model) for model in models[:2])
        monkeypatch.setattr("pytest_multiplicity.inference.executors.SHELF_BYTES", count * size)
        monkeypatch.setattr("pytest_multiplicity.inference.executors.free_bytes", lambda device: 0)

    return give


def asked(shelf, models, form=FOUR):
    shelf.begin(torch.device("cpu"))
    return [shelf.unit(models[i : i + 2], form, 4) for i in range(0, 6, 2)]


def test_what_fits_on_the_shelf_stays_there(trained, room):
    shelf, models = Shelf(), trained["mlp"][:6]
    room(2, models)
    first, second, third = (asked(shelf, models) for _ in range(3))
    assert [a is b is c for a, b, c in zip(first, second, third, strict=True)] == [
        *(True, True),
        False,  # there was no room: the others don't make any
    ]


def test_what_nobody_asks_for_leaves_the_shelf(trained, room):
    shelf, models = Shelf(), trained["mlp"][:6]
    room(3, models)
    first = asked(shelf, models)
    assert asked(shelf, models) == first
    for _ in range(3):
        others = asked(shelf, models[::-1])
    assert asked(shelf, models[::-1]) == others
    assert not set(asked(shelf, models)) & set(first)


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
    assert {form.arithmetic.fused for form in infer.forms.used} <= {False}


def test_mixed_families(trained, digits, inferring):
    def opaque(batch):
        return batch.flatten(1)[:, :10]

    models = [trained["cnn"][0], opaque, trained["mlp"][0], trained["cnn"][1], hooked().eval()]
    infer = inferring()
    got = logits(infer, models, digits)
    expected = torch.stack([model(digits.inputs) for model in models])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert infer.counts.inferred == 5


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
    with threads(1):
        got = logits(inferring(Form(FUSED, (4, 8))), trained["cnn"], digits)
    assert tried == [8, 4, 4, 4, 4, 4, 4]  # three batches, the later ones in what fits
    expected = torch.stack([model(digits.inputs) for model in trained["cnn"]])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_a_model_alone_that_takes_too_much_memory_is_an_error(digits, inferring):
    def greedy(batch):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        logits(inferring(), [greedy], digits)
    assert Alone(greedy, Form()).smaller() == []


def test_fewer_side_by_side_than_were_compared_are_each_by_itself(
    trained, digits, inferring, monkeypatch
):
    """Fewer lanes would compute other bits, and so may none: that is told."""

    def greedy(self, inputs):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Abreast, "shared", greedy)
    infer, models = inferring(Form(FUSED, (4, 16))), trained["cnn"]
    got = logits(infer, models, digits)
    assert not infer.lacking.symmetric_difference(map(id, models))
    assert torch.equal(got, logits(inferring(Form()), models, digits))
    form = Form(FUSED, (4, 16))
    assert [form.fewer(lanes) for lanes in (16, 8, 4)] == [4, 4, None]
    assert str(form.alone) == "plain (memory ran out)"


@pytest.mark.parametrize("seeds", [2, 4])
def test_only_those_of_a_structure_count(seeds, bench):
    """Of the declared candidates, whichever are asked: two of a kind aren't fused."""

    def made(config):
        torch.manual_seed(config.seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, config.width), nn.Linear(config.width, 2))

    for function in (made, lambda config: pm.Recipe(lambda: made(config), bench.train, epochs=1)):
        population = bench.family(function, default={"width": 3}, vary={"width": [5]}, seeds=seeds)
        population.candidates[0].accuracy(bench.test)
        infer = population._measuring.logits._infer
        assert {form.arithmetic.fused for form in infer.forms.used} == {seeds > 2}
        known = {each.structure for each in population.models.made._known}
        assert [population.models.made.alike(each) for each in known] == [seeds, seeds]


def test_families_of_a_run_look_at_a_structure_once(trained, digits, monkeypatch):
    """Whoever asks first, and however many candidates each has: the forms of each by itself."""
    fold = mock.Mock(side_effect=folding.folded)
    first = mock.Mock(side_effect=agreeing.Drawing.first)
    monkeypatch.setattr(folding, "folded", fold)
    monkeypatch.setattr(agreeing.Drawing, "first", lambda self: first(self))

    def forms(seen):
        found = []
        for declared in (35, 1, 9):
            infer = Infer(CPU, Counts(), Forms(CPU, mock.Mock(return_value=declared), seen))
            logits(infer, trained["cnn"][:2], digits)
            found.append(infer.forms.used)
        return found

    together = forms({})
    assert first.call_count == 1
    # each drawn module once to fuse it, one to fold it alone, and two models three times
    assert fold.call_count == LANES[-1] + 1 + 2 * 3
    assert forms(None) == together
    assert first.call_count == 4


def test_what_depends_on_the_very_inputs_is_not_shared(trained):
    """Words are looked at as they are: those of one data set say nothing of another's."""
    seen: dict = {}
    module = frozen(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2)), CPU)
    data = pm.Data(torch.arange(30).reshape(10, 3) % 9, torch.arange(10) % 2, name="words")
    logits(Infer(CPU, Counts(), Forms(CPU, lambda structure: 9, seen)), [module], data)
    assert not seen
