"""Several modules of one structure as one: candidates side by side in a single pass.

`stack` puts the parameters of K modules into one tensor each and runs the first module's own
forward pass on `Lanes`, so whatever its code does happens for all of them at once.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import forms  # noqa: F401 - makes the fused forms known
from pytest_multiplicity.compute.copies import copied
from pytest_multiplicity.compute.devices import random_states
from pytest_multiplicity.compute.lanes import Deck, Lanes, Unfusable
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store import fingerprint

# One or two lanes pick kernels that are made for them, and cost more by the lane.
FEWEST_LANES = 4
MOST_LANES = 16  # from which on a step of each is no quicker


def fewest_lanes(device: torch.device) -> int:
    """Return how many lanes there are at the least: fewer are filled up, for the same bits.

    Off the CPU kernels are picked by the number of products in a batch: it is always the same.
    """
    return FEWEST_LANES if device.type == "cpu" else MOST_LANES


class FusedModule:
    """K modules that compute at once.

    `parameters` and `buffers` hold [K, ...] by the name they have in one module; a pass writes
    buffers such as running means in place. Linear layers' weights lie in memory as they do in one
    module, which suits passes, or `columns_first`, which suits optimizers.
    """

    def __init__(self, modules: Sequence[nn.Module], *, columns_first: bool = False) -> None:
        self.deck = Deck(len(modules))
        self.template = _emptied(modules[0])
        self.parameters = _stack_named([dict(m.named_parameters()) for m in modules])
        self.buffers = _stack_named([dict(m.named_buffers()) for m in modules])
        for name in _linear_weights(modules[0]) if columns_first else ():
            self.parameters[name] = _columns_first(self.parameters[name])
        for name, parameter in modules[0].named_parameters():
            self.parameters[name].requires_grad_(parameter.requires_grad)
        self._names = _state_names(modules[0])
        _fill(self.template, modules[0], self.deck, self.parameters | self.buffers)

    def __call__(self, inputs: kinds.Batch) -> Tensor:
        """Return outputs [K, b, C] for inputs of each lane's own, [K, b, ...]."""
        lanes: Any = partial(Lanes, self.deck)
        match kinds.mapped(inputs, lanes):
            case dict() as named:
                given = self.template(**named)
            case tuple() as several:
                given = self.template(*several)
            case one:
                given = self.template(one)
        return _stacked(given if isinstance(given, Lanes) else kinds.answers(given))

    def shared(self, inputs: kinds.Batch) -> Tensor:
        """Return outputs [K, b, C] for inputs that all lanes have in common, [b, ...]."""
        return _stacked(kinds.call(self.template, inputs))

    def train(self, mode: bool = True) -> FusedModule:
        """Switch between training and evaluation, as a module's `train` does."""
        self.template.train(mode)
        return self

    def state(self, lane: int) -> dict[str, Tensor]:
        """Copy one lane's state dict to the CPU, every tensor in memory of its own."""
        tensors = self.parameters | self.buffers
        return {
            name: tensors[known][lane].detach().to("cpu", copy=True).contiguous()
            for name, known in self._names.items()
        }

    @torch.no_grad()
    def load_states(self, states: Sequence[dict[str, Tensor]]) -> None:
        """Set all lanes to state dicts."""
        tensors = self.parameters | self.buffers
        for name, known in self._names.items():
            tensors[known].copy_(torch.stack([state[name] for state in states]))


def _stacked(outputs: object) -> Tensor:
    if not isinstance(outputs, Lanes):
        raise Unfusable(f"the model gives {type(outputs).__name__}")
    return outputs.stacked


def stack(modules: Sequence[nn.Module]) -> FusedModule:
    """Put modules of one structure side by side, to be trained.

    The modules are copied. Another number of lanes may pick other kernels: who needs results that
    don't depend on it fills up with copies of a module and drops their results.

    Raises:
        Unfusable: they differ in structure, or hold state that is no tensor.
    """
    structures = {structure(module) for module in modules}
    if len(structures) > 1:
        raise Unfusable("the modules differ in structure")
    return FusedModule(modules, columns_first=True)


