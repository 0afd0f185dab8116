from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pytest_multiplicity.compute.cores import available_cores
from pytest_multiplicity.compute.devices import gpu_places
from pytest_multiplicity.compute.fork_server import close
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.compute.memory import free_bytes
from pytest_multiplicity.compute.sharing import SharedFolder, UnsharableError
from pytest_multiplicity.compute.worker_pool import WorkerPool
from pytest_multiplicity.compute.workers import (
    Crashed,
    Done,
    Failed,
    Outcome,
    Running,
    Stalled,
    Workers,
)
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.batches import Samples, feed
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.plain import train_plain
from pytest_multiplicity.training.remote import portable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need a socket pair")


def perform(
    functions: list[Callable[[Any], Any]], count: int = 2, patience: float = 0.0
) -> dict[int, Outcome]:
    with Workers(count, patience) as workers:
        waiting = deque(range(len(functions)))
        return dict(workers.perform(waiting, functions.__getitem__))


def test_tasks_run_in_other_processes_of_one_thread() -> None:
    def work(reporter: Any, i: int) -> tuple[int, int, int]:
        return i, os.getpid(), torch.get_num_threads()

    outcomes = perform([partial(work, i=i) for i in range(5)])
    values = [outcomes[i].value for i in range(5)]  # type: ignore[union-attr]
    assert [i for i, _, _ in values] == list(range(5))
    assert {threads for _, _, threads in values} == {1}
    assert os.getpid() not in {pid for _, pid, _ in values}
    assert len({pid for _, pid, _ in values}) <= 2


def test_workers_do_without_what_takes_long_to_import(job: Callable[..., Job]) -> None:
    def work(reporter: Any, made: Job) -> set[str]:
        cpu = torch.device("cpu")
        train_plain(made, feed(made.recipe.data, cpu), cpu, module=mlp())
        return {name for name in ("torch._dynamo", "torchvision", "pandas") if name in sys.modules}

    made = job(model=mlp)
    samples = Samples(made.recipe.data.inputs, made.recipe.data.targets)
    close()  # the server may have imported more for others
    assert perform([partial(work, made=portable(made, samples))]) == {0: Done(set())}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_a_crash_costs_its_task_only() -> None:
    def work(reporter: Any, i: int) -> int:
        if i == 1:
            os._exit(7)
        return i

    outcomes = perform([partial(work, i=i) for i in range(4)])
    assert outcomes == {0: Done(0), 1: Crashed("exit status 7"), 2: Done(2), 3: Done(3)}


def test_nobody_need_wait_for_tasks() -> None:
    waits = False
    with Workers(1) as workers:
        workers.begin(1)
        performing = workers.perform(
            deque([0, 1]), lambda i: lambda reporter: i, waits=lambda: waits
        )
        assert next(performing) == (0, Running())  # whose process can't have started yet
        waits = True
        assert list(performing) == [(0, Done(0)), (1, Done(1))]


def test_each_worker_has_a_place_and_who_replaces_it_takes_it() -> None:
    def work(reporter: Any, i: int) -> str:
        if i == 1:
            os._exit(7)
        return os.environ["CUDA_VISIBLE_DEVICES"]

    places = gpu_places([0, 2], "4, 7, GPU-8f9b")
    assert gpu_places([0, 2], "") == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "2"}]
    with Workers(2, places=places) as workers:
        outcomes = dict(workers.perform(deque(range(6)), lambda i: partial(work, i=i)))
        outcomes |= dict(workers.perform(deque([6, 7]), lambda i: partial(work, i=i)))
        there = {process.place["CUDA_VISIBLE_DEVICES"] for process in workers._processes}
    assert outcomes.pop(1) == Crashed("exit status 7")
    assert {outcome.value for outcome in outcomes.values()} <= {"4", "GPU-8f9b"}  # type: ignore[union-attr]
    assert there == {"4", "GPU-8f9b"}


