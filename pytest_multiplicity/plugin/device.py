"""Which device `--multiplicity-device` means."""

from __future__ import annotations

import pytest
import torch

from pytest_multiplicity.compute import KINDS, automatic, gpu_of, is_gpu


def choose(text: str, process: int | None = None) -> torch.device:
    """`auto` is the GPU where there is one; `cuda` without a number is all of one model.

    Of MPS, XPU and others neither seeds nor memory are known here, so they are refused.

    `process` counts the workers of pytest-xdist, of which each has a GPU of its own. GPUs are
    counted among those that are visible: `CUDA_VISIBLE_DEVICES` is left as it is. Raises
    pytest.UsageError for a device that isn't.
    """
    if text == "auto":
        text = automatic()
    try:
        device = torch.device(text)
        if device.type not in KINDS:
            raise NotImplementedError("its random numbers and its memory are not known here")
        if is_gpu(text) and text == device.type and (own := gpu_of(process)) is not None:
            return own
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise pytest.UsageError(
            f"--multiplicity-device: {text!r} can't be used here ({reason}); say auto, cpu, "
            "cuda, or one that torch sees, as cuda:1"
        ) from None
    return device
