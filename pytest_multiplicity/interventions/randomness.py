"""Random numbers that depend on a step and a sample, never on the batch or the candidate."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Stream:
    """Counter-based random numbers: those of a sample can be had without those before it."""

    def __init__(self, name: str, seed: int = 0) -> None:
        digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:16]))
        self._start = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def at(self, row: int) -> np.random.Generator:
        """Return a generator at the first number of a sample; it is shared, and used at once."""
        counter = np.array([0, 0, row, 0], dtype=np.uint64)
        self._bits.state = {**self._start, "state": {**self._start["state"], "counter": counter}}
        return self._generator

    def seed(self, row: int) -> int:
        """Return a seed for generators of other kinds."""
        return int(self.at(row).integers(2**32))

    def exponential(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return exponential noise of mean 1 for samples of a shape [b, ...]."""
        noise = np.empty((len(rows), shape.numel()), dtype=np.float32)
        for sample, row in zip(noise, rows.tolist(), strict=True):
            self.at(row).standard_exponential(out=sample, dtype=np.float32)
        return torch.from_numpy(noise).reshape(len(rows), *shape)

    def signed_uniform(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return uniform noise in [-1, 1) for samples of a shape [b, ...]."""
        noise = np.empty((len(rows), shape.numel()), dtype=np.float32)
        for sample, row in zip(noise, rows.tolist(), strict=True):
            self.at(row).random(out=sample, dtype=np.float32)
        return torch.from_numpy(2 * noise - 1).reshape(len(rows), *shape)

    def in_unit_ball(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """Return points uniform in the Euclidean ball of radius 1, for samples of a shape."""
        points = np.empty((len(rows), shape.numel()), dtype=np.float32)
        for sample, row in zip(points, rows.tolist(), strict=True):
            generator = self.at(row)
            generator.standard_normal(out=sample, dtype=np.float32)
            sample *= generator.random() ** (1 / len(sample)) / np.linalg.norm(sample)
        return torch.from_numpy(points).reshape(len(rows), *shape)


class GlobalNumbers:
    """The global generators of torch, numpy and random, for code that draws from nothing else."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._accelerator = None if device.type == "cpu" else torch.get_device_module(device)

    def seed(self, seed: int) -> None:
        """Seed all of them, with 32 bits."""
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (the legacy one is what other code draws from)
        random.seed(seed)
        if self._accelerator is not None:
            own = torch.Generator(self._device).manual_seed(seed)
            self._accelerator.set_rng_state(own.get_state(), self._device)

    @property
    def state(self) -> tuple[Any, ...]:
        """What they will draw next, comparable."""
        torch_state = torch.get_rng_state().numpy().tobytes()
        numpy_state: Any = np.random.get_state()  # noqa: NPY002
        name, keys, *rest = numpy_state
        own = b""
        if self._accelerator is not None:
            own = self._accelerator.get_rng_state(self._device).numpy().tobytes()
        return torch_state, (name, keys.tobytes(), *rest), random.getstate(), own

    @state.setter
    def state(self, state: tuple[Any, ...]) -> None:
        torch_state, (name, keys, *rest), random_state, own = state
        torch.set_rng_state(_bytes(torch_state))
        np.random.set_state((name, np.frombuffer(keys, dtype=np.uint32), *rest))  # noqa: NPY002
        random.setstate(random_state)
        if self._accelerator is not None:
            self._accelerator.set_rng_state(_bytes(own), self._device)


@contextmanager
def lent(device: torch.device) -> Iterator[GlobalNumbers]:
    """Lend the global generators, and put them back as they were."""
    numbers = GlobalNumbers(device)
    before = numbers.state
    try:
        yield numbers
    finally:
        numbers.state = before


def _bytes(state: bytes) -> Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)
