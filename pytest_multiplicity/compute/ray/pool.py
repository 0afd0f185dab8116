"""Tasks on a Ray cluster, with the interface of a pool of processes here."""

from __future__ import annotations

import math
import os
import pickle
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
import torch
from ray import exceptions as failures

from pytest_multiplicity.compute.devices import device_class, is_gpu
from pytest_multiplicity.compute.environment import ENVIRONMENT, STRICT
from pytest_multiplicity.compute.ray.parcel import Part, pack
from pytest_multiplicity.compute.ray.task import work
from pytest_multiplicity.compute.sharing import UnsharableError
from pytest_multiplicity.compute.worker import Work
from pytest_multiplicity.compute.workers import Crashed, Done, Failed, Outcome, Stalled
from pytest_multiplicity.errors import EvaluationError

LOSSES = 4  # of one task, without a note between, after which it isn't sent again
WAIT_SECONDS = 0.5  # between looks at what nobody reports
LOOK_SECONDS = 1.0  # between looks at how large the cluster is
EMPTY_SECONDS = 300.0  # that it may be without a single core or GPU, while it grows
ARENA = {"MALLOC_ARENA_MAX": "1"}  # glibc: give a thread the memory that a main thread has
GONE = (failures.NodeDiedError, failures.LocalRayletDiedError, failures.ObjectLostError)
T = TypeVar("T")


@dataclass
class _Call(Generic[T]):
    """An item on its way to a core, or at work there."""

    item: T
    losses: int = 0
    steps: int = 0  # it reported since it was sent
    heard: float | None = None  # when it last said something; None while it waits for a core


class RayPool:
    """Performs tasks on a cluster, each on one core, and on one GPU if that is the device.

    `ref` puts a part of a parcel into the object store. See `pools.Pool`.
    """

    def __init__(
        self,
        ref: Callable[[Part], Any],
        device: torch.device,
        patience: float,
        *,
        as_here: bool = False,
    ) -> None:
        self._ref, self._device, self._patience = ref, device, patience
        bits = {name: os.environ.get(name, value) for name, value in STRICT.items()}
        environment = ENVIRONMENT | ARENA | bits
        self._work = ray.remote(
            name="multiplicity",
            num_returns="streaming",
            num_cpus=1,
            num_gpus=int(is_gpu(device)),
            max_retries=0,  # what was reported would be reported again, and checkpoints not used
            runtime_env={"env_vars": environment},
        )(work)
        self._looked, self._filled, self._size = -math.inf, time.monotonic(), 0
        self.count = self._count()

    def perform(
        self,
        waiting: deque[T],
        make: Callable[[T], Work],
        *,
        advance: Callable[[int], None] = lambda steps: None,
        note: Callable[[T, Any], None] = lambda item, value: None,
        memory: Callable[[T], int] = lambda item: 0,
        waits: Callable[[], bool] = lambda: True,
    ) -> Iterator[tuple[T, Outcome]]:
        """Perform what waits; see `pools.Pool`.

        As many tasks again as there are cores wait on the cluster, so that none is idle between
        two. A task that was lost with its node is sent again. Nobody asks who `waits`: what is
        computed meanwhile would need the same cores.
        """
        sent: dict[Any, _Call[T]] = {}
        again: deque[_Call[T]] = deque()
        try:
            while waiting or again or sent:
                while (waiting or again) and len(sent) < 2 * self._count():
                    call = again.popleft() if again else _Call(waiting.popleft())
                    try:
                        sent[self._send(make(call.item), memory(call.item))] = call
                    except UnsharableError as error:
                        yield call.item, Failed(error)
                for messages, kind, value in self._news(sent):
                    call = sent[messages]
                    if kind == "steps":
                        call.steps += value
                        advance(value)
                    elif kind == "note":
                        call.losses = 0  # it came further
                        note(call.item, value)
                    elif kind != "ready":
                        del sent[messages]
                        outcome = _outcome(kind, value, call.losses)
                        if not isinstance(outcome, Done):
                            advance(-call.steps)
                        if outcome is None:
                            again.append(_Call(call.item, call.losses + 1))
                        else:
                            yield call.item, outcome
        finally:
            for messages in sent:
                ray.cancel(messages, force=True)

    def begin(self, tasks: int) -> None:
        """Do nothing: processes are the cluster's."""

    def close(self) -> None:
        """Do nothing: processes are the cluster's, which has other uses for them."""

    def _send(self, task: Work, memory: int) -> Any:
        """Send a task; give the generator of its messages."""
        parcel = pack(task)
        parts = [self._ref(part) for part in parcel.parts]
        needs = {"memory": min(memory, most_memory())} if memory else {}
        name = device_class(self._device) if is_gpu(self._device) else ""
        paths = [path for path in sys.path if isinstance(path, str)]
        return self._work.options(**needs).remote(parcel.payload, paths, name, *parts)

    def _news(self, sent: dict[Any, _Call[T]]) -> Iterator[tuple[Any, str, Any]]:
        """Wait a little for messages; give one of each call that has any, and who is silent."""
        if not sent:
            return
        ready, _ = ray.wait(list(sent), num_returns=1, timeout=WAIT_SECONDS, fetch_local=False)
        if ready:
            ready, _ = ray.wait(list(sent), num_returns=len(sent), timeout=0, fetch_local=False)
        for messages in ready:
            sent[messages].heard = time.monotonic()
            yield messages, *_hear(messages)
        late = time.monotonic() - self._patience
        for messages, call in list(sent.items()) if self._patience else ():
            if call.heard is not None and call.heard <= late:
                ray.cancel(messages, force=True)
                yield messages, "stalled", self._patience

    def _count(self) -> int:
        """Count the cores, or GPUs, that the cluster has by now; 1 while it has none.

        Raises:
            EvaluationError: it has had none for long.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            kind = "GPU" if is_gpu(self._device) else "CPU"
            self._size, self._looked = int(ray.cluster_resources().get(kind, 0)), now
            if self._size:
                self._filled = now
            elif now - self._filled > EMPTY_SECONDS:
                raise EvaluationError(
                    f"the Ray cluster has had no {kind} for {EMPTY_SECONDS:g} s: add a node to it"
                )
        return max(1, self._size)


def most_memory() -> int:
    """Return the bytes that the largest node has for tasks."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return int(max((node.get("memory", 0) for node in nodes), default=0))


def _hear(messages: Any) -> tuple[str, Any]:
    """Return the next message of a task, or what became of it."""
    try:
        message: tuple[str, Any] = pickle.loads(ray.get(next(messages)))
    except GONE as error:
        return "lost", _first_line(error)
    except failures.WorkerCrashedError:
        return "vanished", "its process ended unexpectedly"
    except failures.OutOfMemoryError:
        return "crashed", "its node was out of memory"
    except (failures.RayError, StopIteration) as error:
        failure = f"a task on the Ray cluster failed: {type(error).__name__}: {error}"
        return "failed", EvaluationError(failure)
    return message


def _outcome(kind: str, value: Any, losses: int) -> Outcome | None:
    """Return a task's outcome; None: send it again.

    A process that vanishes may be the first sign of a lost node.
    """
    match kind:
        case "done":
            return Done(value)
        case "failed":
            return Failed(value)
        case "stalled":
            return Stalled(value)
        case "lost" if losses >= LOSSES:
            return Failed(EvaluationError(f"a task was lost {losses + 1} times, last: {value}"))
        case "crashed":
            return Crashed(value)
        case "vanished" if losses:
            return Crashed(value)
        case _:
            return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
