"""Who performs tasks: processes on this machine (`workers.Workers`), or a cluster's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import torch

from pytest_multiplicity.compute.worker import Work
from pytest_multiplicity.compute.workers import Outcome

T = TypeVar("T")


class Pool(Protocol):
    """Performs tasks, `count` at once."""

    count: int

    def perform(
        self,
        waiting: deque[T],
        make: Callable[[T], Work],
        *,
        advance: Callable[[int], None] = ...,
        note: Callable[[T, Any], None] = ...,
        memory: Callable[[T], int] = ...,
        waits: Callable[[], bool] = ...,
    ) -> Iterator[tuple[T, Outcome]]:
        """Perform what waits; give (item, outcome) as tasks end.

        `make` makes an item's task when its turn comes, and again where it was lost with a
        machine. More may be put to what waits in the meantime. A worker that dies or hangs is
        replaced, and its task has `Crashed` or `Stalled` as its outcome. `advance` gets the steps
        done, and back (negative) those that were lost; `note` what tasks send with
        `worker.Reporter.note`; `memory` says how many bytes a task needs. Where nobody `waits` and
        nothing is new, one of the items is given with `Running`; tasks go on meanwhile.
        """
        ...

    def begin(self, tasks: int) -> None:
        """Make ready for so many tasks, before they are there."""

    def close(self) -> None:
        """End all work."""


class Cluster(Protocol):
    """Machines that perform tasks for this one."""

    def pool(self, device: torch.device, patience: float, *, as_here: bool = False) -> Pool:
        """Return a pool whose workers compute on such a device, one task on each core or GPU.

        Tasks that say nothing for `patience` seconds are given up; 0 is never. `as_here`: the
        settings that can change bits are those of this process, not of worker processes.
        """
        ...

    def shared(self) -> Any:
        """Return what another process needs to use it, too, once it runs; None: nothing."""
        ...

    def close(self) -> None:
        """Disconnect; what was started for this run ends."""

    def room(self, device: torch.device) -> int:
        """Return the bytes that all workers have together, as many for each."""
        ...
