"""Steps that a GPU gets as graphs: recorded once, each is one launch of the host from then on.

A recorded step does again what was launched when it was recorded, in the same memory; no Python
runs. So what differs from step to step lies in buffers, random numbers come from generators that
are seeded before, and what Python does in a step must not matter: it is looked at before one is
recorded. The bits are those of steps that aren't recorded. A step that can't be is launched
operation by operation, from the same buffers, and `reason` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.compute.devices import (
    beside,
    let_go,
    noting_waits,
    out_of_memory,
    recorded,
    side_stream,
)
from pytest_multiplicity.errors import MultiplicityError

# Steps of a size before one is recorded, as many as in torch's examples: they make the optimizer's
# state, have libraries load their kernels, and the last one is looked at.
WARM = 3
TOO_LITTLE = "too little memory"

Work = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Look = Callable[[], Callable[[], str | None]]


@dataclass
class Size:
    """Steps of one size of a batch: where they read from, how many were done, and their graph."""

    buffers: list[Tensor]
    done: int = 0
    graph: Any = None
    given: Sequence[Tensor] = ()


class Graphs:
    """The steps of one training.

    All that isn't recorded runs on one side stream, too: what autograd keeps from step to step
    knows the stream on which it was made.
    """

    def __init__(
        self, device: torch.device, generators: Sequence[torch.Generator], reason: str | None
    ) -> None:
        self.stream = side_stream(device)
        self.generators, self.reason = generators, reason
        self.sizes: dict[object, Size] = {}
        self.pool: Any = None

    def __call__(self, inputs: Sequence[Tensor], work: Work, look: Look) -> Sequence[Tensor]:
        """Take a step.

        Args:
            inputs: what differs from other steps, on the device.
            work: the step itself, of tensors like these.
            look: called before a step, and what it gives after it: the reason not to record it.
        """
        size = self._size(inputs)
        for buffer, given in zip(size.buffers, inputs, strict=True):
            buffer.copy_(given)
        if size.graph is None and size.done >= WARM and self.reason is None:
            self._record(size, work)
        if size.graph is not None:
            size.graph.replay()
            return [given.clone() for given in size.given]
        size.done += 1
        with beside(self.stream):
            if size.done < WARM or self.reason is not None:
                return work(size.buffers)
            return self._looked_at(size, work, look)

    def _size(self, inputs: Sequence[Tensor]) -> Size:
        key = tuple((each.shape, each.stride(), each.dtype) for each in inputs)
        if key not in self.sizes:
            self.sizes[key] = Size([torch.empty_like(each) for each in inputs])
        return self.sizes[key]

    def _looked_at(self, size: Size, work: Work, look: Look) -> Sequence[Tensor]:
        after = look()
        with noting_waits() as waits:
            given = work(size.buffers)
        waiting = f"the host waits for the device in a step ({waits[0]})" if waits else None
        self.reason = waiting or after()
        return given

    def _record(self, size: Size, work: Work) -> None:
        try:
            graph, given = recorded(
                lambda: work(size.buffers), self.stream, self.generators, self.pool
            )
        except MultiplicityError:
            raise
        except Exception as error:
            self.reason = why_unrecorded(error)
        else:
            size.graph, size.given, self.pool = graph, given, graph.pool()
        if self.reason == TOO_LITTLE:
            let_go()


def why_unrecorded(error: Exception) -> str:
    """Say why a recording failed: often its end fails, over an error inside."""
    inside = error.__context__ or error
    if out_of_memory(error) or out_of_memory(inside):
        return TOO_LITTLE
    return f"{type(inside).__name__}: {str(inside).partition(chr(10))[0]}"


def unrecorded(way: str, reason: str | None) -> str:
    """Return a way of training, with the reason why its steps weren't recorded if they should."""
    return f"{way} (no graphs: {reason})" if reason else way
