from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from pytest_multiplicity.compute.devices import preserved_rng
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.augment import augment_batch
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checkpoints import Checkpoints, Keeper
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.jobs import Diverged, Job, Trained, initial_module
from pytest_multiplicity.training.plain import train_plain
from pytest_multiplicity.training.seeds import Seeds, epoch_order

CPU = torch.device("cpu")
Make = Callable[..., Job]


def run(job: Job, **settings: Any) -> Trained:
    result = train_plain(job, feed(job.recipe.data, CPU), CPU, **settings)
    assert isinstance(result, Trained), result
    return result


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def linear() -> nn.Module:
    return nn.Linear(4, 3)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)
    )


def test_agrees_with_a_loop_written_by_hand(job: Make, blobs: Data) -> None:
    made = job(model=linear, lr=0.2, weight_decay=0.01)
    module = initial_module(made.recipe, made.seeds)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / 12))
    )
    for epoch in range(3):
        for rows in epoch_order(torch.arange(50), made.seeds, epoch).split(16):
            optimizer.zero_grad()
            F.cross_entropy(module(blobs.inputs[rows]), blobs.targets[rows]).backward()
            optimizer.step()
            schedule.step()
    assert same(run(made).state, module.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
        {"optimizer": lambda params, lr: torch.optim.RMSprop(params, lr), "lr": 0.01},
        {"schedule": "constant"},
        {"schedule": lambda step: 1 / (step + 1)},
        {"loss": lambda logits, targets: F.cross_entropy(logits, targets, label_smoothing=0.1)},
        {"precision": "bf16"},
        {"precision": "tf32"},
        {"batch_size": 1000},
        {"batch_size": 1, "lr": 0.01},
    ],
    ids=lambda change: " ".join(change) or "plain",
)
def test_every_setting_learns_and_reruns_bitwise(job: Make, change: dict[str, Any]) -> None:
    made = job(epochs=12, **change)
    first, second = run(made), run(made)
    assert same(first.state, second.state)
    assert first.history == second.history
    assert first.history[-1]["loss"] < first.history[0]["loss"]


def test_history_has_a_row_per_epoch(job: Make) -> None:
    history = run(job(model=linear, epochs=4, lr=0.3)).history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert all(set(row) == {"epoch", "loss", "accuracy", "lr"} for row in history)
    assert history[-1]["accuracy"] > 0.8
    assert history[0]["lr"] == pytest.approx(0.15 * (1 + math.cos(math.pi * 3 / 16)))


def test_history_weighs_the_partial_batch_by_its_size(job: Make, blobs: Data) -> None:
    made = job(model=linear, lr=0.0, epochs=1, batch_size=48)
    logits = initial_module(made.recipe, made.seeds)(blobs.inputs)
    row = run(made).history[0]
    assert row["loss"] == pytest.approx(float(F.cross_entropy(logits, blobs.targets).detach()))
    assert row["accuracy"] == pytest.approx(
        float((logits.argmax(1) == blobs.targets).float().mean())
    )


SIZES: list[int] = []  # what a loss captures is each training's own, so it tells here


def sizing(logits: Tensor, targets: Tensor) -> Tensor:
    SIZES.append(len(targets))
    return F.cross_entropy(logits, targets)


def test_the_partial_batch_is_trained_on(job: Make) -> None:
    SIZES.clear()
    run(job(epochs=2, loss=sizing))
    assert SIZES == [16, 16, 16, 2] * 2


def test_seeds_act_by_role(job: Make) -> None:
    def first_losses(seeds: Seeds) -> float:
        made = job(epochs=1, lr=0.0, batch_size=50)
        return run(Job("id", "key", made.recipe, seeds)).history[0]["loss"]

    reference = first_losses(Seeds(0, 0, 0, 0))
    assert first_losses(Seeds(1, 0, 0, 0)) != reference  # other weights
    assert first_losses(Seeds(0, 0, 0, 1)) != reference  # other dropout
    assert first_losses(Seeds(0, 0, 1, 0)) == reference  # there is no augmentation


def test_a_subset_trains_on_half_of_the_data(job: Make) -> None:
    made = job(epochs=1)
    half = Job("id", "key", made.recipe, Seeds(0, 0, 0, 0, subset=1))
    assert (made.steps, half.steps) == (4, 2)
    assert not same(run(made).state, run(half).state)


def test_global_generators_are_left_alone_and_have_no_influence(job: Make) -> None:
    def noisy(sample: Tensor) -> Tensor:
        return sample + float(np.random.rand()) + random.random() + torch.rand(())  # noqa: NPY002

    made = job(augment=noisy)
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate()
    first = run(made)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    torch.manual_seed(6)
    random.seed(6)
    assert same(first.state, run(made).state)


@pytest.mark.parametrize(
    "augment",
    ["rand", "trivial", v2.Compose([v2.RandomCrop(8, padding=2), v2.RandomHorizontalFlip()])],
    ids=["rand", "trivial", "compose"],
)
def test_augmentation_trains(job: Make, images: Data, augment: Any) -> None:
    made = job(model=cnn, data=images, augment=augment, epochs=2, batch_size=8)
    assert same(run(made).state, run(made).state)
    assert not same(run(made).state, run(job(model=cnn, data=images, batch_size=8)).state)


