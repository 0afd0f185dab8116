"""What computes logits in one go: a model by itself, or several of one structure side by side."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import FEWEST_LANES, FusedModule, Unfusable
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.inference.folding import folded
from pytest_multiplicity.interventions import (
    InputIntervention,
    JointIntervention,
    ModelIntervention,
)

Model = Callable[[Tensor], Tensor]
Schedule = Literal["one thread", "all threads", "at once"]
Step = InputIntervention | ModelIntervention

SHELF_BYTES = 1 << 29
WIDTH = 32  # samples: batches of several models are filled up to multiples of it


@dataclass(frozen=True)
class Way:
    """How the models of one structure are evaluated.

    ``lanes`` of them side by side, or each by itself (1); with batch norm ``folded`` into the
    layers before; with weights in ``channels_last`` order. Units follow each other with one thread
    or all that torch may use, or run ``at once``, in as many threads of one each. The ``schedule``
    changes no bits, so none is prescribed, except where more threads do change them.
    """

    lanes: int = 1
    folded: bool = False
    channels_last: bool = False
    schedule: Schedule | None = None

    def __str__(self) -> str:
        text = "by themselves" if self.lanes == 1 else f"fused by {self.lanes}"
        text += ", folded" * self.folded + ", channels last" * self.channels_last
        return text + (f", {self.schedule}" if self.schedule else "")

    @property
    def plain(self) -> bool:
        """Whether models are used as they are."""
        return (self.lanes, self.folded, self.channels_last) == (1, False, False)

    def to_meta(self) -> dict[str, Any]:
        """Give it as what a store keeps."""
        return asdict(self)


@dataclass(frozen=True)
class Batch:
    """Samples [b, ...] on the device, and the steps that are each model's own."""

    inputs: Tensor
    targets: Tensor
    rows: Tensor
    data: Data
    steps: tuple[Step, ...] = ()

    def clean(self, count: int) -> Batch:
        """Give the first samples, without steps."""
        return Batch(self.inputs[:count], self.targets[:count], self.rows[:count], self.data)


class Unit(ABC):
    """K models that compute together."""

    count: int

    @abstractmethod
    def shared(self, inputs: Tensor) -> Tensor:
        """Give logits [K, b, C] of inputs that the models have in common, [b, ...]."""

    @abstractmethod
    def own(self, inputs: Tensor) -> Tensor:
        """Give logits [K, b, C] of inputs of each model's own, [K, b, ...]."""

    @abstractmethod
    def smaller(self) -> list[Unit]:
        """Give units that need less memory, and compute the same; none where there are none."""

    def logits(self, batch: Batch) -> Tensor:
        """Give logits [K, b, C], on the CPU in float32.

        Raises MeasurementError where a model returns something else, or nan.
        """
        inputs = batch.inputs
        if batch.steps:
            inputs = self._changed(batch)
        with torch.no_grad():
            logits = self.own(inputs) if batch.steps else self.shared(inputs)
        logits = logits.detach().to("cpu", torch.float32)
        if logits.isnan().any():
            raise MeasurementError("a model returned nan: its weights or its inputs are broken")
        return logits

    def _changed(self, batch: Batch) -> Tensor:
        """Give inputs of each model's own, [K, b, ...]."""
        inputs = batch.inputs.expand(self.count, *batch.inputs.shape)
        for step in batch.steps:
            if isinstance(step, JointIntervention):
                inputs = step.perturb_all(self.own, inputs, batch.targets, batch.rows, batch.data)
            elif isinstance(step, ModelIntervention):
                inputs = self._attacked(step, inputs, batch)
            else:
                inputs = torch.stack([step.apply(x, batch.rows, batch.data) for x in inputs])
        return inputs

    def _attacked(self, step: ModelIntervention, inputs: Tensor, batch: Batch) -> Tensor:
        raise NotImplementedError(f"{step!r} attacks one model at a time")


class Alone(Unit):
    """One model, a module or any callable."""

    count = 1

    def __init__(self, model: Model) -> None:
        self._model = model

    def shared(self, inputs: Tensor) -> Tensor:
        """Give logits [1, b, C]."""
        return _shaped(self._model(inputs), inputs)[None]

    def own(self, inputs: Tensor) -> Tensor:
        """Give logits [1, b, C] of inputs [1, b, ...]."""
        return self.shared(inputs[0])

    def smaller(self) -> list[Unit]:
        """Give none."""
        return []

    def _attacked(self, step: ModelIntervention, inputs: Tensor, batch: Batch) -> Tensor:
        found = step.perturb(self._model, inputs[0], batch.targets, batch.rows, batch.data)
        return found[None]


