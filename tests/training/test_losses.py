"""Losses by name, of one's own, with attributes and weights: by every way as in a plain loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, RecipeError
from pytest_multiplicity.training import settings_of
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checks import Trial
from pytest_multiplicity.training.fused_training import FUSED, train_fused
from pytest_multiplicity.training.jobs import Job, Trained, initial_module
from pytest_multiplicity.training.plain import train_plain
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.remote import portable
from pytest_multiplicity.training.seeds import Seeds, epoch_order

CPU = torch.device("cpu")
N = 42
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=GENERATOR)
PEOPLE = pd.DataFrame(
    {
        "sex": ["male", "female", "female"] * 14,
        "age": np.linspace(18, 80, N),
        "trust": np.arange(N) % 4 / 3,
        "minority": np.arange(N) % 7 == 0,
    }
)
CLASSES = torch.arange(N) % 3
TARGETS = {
    "classification": CLASSES,
    "one logit": CLASSES % 2,
    "regression": X.sum(1),
    "two values": X[:, :2] + 1,
    "multilabel": (X[:, :3] > 0).long(),
    "dense": torch.where(X[:, :2] > 1, -100, (X[:, 2:] > 0).long()),
}
OUTPUTS = {"one logit": 1, "regression": 1, "two values": 2}


def network(name: str) -> nn.Module:
    width = OUTPUTS.get(name, 6 if name == "dense" else 3)
    shape = [nn.Unflatten(1, (3, 2))] if name == "dense" else []
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, width), *shape)


def data_of(name: str) -> Data:
    task = {"dense": "dense", "multilabel": "multilabel"}.get(name)
    return Data(X, TARGETS[name], PEOPLE, name=name, task=task)


def jobs_of(
    data: Data, model: Callable[[], nn.Module], count: int = 4, **settings: Any
) -> list[Job]:
    recipe = Recipe(model, data, **{"epochs": 2, "batch_size": 16, "lr": 0.2} | settings)
    return [Job(f"{s}", f"{s}", recipe, Seeds(s, s, s, s)) for s in range(count)]


def by_hand(job: Job, loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
    """Train as everybody would; the loss gets answers, targets, and the rows of the batch."""
    recipe, module = job.recipe, initial_module(job.recipe, job.seeds)
    optimizer = torch.optim.SGD(module.parameters(), lr=recipe.lr, momentum=0.9)
    steps, step = recipe.epochs * math.ceil(len(recipe.data) / recipe.batch_size), 0
    for epoch in range(recipe.epochs):
        for rows in epoch_order(torch.arange(N), job.seeds, epoch).split(recipe.batch_size):
            optimizer.param_groups[0]["lr"] = recipe.lr * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.zero_grad()
            inputs, targets = recipe.data.take(rows), recipe.data.targets[rows]
            answers = module(**inputs) if isinstance(inputs, dict) else module(inputs)
            loss(answers, targets, rows).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
    return module.state_dict()


def both_ways(jobs: list[Job]) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Return the states of each job, trained alone and side by side."""
    source = feed(jobs[0].recipe.data, CPU)
    modules = [initial_module(each.recipe, each.seeds) for each in jobs]
    assert Trial(jobs, modules, source, CPU).why_not(FUSED) is None
    together = train_fused(jobs, [initial_module(j.recipe, j.seeds) for j in jobs], source, CPU)
    alone = [train_plain(job, source, CPU) for job in jobs]
    assert all(isinstance(each, Trained) for each in (*together, *alone))
    return [(one.state, other.state) for one, other in zip(alone, together, strict=True)]


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)


