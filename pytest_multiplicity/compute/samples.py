"""As much of a data set as computing needs, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.tasks import Classification, Task


@dataclass(frozen=True)
class Samples:
    """Inputs and targets in memory, and nothing else: as much of a data set as training needs."""

    inputs: kinds.Batch
    targets: Tensor
    streamed: bool = False
    task: Task = field(default_factory=Classification)
    attribute_tensors: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def shape(self) -> torch.Size:
        """The shape of one input; () for inputs that are no tensor."""
        return kinds.shape(self.inputs)

    @property
    def sample_bytes(self) -> int:
        """About how many bytes an input has."""
        return kinds.sample_bytes(self.inputs)

    def take(self, rows: Tensor) -> kinds.Batch:
        """Return a copy of these inputs."""
        return kinds.take(self.inputs, rows)