def test_all_gpus_of_one_model_train(monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", ["H200", "H200", "T4", "H200"].__getitem__)
    one, all_of_them = (
        WorkerPool(Machine(torch.device(name), None, None, cores=8))  # type: ignore[arg-type]
        for name in ("cuda:1", "cuda")
    )
    assert (one.takes_all, all_of_them.takes_all) == (False, True)
    assert all_of_them.count == 3
    share = Machine(torch.device("cuda:1"), None, None, every=True)  # of one process of several
    assert WorkerPool(share).gpus == all_of_them.gpus == [0, 1, 3]


def test_processes_with_a_gpu_each_evaluate_at_the_same_time_and_train_in_turn() -> None:
    def held(device: str, **how: bool) -> str:
        names: list[str] = []

        def lock(name: str) -> contextlib.AbstractContextManager[None]:
            names.append(name)
            return contextlib.nullcontext()

        store: Any = types.SimpleNamespace(lock=lock)
        with Machine(torch.device(device), store, None, threads=1).alone(**how):  # type: ignore[arg-type]
            return names[0]

    assert held("cuda:0") == held("cuda:1") == held("cpu")
    assert len({held(f"cuda:{i}", everywhere=False) for i in range(2)} | {held("cpu")}) == 3
    assert held("cpu", everywhere=False) == held("cpu")


def test_a_task_that_hangs_is_ended_and_one_that_goes_on_is_not() -> None:
    def work(reporter: Any, i: int) -> int:
        for _ in range(6):
            time.sleep(100 if i == 1 else 0.2)
            reporter(1)
        return i

    outcomes = perform([partial(work, i=i) for i in range(3)], patience=1.0)
    assert outcomes == {0: Done(0), 1: Stalled(1.0), 2: Done(2)}


def test_errors_come_back_with_the_traceback_over_there() -> None:
    class OwnError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("own")

    def known(reporter: Any) -> None:
        raise RecipeError("the lr is off")

    def unpicklable(reporter: Any) -> None:
        raise OwnError(1, 2)

    outcomes = perform([known, unpicklable])
    first, second = outcomes[0], outcomes[1]
    assert isinstance(first, Failed)
    assert isinstance(first.error, RecipeError)
    assert "in known" in first.error.__notes__[0]
    assert isinstance(second, Failed)
    assert "OwnError: own" in str(second.error)


def test_tasks_added_on_the_way_are_performed() -> None:
    def work(reporter: Any, i: int) -> int:
        reporter(i)
        reporter.note(("seen", i))
        return i

    steps, notes, done = [], [], []
    with Workers(1) as workers:
        waiting = deque([3])
        outcomes = workers.perform(
            waiting,
            lambda i: partial(work, i=i),
            advance=steps.append,
            note=lambda item, value: notes.append((item, value)),
        )
        for item, outcome in outcomes:
            done.append((item, outcome))
            if item > 1:
                waiting.append(item - 1)
    assert done == [(3, Done(3)), (2, Done(2)), (1, Done(1))]
    assert sum(steps) == 6
    assert notes == [(i, ("seen", i)) for i in (3, 2, 1)]


def test_steps_that_were_lost_are_given_back(tmp_path: Path) -> None:
    def work(reporter: Any, first: Path) -> None:
        reporter(3)
        reporter.flush()
        if not first.exists():
            first.touch()
            os._exit(7)

    steps: list[int] = []
    with Workers(1) as workers:
        waiting = deque([0])
        for _, outcome in workers.perform(
            waiting, lambda i: partial(work, first=tmp_path / "first"), advance=steps.append
        ):
            waiting.extend([0] if isinstance(outcome, Crashed) else [])
    assert sum(steps) == 3
    assert -3 in steps


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a score")
def test_workers_are_the_first_to_go_when_memory_ends() -> None:
    def work(reporter: Any) -> str:
        return Path("/proc/self/oom_score_adj").read_text().strip()

    assert perform([work]) == {0: Done("1000")}


def test_tensors_are_shared_and_not_written_by_others() -> None:
    big = torch.arange(100_000)

    def work(reporter: Any, i: int) -> tuple[int, int]:
        mapped = Path("/proc/self/maps").read_text().count("multiplicity-")
        big[0] = i
        return int(big.sum()), mapped

    sharing = SharedFolder()
    assert len(sharing.dumps(big)) < 2000
    assert len(sharing.dumps([big[5:], big.view(-1, 2).T])) < 2000  # views of one memory
    sharing.close()
    outcomes = perform([partial(work, i=i) for i in range(3)], count=1)
    expected = int(torch.arange(100_000).sum())
    assert [outcomes[i].value for i in range(3)] == [
        (expected + i, outcomes[0].value[1]) for i in range(3)
    ]  # type: ignore[union-attr]
    if sys.platform == "linux":
        assert outcomes[0].value[1] > 0  # type: ignore[union-attr]
    assert big[0] == 0


def test_arrays_and_frames_are_shared_too() -> None:
    import pickle

    numbers = np.arange(200_000.0).reshape(-1, 4)
    frame = pd.DataFrame(numbers, columns=list("abcd")).assign(
        day=pd.date_range("2020-01-01", periods=len(numbers), freq="min"), n=range(len(numbers))
    )
    sharing = SharedFolder()
    for array in (numbers, numbers.T, np.asfortranarray(numbers)):
        sent = sharing.dumps(array)
        assert len(sent) < 2000
        back = pickle.loads(sent)
        assert np.array_equal(back, array)
        assert back.flags.c_contiguous == array.flags.c_contiguous
    sent = sharing.dumps(frame)
    assert len(sent) < 5000
    assert pickle.loads(sent).equals(frame)
    sharing.close()


def test_shared_views_keep_their_strides() -> None:
    import pickle

    big = torch.arange(60_000.0).view(200, 300)
    sharing = SharedFolder()
    for view in (big, big.T, big[10:, 5:], big[::3]):
        back = pickle.loads(sharing.dumps(view))
        assert torch.equal(back, view)
        assert back.stride() == view.stride()
    sharing.close()


def test_code_that_cannot_be_imported_over_there_travels(tmp_path: Path) -> None:
    module = types.ModuleType("conftest_of_somebody")
    module.__file__ = str(tmp_path / "conftest_of_somebody.py")
    source = "import torch\nclass Net(torch.nn.Linear):\n    def twice(self): return helper(2)\n"
    source += "def helper(x): return x * 2\n"
    exec(source, module.__dict__)
    sys.modules[module.__name__] = module
    try:
        net: Any = module.Net(2, 3)

        def work(reporter: Any) -> int:
            return int(net.twice())

        assert perform([work]) == {0: Done(4)}
    finally:
        del sys.modules[module.__name__]


def test_what_cannot_be_sent_is_said() -> None:
    module: Any = nn.Linear(2, 2)
    module.lock = threading.Lock()
    sharing = SharedFolder()
    with pytest.raises(UnsharableError, match="lock"):
        sharing.dumps(module)
    sharing.close()


def test_what_a_worker_cannot_read_is_said() -> None:
    class Secret:
        def __reduce__(self) -> Any:
            return _only_here, (os.getpid(),)

    def work(reporter: Any, value: object) -> None:
        raise AssertionError("it was read")

    outcome = perform([partial(work, value=Secret())])[0]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, UnsharableError)
    assert "a worker can't read it: LookupError: elsewhere" in str(outcome.error)


def _only_here(pid: int) -> object:
    if pid != os.getpid():
        raise LookupError("elsewhere")
    return object()


def test_cores_respect_a_containers_limits(tmp_path: Path) -> None:
    everything = available_cores(tmp_path)
    assert everything >= 1
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert available_cores(tmp_path) == min(2, everything)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cores(tmp_path) == everything
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path) == 1
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(tmp_path) == everything


def test_free_memory_respects_a_containers_limit(tmp_path: Path) -> None:
    cpu, proc = torch.device("cpu"), tmp_path / "meminfo"
    proc.write_text("MemTotal:  1000 kB\nMemAvailable:   800 kB\n")
    assert free_bytes(cpu, proc, tmp_path) == 800 << 10
    (tmp_path / "memory.max").write_text("500000\n")
    (tmp_path / "memory.current").write_text("100000\n")
    assert free_bytes(cpu, proc, tmp_path) == 400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(cpu, proc, tmp_path) == 800 << 10
    assert free_bytes(cpu, tmp_path / "missing", tmp_path) > 0
