"""What computes logits in one go: a model by itself, or several of one structure side by side."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    FusedModule,
    copied,
    free_bytes,
    join_rows,
    out_of_memory,
    pixel_by_pixel,
)
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError, MeasurementError
from pytest_multiplicity.inference.answers import tensor_of
from pytest_multiplicity.inference.folding import prepared
from pytest_multiplicity.inference.form import PLAIN, Batch, Form
from pytest_multiplicity.interventions import JointIntervention, ModelIntervention
from pytest_multiplicity.training import other_dtype

Model = Callable[[Tensor], Tensor]

SHELF_BYTES = 1 << 29  # that there are at the least
SHARE = 0.25  # of the memory that is free, for what is made of models
WIDTH = 32  # samples: batches of several models are filled up to multiples of it


class Unit(ABC):
    """K models that compute together, in a form."""

    count: int

    def __init__(self, form: Form) -> None:
        self.form = form

    @abstractmethod
    def shared(self, inputs: kinds.Batch) -> Tensor:
        """Return logits [K, b, C] of inputs that the models have in common."""

    @abstractmethod
    def own(self, inputs: Tensor) -> Tensor:
        """Return logits [K, b, C] of inputs of each model's own, [K, b, ...]."""

    @abstractmethod
    def smaller(self) -> list[Unit]:
        """Return units that need less memory; none where there are none.

        They compute the same bits, or say in their form that they don't.
        """

    @abstractmethod
    def twin(self) -> Unit:
        """Return another one on the same weights, to compute at the same time.

        A pass may keep values in its module, as `self.attention = ...` does.
        """

    def logits(self, batch: Batch) -> Tensor:
        """Return answers [K, b, ...], on the CPU.

        Raises MeasurementError where a model returns something else, or nan, or writes into its
        inputs, which others compute on.
        """
        before = kinds.versions(batch.inputs)
        try:
            inputs = self._changed(batch) if batch.steps else batch.inputs
            with torch.no_grad():
                logits = self.own(inputs) if batch.steps else self.shared(inputs)
        finally:
            if kinds.versions(batch.inputs) != before:
                raise MeasurementError(
                    "a model wrote into its inputs, but only into some: what others saw of them is "
                    "not known; begin its forward pass with a copy, `x = x.clone()`"
                )
        logits = logits.detach().cpu()
        if logits.is_floating_point() and logits.isnan().any():
            raise MeasurementError("a model returned nan: its weights or its inputs are broken")
        return logits

    def _changed(self, batch: Batch) -> Tensor:
        """Return inputs of each model's own, [K, b, ...]."""
        inputs: Tensor = batch.inputs.expand(self.count, *batch.inputs.shape)
        for step in batch.steps:
            if isinstance(step, JointIntervention):
                inputs = step.perturb_all(
                    *(self._read(batch), inputs, batch.targets, batch.rows, batch.data),
                    whole=self.form.whole,
                )
            elif isinstance(step, ModelIntervention):
                inputs = self._attacked(step, inputs, batch)
            else:
                changed = [step.apply(x.clone(), batch.rows, batch.data) for x in inputs]
                inputs = torch.stack(changed)
        return inputs

    def _read(self, batch: Batch) -> Model:
        """Return what computes answers of each model's own inputs as the task reads them."""

        def own(inputs: Tensor) -> Tensor:
            given = self.own(inputs)
            first = _as_read(given[0], batch)
            if not batch.data.task.has_logits(first):
                raise InterventionError(
                    f"an attack needs logits of classes, and this is {batch.data.task.name} with "
                    f"answers of {first.dtype}: have candidates return logits, or measure them "
                    "under an intervention that needs no model"
                )
            if first.shape == given[0].shape:
                return given
            return torch.stack([_as_read(each, batch) for each in given])

        return own

    def _attacked(self, step: ModelIntervention, inputs: Tensor, batch: Batch) -> Tensor:
        raise NotImplementedError(f"{step!r} attacks one model at a time")

    def _met(self, inputs: kinds.Batch) -> kinds.Batch:
        """Return what a model may do as it likes with."""
        return kinds.copied(inputs) if self.form.copies else inputs


