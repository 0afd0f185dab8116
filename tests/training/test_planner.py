from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute.worker_pool import Crew
from pytest_multiplicity.data import Data
from pytest_multiplicity.training import planner
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.engine import plan, train
from pytest_multiplicity.training.groups import group_jobs
from pytest_multiplicity.training.jobs import Job, Trained, initial_module
from pytest_multiplicity.training.planner import Plan, Planner, describe
from pytest_multiplicity.training.probe import probe, why_not
from pytest_multiplicity.training.seeds import Seeds
from pytest_multiplicity.training.ways import Probed, Way

CPU = torch.device("cpu")
Make = Callable[..., Job]
FUSED = Way("fused", 4, in_workers=True)
WORKERS = Way("plain", in_workers=True)


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
    other = Data(blobs.inputs.clone(), blobs.targets, bounds=None)
    assert len(group_jobs([job(), half, job(2, data=other)])) == 3


def test_a_custom_optimizer_is_an_obstacle(job: Make) -> None:
    made = job(optimizer=lambda params, lr: torch.optim.RMSprop(params, lr))
    assert group_jobs([made])[0].obstacle == "custom optimizer"


def found(jobs: list[Job], ways: list[Way]) -> Any:
    modules = [initial_module(made.recipe, made.seeds) for made in jobs]
    return probe(jobs, modules, ways, feed(jobs[0].recipe.data, CPU), CPU, seconds=0.0)


def verdict(jobs: list[Job], way: Way = FUSED, **settings: Any) -> str | None:
    modules = [initial_module(made.recipe, made.seeds) for made in jobs]
    return why_not(jobs, modules, way, feed(jobs[0].recipe.data, CPU), CPU, **settings)


def test_a_probe_measures_each_way_and_leaves_the_modules_alone(job: Make) -> None:
    jobs = [job(seed) for seed in range(3)]
    modules = [initial_module(made.recipe, made.seeds) for made in jobs]
    before = [p.clone() for module in modules for p in module.parameters()]
    result = probe(jobs, modules, [WORKERS, FUSED], feed(jobs[0].recipe.data, CPU), CPU)
    assert [probed.way for probed in result.probed] == [WORKERS, FUSED]
    assert all(probed.seconds > 0 for probed in result.probed)
    assert result.obstacle is None
    after = [p for module in modules for p in module.parameters()]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Odd, "the model decides by the value of a tensor"),
        (Crashing, "AssertionError: "),
    ],
)
def test_what_cannot_be_fused_is_probed_without(job: Make, model: Any, said: str) -> None:
    result = found([job(seed, model=model) for seed in range(2)], [WORKERS, FUSED])
    assert [probed.way for probed in result.probed] == [WORKERS]
    assert said in result.obstacle


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


