"""The workers of one machine, started when first needed, and what is shared with them."""

from __future__ import annotations

import os
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

import torch

from pytest_multiplicity.compute.devices import gpu_places, gpus, is_gpu
from pytest_multiplicity.compute.fused import MOST_LANES
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.compute.memory import free_bytes
from pytest_multiplicity.compute.pools import Pool
from pytest_multiplicity.compute.samples import Samples
from pytest_multiplicity.compute.workers import Workers

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data


class WorkerPool:
    """The workers for one device, a process on each of this machine's cores or a cluster's.

    `cuda` without a number is all GPUs of this machine that are like the first: where there are
    several, each has a worker, and with `one_a_device` so it is where there is one.
    Workers on CPUs have the modules of `common` packages that are loaded here from the start.
    No worker exists before `workers` is asked to perform.
    """

    def __init__(
        self, machine: Machine, *, one_a_device: bool = False, common: tuple[str, ...] = ()
    ) -> None:
        self.machine, self._one_a_device, self._common = machine, one_a_device, common
        self._samples: dict[tuple[str, bool], Samples] = {}

    @cached_property
    def workers(self) -> Pool:
        """Who performs tasks."""
        device, patience = self.machine.device, self.machine.patience
        if self.machine.cluster is not None:
            return self.machine.cluster.pool(device, patience)
        places = gpu_places(self.gpus) if len(self.gpus) > 1 else ()
        # a process that was forked can't use a GPU that the one before it has looked at
        return Workers(self.count, patience, places, None if self.gpus else self._common)

    @cached_property
    def gpus(self) -> list[int]:
        """The numbers of this machine's GPUs that train."""
        device = self.machine.device
        if not is_gpu(device):
            return []
        is_all = self.machine.every or device == torch.device(device.type)
        return gpus() if is_all else [device.index]

    @property
    def count(self) -> int:
        """How many tasks are performed at once."""
        if self.machine.cluster is not None:
            return self.workers.count
        alone = len(self.gpus) > 1 or (self.gpus and self._one_a_device)
        return len(self.gpus) if alone else self.machine.cores

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if "workers" in vars(self):
            self.workers.close()

    @property
    def possible(self) -> bool:
        """Whether there can be workers, and more than one core for them."""
        return self.machine.cluster is not None or (os.name == "posix" and self.machine.cores > 1)

    def foresee(self, trainings: int) -> None:
        """Prepare for so many trainings before it is known which of them are for workers.

        As many as fit side by side may all be trained in this process, and need none.
        """
        if trainings > MOST_LANES and self.possible and isinstance(self.workers, Workers):
            self.workers.foresee()

    @property
    def room(self) -> int:
        """The bytes that all workers have together."""
        cluster, device = self.machine.cluster, self.machine.device
        return free_bytes(device) if cluster is None else cluster.room(device)

    @property
    def takes_all(self) -> bool:
        """Whether everything is trained in workers: they have the accelerators, here or far."""
        far = self.machine.cluster is not None and self.machine.device.type != "cpu"
        return far or len(self.gpus) > 1

    def samples(self, data: Data, *, attributes: bool = False) -> Samples | None:
        """Return what lies in memory of a data set, shared by all that travels; None: nothing.

        With its `attributes` as tensors, where that is asked for.
        """
        if data.streamed:
            return None
        known = data.fingerprint, attributes
        if known not in self._samples:
            beside = data.attribute_tensors if attributes else {}
            made = Samples(data.inputs, data.targets, task=data.task, attribute_tensors=beside)
            self._samples[known] = made
        return self._samples[known]