def test_every_sample_gets_a_draw_of_its_own() -> None:
    batch = torch.arange(8.0).expand(64, 3, 8, 8)
    with preserved_rng():
        flipped = augment_batch(v2.RandomHorizontalFlip(), batch, Seeds(0, 0, 0, 0), 0, 0)
        again = augment_batch(v2.RandomHorizontalFlip(), batch, Seeds(9, 9, 0, 9), 0, 0)
        later = augment_batch(v2.RandomHorizontalFlip(), batch, Seeds(0, 0, 0, 0), 0, 1)
    flips = (flipped[:, 0, 0, 0] == 7).sum()
    assert 16 < flips < 48
    assert torch.equal(flipped, again)
    assert not torch.equal(flipped, later)


def test_augmentation_into_several_shapes(job: Make) -> None:
    made = job(augment=lambda sample: sample[: torch.randint(1, 4, ()).item()])
    with pytest.raises(RecipeError, match="it must give tensors of one shape"):
        run(made)


def test_divergence_names_epoch_and_value(job: Make) -> None:
    made = job(model=linear, loss=lambda z, t: (z**4).sum(), lr=1.0, epochs=5)
    result = train_plain(made, feed(made.recipe.data, CPU), CPU)
    assert isinstance(result, Diverged)
    assert str(result) in {
        f"diverged at epoch {e}: loss is {v}" for e in (1, 2) for v in ("nan", "inf")
    }


def test_weights_that_diverge_in_the_last_step(job: Make) -> None:
    made = job(model=linear, loss=lambda z, t: z.sum() * 1e38, lr=1e5, epochs=1, batch_size=50)
    result = train_plain(made, feed(made.recipe.data, CPU), CPU)
    assert isinstance(result, Diverged)
    assert str(result).startswith("diverged at epoch 1: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": lambda: nn.Linear(4, 2)}, "gives 2 classes, but the data has a target 2"),
        ({"model": lambda: nn.Unflatten(1, (2, 2))}, "no parameters"),
        (
            {"model": lambda: nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (2, 2)))},
            r"gives \(16, 2, 2\) for a batch of 16",
        ),
        ({"loss": lambda z, t: F.cross_entropy(z, t, reduction="none")}, r"the loss gives \(16,\)"),
        ({"loss": lambda z, t: 0.3}, "the loss gives float"),
        (
            {
                "model": lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
                "batch_size": 7,
            },
            "batch_size=7 leaves 1 of 50 samples",
        ),
    ],
)
def test_what_cannot_be_trained_is_said(job: Make, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        run(job(**change))


def test_the_state_shares_no_memory(job: Make) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)
            self.two = nn.Linear(4, 4)
            self.two.weight = self.one.weight

        def forward(self, inputs: Tensor) -> Tensor:
            return self.two(self.one(inputs))  # type: ignore[no-any-return]

    state = run(job(model=Tied)).state
    assert state["one.weight"].data_ptr() != state["two.weight"].data_ptr()
    assert torch.equal(state["one.weight"], state["two.weight"])


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_training_ends_bitwise_as_an_undisturbed_one(
    job: Make, store: Any, optimizer: str
) -> None:
    made = job(epochs=5, optimizer=optimizer, lr=0.01)

    kept = Checkpoints(store, "key", "plain")

    def keeper() -> Keeper:
        saved = kept.load()
        return Keeper([saved] if saved else [], lambda _, made: kept.save(made), seconds=0.0)

    done: list[int] = []

    def interrupt(steps: int) -> None:
        done.append(steps)
        if sum(done) == 3 * made.steps_per_epoch + 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(made, keeper=keeper(), advance=interrupt)
    resumed: list[int] = []
    result = run(made, keeper=keeper(), advance=resumed.append)
    assert resumed[0] == 3 * made.steps_per_epoch  # what was kept counts as done
    assert len(resumed) == 1 + 2 * made.steps_per_epoch  # and is not trained again
    undisturbed = run(made)
    assert same(result.state, undisturbed.state)
    assert result.history == undisturbed.history


def test_a_checkpoint_of_another_way_is_not_gone_on_from(job: Make, store: Any) -> None:
    kept = Checkpoints(store, "key", "plain")
    run(job(), keeper=Keeper(keep=lambda _, made: kept.save(made), seconds=0.0))
    assert kept.load() is not None
    assert Checkpoints(store, "key", "fused").load() is None


def test_train_yields_each_job_with_its_result(job: Make, store: Any, bar: Any) -> None:
    jobs = [job(seed) for seed in range(3)]
    results = list(train(jobs, Machine(CPU, store, bar)))
    assert {made.id for made, _ in results} == {made.id for made in jobs}
    assert all(isinstance(result, Trained) for _, result in results)
    assert bar.done == bar.total == sum(made.steps for made in jobs)
