"""All that is known of devices: classes, threads, memory, precision, and random states."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

# MKL's products, whose bits then don't depend on where a matrix lies in memory. It reads this when
# it multiplies for the first time, so the plugin sets it when it is loaded.
STRICT = {"MKL_CBWR": "AUTO,STRICT"}


GPU = "cuda"  # the type of devices that torch reaches through CUDA, or through ROCm under its name


def device_class(device: torch.device) -> str:
    """Return what is the same for devices that compute alike: a GPU's model, else the type."""
    return torch.cuda.get_device_name(device) if device.type == GPU else device.type


def gpu_count() -> int:
    """Return how many GPUs this process sees."""
    return torch.cuda.device_count()


def automatic() -> str:
    """Return the type of device that is best here: the GPU where there is one."""
    return GPU if torch.cuda.is_available() else "cpu"


def gpu_of(process: int | None) -> torch.device | None:
    """Return the GPU of one of several processes; None where there are not several of either."""
    if process is None or (count := torch.cuda.device_count()) < 2:
        return None
    return torch.device(GPU, process % count)


def gpu_name() -> str:
    """Return the model of the GPU that this process computes on, or that there is none."""
    return device_class(torch.device(GPU)) if torch.cuda.is_available() else "no GPU"


def free_gpu_bytes(device: torch.device) -> int:
    """Return the bytes that are free on a GPU."""
    return int(torch.cuda.mem_get_info(device)[0])


def out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error is one of too little memory, on any device."""
    told = isinstance(error, MemoryError | torch.OutOfMemoryError)
    # on a CPU torch raises a plain RuntimeError: pytorch/pytorch#43172
    return told or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads, torch and numpy."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with _libraries().limit(limits=count, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute in a recipe's precision, by the same kernels every time.

    On CUDA TF32 is used only where it is asked for, and cuDNN neither tries kernels against each
    other nor takes those whose bits differ from run to run.
    """
    if device.type != GPU:
        yield
        return
    wanted = "tf32" if name == "tf32" else "ieee"
    cudnn: Any = torch.backends.cudnn
    settings: list[tuple[Any, str, object]] = [
        (torch.backends.cuda.matmul, "fp32_precision", wanted),
        (cudnn.conv, "fp32_precision", wanted),
        (cudnn, "deterministic", True),
        (cudnn, "benchmark", False),
    ]
    before = [getattr(where, setting) for where, setting, _ in settings]
    try:
        for where, setting, value in settings:
            setattr(where, setting, value)
        yield
    finally:
        for (where, setting, _), value in zip(settings, before, strict=True):
            setattr(where, setting, value)


def seed_everything(seed: int) -> None:
    """Seed the global generators that user code draws from. Use inside `preserved_rng`."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # the former would format a stack trace for each kind of accelerator, in milliseconds
        torch.default_generator.manual_seed(seed)


def seed_step(seed: int, device: torch.device) -> None:
    """Seed only what a forward pass draws from, which takes microseconds."""
    torch.default_generator.manual_seed(seed)
    if device.type == GPU:
        torch.cuda.manual_seed(seed)


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
