"""Plans: the arithmetic follows from what was declared, and from nothing else."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute.arithmetic import Arithmetic
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.data import Data
from pytest_multiplicity.training import checks
from pytest_multiplicity.training import plan as plan_module
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checks import Trial
from pytest_multiplicity.training.engine import plan, train
from pytest_multiplicity.training.groups import group_jobs
from pytest_multiplicity.training.jobs import Job, Trained, initial_module
from pytest_multiplicity.training.plan import Declared, Plan
from pytest_multiplicity.training.seeds import Seeds

CPU = torch.device("cpu")
Make = Callable[..., Job]
FUSED, PLAIN = Arithmetic(fused=True), Arithmetic()


class Odd(nn.Module):
    """It decides by values, so it can't be fused."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(x)
        return out if out.sum() > 0 else 2 * out  # type: ignore[no-any-return]


class Crashing(nn.Module):
    """It fails on anything but tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(x, Tensor)
        return self.head(x)  # type: ignore[no-any-return]


def test_what_differs_in_numbers_only_is_one_group(job: Make) -> None:
    jobs = [
        job(0),
        job(1, lr=0.01),
        job(2, schedule="constant"),
        job(3, loss=nn.functional.cross_entropy),
    ]
    assert [len(group.jobs) for group in group_jobs([*jobs[:3], job(4)])] == [4]
    assert [len(group.jobs) for group in group_jobs(jobs)] == [3, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 8},
        {"epochs": 4},
        {"optimizer": "adam"},
        {"precision": "bf16"},
        {"weight_decay": 0.1},
        {"momentum": 0.0},
        {"model": lambda: nn.Linear(4, 3)},
        {"augment": lambda sample: sample},
    ],
    ids=",".join,
)
def test_what_differs_in_work_is_apart(job: Make, change: dict[str, Any]) -> None:
    assert len(group_jobs([job(), job(1, **change)])) == 2


def test_a_subset_and_other_data_are_apart(job: Make, blobs: Data) -> None:
    half = replace(job(), seeds=Seeds(0, 0, 0, 0, subset=1))
    other = Data(blobs.inputs + 1, blobs.targets, bounds=None)
    same = Data(blobs.inputs.clone(), blobs.targets, bounds=None)
    groups = group_jobs([job(), half, job(2, data=other), job(3, data=same)])
    assert [len(group.jobs) for group in groups] == [2, 1, 1]


def test_a_custom_optimizer_is_an_obstacle(job: Make) -> None:
    made = job(optimizer=lambda params, lr: torch.optim.RMSprop(params, lr))
    assert group_jobs([made])[0].obstacle == "custom optimizer"


def verdict(jobs: list[Job], arithmetic: Arithmetic = FUSED, **settings: Any) -> str | None:
    modules = [initial_module(made.recipe, made.seeds) for made in jobs]
    before = [p.clone() for module in modules for p in module.parameters()]
    trial = Trial(jobs, modules, feed(jobs[0].recipe.data, CPU), CPU)
    found = trial.why_not(arithmetic, **settings)
    after = [p for module in modules for p in module.parameters()]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    return found


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Odd, "the model decides by the value of a tensor"),
        (Crashing, "AssertionError: "),
    ],
)
def test_what_cannot_be_fused_is_plain(
    job: Make, store: Any, bar: Any, model: Any, said: str
) -> None:
    (made,) = plan([job(seed, model=model) for seed in range(4)], Machine(CPU, store, bar, cores=2))
    assert made.arithmetic == PLAIN
    assert said in str(made.reason)


def test_noise_of_no_candidates_own_is_found_out(job: Make) -> None:
    def noisy() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), nn.RReLU())

    reason = verdict([job(seed, model=noisy) for seed in range(2)])
    assert reason == "the model draws random numbers by other means than dropout layers"


def test_a_fused_form_that_computes_something_else_is_found_out(
    job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_multiplicity.compute import lanes

    relu = lanes.FORMS["relu"]
    monkeypatch.setitem(lanes.FORMS, "relu", lambda f, x, *a, **k: relu(f, x, *a, **k) * (1 + 1e-6))
    assert verdict([job(seed) for seed in range(2)]) == "a fused step differs from the plain one"


@pytest.mark.parametrize("leak", ["neighbour", "slot", "lanes"])
def test_a_lane_that_depends_on_others_is_found_out(
    job: Make, monkeypatch: pytest.MonkeyPatch, leak: str
) -> None:
    from pytest_multiplicity.training.fused_optimizer import SGD

    step = SGD.step

    def added(grad: Tensor) -> Tensor:
        slots = torch.arange(len(grad)).view(-1, *[1] * (grad.ndim - 1))
        found = {"neighbour": 1e-3 * grad.roll(1, 0), "slot": 1e-6 * slots}
        return found.get(leak, torch.tensor(1e-6 * len(grad)))

    def leaking(self: SGD, grads: Any, lrs: Tensor) -> None:
        step(self, [grad + added(grad) for grad in grads], lrs)

    monkeypatch.setattr(SGD, "step", leaking)
    jobs = [job(seed) for seed in range(4)]
    assert verdict(jobs, check=False) is None
    assert verdict(jobs) == "a candidate would depend on its neighbours"


def test_masks_in_memory_order_rule_channels_last_out(job: Make, images: Data) -> None:
    def functional() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)
        )

    jobs = [job(0, model=functional, data=images, batch_size=8)]
    last = Arithmetic(channels_last=True)
    assert verdict(jobs, last) == "channels last changes the gradients"
    assert verdict(jobs, PLAIN) is None


def test_a_plan_in_a_line(job: Make) -> None:
    group = group_jobs([job(0)] * 5)[0]
    line = str(Plan(group, Arithmetic(threads=4), reason="custom optimizer"))
    assert line == "5 plain, 4 threads (custom optimizer)"
    assert str(Plan(group, FUSED, 4, in_workers=True)) == "5 fused, 4 at once in workers"


def test_what_is_missing_changes_no_arithmetic(job: Make, store: Any, bar: Any) -> None:
    family = [job(seed, lr=0.1 / (1 + seed % 2)) for seed in range(6)]
    machine, declared = Machine(CPU, store, bar, cores=2), Declared.of(family)
    (whole,) = plan(family, machine, declared=declared)
    assert whole.arithmetic.fused
    for missing in (family[:1], family[3:5], family[::-1]):
        (some,) = plan(missing, machine, declared=declared)
        assert some.arithmetic == whole.arithmetic
        assert {each.key for each in some.group.jobs} == {each.key for each in missing}


def test_the_declared_size_counts_not_the_seeds_of_this_run(
    job: Make, store: Any, bar: Any
) -> None:
    machine, family = Machine(CPU, store, bar, cores=2), [job(0)]
    (alone,) = plan(family, machine)
    (of_many,) = plan(family, machine, declared=Declared(family, 10))
    assert not alone.arithmetic.fused
    assert of_many.arithmetic.fused
    many = [job(seed) for seed in range(10)]
    (of_one,) = plan(many, machine, declared=Declared(many, 1))
    assert of_one.arithmetic == alone.arithmetic


def test_seeds_that_are_added_decide_nothing_about_arithmetic(
    job: Make, store: Any, bar: Any
) -> None:
    machine, family = Machine(CPU, store, bar, cores=2), [job(0), job(1)]
    (alone,) = plan(family, machine)
    for count in (1, 20):
        added = [job(seed) for seed in range(2, 2 + count)]
        (further,) = plan(added, machine, declared=Declared(family, 2, added))
        assert further.arithmetic == alone.arithmetic
        assert further.group.jobs == tuple(added)


def same(one: dict[Job, Any], other: dict[Job, Any]) -> bool:
    known = {job.key: result for job, result in one.items()}
    return all(
        isinstance(result, Trained)
        and result.history == known[job.key].history
        and result.way == known[job.key].way
        and all(
            torch.equal(value, known[job.key].state[name]) for name, value in result.state.items()
        )
        for job, result in other.items()
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)
    )


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_bits_depend_on_nothing_that_is_free(
    job: Make, images: Data, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """What is in the store, the order of jobs, how many cores, lanes, and a resumed training."""
    settings = {"model": cnn, "data": images, "batch_size": 8} if model == "cnn" else {}
    family = [job(seed, epochs=2, **settings) for seed in range(7)]
    machine, declared = Machine(CPU, store, bar, cores=2), Declared.of(family)
    whole = dict(train(family, machine, declared=declared))
    assert {result.way for result in whole.values()} == {str(plan(family, machine)[0].arithmetic)}
    assert "fused" in next(iter(whole.values())).way
    for missing in (family[:1], family[2:4], family[::-1]):
        assert same(whole, dict(train(missing, machine, declared=declared)))
    for most in (4, 5):
        monkeypatch.setattr(plan_module, "MOST_LANES", most)
        assert same(whole, dict(train(family, machine, declared=declared)))
    monkeypatch.setattr(plan_module, "WORKERS_SECONDS", -1.0)  # now they start for anything
    (plans,) = plan(family, machine, declared=declared)
    assert plans.in_workers
    assert same(whole, dict(train(family, machine, declared=declared)))
    interrupted = train(family, machine, declared=declared, checkpoint_seconds=0.0)
    next(interrupted)
    interrupted.close()  # type: ignore[attr-defined]
    assert same(whole, dict(train(family[1:], machine, declared=declared)))


def test_no_clock_is_read_in_a_decision(
    job: Make, images: Data, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model": cnn, "data": images, "batch_size": 8}
    family = [*(job(seed) for seed in range(4)), *(job(9 + i, **settings) for i in range(3))]
    machine = Machine(CPU, store, bar, cores=2)
    plans, weights = plan(family, machine), dict(train(family, machine))
    for clock in ("perf_counter", "process_time", "perf_counter_ns"):
        monkeypatch.setattr(time, clock, lambda: random.uniform(-1e9, 1e9))
    leaps = itertools.accumulate(itertools.repeat(1e3))
    monkeypatch.setattr(time, "monotonic", lambda: next(leaps))
    assert plan(family, machine) == plans
    assert same(weights, dict(train(family, machine)))


def test_free_memory_chooses_lanes_and_nothing_else(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, family = Machine(CPU, store, bar, cores=1), [job(seed) for seed in range(16)]
    (roomy,) = plan(family, machine)
    monkeypatch.setattr("pytest_multiplicity.compute.worker_pool.free_bytes", lambda device: 1)
    (tight,) = plan(family, machine)
    assert (roomy.lanes, tight.lanes) == (16, 4)
    assert roomy.arithmetic == tight.arithmetic


def test_a_network_that_is_too_large_is_not_looked_at_side_by_side(
    job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_multiplicity.training.groups.LARGEST", 10)
    assert group_jobs([job(0)])[0].obstacle == "too large to have several in memory"


def test_little_work_starts_no_workers(job: Make, store: Any, bar: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("pytest_multiplicity.compute.workers._Process", None)
    results = list(train([job(0), job(1)], Machine(CPU, store, bar, cores=4)))
    assert all(isinstance(result, Trained) for _, result in results)


def test_much_work_goes_to_workers(job: Make, store: Any, bar: Any) -> None:
    odd = [job(seed, model=Odd, epochs=10_000) for seed in range(4)]
    much, little = plan([*odd, job(0), job(1)], Machine(CPU, store, bar, cores=2))
    assert much.in_workers
    assert much.seconds > little.seconds


def test_one_candidate_is_plain_and_has_all_cores_where_that_pays(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(CPU, store, bar, cores=2)
    (small,) = plan([job(0)], machine)
    assert small.arithmetic == PLAIN
    (large,) = plan(
        [job(0, model=lambda: nn.Sequential(nn.Linear(4, 200_000), nn.Linear(200_000, 3)))], machine
    )
    assert large.arithmetic == Arithmetic(threads=machine.kind.cores)
    assert not large.in_workers


def test_what_cannot_travel_is_trained_here_and_the_same(
    job: Make, store: Any, bar: Any, monkeypatch: Any
) -> None:
    lock = threading.Lock()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        with lock:
            return nn.functional.cross_entropy(logits, targets)

    family = [job(seed, loss=loss) for seed in range(4)]
    machine = Machine(CPU, store, bar, cores=2)
    here = dict(train(family, machine))
    monkeypatch.setattr(plan_module, "WORKERS_SECONDS", -1.0)
    (made,) = plan(family, machine)
    assert made.in_workers
    assert same(here, dict(train(family, machine)))


def test_what_is_not_checked_is_fused_all_the_same(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.Trial, "_check_independence", None)
    family = [job(seed) for seed in range(4)]
    (made,) = plan(family, Machine(CPU, store, bar, check=False))
    assert made.arithmetic.fused
