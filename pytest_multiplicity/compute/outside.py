"""What a module keeps outside its state dict: buffers that aren't persistent, and attributes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute.devices import out_of_memory, preserved_rng, seed_everything
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.store import fingerprint

Place = tuple[str, str]  # a part's name and an attribute's
Outside = dict[Place, Any]
_PLAIN = (type(None), bool, int, float, str, bytes)
_ORDINARY = frozenset(vars(nn.Module()))


def snapshot(module: nn.Module) -> Outside:
    """Copy what a module has outside its state dict; what can't be copied isn't seen."""
    memo: dict[int, Any] = {id(part): part for part in module.modules()}
    memo |= {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    found: Outside = {}
    for place, value in outside_of(module):
        if isinstance(value, _PLAIN):
            found[place] = value
        elif isinstance(value, Tensor):
            found[place] = value.detach().clone()
        else:
            try:
                found[place] = copy.deepcopy(value, dict(memo))
            except Exception as error:  # a lock, a file, a generator
                if out_of_memory(error):
                    raise
                continue
    return found


def changed(now: Outside, before: Outside) -> Outside:
    """Return what differs from before, or wasn't there."""
    return {
        place: value
        for place, value in now.items()
        if (not _same(before[place], value) if place in before else _is_value(value))
    }


def _is_value(value: object) -> bool:
    return isinstance(value, (*_PLAIN, Tensor))


def put(module: nn.Module, values: Mapping[Place, Any]) -> None:
    """Set attributes and buffers."""
    for (path, name), value in values.items():
        part = module.get_submodule(path)
        if isinstance(now := part._buffers.get(name), Tensor) and isinstance(value, Tensor):
            part._buffers[name] = value.detach().to(now.device, copy=True)
        elif name in part._buffers:
            part._buffers[name] = value
        else:
            vars(part)[name] = value


def outside_of(module: nn.Module) -> Iterator[tuple[Place, Any]]:
    """Yield buffers that aren't persistent and attributes, by their places."""
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        for name in sorted(part._non_persistent_buffers_set):
            yield (path, name), part._buffers.get(name)
        for name, value in vars(part).items():
            if name not in _ORDINARY:
                yield (path, name), value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, _PLAIN) and isinstance(other, _PLAIN):
        return type(one) is type(other) and repr(one) == repr(other)
    if one is other:
        return True
    try:
        return fingerprint([_detached(one)]) == fingerprint([_detached(other)])
    except MultiplicityError:  # it doesn't show its state
        return True


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def learnt(module: nn.Module, before: Outside, inputs: kinds.Batch) -> Outside:
    """Return what changed outside the state dict and is missed in answers, on a batch.

    What modules only leave there, such as what they computed last, isn't missed.
    """
    found = changed(dict(outside_of(module)), before)
    if not found:
        return {}
    after = snapshot(module)
    answers = _answers(module, inputs)
    put(module, {place: before[place] for place in found if place in before})
    for path, name in found.keys() - before.keys():
        delattr(module.get_submodule(path), name)
    alike = answers is not None and answers == _answers(module, inputs)
    put(module, {place: after.get(place, value) for place, value in found.items()})
    return {} if alike else found


def _answers(module: nn.Module, inputs: kinds.Batch) -> str | None:
    """Return the content of what a module answers in eval mode; None where it fails."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        with preserved_rng(), torch.no_grad():
            seed_everything(0)
            output = kinds.call(module.eval(), inputs)
        return fingerprint([getattr(output, "logits", output)])
    except Exception as error:  # it misses what was put back
        if out_of_memory(error):
            raise
        return None
    finally:
        for part, training in modes:
            if part.training is not training:
                part.training = training