def test_a_lane_that_leaks_into_its_neighbour_is_found_out(
    job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_multiplicity.training.fused_optimizer import SGD

    step = SGD.step

    def leaking(self: SGD, grads: Any, lrs: Tensor) -> None:
        step(self, [grad + 1e-3 * grad.roll(1, 0) for grad in grads], lrs)

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
    last = replace(WORKERS, channels_last=True)
    assert verdict(jobs, last) == "channels last changes the gradients"
    assert verdict(jobs, WORKERS) is None


def test_time_and_memory_of_a_way() -> None:
    fused = Probed(replace(FUSED, lanes=16), seconds=0.02, bytes=100)
    assert fused.total_seconds(64, 10, 4, alone=True) == pytest.approx(0.2)
    assert fused.total_seconds(65, 10, 4, alone=True) == pytest.approx(0.4)
    assert fused.total_seconds(65, 10, 4, alone=False) == pytest.approx(0.25)
    assert fused.peak_bytes(64, 4) == 400
    assert fused.peak_bytes(10, 4) == 100
    plain = Probed(Way("plain", threads=4), seconds=0.01, bytes=50)
    assert plain.total_seconds(64, 10, 4, alone=True) == pytest.approx(6.4)
    assert plain.peak_bytes(64, 4) == 50


def test_lanes_leave_no_worker_idle(job: Make) -> None:
    def lanes(count: int) -> list[int]:
        return planner._lanes(group_jobs([job(0)] * count)[0], 4)

    assert lanes(1) == []
    assert lanes(2) == [4]
    assert lanes(20) == [4, 5]
    assert lanes(64) == [4, 8, 16]
    assert lanes(70) == [4, 5, 9]


def test_a_plan_is_made_once_and_recorded(job: Make, store: Any) -> None:
    jobs = [job(seed) for seed in range(3)]
    (first,) = plan(jobs, device=CPU, store=store, cores=2)
    (again,) = plan(jobs[:1], device=CPU, store=store, cores=2)
    assert (first.recorded, again.recorded) == (False, True)
    assert first.way == again.way
    assert [kind for kind, _ in store.puts] == ["plans"]


def test_little_work_starts_no_workers(job: Make, store: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("pytest_multiplicity.compute.workers._Process", None)
    results = list(train([job(0), job(1)], device=CPU, store=store, progress=quiet(), cores=4))
    assert all(isinstance(result, Trained) for _, result in results)


def test_a_plan_that_was_not_checked_is_not_taken_for_one_that_was(job: Make, store: Any) -> None:
    jobs = [job(0), job(1)]
    for check, recorded in ((False, False), (True, False), (False, True), (True, True)):
        (made,) = plan(jobs, device=CPU, store=store, check=check)
        assert made.recorded == recorded


def test_much_work_is_probed_in_workers(job: Make, store: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(planner, "WORKERS_COST", -float("inf"))
    monkeypatch.setattr(planner.Planner, "_probe_here", _hopelessly_slow)
    monkeypatch.setattr(planner, "TRIAL_SHARE", 100.0)
    odd = [job(seed, model=Odd) for seed in range(4)]
    plans = plan([*odd, job(0), job(1)], device=CPU, store=store, cores=2)
    assert all(made.way.in_workers for made in plans)
    assert plans[0].way.kind == "plain"
    assert plans[0].reason == "the model decides by the value of a tensor"


@pytest.mark.parametrize(
    ("several", "one", "workers"),
    [
        (0.10, 0.10, True),  # threads don't help: four processes take a quarter of the time
        (0.05, 0.15, False),  # they do: 3 s less are not worth the start
        (9.00, 0.10, True),  # somebody else uses the cores
        (1e-4, 1e-4, False),  # there is little to do
    ],
)
def test_workers_must_save_more_than_they_cost(
    job: Make, store: Any, several: float, one: float, workers: bool
) -> None:
    (group,) = group_jobs([job(seed, epochs=10) for seed in range(5)])
    assert group.steps * len(group.jobs) == 200
    ways = [Probed(Way("plain", threads=4), several, 0), Probed(Way("plain"), one, 0)]
    with Crew(4) as crew:
        made = Planner(CPU, store, crew)
        saved = made._saved_by_workers({group: planner.Probe(ways)})
    assert (saved > planner.WORKERS_COST) == workers


def test_numpys_products_are_tried_with_the_fastest_fused_way(job: Make) -> None:
    ways = [Probed(WORKERS, 1.0, 0), Probed(FUSED, 12.0, 0), Probed(replace(FUSED, lanes=8), 16, 0)]

    def tried(ways: list[Probed], **settings: Any) -> Way | None:
        (group,) = group_jobs([job(0, **settings), job(1, **settings)])
        return planner._by_numpy(group, ways)

    assert tried(ways) == Way("fused", 8, in_workers=True, by_numpy=True)
    assert tried(ways[:1]) is None  # nothing is fused
    assert tried(ways, precision="bf16") is None
    assert tried(ways, model=lambda: nn.Flatten()) is None  # and nothing multiplied


@pytest.mark.parametrize(("needed", "by_numpy"), [(2.0, True), (9.0, False)])
def test_the_fastest_way_is_taken_whoever_multiplies(
    job: Make, store: Any, monkeypatch: Any, needed: float, by_numpy: bool
) -> None:
    other = replace(FUSED, by_numpy=True)
    seconds = {WORKERS: 5.0, FUSED: 8.0, other: needed}

    def probed(self: Any, ways: Any, share: Any) -> Any:
        return {
            group: planner.Probe([Probed(way, seconds[way], 0) for way in those if way in seconds])
            for group, those in ways.items()
        }

    monkeypatch.setattr(planner, "WORKERS_COST", -float("inf"))
    monkeypatch.setattr(planner, "TRIAL_SHARE", 100.0)
    monkeypatch.setattr(planner.Planner, "_probe_here", _hopelessly_slow)
    monkeypatch.setattr(planner.Planner, "_probe_in_workers", probed)
    (made,) = plan([job(seed) for seed in range(4)], device=CPU, store=store, cores=2)
    assert made.way == replace(FUSED, by_numpy=by_numpy)


def test_a_way_is_tried_only_where_it_may_pay(job: Make, store: Any, monkeypatch: Any) -> None:
    tried: list[Way] = []
    probe = planner.probe

    def counted(jobs: Any, modules: Any, ways: Any, *args: Any, **options: Any) -> Any:
        tried.extend(ways)
        return probe(jobs, modules, ways, *args, **options)

    monkeypatch.setattr(planner, "probe", counted)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for epochs, threads in ((1, [2]), (100, [2, 1])):
        tried.clear()
        assert job(0, epochs=epochs).steps < 100 * epochs
        plan([job(0, epochs=epochs)], device=CPU, store=store)
        assert [way.threads for way in tried] == threads


def test_what_cannot_travel_is_trained_here(job: Make, store: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(planner, "WORKERS_COST", -float("inf"))
    lock = threading.Lock()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        with lock:
            return nn.functional.cross_entropy(logits, targets)

    (made,) = plan([job(0, loss=loss), job(1, loss=loss)], device=CPU, store=store, cores=2)
    assert not made.way.in_workers
    assert "cannot pickle '_thread.lock' object" in str(made.reason)


def _hopelessly_slow(self: Planner, group: Any, ways: Any) -> Any:
    return planner.Probe([Probed(Way("plain", threads=4), 1e6, 0)])


def test_plans_in_a_line(job: Make) -> None:
    group = group_jobs([job(0)] * 5)[0]
    plans = [
        Plan(group, Way("plain", threads=4), 1.0, 0, "custom optimizer"),
        Plan(group, Way("fused", 4, in_workers=True), 1.0, 0),
        Plan(group, Way("fused", 4, in_workers=True), 1.0, 0),
    ]
    line = describe(plans)
    assert line == "5 plain, 4 threads (custom optimizer); 10 fused by 4 in workers"


def test_a_way_that_does_not_fit_the_memory_is_not_taken(job: Make, store: Any) -> None:
    group = group_jobs([job(0)] * 8)[0]
    with Crew(2) as crew:
        made = Planner(CPU, store, crew)._best(
            group,
            planner.Probe([Probed(WORKERS, 1.0, 1000), Probed(FUSED, 0.1, 1 << 50)]),
            alone=True,
        )
    assert made.way == WORKERS


def quiet() -> Any:
    from contextlib import nullcontext
    from types import SimpleNamespace

    bar = SimpleNamespace(advance=lambda steps: None)
    return SimpleNamespace(task=lambda description, total: nullcontext(bar))
