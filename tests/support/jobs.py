from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.seeds import Seeds

# As the tests beside: see tests/conftest.py, which is read before the first matrix product.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


@dataclass
class Entry:
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


@dataclass
class MemoryStore:
    """As much of a store as training needs, in memory, counting what is put."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    puts: list[tuple[str, str]] = field(default_factory=list)
    root: Path = Path()

    def get(self, kind: str, key: str) -> Entry | None:
        return self.entries.get((kind, key))

    def put(
        self, kind: str, key: str, tensors: dict[str, Tensor], meta: dict[str, Any] | None = None
    ) -> None:
        self.entries[kind, key] = Entry({k: v.clone() for k, v in tensors.items()}, meta or {})
        self.puts.append((kind, key))

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self.entries


@dataclass
class Bar:
    """A progress that counts steps, and can call something at each move."""

    total: int = 0
    done: int = 0
    on_advance: Callable[[int], None] = lambda done: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Bar]:
        self.total = total
        yield self

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        self.on_advance(self.done)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def bar() -> Bar:
    return Bar()


@pytest.fixture(scope="session")
def blobs() -> Data:
    """Fifty points in three classes, easy to tell apart."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(50) % 3
    centres = torch.eye(3, 4)[targets]
    return Data(centres + 0.3 * torch.randn(50, 4, generator=generator), targets, bounds=None)


@pytest.fixture(scope="session")
def images() -> Data:
    generator = torch.Generator().manual_seed(1)
    return Data(torch.rand(22, 3, 8, 8, generator=generator), torch.arange(22) % 4)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


@pytest.fixture
def job(blobs: Data) -> Callable[..., Job]:
    """Make a job: by default a small net on blobs for three epochs of three steps and a bit."""

    def make(seed: int = 0, *, key: str = "key", data: Data = blobs, **changes: Any) -> Job:
        settings: dict[str, Any] = {"model": mlp, "epochs": 3, "batch_size": 16} | changes
        recipe = Recipe(settings.pop("model"), data, **settings)
        return Job(f"job-seed{seed}", f"{key}{seed}", recipe, Seeds(seed, seed, seed, seed))

    return make
