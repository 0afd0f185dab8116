"""What computes logits in one go: a model by itself, or several of one structure side by side."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import FEWEST_LANES, Arithmetic, FusedModule, Unfusable, copied
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.inference.folding import folded
from pytest_multiplicity.interventions import (
    InputIntervention,
    JointIntervention,
    ModelIntervention,
)

Model = Callable[[Tensor], Tensor]
Step = InputIntervention | ModelIntervention

SHELF_BYTES = 1 << 29
WIDTH = 32  # samples: batches of several models are filled up to multiples of it


@dataclass(frozen=True)
class Batch:
    """Samples [b, ...] on the device, and the steps that are each model's own."""

    inputs: Tensor
    targets: Tensor
    rows: Tensor
    data: Data
    steps: tuple[Step, ...] = ()


class Unit(ABC):
    """K models that compute together."""

    count: int

    @abstractmethod
    def shared(self, inputs: Tensor) -> Tensor:
        """Return logits [K, b, C] of inputs that the models have in common, [b, ...]."""

    @abstractmethod
    def own(self, inputs: Tensor) -> Tensor:
        """Return logits [K, b, C] of inputs of each model's own, [K, b, ...]."""

    @abstractmethod
    def smaller(self) -> list[Unit]:
        """Return units that need less memory, and compute the same; none where there are none."""

    @abstractmethod
    def twin(self) -> Unit:
        """Return another one on the same weights, to compute at the same time.

        A pass may keep values in its module, as `self.attention = ...` does.
        """

    def logits(self, batch: Batch) -> Tensor:
        """Return logits [K, b, C], on the CPU in float32.

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
        """Return inputs of each model's own, [K, b, ...]."""
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
        """Return logits [1, b, C]."""
        return _shaped(self._model(inputs), inputs)[None]

    def own(self, inputs: Tensor) -> Tensor:
        """Return logits [1, b, C] of inputs [1, b, ...]."""
        return self.shared(inputs[0])

    def smaller(self) -> list[Unit]:
        """Return none."""
        return []

    def twin(self) -> Alone:
        """Return one of a module that shares its weights."""
        assert isinstance(self._model, nn.Module)
        return Alone(_sharing(self._model, (*self._model.parameters(), *self._model.buffers())))

    def _attacked(self, step: ModelIntervention, inputs: Tensor, batch: Batch) -> Tensor:
        found = step.perturb(self._model, inputs[0], batch.targets, batch.rows, batch.data)
        return found[None]


class Abreast(Unit):
    """Modules of one structure side by side, filled up with copies of the first to `lanes`."""

    def __init__(self, modules: Sequence[nn.Module], lanes: int, *, channels_last: bool) -> None:
        self.count = len(modules)
        self._modules, self._lanes, self._channels_last = modules, lanes, channels_last
        self._fused = FusedModule([*modules, *[modules[0]] * (lanes - len(modules))]).train(False)
        self._fused.deck.channels_last = channels_last

    def shared(self, inputs: Tensor) -> Tensor:
        """Return logits [K, b, C]."""
        whole = _filled_up(inputs, 0)
        return self._all(self._fused.shared, whole, whole)[:, : len(inputs)]

    def own(self, inputs: Tensor) -> Tensor:
        """Return logits [K, b, C] of inputs [K, b, ...]."""
        empty = self._lanes - self.count
        if empty:
            inputs = torch.cat([inputs, inputs[:1].expand(empty, *inputs.shape[1:])])
        whole = _filled_up(inputs, 1)
        return self._all(self._fused, whole, whole[0])[:, : inputs.shape[1]]

    def smaller(self) -> list[Unit]:
        """Return units of half the lanes, or modules by themselves when that are too few."""
        lanes, last = self._lanes // 2, self._channels_last
        if lanes < FEWEST_LANES:
            return [Alone(module) for module in self._modules]
        parts = [self._modules[i : i + lanes] for i in range(0, self.count, lanes)]
        return [Abreast(part, lanes, channels_last=last) for part in parts]

    def twin(self) -> Abreast:
        """Return one whose passes share the stacked weights."""
        twin = copy.copy(self)
        twin._fused = copy.copy(self._fused)
        template = self._fused.template
        twin._fused.template = _sharing(template, (*template.parameters(), *template.buffers()))
        return twin

    def _all(self, fused: Model, inputs: Tensor, of_one: Tensor) -> Tensor:
        outputs = fused(inputs)[: self.count]
        _shaped(outputs[0], of_one)
        return outputs


class Shelf:
    """Makes units of modules, and keeps a bounded number: a search asks the same ones often."""

    def __init__(self) -> None:
        self._units: dict[tuple[object, ...], tuple[Sequence[nn.Module], Unit, int]] = {}

    def unit(self, modules: Sequence[nn.Module], arithmetic: Arithmetic, lanes: int) -> Unit:
        """Return the unit of modules of one structure, filled up to so many lanes.

        Raises:
            Unfusable: there is none of this kind.
        """
        if not (arithmetic.fused or arithmetic.folded or arithmetic.channels_last):
            return Alone(modules[0])
        key = (*map(id, modules), arithmetic, lanes)  # ids that nobody else has while this is held
        held = self._units.pop(key, None)
        if held is None:
            size = 2 * sum(size_of(module) for module in modules)
            held = (tuple(modules), made(modules, arithmetic, lanes), size)
        self._units[key] = held
        self._let_go()
        return held[1]

    def _let_go(self) -> None:
        """Drop what was not asked for longest."""
        while len(self._units) > 1 and sum(h[2] for h in self._units.values()) > SHELF_BYTES:
            del self._units[next(iter(self._units))]


def made(modules: Sequence[nn.Module], arithmetic: Arithmetic, lanes: int) -> Unit:
    """Return the unit of modules of one structure; see `Shelf.unit`."""
    if arithmetic.folded:
        modules = [_folded(module) for module in modules]
    if arithmetic.fused:
        return Abreast(modules, lanes, channels_last=arithmetic.channels_last)
    (module,) = modules
    if arithmetic.channels_last:
        module = copied(module).to(memory_format=torch.channels_last)
    return Alone(module)


def size_of(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers."""
    return sum(t.nbytes for t in (*module.parameters(), *module.buffers()))


def _sharing(module: nn.Module, tensors: Iterable[Tensor]) -> nn.Module:
    """Copy a module, but for these of its tensors."""
    return copied(module, tensors)


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
    """Return the logits [b, C] of what a model returned: these, an array, or what has `.logits`."""
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