class Alone(Unit):
    """One model, a module or any callable."""

    count = 1

    def __init__(self, model: Model, form: Form) -> None:
        super().__init__(form)
        self._model = model

    def shared(self, inputs: kinds.Batch) -> Tensor:
        """Return logits [1, b, C]."""
        return tensor_of(self._outputs(self._met(inputs)), kinds.length(inputs))[None]

    def _outputs(self, inputs: kinds.Batch) -> object:
        if self.form.arithmetic.channels_last:
            inputs = kinds.mapped(inputs, pixel_by_pixel)
        try:
            return kinds.call(self._model, inputs)
        except RuntimeError as error:
            other = other_dtype(self._model) if isinstance(self._model, nn.Module) else None
            if other is None or out_of_memory(error):
                raise
            raise MeasurementError(
                f"a model has parameters of {other} and data are float32 ({error}): convert it "
                "with .float(), or let it convert its inputs"
            ) from error

    def own(self, inputs: Tensor) -> Tensor:
        """Return logits [1, b, C] of inputs [1, b, ...]."""
        return self.shared(inputs[0])

    def smaller(self) -> list[Unit]:
        """Return none."""
        return []

    def twin(self) -> Alone:
        """Return one of a module that shares its weights."""
        assert isinstance(self._model, nn.Module)
        return Alone(_sharing(self._model), self.form)

    def _attacked(self, step: ModelIntervention, inputs: Tensor, batch: Batch) -> Tensor:
        own = inputs[0].clone()
        with torch.no_grad():
            few = self._outputs(own[:2].clone())
        given = tensor_of(few, len(own[:2]))
        as_it_is = isinstance(few, Tensor) and _as_read(given, batch).shape == given.shape
        model = self._model if as_it_is else Read(self._model, batch).eval()
        return step.perturb(model, own, batch.targets, batch.rows, batch.data)[None]


