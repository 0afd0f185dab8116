"""Logits of many candidates on one data set under one chain of interventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.threads import quickest
from pytest_multiplicity.evaluation.work import Work
from pytest_multiplicity.interventions import Chain

BATCH = 256  # fixed: another batch size could pick another kernel and change the last bit
Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Infer:
    """How to compute logits: on which device, counting what."""

    device: torch.device
    work: Work

    def __call__(
        self, models: Sequence[Model], data: Data, under: Chain, advance: Callable[[int], None]
    ) -> list[Tensor]:
        """Logits ``[n, C]`` (CPU, float32) of each model, in the order of ``data``.

        Inputs under interventions that need no model are made once for all models. ``advance`` is
        called with the number of (model, batch) pairs done.
        """
        parts: list[list[Tensor]] = [[] for _ in models]
        with quickest(self._trial(models, data)):
            self._run(models, data, under, advance, parts)
        self.work.inferred += len(models)
        return [torch.cat(part) for part in parts]

    def _run(
        self,
        models: Sequence[Model],
        data: Data,
        under: Chain,
        advance: Callable[[int], None],
        parts: list[list[Tensor]],
    ) -> None:
        for start in range(0, len(data), BATCH):
            rows = torch.arange(start, min(start + BATCH, len(data)))
            prepared = self._prepare(data, rows, under)
            for model, part in zip(models, parts, strict=True):
                part.append(self._forward(model, prepared, data, rows, under))
                advance(1)

    def _trial(self, models: Sequence[Model], data: Data) -> Callable[[], object]:
        """One clean forward pass of a torch module; of anything else nothing is tried."""
        model = next(iter(models), None)
        if not isinstance(model, nn.Module):
            return lambda: None
        inputs = data.take(torch.arange(min(BATCH, len(data)))).to(self.device)
        return torch.no_grad()(lambda: model(inputs))

    def _prepare(self, data: Data, rows: Tensor, under: Chain) -> Tensor:
        """The inputs after the leading steps that are the same for every model."""
        inputs = data.take(rows).to(self.device)
        for step in under.inputs:
            if step.needs_model:
                break
            inputs = step.apply(inputs, data.rows[rows], data)
        self.work.intervened += bool(under.inputs) and not under.inputs[0].needs_model
        return inputs

    def _forward(
        self, model: Model, inputs: Tensor, data: Data, rows: Tensor, under: Chain
    ) -> Tensor:
        steps = list(under.inputs)
        while steps and not steps[0].needs_model:
            del steps[0]  # applied once for all models
        targets = data.targets[rows].to(self.device)
        for step in steps:
            if step.needs_model:
                inputs = step.perturb(model, inputs, targets, data.rows[rows], data)
            else:
                inputs = step.apply(inputs, data.rows[rows], data)
        with torch.no_grad():
            logits = model(inputs)
        return _checked(logits, len(inputs))


def _checked(logits: object, samples: int) -> Tensor:
    if not isinstance(logits, Tensor):
        raise MeasurementError(
            f"a model returned {type(logits).__name__}: return a tensor of logits [batch, classes]"
        )
    if logits.ndim != 2 or len(logits) != samples:
        raise MeasurementError(
            f"a model returned a tensor of shape {tuple(logits.shape)} for a batch of {samples}: "
            "return logits [batch, classes]"
        )
    logits = logits.detach().to("cpu", torch.float32)
    if logits.isnan().any():
        raise MeasurementError("a model returned nan: its weights or its inputs are broken")
    return logits


def frozen(module: nn.Module, device: torch.device) -> nn.Module:
    """The module in eval mode on ``device``, without gradients for its parameters."""
    return module.eval().requires_grad_(False).to(device)
