"""What a family is computed with, as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from pytest_multiplicity.compute.ambient import as_new, inside
from pytest_multiplicity.compute.arithmetic import MachineClass, machine_class
from pytest_multiplicity.compute.cores import available_cores
from pytest_multiplicity.compute.devices import threads
from pytest_multiplicity.compute.pools import Cluster

if TYPE_CHECKING:
    from pytest_multiplicity.store import Store

Advance = Callable[[int], None]


class Bar(Protocol):
    """A bar that moves."""

    def advance(self, steps: int = 1) -> None:
        """Move by so many steps."""


class Progress(Protocol):
    """Where long work says how far it is."""

    def task(self, description: str, total: int) -> AbstractContextManager[Bar]:
        """Open a bar of `total` steps."""


@dataclass(frozen=True)
class Machine:
    """What computes, where results are kept, and who hears of it.

    Args:
        device: what candidates are trained and evaluated on.
        store: where results are kept, and checkpoints of long trainings.
        progress: who shows how far work is.
        cores: how many processes may compute at once.
        threads: how many this process may use while no other one computes.
        patience: seconds without progress after which work is given up; 0 for never.
        check: whether candidates are checked not to depend on each other before they are fused.
        cluster: other machines that compute for this one.
        folder: where the run was started: what users' functions read lies there.
        every: whether all GPUs like the device train: it is this process's share of them.
        early: whether candidates are used as soon as they are trained, while others are.
        seen: what was found of structures of models, which families have in common.
    """

    device: torch.device
    store: Store
    progress: Progress
    cores: int = field(default_factory=available_cores)
    threads: int = field(default_factory=torch.get_num_threads)
    patience: float = 0.0
    check: bool = True
    cluster: Cluster | None = None
    folder: Path = field(default_factory=Path.cwd)
    every: bool = False
    early: bool = False
    seen: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def kind(self) -> MachineClass:
        """What it must have in common with another one to compute the same bits."""
        return machine_class(self.device)

    @contextmanager
    def as_new(self) -> Iterator[None]:
        """Compute as a new process would, started in the folder where the run was."""
        with as_new(), inside(self.folder):
            yield

    @contextmanager
    def alone(self, *, everywhere: bool = True) -> Iterator[None]:
        """Let no other process of the run compute in here: this one has all threads.

        Where it is not `everywhere`, those that have another GPU may: what they compute is asked
        of them by other specs.
        """
        with self.held(everywhere=everywhere), threads(self.threads):
            yield

    def held(self, *, everywhere: bool = True) -> AbstractContextManager[bool]:
        """Keep other processes of the run from computing; see `alone`."""
        index = None if everywhere else self.device.index
        return self.store.lock("compute" if index is None else f"compute-{index}")