def each_of(name: str, loss: str, answers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums and counts [b] of the losses of each sample, as the docs define them."""
    ones = torch.ones(len(targets))
    if name == "one logit" and loss == "cross_entropy":
        answers = torch.cat([torch.zeros_like(answers), answers], 1)
    if loss == "cross_entropy":
        each = F.cross_entropy(answers, targets, reduction="none", ignore_index=-100)
        if name != "dense":
            return each, ones
        return each.sum(1), (targets != -100).sum(1).float()
    functions: dict[str, Any] = {
        "binary_cross_entropy": F.binary_cross_entropy_with_logits,
        "mse": F.mse_loss,
        "huber": F.huber_loss,
    }
    each = functions[loss](answers.reshape(targets.shape), targets.float(), reduction="none")
    return each.reshape(len(targets), -1).mean(1), ones


NAMED = [
    ("classification", "cross_entropy"),
    ("one logit", "cross_entropy"),
    ("one logit", "binary_cross_entropy"),
    ("regression", "mse"),
    ("regression", "huber"),
    ("two values", "mse"),
    ("multilabel", "binary_cross_entropy"),
    ("dense", "cross_entropy"),
]


@pytest.mark.parametrize("weight", [None, "trust"])
@pytest.mark.parametrize(("name", "loss"), NAMED)
def test_losses_by_name(name: str, loss: str, weight: str | None) -> None:
    jobs = jobs_of(data_of(name), lambda: network(name), loss=loss, weight=weight)
    trust = torch.ones(N) if weight is None else torch.tensor(PEOPLE["trust"].to_numpy()).float()

    def written(answers: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        sums, counts = each_of(name, loss, answers, targets)
        return (trust[rows] * sums).sum() / (trust[rows] * counts).sum()

    for job, (alone, together) in zip(jobs, both_ways(jobs), strict=True):
        close(alone, by_hand(job, written))
        close(together, alone)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("classification", "cross_entropy"),
        ("one logit", "cross_entropy"),
        ("regression", "mse"),
        ("multilabel", "binary_cross_entropy"),
        ("dense", "cross_entropy"),
    ],
)
def test_the_task_has_a_loss_of_its_own(name: str, first: str) -> None:
    assert Recipe(lambda: network(name), data_of(name), epochs=1).loss == first


def parity(logits: Tensor, targets: Tensor, attributes: dict[str, Tensor]) -> Tensor:
    yes, female = logits.softmax(1)[:, 1], attributes["sex"] == 0
    gap = (yes[female].mean() - yes[~female].mean()).nan_to_num()
    return F.cross_entropy(logits, targets) + gap.abs()


class Parity(nn.Module):
    def forward(self, logits: Tensor, targets: Tensor, *, attributes: Any) -> Tensor:
        return parity(logits, targets, attributes)


def in_a_place(logits: Tensor, targets: Tensor, beside: Any, strength: float = 1.0) -> Tensor:
    return parity(logits, targets, beside) * strength


@pytest.mark.parametrize("loss", [parity, Parity(), in_a_place], ids=["named", "module", "placed"])
def test_a_third_parameter_gets_the_attributes(loss: Any) -> None:
    jobs = jobs_of(data_of("classification"), lambda: network("classification"), loss=loss)
    sex = torch.tensor((PEOPLE["sex"] == "male").to_numpy()).long()

    def written(answers: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        return parity(answers, targets, {"sex": sex[rows]})

    for job, (alone, together) in zip(jobs, both_ways(jobs), strict=True):
        close(alone, by_hand(job, written))
        close(together, alone)


SEEN: list[tuple[Tensor, Tensor, dict[str, Tensor]]] = []


def seeing(logits: Tensor, targets: Tensor, attributes: dict[str, Tensor]) -> Tensor:
    SEEN.append((logits.detach(), targets, attributes))
    return F.cross_entropy(logits, targets)


def test_attributes_are_those_of_the_batch_in_its_order() -> None:
    SEEN.clear()
    data = data_of("classification")
    (job,) = jobs_of(data, lambda: network("classification"), 1, loss=seeing, epochs=1)
    train_plain(job, feed(data, CPU), CPU)
    order = epoch_order(torch.arange(N), job.seeds, 0)
    assert data.categories == {"sex": ("female", "male")}
    for (_, targets, attributes), rows in zip(SEEN, order.split(16), strict=True):
        assert torch.equal(targets, CLASSES[rows])
        assert set(attributes) == set(PEOPLE)
        frame = PEOPLE.iloc[rows.numpy()]
        assert attributes["sex"].dtype is torch.int64
        assert attributes["sex"].tolist() == (frame["sex"] == "male").astype(int).tolist()
        for name in ("age", "trust", "minority"):
            assert attributes[name].dtype is torch.float32
            assert np.allclose(attributes[name], frame[name].astype(float))


def test_what_has_no_codes_is_said() -> None:
    frame = pd.DataFrame({"tags": [["a"], ["b"]], "z": [1j, 2j]})
    with pytest.raises(DataError, match="'tags' has no codes for a loss"):
        Recipe(
            lambda: nn.Linear(4, 2), Data(torch.rand(2, 4), [0, 1], frame), epochs=1, loss=parity
        )
    assert Data(torch.rand(2, 4), [0, 1], frame[["z"]]).attribute_tensors["z"].tolist() == [0, 1]


def test_codes_of_parts_are_those_of_the_whole_and_missing_ones_are_marked() -> None:
    frame = pd.DataFrame(
        {
            "grade": pd.Categorical(["low", "high", None], ["low", "mid", "high"], ordered=True),
            "town": ["b", None, "a"],
            "income": [1.5, None, 2.0],
            "count": pd.array([1, None, 3], dtype="Int64"),
        }
    )
    data = Data(torch.rand(3, 2), [0, 1, 0], frame)
    part = data.where("town == 'b'")
    assert data.categories == {"grade": ("low", "mid", "high"), "town": ("a", "b")}
    assert part.categories == data.categories
    codes = {name: column.tolist() for name, column in data.attribute_tensors.items()}
    assert codes["grade"] == [0, 2, -1]
    assert codes["town"] == [1, -1, 0]
    assert math.isnan(codes["income"][1])
    assert math.isnan(codes["count"][1])
    assert {n: c.tolist() for n, c in part.attribute_tensors.items()} == {
        "grade": [0],
        "town": [1],
        "income": [1.5],
        "count": [1.0],
    }
    assert Data(torch.rand(3, 2), [0, 1, 0]).attribute_tensors == {}


def test_the_store_knows_weights_and_what_codes_mean() -> None:
    data = data_of("classification")
    usual = Recipe(lambda: network("classification"), data, epochs=1)
    assert "weight" not in settings_of(usual)  # as before there were any
    weighed = Recipe(lambda: network("classification"), data, epochs=1, weight="trust")
    assert settings_of(weighed)["weight"] == "trust"
    fair = Recipe(lambda: network("classification"), data, epochs=1, loss=parity)
    assert "female" in settings_of(fair)["categories"]


def test_an_own_loss_of_each_sample_is_weighed() -> None:
    data = data_of("classification")
    own = nn.CrossEntropyLoss(reduction="none")
    mine = jobs_of(data, lambda: network("classification"), loss=own, weight="trust")
    named = jobs_of(data, lambda: network("classification"), weight="trust")
    for one, other in zip(both_ways(mine), both_ways(named), strict=True):
        close(one[0], other[0])
        close(one[1], other[0])


def test_torchs_losses_of_values_never_broadcast() -> None:
    data = data_of("regression")
    (mine,) = jobs_of(data, lambda: network("regression"), 1, loss=nn.MSELoss())
    (named,) = jobs_of(data, lambda: network("regression"), 1)
    first, second = (train_plain(job, feed(data, CPU), CPU) for job in (mine, named))
    assert isinstance(first, Trained)
    assert isinstance(second, Trained)
    close(first.state, second.state)


def test_workers_get_attributes_without_their_frame() -> None:
    from pytest_multiplicity.compute import Samples

    data = data_of("classification")
    (job,) = jobs_of(data, lambda: network("classification"), 1, loss=parity)
    bare = Samples(data.inputs, data.targets, attribute_tensors=data.attribute_tensors)
    sent = portable(job, bare)
    module = initial_module(job.recipe, job.seeds)
    there = train_plain(sent, feed(bare, CPU), CPU, module=module)
    here = train_plain(job, feed(data, CPU), CPU)
    assert isinstance(there, Trained)
    assert isinstance(here, Trained)
    assert all(torch.equal(there.state[name], here.state[name]) for name in here.state)


def test_a_batch_of_no_weight_moves_nothing() -> None:
    frame = pd.DataFrame({"w": [1.0] + [0.0] * (N - 1)})
    data = Data(X, CLASSES, frame)
    (job,) = jobs_of(data, lambda: network("classification"), 1, weight="w", batch_size=4)
    assert isinstance(train_plain(job, feed(data, CPU), CPU), Trained)


BARE = Data(X, CLASSES, name="bare")
BAD = Data(X, CLASSES, pd.DataFrame({"w": [-1.0] + [1.0] * (N - 1), "z": 0, "t": "a"}), name="bad")


@pytest.mark.parametrize(
    ("data", "settings", "said"),
    [
        (BARE, {"loss": parity}, "the loss parity takes a third parameter.*'bare' has none"),
        (BARE, {"weight": "w"}, "weight='w': give the name of an attribute of 'bare'; there are n"),
        (
            BAD,
            {"weight": "v"},
            "weight='v': give the name of an attribute.*there are 'w', 'z', 't'",
        ),
        (BAD, {"weight": X}, "weight=<Tensor>: give the name"),
        (
            Data(X, None, name="bare"),
            {},
            "task of 'bare', none, has no loss of its own: give the data",
        ),
        (BAD, {"weight": "w"}, "weight='w' of 'bad' is -1 for sample 0: weights are finite"),
        (BAD, {"weight": "z"}, "weight='z' of 'bad' is 0 for all samples"),
        (BAD, {"weight": "t"}, "weight='t' of 'bad' is no column of numbers"),
    ],
    ids=[
        "no attributes",
        "none to weigh",
        "unknown",
        "no name",
        "no targets",
        "negative",
        "zero",
        "text",
    ],
)
def test_what_does_not_fit_is_said(data: Data, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Recipe(lambda: network("classification"), data, epochs=1, **settings)


def test_a_weighed_loss_gives_one_for_each_sample() -> None:
    data = data_of("classification")
    own = nn.CrossEntropyLoss()
    (job,) = jobs_of(data, lambda: network("classification"), 1, loss=own, weight="trust")
    with pytest.raises(RecipeError, match=r"gives \(\) for a batch of 16 .*reduction='none'"):
        train_plain(job, feed(data, CPU), CPU)


# --- inputs of several kinds


class Words(nn.Module):
    """Token ids, their mask, and numbers beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(9, 6), nn.Linear(10, 3)

    def forward(self, ids: Tensor, mask: Tensor, x: Tensor) -> Tensor:
        shown = self.words(ids) * mask[..., None]
        mean = shown.sum(1) / mask.sum(1, keepdim=True)
        return self.last(torch.cat([mean, x], 1))  # type: ignore[no-any-return]


class Ids(Words):
    def forward(self, ids: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(ids, torch.ones(ids.shape), torch.zeros(len(ids), 4))


IDS = torch.randint(0, 9, (N, 5), generator=GENERATOR)
MASK = (torch.arange(5) < 2 + torch.arange(N)[:, None] % 4).float()
KINDS: dict[str, tuple[type[nn.Module], Any]] = {
    "dict": (Words, {"x": X, "ids": IDS, "mask": MASK}),
    "tuple": (Words, (IDS, MASK, X)),
    "ids": (nn.Embedding, IDS),
}


@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_modules_train_on_several_tensors_side_by_side(kind: str) -> None:
    made, inputs = KINDS[kind]
    data = Data(inputs, CLASSES, name=kind)
    jobs = jobs_of(data, made)

    def written(job: Job) -> dict[str, Tensor]:
        plain = Job(job.id, job.key, Recipe(made, data, epochs=2, batch_size=16, lr=0.2), job.seeds)
        module = initial_module(plain.recipe, plain.seeds)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9)
        step = 0
        for epoch in range(2):
            for rows in epoch_order(torch.arange(N), job.seeds, epoch).split(16):
                optimizer.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * step / 6))
                optimizer.zero_grad()
                answers = module(IDS[rows], MASK[rows], X[rows])
                F.cross_entropy(answers, CLASSES[rows]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                step += 1
        return module.state_dict()

    for job, (alone, together) in zip(jobs, both_ways(jobs), strict=True):
        close(alone, written(job))
        close(together, alone)


def test_token_ids_train() -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Embedding(9, 6), nn.Flatten(), nn.Linear(30, 3))

    jobs = jobs_of(Data(IDS, CLASSES, name="ids"), model)

    def written(answers: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
        return F.cross_entropy(answers, targets)

    for job, (alone, together) in zip(jobs, both_ways(jobs), strict=True):
        close(alone, by_hand(job, written))
        close(together, alone)


def test_who_answers_with_more_than_logits_is_trained_on_them() -> None:
    class Told(nn.Linear):
        def forward(self, inputs: Tensor) -> Any:  # type: ignore[override]
            return {"logits": super().forward(inputs), "hidden": inputs}

    data = data_of("classification")
    told = both_ways(jobs_of(data, lambda: Told(4, 3)))
    bare = both_ways(jobs_of(data, lambda: nn.Linear(4, 3)))
    for ways, expected in zip(told, bare, strict=True):
        for one, other in zip(ways, expected, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]}), "'odd' are a DataFrame.*keep=True"),
        (["good", "bad"], "inputs of 'odd' are a list of objects.*keep=True"),
    ],
    ids=["frame", "texts"],
)
def test_what_a_module_cannot_be_trained_on(inputs: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Recipe(lambda: nn.Linear(2, 2), Data(inputs, [0, 1], name="odd"), epochs=1)


def test_augmentation_needs_a_tensor() -> None:
    data = Data({"x": X}, CLASSES, name="several")
    with pytest.raises(RecipeError, match="inputs of 'several' are of kind 'dict': transform them"):
        Recipe(lambda: nn.Linear(4, 3), data, epochs=1, augment=lambda x: x)
