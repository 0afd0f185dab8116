"""Tasks on a Ray cluster of one-core nodes on this machine."""

from __future__ import annotations

import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_multiplicity.compute.arithmetic import Arithmetic
from pytest_multiplicity.compute.environment import ENVIRONMENT
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.compute.worker_pool import WorkerPool
from pytest_multiplicity.compute.workers import Crashed, Done, Failed, Stalled
from pytest_multiplicity.errors import EvaluationError, RecipeError
from pytest_multiplicity.training.batches import Samples
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.groups import group_jobs
from pytest_multiplicity.training.jobs import Job, Trained
from pytest_multiplicity.training.plan import Plan, Planner

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("ray", reason="Ray isn't installed: `nox -s ray` has it")
    from ray.cluster_utils import Cluster as Nodes

    from pytest_multiplicity.compute.ray import pool as pools
    from pytest_multiplicity.compute.ray.connection import RayCluster

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of files and sockets it leaves open


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Two machines of one core each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Nodes(initialize_head=True, head_node_args={"num_cpus": 1})
        made.add_node(num_cpus=1)
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def cluster(nodes: Nodes) -> Iterator[RayCluster]:
    made = RayCluster(nodes.address, 1)
    yield made
    made.close()


def perform(
    cluster: RayCluster, functions: list[Callable[[Any], Any]], patience: float = 0.0
) -> dict[int, Any]:
    pool = cluster.pool(CPU, patience)
    return dict(pool.perform(deque(range(len(functions))), functions.__getitem__))


def test_tasks_run_as_in_worker_processes(cluster: RayCluster) -> None:
    def work(reporter: Any, i: int) -> tuple[int, int, dict[str, str | None]]:
        settings = {name: os.environ.get(name) for name in expected}
        return i, torch.get_num_threads(), settings

    expected = dict(ENVIRONMENT)
    outcomes = perform(cluster, [partial(work, i=i) for i in range(5)])
    assert outcomes == {i: Done((i, 1, expected)) for i in range(5)}
    assert cluster.pool(CPU, 0.0).count == 2
    assert cluster.room(CPU) > 1 << 20


def test_errors_come_back_with_the_traceback_over_there(cluster: RayCluster) -> None:
    def known(reporter: Any) -> None:
        raise RecipeError("the lr is off")

    outcome = perform(cluster, [known])[0]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, RecipeError)
    assert "in known" in outcome.error.__notes__[0]


def test_a_process_that_dies_twice_costs_its_task_only(cluster: RayCluster) -> None:
    def work(reporter: Any, i: int) -> int:
        if i == 1:
            os._exit(7)
        return i

    outcomes = perform(cluster, [partial(work, i=i) for i in range(3)])
    assert outcomes == {0: Done(0), 1: Crashed("its process ended unexpectedly"), 2: Done(2)}


