"""Streams and graphs of the simulated device, behind torch's own `torch.cuda.graph`.

What is launched while a graph is recorded isn't done, and what comes of it is nan until the first
replay. What CUDA refuses meanwhile is refused: waiting, copies from and to memory that isn't
pinned, seeding, random numbers of generators that the graph does not know, other streams. A
replay is one launch, and two for each generator that it draws from: torch 2.13 fills in seed and
offset.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import ModuleType
from typing import Any

import torch

NUMBERS = count(1)


class Stream:
    """A stream of a device; nothing on it is ever unfinished."""

    def __init__(self, device: Any = None, priority: int = 0, *, number: int | None = None) -> None:
        self.device = torch.device("cuda", Stream.index(device))
        self.stream_id = next(NUMBERS) if number is None else number

    index: Callable[[Any], int]
    own: Any  # the device

    def wait_stream(self, other: Stream) -> None:
        """Wait on the device, not on the host."""

    def synchronize(self) -> None:
        """Wait on the host."""
        Stream.own.wait(self.device.index)


class Within:
    """What `torch.cuda.stream` returns: left only where it is left, as there."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.before = stream, 0

    def __enter__(self) -> None:
        self.before = Stream.own.stream(self.stream.device.index)
        Stream.own.set_stream(self.stream.device.index, self.stream.stream_id)

    def __exit__(self, *error: object) -> None:
        Stream.own.set_stream(self.stream.device.index, self.before)


class Graph:
    """What `torch.cuda.CUDAGraph` is."""

    make: Callable[[], Any]

    def __init__(self, keep_graph: bool = False) -> None:
        self._own = Graph.make()

    def capture_begin(self, pool: Any = None, **options: Any) -> None:
        """Begin to record."""
        self._own.begin(pool)

    def capture_end(self) -> None:
        """Record no more."""
        self._own.end()

    def replay(self) -> None:
        """Do it."""
        self._own.replay()

    def reset(self) -> None:
        """Forget it."""
        self._own.reset()

    def pool(self) -> Any:
        """Return the memory, for another graph."""
        return self._own.pool

    def register_generator_state(self, generator: torch.Generator) -> None:
        """Have it draw from another generator than the device's own."""
        self._own.register(generator)


def install(device: ModuleType, index: Callable[[Any], int]) -> None:
    """Put streams and graphs where torch looks for CUDA's."""

    def current(given: Any = None) -> Stream:
        return Stream(given, number=device.stream(index(given)))

    Stream.index, Stream.own = staticmethod(index), device
    Graph.make = staticmethod(device.Graph)
    cuda: Any = torch.cuda
    own: Any = torch._C
    own._host_emptyCache = lambda: None
    cuda.Stream, cuda.stream, cuda.current_stream = Stream, Within, current
    for where in (cuda, cuda.graphs):
        where.CUDAGraph = Graph
        where.graph_pool_handle = device.Pool
        where.is_current_stream_capturing = device.recording
