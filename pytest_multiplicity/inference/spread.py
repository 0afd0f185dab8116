"""Logits computed on all GPUs of one model that a process sees, each of which has its batches.

What is computed doesn't depend on where: batches and forms are those of an evaluation on the first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import copied, precision, threads
from pytest_multiplicity.data import Data
from pytest_multiplicity.inference.at_once import at_once
from pytest_multiplicity.inference.given import frozen
from pytest_multiplicity.inference.infer import BATCH, PRECISION, Infer, Model
from pytest_multiplicity.inference.on_cluster import divided
from pytest_multiplicity.interventions import Chain


class SpreadInfer:
    """Computes logits as `Infer` does, also on other devices like its own."""

    def __init__(self, infer: Infer, others: Sequence[torch.device]) -> None:
        self._infer = infer
        self._others = [_Other(device, infer) for device in others]

    def __call__(
        self, models: Sequence[Model], data: Data, under: Chain, advance: Callable[[int], None]
    ) -> list[Tensor]:
        """Logits `[n, C]` of each model; see `Infer`."""
        infer, starts = self._infer, range(0, len(data), BATCH)
        alike = infer.decided(models, data, under)
        shares = divided(starts, min(len(starts), 1 + len(self._others)))
        if len(shares) == 1 or any(form.in_turn for _, form in alike):
            return infer(models, data, under, advance, alike=alike)
        ticking = _one_by_one(advance)
        infers = [(infer, models)]
        infers += [(each.here, each.copies(models)) for each in self._others[: len(shares) - 1]]
        pieces = [each.made(own, alike) for each, own in infers]
        # What threads set and put back for all of them, as precision, is set around them.
        with precision(PRECISION, infer.device), threads(1), at_once(len(shares)) as beside:
            parts = beside(
                [
                    partial(each, own, data, under, ticking, share, alike, some)
                    for (each, own), share, some in zip(infers, shares, pieces, strict=True)
                ]
            )
            found = [torch.cat(rows) for rows in zip(*parts, strict=True)]
        for each, own in infers[1:]:
            pairs = zip(models, own, strict=True)
            infer.lacking.update(id(model) for model, there in pairs if id(there) in each.lacking)
            each.lacking.clear()
        infer.counts.inferred += len(models)
        return found


class _Other:
    """An evaluation on another device, with copies of the models there."""

    def __init__(self, device: torch.device, first: Infer) -> None:
        self.here = Infer(device, first.counts, first.forms, begun=first.begun)
        self._copies: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

    def copies(self, models: Sequence[Model]) -> Sequence[Model]:
        """Return the same models on that device."""
        return [self._copy(model) for model in models]

    def _copy(self, model: Model) -> nn.Module:
        assert isinstance(model, nn.Module)  # whoever is none is evaluated in turn
        if model not in self._copies:
            self._copies[model] = frozen(copied(model), self.here.device)
        return self._copies[model]


def _one_by_one(advance: Callable[[int], None]) -> Callable[[int], None]:
    """Return what several threads may call."""
    lock = threading.Lock()

    def locked(steps: int) -> None:
        with lock:
            advance(steps)

    return locked
