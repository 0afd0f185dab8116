"""Which device `--multiplicity-device` means."""

from __future__ import annotations

import pytest
import torch


def choose(text: str, process: int | None = None) -> torch.device:
    """`auto` is the GPU where there is one; `cuda` without a number is all that there are.

    `process` counts the workers of pytest-xdist, of which each has a GPU of its own. GPUs are
    counted among those that are visible: `CUDA_VISIBLE_DEVICES` is left as it is. Raises
    pytest.UsageError for a device that isn't.
    """
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    if text == "cuda" and process is not None and (count := torch.cuda.device_count()) > 1:
        return torch.device("cuda", process % count)
    try:
        device = torch.device(text)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise pytest.UsageError(
            f"--multiplicity-device: {text!r} can't be used here ({reason}); say auto, cpu, or a "
            "device that torch sees"
        ) from None
    return device
