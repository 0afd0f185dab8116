"""Long trainings are kept from time to time, so that an interrupted one goes on where it was."""

from __future__ import annotations

import io
import time
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


@dataclass
class Checkpoints:
    """The checkpoints of one training, kept at the end of an epoch every ``seconds``."""

    store: Store
    key: str
    way: str
    seconds: float = SECONDS
    _last: float = field(default_factory=time.monotonic, init=False)

    def load(self) -> Checkpoint | None:
        """Give the last checkpoint of a training that went the same way, or None."""
        entry = self.store.get(KIND, self.key)
        if entry is None or entry.meta["way"] != self.way:
            return None
        tensors = dict(entry.tensors)
        optimizer = io.BytesIO(tensors.pop("optimizer").numpy().tobytes())
        return Checkpoint(
            entry.meta["epochs"],
            {name.removeprefix("state."): value for name, value in tensors.items()},
            torch.load(optimizer, weights_only=True),
            entry.meta["history"],
        )

    def due(self) -> bool:
        """Say whether it is time for another one."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep this one in the place of the one before."""
        buffer = io.BytesIO()
        torch.save(checkpoint.optimizer, buffer)
        tensors = {f"state.{name}": value for name, value in checkpoint.state.items()}
        tensors["optimizer"] = torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())
        meta = {"way": self.way, "epochs": checkpoint.epochs, "history": checkpoint.history}
        self.store.put(KIND, self.key, tensors, meta)
        self._last = time.monotonic()
