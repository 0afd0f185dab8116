"""All that a trained module is: its state dict, and what it learnt outside of it.

Tensors are kept by their names. Whatever else there is (extra state, packed weights, buffers that
aren't persistent, attributes) becomes one more tensor, of bytes that `torch.load` reads without
running code.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import Outside, Place, out_of_memory, put
from pytest_multiplicity.errors import RecipeError

REST = "multiplicity: the rest"


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
