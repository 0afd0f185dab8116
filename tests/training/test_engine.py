"""Whole trainings by every way: same draws, same results, each job once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from pytest_multiplicity.compute.arithmetic import Arithmetic
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.compute.stall import StalledError
from pytest_multiplicity.compute.worker_pool import WorkerPool
from pytest_multiplicity.compute.workers import Crashed, Failed, Workers
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import EvaluationError, RecipeError
from pytest_multiplicity.training import chunks
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checkpoints import Checkpoints, Keeper
from pytest_multiplicity.training.engine import plan, train
from pytest_multiplicity.training.fused_training import FusedTraining, train_fused
from pytest_multiplicity.training.jobs import Diverged, Job, Trained, initial_module
from pytest_multiplicity.training.plain import PlainTraining, train_plain
from pytest_multiplicity.training.plan import Planner

CPU = torch.device("cpu")
Make = Callable[..., Job]
FUSED, PLAIN = Arithmetic(fused=True), Arithmetic()


def collect(into: list[Job], results: Any) -> None:
    into.extend(made for made, _ in results)


def modules(jobs: list[Job]) -> list[nn.Module]:
    return [initial_module(made.recipe, made.seeds) for made in jobs]


def fused(
    jobs: list[Job], arithmetic: Arithmetic = FUSED, **settings: Any
) -> list[Trained | Diverged]:
    source = feed(jobs[0].recipe.data, CPU)
    return train_fused(jobs, modules(jobs), source, CPU, arithmetic, **settings)


def states(results: Any) -> list[dict[str, Tensor]]:
    return [result.state for result in results]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def planned(
    monkeypatch: pytest.MonkeyPatch,
    arithmetic: Arithmetic = PLAIN,
    *,
    lanes: int = 1,
    in_workers: bool = True,
) -> None:
    """Have one arithmetic, so many lanes, and workers or none, whatever there is to do."""
    plans = Planner.plans
    chosen = {"arithmetic": arithmetic, "lanes": lanes, "in_workers": in_workers}

    def made(self: Planner, *args: Any, **settings: Any) -> Any:
        return [replace(found, **chosen) for found in plans(self, *args, **settings)]

    monkeypatch.setattr(Planner, "plans", made)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(144, 4),
    )  # fmt: skip


SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "sgd, decay, no momentum": {"momentum": 0.0, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "adam, decay": {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
    "augmented": {"augment": v2.RandomHorizontalFlip()},
    "custom loss": {"loss": lambda z, t: nn.functional.cross_entropy(z, t, label_smoothing=0.1)},
    "constant": {"schedule": "constant", "lr": 0.05},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(
    "arithmetic",
    [FUSED, replace(FUSED, channels_last=True), replace(FUSED, by_numpy=True)],
    ids=str,
)
def test_a_few_fused_steps_agree_with_plain_ones(
    job: Make, images: Data, name: str, arithmetic: Arithmetic
) -> None:
    settings = {"model": cnn, "data": images, "batch_size": 8, "epochs": 2, "lr": 0.02}
    jobs = [job(seed, **(settings | SETTINGS[name])) for seed in range(3)]
    results = fused(jobs, arithmetic)
    for made, result in zip(jobs, results, strict=True):
        alone = train_plain(made, feed(images, CPU), CPU)
        assert isinstance(alone, Trained)
        assert isinstance(result, Trained)
        for key, value in alone.state.items():
            torch.testing.assert_close(result.state[key], value, rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(result.history, alone.history, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)


def test_candidates_have_settings_of_their_own(job: Make) -> None:
    changes: list[dict[str, Any]] = [
        {"lr": 0.3},
        {"momentum": 0.5},
        {"weight_decay": 0.1},
        {"schedule": "constant"},
        {"schedule": lambda step: 0.5**step},
    ]
    jobs = [job(seed, **({"weight_decay": 0.2} | change)) for seed, change in enumerate(changes)]
    for made, result in zip(jobs, states(fused(jobs)), strict=True):
        alone = train_plain(made, feed(made.recipe.data, CPU), CPU)
        assert isinstance(alone, Trained)
        for key, value in alone.state.items():
            torch.testing.assert_close(result[key], value, rtol=1e-5, atol=1e-5)


def test_a_fused_candidate_does_not_depend_on_its_neighbours(job: Make) -> None:
    jobs = [job(seed) for seed in range(6)]
    whole = states(fused(jobs))
    assert all(map(same, whole, states(fused(jobs))))  # a rerun
    assert all(map(same, whole[::-1], states(fused(jobs[::-1]))))  # other slots
    assert same(whole[2], states(fused([jobs[2]]))[0])  # by itself
    diverging = [job(seed, lr=1e30) for seed in range(3)]
    mixed = fused([*diverging, jobs[4]])
    assert isinstance(mixed[3], Trained)
    assert same(whole[4], mixed[3].state)


def test_one_of_several_diverges(job: Make) -> None:
    def explode(logits: Tensor, targets: Tensor) -> Tensor:
        return (logits**4).sum()

    jobs = [job(0, epochs=5), job(1, epochs=5, loss=explode, lr=1.0), job(2, epochs=5)]
    results = fused(jobs)
    alone = train_plain(jobs[1], feed(jobs[1].recipe.data, CPU), CPU)
    assert [type(result) for result in results] == [Trained, Diverged, Trained]
    assert str(results[1]) == str(alone)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_fused_training_ends_bitwise_the_same(job: Make, optimizer: str) -> None:
    jobs = [job(seed, optimizer=optimizer, lr=0.01, epochs=4) for seed in range(4)]
    kept: dict[int, list[Any]] = {lane: [] for lane in range(4)}
    keeper = Keeper(keep=lambda lane, made: kept[lane].append(made), seconds=0.0)
    undisturbed = fused(jobs, keeper=keeper)
    steps: list[int] = []
    saved = [kept[lane][1] for lane in range(4)]
    resumed = fused(jobs, keeper=Keeper(saved), advance=steps.append)
    assert all(map(same, states(undisturbed), states(resumed)))
    assert [r.history for r in resumed] == [r.history for r in undisturbed]  # type: ignore[union-attr]
    assert sum(steps) == 4 * jobs[0].steps
    assert len(steps) == 1 + 2 * jobs[0].steps_per_epoch


@pytest.mark.parametrize(
    ("arithmetic", "lanes", "in_workers"), [(PLAIN, 1, False), (PLAIN, 1, True), (FUSED, 4, True)]
)
def test_each_job_is_trained_once_as_planned(
    job: Make,
    store: Any,
    bar: Any,
    arithmetic: Arithmetic,
    lanes: int,
    in_workers: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned(monkeypatch, arithmetic, lanes=lanes, in_workers=in_workers)
    jobs = [job(seed) for seed in range(6)]
    results = dict(train(jobs, Machine(CPU, store, bar, cores=2)))
    assert set(results) == set(jobs)
    assert {r.way for r in results.values() if isinstance(r, Trained)} == {str(arithmetic)}
    assert bar.done == bar.total == sum(made.steps for made in jobs)
    one = dict(train(jobs[3:4], Machine(CPU, store, bar, cores=2)))
    assert same(results[jobs[3]].state, one[jobs[3]].state)  # type: ignore[union-attr]


def test_workers_and_a_single_thread_here_agree_bitwise(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch)
    jobs = [job(seed) for seed in range(2)]
    there = dict(train(jobs, Machine(CPU, store, bar, cores=2)))
    here = train_plain(jobs[0], feed(jobs[0].recipe.data, CPU), CPU)
    assert same(there[jobs[0]].state, here.state)  # type: ignore[union-attr]


def test_an_error_in_a_worker_is_the_users_error(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch)
    jobs = [job(0), job(1)]
    wrong = replace(jobs[1], recipe=replace(jobs[1].recipe, model=lambda: nn.Linear(4, 2)))
    with pytest.raises(RecipeError, match="gives 2 classes"):
        list(train([jobs[0], wrong], Machine(CPU, store, bar, cores=2)))


def test_a_job_that_kills_its_worker_is_tried_twice_and_named(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch)
    parent = os.getpid()

    def die(sample: Tensor) -> Tensor:
        if os.getpid() != parent:
            os._exit(9)
        return sample

    with pytest.raises(EvaluationError, match="training job-seed0 killed its worker process twice"):
        list(train([job(augment=die)], Machine(CPU, store, bar, cores=2)))


@pytest.mark.parametrize("in_workers", [True, False])
def test_a_job_that_hangs_is_named_and_all_others_are_trained(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch, in_workers: bool
) -> None:
    planned(monkeypatch, in_workers=in_workers)
    jobs = [job(seed, augment=sleepy if seed == 1 else awake) for seed in range(3)]
    trained: list[Job] = []
    with pytest.raises(StalledError, match=r"training job-seed1: no progress in 2 s") as error:
        collect(trained, train(jobs, Machine(CPU, store, bar, cores=2, patience=2.0)))
    assert {made.id for made in trained} == {"job-seed0", "job-seed2"}
    assert error.value.jobs == (jobs[1],)


def test_a_job_that_hangs_while_planning_is_named_and_all_others_are_trained(
    job: Make, store: Any, bar: Any
) -> None:
    jobs = [job(seed, augment=sleepy if seed == 0 else awake) for seed in range(3)]
    trained: list[Job] = []
    with pytest.raises(StalledError, match=r"training job-seed0: no progress in 2 s"):
        collect(trained, train(jobs, Machine(CPU, store, bar, cores=1, patience=2.0)))
    assert {made.id for made in trained} == {"job-seed1", "job-seed2"}
    with pytest.raises(StalledError, match="planning to train job-seed0, job-seed1, job-seed2"):
        plan(jobs, Machine(CPU, type(store)(), bar, cores=1, patience=0.5))


def test_a_chunk_that_hangs_is_named_by_all_its_jobs(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch, FUSED, lanes=4)
    jobs = [job(seed, augment=sleepy if seed == 1 else awake) for seed in range(8)]
    trained: list[Job] = []
    said = "training job-seed0, job-seed1, job-seed2, job-seed3: no progress in 2 s"
    with pytest.raises(StalledError, match=said):
        collect(trained, train(jobs, Machine(CPU, store, bar, cores=2, patience=2.0)))
    assert {made.id for made in trained} == {f"job-seed{seed}" for seed in range(4, 8)}


def sleepy(sample: Tensor) -> Tensor:
    time.sleep(100)
    return sample


def awake(sample: Tensor) -> Tensor:
    return sample


def test_jobs_that_cannot_travel_are_trained_here(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch)
    lock = threading.Lock()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        with lock:
            return nn.functional.cross_entropy(logits, targets)

    jobs = [job(0), job(1, loss=loss)]
    results = dict(train(jobs, Machine(CPU, store, bar, cores=2)))
    assert all(isinstance(results[made], Trained) for made in jobs)
    assert bar.done == bar.total


def test_want_of_memory_halves_a_chunk(job: Make) -> None:
    jobs = tuple(job(seed) for seed in range(10))
    whole = chunks.Chunk(jobs, (), FUSED, seconds=8.0)
    halves = chunks.again(whole, Failed(MemoryError()))
    assert [len(half.jobs) for half in halves] == [5, 5]
    assert {half.arithmetic for half in halves} == {FUSED}
    assert sum((half.jobs for half in halves), ()) == jobs
    (again,) = chunks.again(replace(whole, jobs=jobs[:1]), Crashed("exit status -9"))
    assert again.attempts == 2
    with pytest.raises(ValueError, match="own"):
        chunks.again(whole, Failed(ValueError("own")))


def test_want_of_memory_ends_with_each_job_by_itself(job: Make) -> None:
    jobs = tuple(job(seed) for seed in range(4))
    tried = chunks.Chunk(jobs, (), FUSED, seconds=8.0, attempts=2)
    alone = chunks.again(tried, Failed(MemoryError()))
    assert [each.jobs for each in alone] == [(made,) for made in jobs]
    assert {str(each.arithmetic) for each in alone} == {"plain"}
    assert all(each.lacking for each in alone)
    (again,) = chunks.again(alone[0], Failed(MemoryError()))
    with pytest.raises(EvaluationError, match=r"training job-seed0 .*\(out of memory\)"):
        chunks.again(again, Failed(MemoryError()))


def test_fewer_lanes_are_those_that_give_the_same_bits(job: Make) -> None:
    jobs = tuple(job(seed) for seed in range(12))
    wide = chunks.Chunk(jobs, (), FUSED, seconds=8.0, lanes=16, fewer=(8, 4))
    eight = chunks.again(wide, Failed(MemoryError()))
    assert [(len(each.jobs), each.lanes) for each in eight] == [(6, 8), (6, 8)]
    four = chunks.again(eight[0], Failed(MemoryError()))
    assert [(len(each.jobs), each.lanes) for each in four] == [(3, 4), (3, 4)]
    assert [each.attempts for each in chunks.again(four[0], Failed(MemoryError()))] == [2]


def allocate_too_much() -> None:
    torch.empty(2**60)  # as a RuntimeError of torch's tells, which has no class of its own


def report_too_much() -> None:
    raise torch.OutOfMemoryError


@pytest.mark.parametrize("ask", [allocate_too_much, report_too_much])
def test_a_chunk_too_big_for_memory_is_trained_in_halves(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], None]
) -> None:
    planned(monkeypatch, FUSED, lanes=8, in_workers=False)
    sizes: list[int] = []
    way = chunks.train_together

    def small(jobs: Any, *args: Any) -> Any:
        sizes.append(len(jobs))
        if len(jobs) > 4:
            ask()
        return way(jobs, *args)

    monkeypatch.setattr(chunks, "train_together", small)
    jobs = [job(seed) for seed in range(8)]
    results = dict(train(jobs, Machine(CPU, store, bar, cores=1)))
    assert sizes == [8, 4, 4]
    assert set(results) == set(jobs)


def test_a_chunk_whose_worker_was_killed_is_trained_in_halves(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planned(monkeypatch, FUSED, lanes=8)
    first, parent = tmp_path / "first", os.getpid()
    first.touch()

    def killed(sample: Tensor) -> Tensor:
        if os.getpid() != parent and first.exists():
            first.unlink()
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does for want of memory
        return sample

    jobs = [job(seed, augment=killed) for seed in range(8)]
    results = dict(train(jobs, Machine(CPU, store, bar, cores=2)))
    assert {results[made].way for made in jobs} == {"fused"}  # type: ignore[union-attr]


def test_checkpoints_of_workers_reach_the_store(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch, FUSED, lanes=4)
    jobs = [job(seed) for seed in range(3)]
    machine = Machine(CPU, store, bar, cores=2)
    first = dict(train(jobs, machine, checkpoint_seconds=0.0))
    kept = Checkpoints(store, jobs[1].key, f"{FUSED} on {machine.kind}").load()
    assert kept is not None
    assert kept.epochs == jobs[1].recipe.epochs
    again = dict(train(jobs, machine))  # from the last epoch: nothing is left to do
    assert same(first[jobs[1]].state, again[jobs[1]].state)  # type: ignore[union-attr]


def test_dropout_and_augmentation_draw_the_same_by_every_way(job: Make, images: Data) -> None:
    jobs = [
        job(seed, model=cnn, data=images, batch_size=8, augment=v2.RandomHorizontalFlip())
        for seed in range(4)
    ]
    source = feed(images, CPU)
    together = FusedTraining(jobs, modules(jobs), source, CPU)
    orders = torch.stack([torch.arange(22)] * 4)
    batch = next(together.batches(orders))
    losses, _ = together.forward(1, 2, batch)
    for lane, made in enumerate(jobs):
        alone = PlainTraining(made, modules([made])[0], source, CPU)
        loss, _ = alone.forward(1, 2, batch.lane(lane))
        torch.testing.assert_close(losses[lane], loss, rtol=1e-5, atol=1e-6)


def test_nothing_to_train() -> None:
    assert list(train([], Machine(CPU, None, None))) == []  # type: ignore[arg-type]


def test_several_gpus_share_the_jobs(
    job: Make, store: Any, bar: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that think so of two GPUs, and compute on the CPU."""
    jobs = [job(seed) for seed in range(6)]
    alone = dict(train(jobs, Machine(CPU, store, bar, cores=1)))
    monkeypatch.setattr(WorkerPool, "gpus", [0, 1])
    seen = []
    perform = Workers.perform

    def counted(self: Workers, waiting: Any, make: Any, **options: Any) -> Any:
        for item, outcome in perform(self, waiting, make, **options):
            seen.append([process.place for process in self._processes])
            yield item, outcome

    monkeypatch.setattr(Workers, "perform", counted)
    together = dict(train(jobs, Machine(CPU, store, bar, cores=1)))
    assert seen[-1] == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    for each in jobs:
        one, other = alone[each], together[each]
        assert isinstance(one, Trained)
        assert isinstance(other, Trained)
        for name, value in one.state.items():
            torch.testing.assert_close(other.state[name], value)
