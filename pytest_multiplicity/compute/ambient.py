"""The state of a process that changes what torch and numpy compute, put aside while we compute."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pytest_multiplicity.compute.devices import KINDS

_mkldnn: Any = torch.backends.mkldnn

# What numpy does unless it is told otherwise.
ERRORS: dict[str, Any] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@contextmanager
def as_new() -> Iterator[None]:
    """Compute as in a new process, whatever was set around: results must not depend on who asks.

    Gradients are computed, nothing is cast, tensors are float32 on the CPU by default, no step is
    looked through for nan, and numpy only warns.
    """
    with ExitStack() as stack:  # left empty nearly always: it is entered with every question
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        if np.geterr() != ERRORS:
            stack.enter_context(np.errstate(**ERRORS))
        for kind in KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # as a mode it slows every call down
            stack.enter_context(torch.device("cpu"))
        _set(stack, torch.get_default_dtype(), torch.float32, torch.set_default_dtype)
        _set(stack, torch.is_anomaly_enabled(), False, torch.autograd.set_detect_anomaly)
        _set(stack, _deterministic(), (False, False), _set_deterministic)
        _set(stack, _products(), "none", _set_products)
        yield


def _set(stack: ExitStack, now: Any, wanted: Any, change: Callable[[Any], Any]) -> None:
    """Change a setting until the stack is left, where it isn't as wanted."""
    if now != wanted:
        change(wanted)
        stack.callback(change, now)


def _deterministic() -> tuple[bool, bool]:
    enabled = torch.are_deterministic_algorithms_enabled()
    return enabled, torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _products() -> str:
    """Return how precise products on the CPU are: `set_float32_matmul_precision` sets it, too."""
    with contextlib.suppress(AttributeError):  # before torch 2.9
        return str(_mkldnn.matmul.fp32_precision)
    return "none"


def _set_products(value: str) -> None:
    _mkldnn.matmul.fp32_precision = value


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Make it the working directory; afterwards it is the one before, if that is still there."""
    before = None
    with contextlib.suppress(OSError):  # it was removed
        before = Path.cwd()
    if before == folder or not folder.is_dir():
        yield
        return
    os.chdir(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.chdir(before or folder)
