"""Load weights that were trained elsewhere, from files that can't run code."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pytest_multiplicity.errors import StoreError

Module = TypeVar("Module", bound=nn.Module)

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training frameworks keep the weights beside other things."""


def load(path: str | Path, into: Module) -> Module:
    """Load a ``.safetensors``, ``.pt``, ``.pth`` or ``.ckpt`` file into ``into`` and return it.

    Nothing in the file is run: a checkpoint that holds more than tensors and plain values is
    refused (``weights_only=True``). A relative path is taken from the file that calls. Weights that
    a framework keeps under ``state_dict`` are found there.

    Raises StoreError when the file can't be read or its tensors don't fit the module.
    """
    path = _beside_caller(Path(path))
    state = _read(path)
    try:
        into.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        lines = str(error).splitlines()
        raise StoreError(f"{str(path)!r} doesn't fit the module: {' '.join(lines[:3])}") from None
    return into


def _beside_caller(path: Path) -> Path:
    if path.is_absolute():
        return path
    return Path(sys._getframe(2).f_code.co_filename).parent / path


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise StoreError(f"no weights at {str(path)!r}: give a .safetensors or .pt file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise StoreError(
            f"{str(path)!r} holds more than weights, and what it holds could run code: save "
            "module.state_dict(), best with safetensors"
        ) from None
    except Exception as error:  # readers stumble over broken files in any way
        raise StoreError(f"{str(path)!r} is no checkpoint: {error}") from None
    return _weights(found, path)


def _weights(found: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(found, Mapping):
        for key in WRAPPERS:
            if isinstance(found.get(key), Mapping):
                found = found[key]
                break
        if found and all(isinstance(each, Tensor) for each in found.values()):
            return dict(found)
    raise StoreError(
        f"{str(path)!r} holds a {type(found).__name__}, no state dict: save module.state_dict()"
    )
