"""The ways to train, and what a probe found out about one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["plain", "fused"]


@dataclass(frozen=True)
class Way:
    """How the candidates of a group are trained.

    ``plain``: each by itself, in this process with so many ``threads`` or in worker processes of
    one thread. ``fused``: ``lanes`` of them side by side. ``compiled``: by torch's compiler, on a
    GPU with its launches recorded as graphs. ``by_numpy``: linear layers by numpy's products.
    """

    kind: Kind
    lanes: int = 1
    channels_last: bool = False
    threads: int = 1
    in_workers: bool = False
    compiled: bool = False
    by_numpy: bool = False

    def __str__(self) -> str:
        text = f"fused by {self.lanes}" if self.kind == "fused" else "plain"
        if self.in_workers:
            text += " in workers"
        elif self.kind == "plain":
            text += f", {self.threads} thread{'s' * (self.threads > 1)}"
        text += ", channels last" * self.channels_last + ", compiled" * self.compiled
        return text + ", numpy's products" * self.by_numpy

    def to_meta(self) -> dict[str, Any]:
        """Give it as what a store keeps."""
        return asdict(self)


@dataclass(frozen=True)
class Probed:
    """What a probe of a way saw: seconds a step takes (all its lanes), bytes a step adds.

    ``setup``: seconds that it takes once, before all steps.
    """

    way: Way
    seconds: float
    bytes: int
    setup: float = 0.0

    def total_seconds(self, jobs: int, steps: int, workers: int, *, alone: bool) -> float:
        """Estimate how long so many jobs of so many steps take.

        ``alone``: no other group's tasks fill the workers that have nothing to do at the end.
        """
        rounds: float = math.ceil(jobs / self.way.lanes)
        if self.way.in_workers:
            rounds = math.ceil(rounds / workers) if alone else rounds / workers
        return self.setup + rounds * steps * self.seconds

    def peak_bytes(self, jobs: int, workers: int) -> int:
        """Estimate the memory that all its simultaneous steps take."""
        at_once = min(workers, math.ceil(jobs / self.way.lanes)) if self.way.in_workers else 1
        return at_once * self.bytes
