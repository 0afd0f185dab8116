"""Load weights that were trained elsewhere, from files that can't run code."""

from __future__ import annotations

import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytest_multiplicity.errors import StoreError

Module = TypeVar("Module", bound=nn.Module)

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training frameworks keep the weights beside other things."""


def load(path: str | Path, into: Module, *, prefix: str = "") -> Module:
    """Load a `.safetensors`, `.pt`, `.pth` or `.ckpt` file into `into` and return it.

    Nothing in the file is run: a checkpoint that holds more than tensors and plain values is
    refused (`weights_only=True`). A relative path is taken from the file that calls. Weights that
    a framework keeps under `state_dict` are found there.

    `prefix` is where the module stood in what was saved: `"net."` for the attribute `net` of
    a Lightning module, `"module."` under DataParallel. All else in the file is left out.

    Raises StoreError when the file can't be read or its tensors don't fit the module.
    """
    path = _beside_caller(Path(path))
    found = _read(path)
    state: Any = OrderedDict(_with_tied(_below(prefix, found, path), into))
    state._metadata = _versions_below(prefix, found)  # where load_state_dict looks for it
    try:
        into.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        lines = str(error).splitlines()
        raise StoreError(
            f"{str(path)!r} doesn't fit the module: {' '.join(lines[:3])}; build it as it was "
            "built for what was saved, or say where it stood in that by prefix="
        ) from None
    return into


def _with_tied(state: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return the state with all names of tied weights: safetensors keeps one of them."""
    present: dict[Hashable, Tensor] = {}
    absent: dict[str, Hashable] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        same = id(tensor) if not isinstance(tensor, Tensor) else _memory(tensor)
        if name in state:
            present[same] = state[name]
        else:
            absent[name] = same
    return state | {name: present[same] for name, same in absent.items() if same in present}


def _memory(tensor: Tensor) -> Hashable:
    """Return what two tensors have in common that are one: where they lie, and how."""
    unplaced = is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided
    if unplaced or tensor.numel() == 0:
        return id(tensor)
    place = tensor.device, tensor.data_ptr(), tensor.dtype
    return (*place, tuple(tensor.shape), tensor.stride())


def _beside_caller(path: Path) -> Path:
    if path.is_absolute():
        return path
    return Path(sys._getframe(2).f_code.co_filename).parent / path


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise StoreError(f"no weights at {str(path)!r}: give a .safetensors or .pt file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"{str(path)!r} holds more than weights{_foreign(error)}, and what it holds could run "
            "code: save module.state_dict(), best with safetensors"
        ) from None
    except Exception as error:  # readers stumble over broken files in any way
        raise StoreError(f"{str(path)!r} is no checkpoint: {error}") from None
    return _weights(found, path)


def _foreign(error: pickle.UnpicklingError) -> str:
    """Name what torch refused, as in " (pathlib.PosixPath)", where its message does."""
    found = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
    return f" ({found[1]})" if found else ""


def _below(prefix: str, state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    below = {
        name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)
    }
    if not below:
        tops = sorted({name.partition(".")[0] + "." for name in state})
        raise StoreError(
            f"nothing in {str(path)!r} stands below prefix={prefix!r}: its names begin with "
            f"{', '.join(tops[:5])}"
        )
    return below


def _versions_below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return the layers' versions, which torch keeps beside a state, if it does."""
    versions = getattr(state, "_metadata", None)
    if not isinstance(versions, Mapping):
        return None
    return {
        f"{name}.".removeprefix(prefix).rstrip("."): version
        for name, version in versions.items()
        if f"{name}.".startswith(prefix)
    }


def _weights(found: Any, path: Path) -> Mapping[str, Tensor]:
    if isinstance(found, Mapping):
        for key in WRAPPERS:
            if isinstance(found.get(key), Mapping):
                found = found[key]
                break
        if found and all(isinstance(each, Tensor) for each in found.values()):
            weights: Mapping[str, Tensor] = found
            return weights
    raise StoreError(
        f"{str(path)!r} holds a {type(found).__name__}, no state dict: save module.state_dict()"
    )