def structure(module: nn.Module) -> str:
    """Describe all of a module but the values of its parameters and buffers.

    Two modules of one structure compute the same function of them. Attributes that aren't plain
    values are described by the content that the store would know them by.
    """
    lines = []
    for name, part in module.named_modules():
        lines.append(f"{name}: {type(part).__module__}.{type(part).__qualname__}")
        lines += [f"  {key}={_describe(value)}" for key, value in sorted(_own_attributes(part))]
        tensors = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
        lines += [
            f"  {key}: {tuple(t.shape)} {t.dtype} {t.requires_grad}" for key, t in sorted(tensors)
        ]
    return "\n".join(lines)


def _own_attributes(part: nn.Module) -> Iterator[tuple[str, object]]:
    """Yield what a module was given on top of what every module has, and whether it trains."""
    standard = vars(nn.Module())
    for key, value in vars(part).items():
        if key not in standard:
            yield key, value
        elif key.endswith("hooks") and value:
            raise Unfusable(f"{type(part).__name__} has hooks ({key})")
    yield "training", part.training


def _describe(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if isinstance(value, list | tuple) and all(isinstance(v, int | float | str) for v in value):
        return repr(value)
    if isinstance(value, list | tuple) and any(isinstance(v, nn.Parameter) for v in value):
        raise Unfusable("the model keeps parameters in a list of its own")
    try:
        return fingerprint(value)
    except StoreError as error:
        kind = type(value).__name__
        raise Unfusable(f"the model keeps a {kind}, whose content can't be told") from error


def _stack_named(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}


def _linear_weights(module: nn.Module) -> list[str]:
    parts = ((name, part) for name, part in module.named_modules() if type(part) is nn.Linear)
    names = [f"{name}.weight" if name else "weight" for name, _ in parts]
    known = dict(module.named_parameters())
    return [name for name in names if name in known]


def _columns_first(weights: Tensor) -> Tensor:
    """Lay [K, out, in] in memory as its gradients come out of a batched product: [K, in, out]."""
    return weights.transpose(1, 2).contiguous().transpose(1, 2)


def _emptied(module: nn.Module) -> nn.Module:
    """Copy a module without copying its tensors."""
    return copied(module, (*module.parameters(), *module.buffers()))


def _fill(template: nn.Module, module: nn.Module, deck: Deck, tensors: dict[str, Tensor]) -> None:
    """Put lanes where the template has parameters and buffers; tied ones stay tied."""
    named = (*module.named_parameters(), *module.named_buffers())
    lanes = {id(tensor): Lanes(deck, tensors[name]) for name, tensor in named}
    for part in template.modules():
        for slots in (part._parameters, part._buffers):
            for name, tensor in slots.items():
                if tensor is not None:
                    slots[name] = lanes[id(tensor)]  # type: ignore[assignment]


def _state_names(module: nn.Module) -> dict[str, str]:
    """Map names in the state dict to those of the parameters and buffers (tied ones have one)."""
    known = {id(t): n for n, t in (*module.named_parameters(), *module.named_buffers())}
    state = module.state_dict(keep_vars=True)
    strange = [name for name, value in state.items() if id(value) not in known]
    if strange:
        raise Unfusable(f"the model keeps state that is no parameter or buffer ({strange[0]})")
    return {name: known[id(value)] for name, value in state.items()}


@contextmanager
def drawing_nothing() -> Iterator[None]:
    """Raise `Unfusable` when the body drew from a global generator: all lanes would share it."""
    before = _drawn()
    yield
    if _drawn() != before:
        raise Unfusable("the model draws random numbers by other means than dropout layers")


def _drawn() -> tuple[object, ...]:
    states, numpy, python = random_states()
    return [bytes(state.numpy()) for state in states], pickle.dumps(numpy), python