class Read(nn.Module):
    """A model whose answers are as the task reads them, for attacks from elsewhere."""

    def __init__(self, model: Model, batch: Batch) -> None:
        super().__init__()
        self.model, self._batch = model, batch

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the answers about inputs [b, ...]."""
        return _as_read(tensor_of(self.model(inputs), len(inputs)), self._batch)


def _as_read(given: Tensor, batch: Batch) -> Tensor:
    return batch.data.task.read_answers(given, batch.data.targets, batch.data.name)


class Abreast(Unit):
    """Modules of one structure side by side, filled up with copies of the first to `lanes`."""

    def __init__(self, modules: Sequence[nn.Module], form: Form, lanes: int) -> None:
        super().__init__(form)
        self.count = len(modules)
        self._modules, self._lanes = modules, lanes
        self._fused = FusedModule([*modules, *[modules[0]] * (lanes - len(modules))]).train(False)
        deck, arithmetic = self._fused.deck, form.arithmetic
        deck.channels_last, deck.by_numpy = arithmetic.channels_last, arithmetic.by_numpy
        if deck.by_numpy:
            join_rows(self._fused.template)

    def shared(self, inputs: kinds.Batch) -> Tensor:
        """Return logits [K, b, C]."""
        whole = kinds.mapped(inputs, lambda tensor: _filled_up(tensor, 0))
        return self._all(self._fused.shared, whole, kinds.length(whole))[:, : kinds.length(inputs)]

    def own(self, inputs: Tensor) -> Tensor:
        """Return logits [K, b, C] of inputs [K, b, ...]."""
        empty = self._lanes - self.count
        if empty:
            inputs = torch.cat([inputs, inputs[:1].expand(empty, *inputs.shape[1:])])
        whole = _filled_up(inputs, 1)
        return self._all(self._fused, whole, whole.shape[1])[:, : inputs.shape[1]]

    def smaller(self) -> list[Unit]:
        """Return units of the next fewer lanes that give the same bits, in the end of one each."""
        lanes = self.form.fewer(self._lanes)
        if lanes is None:
            return [Alone(module, self.form.alone) for module in self._modules]
        parts = [self._modules[i : i + lanes] for i in range(0, self.count, lanes)]
        return [Abreast(part, self.form, lanes) for part in parts]

    def twin(self) -> Abreast:
        """Return one whose passes share the stacked weights."""
        twin = copy.copy(self)
        twin._fused = copy.copy(self._fused)
        twin._fused.template = _sharing(self._fused.template)
        return twin

    def _all(self, fused: Model, inputs: kinds.Batch, count: int) -> Tensor:
        outputs = fused(self._met(inputs))[: self.count]
        tensor_of(outputs[0], count)
        return outputs


@dataclass
class Held:
    """A unit on the shelf, with the modules that it was made of, and when it was asked last."""

    modules: Sequence[nn.Module]
    unit: Unit
    size: int
    asked: int


class Shelf:
    """Makes units of modules, and keeps as many as there is room for: the same are asked often.

    Questions go through a family in its order. So what is asked in every question stays, and what
    doesn't fit beside it is made anew: to let go of what was asked longest ago would be to make
    everything anew, every time.
    """

    def __init__(self) -> None:
        self._units: dict[tuple[object, ...], Held] = {}
        self._room: float | None = None  # bytes
        self._question = 0

    def begin(self, device: torch.device) -> None:
        """Begin with another question, about models on a device."""
        self._question += 1
        if self._room is None:
            self._room = max(SHELF_BYTES, SHARE * free_bytes(device))

    def unit(self, models: Sequence[Model], form: Form, lanes: int) -> Unit:
        """Return the unit of models of one structure, filled up to so many lanes.

        Raises:
            Unfusable: there is none of this kind.
        """
        modules = tuple(model for model in models if isinstance(model, nn.Module))
        if not modules or form.arithmetic == PLAIN:
            return Alone(models[0], form)
        key = (*map(id, modules), form, lanes)  # ids that nobody else has while this is held
        held = self._units.get(key)
        if held is None:
            size = 2 * sum(size_of(module) for module in modules)
            held = Held(modules, made(modules, form, lanes), size, self._question)
            if not self._has_room(size):
                return held.unit
            self._units[key] = held
        held.asked = self._question
        return held.unit

    def clear(self) -> None:
        """Let go of all of them."""
        self._units.clear()

    def drop(self, unit: Unit) -> None:
        """Let go of a unit for which there is too little memory."""
        self._units = {key: held for key, held in self._units.items() if held.unit is not unit}

    def _has_room(self, size: int) -> bool:
        """Say whether there is room, for which it lets go of what nobody asked for lately."""
        room = SHELF_BYTES if self._room is None else self._room
        left = room - size - sum(held.size for held in self._units.values())
        for key, held in sorted(self._units.items(), key=lambda pair: pair[1].asked):
            if left >= 0 or held.asked >= self._question - 1:
                break
            left += held.size
            del self._units[key]
        return left >= 0


def made(modules: Sequence[nn.Module], form: Form, lanes: int) -> Unit:
    """Return the unit of modules of one structure; see `Shelf.unit`."""
    return assembled(prepared(modules, folded=form.arithmetic.folded), form, lanes)


def assembled(modules: Sequence[nn.Module], form: Form, lanes: int) -> Unit:
    """Return the unit of modules that are `prepared`."""
    if form.arithmetic.fused:
        return Abreast(modules, form, lanes)
    (module,) = modules
    if form.arithmetic.channels_last:
        module = copied(module).to(memory_format=torch.channels_last)
    return Alone(module, form)


def size_of(module: nn.Module) -> int:
    """Return the bytes of a module's parameters and buffers."""
    return sum(t.nbytes for t in (*module.parameters(), *module.buffers()))


def _sharing(module: nn.Module) -> nn.Module:
    """Copy a module, but for its parameters and buffers."""
    return copied(module, (*module.parameters(), *module.buffers()))


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
