"""Long trainings are kept from time to time, so that an interrupted one goes on where it was."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from pytest_multiplicity.store import Store

KIND = "checkpoints"
SECONDS = 120.0


@dataclass(frozen=True)
class Checkpoint:
    """A training after some epochs: weights, the optimizer's state dict, and the history so far."""

    epochs: int
    state: dict[str, Tensor]
    optimizer: dict[str, Any]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoints:
    """The last checkpoint of one training in a store."""

    store: Store
    key: str
    way: str

    def load(self) -> Checkpoint | None:
        """Return the last checkpoint of a training that went the same way, or None."""
        entry = self.store.get(KIND, self.key)
        if entry is None or entry.meta["way"] != self.way:
            return None
        tensors = dict(entry.tensors)
        optimizer = io.BytesIO(tensors.pop("optimizer").numpy().tobytes())
        return Checkpoint(
            entry.meta["epochs"],
            {name.removeprefix("state."): value for name, value in tensors.items()},
            torch.load(optimizer, map_location="cpu", weights_only=True),
            entry.meta["history"],
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep this one in the place of the one before."""
        buffer = io.BytesIO()
        torch.save(_on_cpu(checkpoint.optimizer), buffer)
        tensors = {f"state.{name}": value for name, value in checkpoint.state.items()}
        tensors["optimizer"] = torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())
        meta = {"way": self.way, "epochs": checkpoint.epochs, "history": checkpoint.history}
        self.store.put(KIND, self.key, tensors, meta)


def _on_cpu(value: Any) -> Any:
    """Return what an optimizer keeps without any device, which might not be there later."""
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {name: _on_cpu(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_on_cpu, value))
    return value


@dataclass
class Keeper:
    """What a training does about checkpoints: where it starts, and when and where it keeps them.

    `saved` has a checkpoint for each job, all after as many epochs, or is empty; `keep` takes a
    job's position and its checkpoint.
    """

    saved: Sequence[Checkpoint] = ()
    keep: Callable[[int, Checkpoint], None] = lambda position, checkpoint: None
    seconds: float = math.inf
    _last: float = field(default_factory=time.monotonic, init=False)

    def due(self) -> bool:
        """Say whether it is time for another one, and if so wait for the next from now on."""
        is_due = time.monotonic() - self._last >= self.seconds
        if is_due:
            self._last = time.monotonic()
        return is_due
