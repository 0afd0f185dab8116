"""All that is known of devices: their class, their threads, and their random states."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def device_class(device: torch.device) -> str:
    """Return what is the same for devices that compute alike: a GPU's model, else the type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Put the global random states of torch (every device in use), numpy and random back after."""
    before = random_states()
    try:
        yield
    finally:
        _restore(*before)


def random_states() -> tuple[list[torch.Tensor], dict[str, object], object]:
    """Return the global random states of torch (every device in use), numpy and random.

    A device that nobody uses is left alone: asking for its state would initialise it, in every
    process (`torch.random.fork_rng` without devices does).
    """
    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states += torch.cuda.get_rng_state_all()
    drawn = np.random.get_state(legacy=False)  # noqa: NPY002 - user code may draw from it
    return states, dict(drawn), random.getstate()


def _restore(states: list[torch.Tensor], drawn: dict[str, object], state: object) -> None:
    torch.set_rng_state(states[0])
    if states[1:]:
        torch.cuda.set_rng_state_all(states[1:])
    np.random.set_state(drawn)  # noqa: NPY002
    random.setstate(state)  # type: ignore[arg-type]