class Abreast(Unit):
    """Modules of one structure side by side, filled up with copies of the first to ``lanes``."""

    def __init__(self, modules: Sequence[nn.Module], lanes: int, *, channels_last: bool) -> None:
        self.count = len(modules)
        self._modules, self._lanes, self._channels_last = modules, lanes, channels_last
        self._fused = FusedModule([*modules, *[modules[0]] * (lanes - len(modules))]).train(False)
        self._fused.deck.channels_last = channels_last

    def shared(self, inputs: Tensor) -> Tensor:
        """Give logits [K, b, C]."""
        whole = _filled_up(inputs, 0)
        return self._all(self._fused.shared, whole, whole)[:, : len(inputs)]

    def own(self, inputs: Tensor) -> Tensor:
        """Give logits [K, b, C] of inputs [K, b, ...]."""
        empty = self._lanes - self.count
        if empty:
            inputs = torch.cat([inputs, inputs[:1].expand(empty, *inputs.shape[1:])])
        whole = _filled_up(inputs, 1)
        return self._all(self._fused, whole, whole[0])[:, : inputs.shape[1]]

    def smaller(self) -> list[Unit]:
        """Give units of half the lanes, or modules by themselves when that are too few."""
        lanes, last = self._lanes // 2, self._channels_last
        if lanes < FEWEST_LANES:
            return [Alone(module) for module in self._modules]
        parts = [self._modules[i : i + lanes] for i in range(0, self.count, lanes)]
        return [Abreast(part, lanes, channels_last=last) for part in parts]

    def _all(self, fused: Model, inputs: Tensor, of_one: Tensor) -> Tensor:
        outputs = fused(inputs)[: self.count]
        _shaped(outputs[0], of_one)
        return outputs


class Shelf:
    """Makes units of modules, and keeps a bounded number: a search asks the same ones often."""

    def __init__(self) -> None:
        self._units: dict[tuple[object, ...], tuple[Sequence[nn.Module], Unit, int]] = {}

    def unit(self, modules: Sequence[nn.Module], way: Way) -> Unit:
        """Give the unit of modules of one structure, at most ``way.lanes``.

        Raises Unfusable where there is none of this kind.
        """
        if way.plain:
            return Alone(modules[0])
        form = (way.lanes, way.folded, way.channels_last)
        key = (*map(id, modules), form)  # which no other module has while this one is held
        held = self._units.pop(key, None)
        if held is None:
            size = 2 * sum(t.numel() * t.element_size() for m in modules for t in m.parameters())
            held = (tuple(modules), _made(modules, way), size)
        self._units[key] = held
        self._let_go()
        return held[1]

    def _let_go(self) -> None:
        """Drop what was not asked for longest."""
        while len(self._units) > 1 and sum(h[2] for h in self._units.values()) > SHELF_BYTES:
            del self._units[next(iter(self._units))]


def _made(modules: Sequence[nn.Module], way: Way) -> Unit:
    if way.folded:
        modules = [_folded(module) for module in modules]
    if way.lanes > 1:
        return Abreast(modules, way.lanes, channels_last=way.channels_last)
    (module,) = modules
    if way.channels_last:
        module = copy.deepcopy(module).to(memory_format=torch.channels_last)
    return Alone(module)


def _folded(module: nn.Module) -> nn.Module:
    found = folded(module)
    if found is None:
        raise Unfusable("there is no batch norm that can be folded")
    return found


def _filled_up(inputs: Tensor, dim: int) -> Tensor:
    """Repeat the first sample until all lanes lie alike in memory.

    Kernels of matrix products treat what begins between two cache lines in another way, so the last
    bits would depend on a model's lane. In eval mode samples don't act on each other.
    """
    missing = -inputs.shape[dim] % WIDTH
    if missing == 0:
        return inputs
    sizes = [missing if d == dim else -1 for d in range(inputs.ndim)]
    return torch.cat([inputs, inputs.narrow(dim, 0, 1).expand(sizes)], dim)


def _shaped(output: object, inputs: Tensor) -> Tensor:
    """Give the logits [b, C] that a model returned: a tensor, an array, or what has ``.logits``."""
    logits = getattr(output, "logits", output)  # as the classifiers of transformers return them
    if isinstance(logits, np.ndarray):
        logits = torch.as_tensor(logits, device=inputs.device)
    if not isinstance(logits, Tensor):
        raise MeasurementError(
            f"a model returned {type(logits).__name__}: return a tensor of logits [batch, classes]"
        )
    if logits.ndim != 2 or len(logits) != len(inputs):
        raise MeasurementError(
            f"a model returned a tensor of shape {tuple(logits.shape)} for a batch of "
            f"{len(inputs)}: return logits [batch, classes]"
        )
    return logits


def out_of_memory(error: Exception) -> bool:
    """Say whether an error is one of memory, here or on an accelerator."""
    memory = MemoryError | torch.OutOfMemoryError
    return isinstance(error, memory) or "can't allocate memory" in str(error)
