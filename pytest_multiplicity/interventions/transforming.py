"""Applies other people's functions to samples, and checks what they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions.randomness import Stream, lent

Transform = Callable[[Tensor], Any]


def transformed(
    transform: Transform, samples: Tensor, rows: Tensor, *, name: str, stream: Stream
) -> Tensor:
    """Return the transformed samples [b, ...], computed on the CPU whatever their device.

    A transform that draws nothing from the global generators sees the batch as it is. One that
    does sees the samples one by one, with numbers of their own: then a sample's result depends on
    the sample alone, and on no other of its batch.
    """
    batch = samples.detach().cpu()
    with lent(batch.device) as numbers, torch.no_grad():
        numbers.seed(stream.seed(int(rows[0])))
        before = numbers.state
        result = fitting(transform(batch.clone()), batch, name)
        if numbers.state != before:
            alone = []
            for position, row in enumerate(rows.tolist()):
                numbers.seed(stream.seed(row))
                sample = batch[position : position + 1]
                alone.append(fitting(transform(sample.clone()), sample, name))
            result = torch.cat(alone)
    return result.to(samples.device)


def fitting(result: Any, samples: Tensor, name: str) -> Tensor:
    """Return the result with the dtype of the samples; raise where it is not what they became."""
    if not isinstance(result, Tensor):
        raise InterventionError(
            f"{name} returned {type(result).__name__}: return the changed batch as a tensor"
        )
    if result.shape != samples.shape:
        raise InterventionError(
            f"{name} turned a batch of shape {tuple(samples.shape)} into {tuple(result.shape)}: "
            "it must keep the number of samples and their shape (resize back, or pad)"
        )
    if not result.is_floating_point():
        raise InterventionError(
            f"{name} returned {result.dtype}: return floats, in the range that they came in"
        )
    if not torch.isfinite(result).all():
        raise InterventionError(f"{name} returned nan or infinity: check its parameters")
    return result.detach().as_subclass(Tensor).to(samples)
