"""Which device ``--multiplicity-device`` means."""

from __future__ import annotations

import pytest
import torch


def choose(text: str) -> torch.device:
    """``auto`` is the GPU where there is one. Raises pytest.UsageError for a device that isn't."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