def test_a_task_that_hangs_is_given_up(cluster: RayCluster) -> None:
    def work(reporter: Any, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    outcomes = perform(cluster, [partial(work, seconds=s) for s in (600.0, 0.0)], patience=2.0)
    assert outcomes == {0: Stalled(2.0), 1: Done(0.0)}


def test_data_lies_in_the_object_store_once(cluster: RayCluster) -> None:
    samples = Samples(torch.rand(100_000, 4), torch.arange(100_000))

    def work(reporter: Any, samples: Samples) -> float:
        return float(samples.inputs.double().sum())

    before = len(cluster._kept)
    outcomes = perform(cluster, [partial(work, samples=samples) for _ in range(4)])
    assert [outcomes[i].value for i in range(4)] == [float(samples.inputs.double().sum())] * 4
    assert len(cluster._kept) - before == 2  # inputs and targets


def test_a_task_of_a_lost_node_is_done_again(
    nodes: Nodes, cluster: RayCluster, tmp_path: Path
) -> None:
    # A node of its own for one task, which the task itself tells: only it has this resource.
    doomed = nodes.add_node(num_cpus=1)
    seen = tmp_path / "seen"

    def work(reporter: Any, i: int) -> tuple[int, int]:
        with seen.open("a") as file:
            file.write(f"{i} {os.getppid()}\n")
        for _ in range(20):
            time.sleep(0.1)
            reporter(1)
        return i, 20

    steps: list[int] = []
    killed = False

    def advance(count: int) -> None:
        nonlocal killed
        steps.append(count)
        if not killed and count > 0 and len(seen.read_text().splitlines()) >= 3:
            killed = True
            nodes.remove_node(doomed, allow_graceful=False)

    pool = cluster.pool(CPU, 0.0)
    assert pool.count == 3
    outcomes = dict(pool.perform(deque(range(6)), lambda i: partial(work, i=i), advance=advance))
    assert killed
    assert outcomes == {i: Done((i, 20)) for i in range(6)}
    assert sum(steps) == 6 * 20
    assert len(seen.read_text().splitlines()) > 6


def test_a_task_that_is_lost_again_and_again(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_hear", lambda messages: ("lost", "its node died"))
    outcome = perform(cluster, [lambda reporter: None])[0]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, EvaluationError)
    assert str(outcome.error) == "a task was lost 5 times, last: its node died"


def test_what_runs_is_taken_back_when_nobody_wants_it(cluster: RayCluster, tmp_path: Path) -> None:
    beats = tmp_path / "beats"

    def work(reporter: Any, i: int) -> int:
        while i:
            with beats.open("a") as file:
                file.write(".")
            time.sleep(0.05)
        return i

    performing = cluster.pool(CPU, 0.0).perform(deque([0, 1]), lambda i: partial(work, i=i))
    assert next(performing) == (0, Done(0))
    while not beats.exists():
        time.sleep(0.05)
    performing.close()  # type: ignore[attr-defined]  # as an interruption does
    before = -1
    while before != (before := beats.stat().st_size):
        time.sleep(1.0)


def test_gpus_of_another_kind_are_refused(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = cluster.pool(CPU, 0.0)
    monkeypatch.setattr(pools, "device_class", lambda device: "NVIDIA B200")
    pool._device = torch.device("cuda")
    pool._looked = time.monotonic() + 1000  # there is none to look for
    ((_, outcome),) = pool.perform(deque([0]), lambda i: lambda reporter: None)
    assert isinstance(outcome, Failed)
    assert "has no GPU, where the tests run on NVIDIA B200" in str(outcome.error)


def planned(monkeypatch: pytest.MonkeyPatch, arithmetic: Arithmetic, lanes: int) -> None:
    """Send all to workers, in one arithmetic."""

    def made(self: Planner, jobs: Any, *args: Any, **settings: Any) -> Any:
        return [
            Plan(group, arithmetic, lanes, in_workers=True, seconds=1.0, bytes=1 << 20)
            for group in group_jobs(jobs)
        ]

    monkeypatch.setattr(Planner, "plans", made)


@pytest.mark.parametrize(
    ("arithmetic", "lanes"), [(Arithmetic(fused=True), 4), (Arithmetic(), 1)], ids=str
)
def test_candidates_are_the_same_to_the_last_bit(
    cluster: RayCluster,
    job: Callable[..., Job],
    store: Any,
    bar: Any,
    arithmetic: Arithmetic,
    lanes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned(monkeypatch, arithmetic, lanes)
    jobs = [job(seed, lr=0.1 / (1 + seed % 3)) for seed in range(9)]
    machine = Machine(CPU, store, bar, cores=2)
    local = {made.id: outcome for made, outcome in train(jobs, machine)}
    far = {made.id: outcome for made, outcome in train(jobs, replace(machine, cluster=cluster))}
    assert local.keys() == far.keys()
    for name, expected in local.items():
        got = far[name]
        assert isinstance(got, Trained)
        assert isinstance(expected, Trained)
        assert got.way == expected.way == str(arithmetic)
        assert got.history == expected.history
        assert all(torch.equal(got.state[key], value) for key, value in expected.state.items())
    assert bar.done == 2 * sum(each.steps for each in jobs)


@pytest.mark.parametrize(
    ("arrived", "next_epoch"),
    [
        (8, 1),  # the last of the second checkpoints is lost, too: from the start again
        (9, 3),  # the first of the third ones
    ],
)
def test_a_lost_training_goes_on_from_what_it_sent(
    arrived: int,
    next_epoch: int,
    cluster: RayCluster,
    job: Callable[..., Job],
    store: Any,
    bar: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned(monkeypatch, Arithmetic(fused=True), 4)
    jobs = [job(seed, epochs=4) for seed in range(4)]
    machine = Machine(CPU, store, bar, cores=2)
    local = dict(train(jobs, machine))
    hear, lost, begun = pools._hear, [], []

    def lossy(messages: Any) -> tuple[str, Any]:
        kind, value = hear(messages)
        if kind == "note":
            begun.append(value[1].epochs)
        if len(begun) == arrived and not lost:
            lost.append(messages)
            return "lost", "its node died"
        return kind, value

    monkeypatch.setattr(pools, "_hear", lossy)
    far = dict(train(jobs, replace(machine, cluster=cluster), checkpoint_seconds=0.0))
    assert lost
    assert begun[:8] == [1] * 4 + [2] * 4
    assert begun[arrived] == next_epoch
    for made, expected in local.items():
        assert isinstance(expected, Trained)
        assert isinstance(got := far[made], Trained)
        assert all(torch.equal(got.state[key], value) for key, value in expected.state.items())


def test_lanes_are_spread_over_the_workers_of_a_cluster(
    cluster: RayCluster, job: Callable[..., Job], store: Any, bar: Any
) -> None:
    machine = Machine(CPU, store, bar, cores=8, cluster=cluster)
    with WorkerPool(machine) as pool:
        assert pool.count == 2
        planner = Planner(machine, pool)
        for count, lanes in ((64, 16), (20, 10), (3, 4)):
            (group,) = group_jobs([job(seed) for seed in range(count)])
            plan = Plan(group, Arithmetic(fused=True))
            assert planner._with_lanes(plan, pool.count).lanes == lanes
