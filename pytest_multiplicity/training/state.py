"""All that a trained module is: its state dict, and what it learnt outside of it.

Tensors are kept by their names. Whatever else there is (extra state, packed weights, buffers that
aren't persistent, attributes) becomes one more tensor, of bytes that `torch.load` reads without
running code.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import out_of_memory, preserved_rng, seed_everything
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import MultiplicityError, RecipeError
from pytest_multiplicity.store import fingerprint

REST = "multiplicity: the rest"
Place = tuple[str, str]  # a part's name and an attribute's
Outside = dict[Place, Any]
_PLAIN = (type(None), bool, int, float, str, bytes)
_ORDINARY = frozenset(vars(nn.Module()))


def final_state(module: nn.Module, outside: Mapping[Place, Any] | None = None) -> dict[str, Tensor]:
    """Copy a module's state to the CPU, every tensor in memory of its own.

    Raises:
        RecipeError: part of it can't be kept.
    """
    state = module.state_dict()
    tensors = {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in state.items()
        if _is_simple(value)
    }
    extra = {name: value for name, value in state.items() if name not in tensors}
    if extra or outside:
        tensors[REST] = _packed(extra, dict(outside or {}))
    return tensors


def restore(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set a module to what `final_state` returned."""
    rest: dict[str, Any] = {"extra": {}, "outside": {}}
    if REST in state:
        content = io.BytesIO(state[REST].numpy().tobytes())
        rest = torch.load(content, map_location="cpu", weights_only=True)
    tensors = {name: value for name, value in state.items() if name != REST}
    known = module.state_dict()
    for name in tensors.keys() - known.keys():  # a buffer that the first pass makes
        path, _, last = name.rpartition(".")
        module.get_submodule(path).register_buffer(last, tensors[name])
    whole = module.state_dict()  # with the versions of its layers, which some need to be loaded
    whole.clear()
    whole.update(tensors | rest["extra"])
    module.load_state_dict(whole)
    put(module, rest["outside"])


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


def _is_simple(value: object) -> bool:
    if not isinstance(value, Tensor) or value.is_quantized:
        return False
    return value.layout is torch.strided and type(value) in (Tensor, nn.Parameter)


def _packed(extra: dict[str, Any], outside: Outside) -> Tensor:
    cleaned = {p: v.detach().cpu() if isinstance(v, Tensor) else v for p, v in outside.items()}
    buffer = io.BytesIO()
    try:
        torch.save({"extra": extra, "outside": cleaned}, buffer)
        torch.load(io.BytesIO(buffer.getvalue()), map_location="cpu", weights_only=True)
    except Exception as error:
        if out_of_memory(error):
            raise
        names = ", ".join([*extra, *(f"{path}.{name}".lstrip(".") for path, name in outside)])
        raise RecipeError(
            f"the model keeps {names} where it can't be stored ({type(error).__name__}): keep what "
            "is learnt in parameters and buffers, or return tensors, numbers, text, lists and "
            "dicts of these from get_extra_state"
        ) from error
    return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())


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
