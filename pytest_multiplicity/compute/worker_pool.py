"""The workers of one training, started when first needed, and what is shared with them."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import cached_property
from itertools import islice
from types import TracebackType

import torch

from pytest_multiplicity.compute.fused import FEWEST_LANES
from pytest_multiplicity.compute.memory import free_bytes
from pytest_multiplicity.compute.pools import Cluster, Pool
from pytest_multiplicity.compute.workers import Workers
from pytest_multiplicity.training import Job, Samples, Way, portable

CPU = torch.device("cpu")
VISIBLE = "CUDA_VISIBLE_DEVICES"


class Crew:
    """The workers for one device, a process on each of this machine's cores or a cluster's.

    ``cuda`` without a number is all GPUs of this machine: where there are several, each has a
    worker.
    No process exists before ``workers`` is asked to perform. Work that makes no progress for
    ``patience`` seconds is given up; 0 is none.
    """

    def __init__(
        self,
        cores: int,
        device: torch.device = CPU,
        patience: float = 0.0,
        cluster: Cluster | None = None,
    ) -> None:
        self.cores, self.device, self.patience = cores, device, patience
        self.cluster = cluster
        self._samples: dict[int, Samples] = {}

    @cached_property
    def workers(self) -> Pool:
        """Who performs tasks."""
        if self.cluster is not None:
            return self.cluster.pool(self.device, self.patience)
        return Workers(self.count, self.patience, gpu_places(self.gpus) if self.gpus > 1 else ())

    @cached_property
    def gpus(self) -> int:
        """How many GPUs of this machine train."""
        if self.device.type != "cuda":
            return 0
        return torch.cuda.device_count() if self.device.index is None else 1

    @property
    def count(self) -> int:
        """How many tasks are performed at once."""
        if self.cluster is not None:
            return self.workers.count
        return self.gpus if self.gpus > 1 else self.cores

    def __enter__(self) -> Crew:
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
        return self.cluster is not None or (os.name == "posix" and self.cores > 1)

    @property
    def room(self) -> int:
        """The bytes that all workers have together."""
        return free_bytes(self.device) if self.cluster is None else self.cluster.room(self.device)

    def takes(self, way: Way) -> bool:
        """Say whether workers train this way: on a cluster they have the accelerators, too."""
        far = self.cluster is not None and self.device.type != "cpu"
        return way.in_workers or far or self.gpus > 1

    def spread(self, way: Way, jobs: int) -> Way:
        """Give the way with no more lanes than leave every worker on a GPU or far something to do.

        A plan may come from another number of workers, and how many lanes there are changes no bits
        as long as they are a few.
        """
        if way.kind != "fused" or not (self.cluster or self.gpus > 1):
            return way
        most = max(FEWEST_LANES, math.ceil(jobs / self.count))
        return replace(way, lanes=min(way.lanes, most))

    def portable(self, job: Job) -> Job:
        """Give a job that can travel; what lies in memory is shared by all that travel."""
        data = job.recipe.data
        if data.streamed:
            return portable(job, None)
        if id(data) not in self._samples:
            self._samples[id(data)] = Samples(data.inputs, data.targets)
        return portable(job, self._samples[id(data)])


def gpu_places(count: int, visible: str | None = None) -> list[dict[str, str]]:
    """Give for each of the first GPUs that are visible here what shows a process that one alone.

    ``visible`` is ``CUDA_VISIBLE_DEVICES``: numbers or names of GPUs, of which ours are the first.
    """
    visible = os.environ.get(VISIBLE) if visible is None else visible
    names = [name.strip() for name in visible.split(",")] if visible else map(str, range(count))
    return [{VISIBLE: name} for name in islice(names, count)]
