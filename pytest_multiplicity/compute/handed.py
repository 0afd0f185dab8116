"""Weights that a model function hands out again, which all candidates would train on."""

from __future__ import annotations

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy

from pytest_multiplicity.compute.copies import copied
from pytest_multiplicity.errors import RecipeError

_SEEN: dict[int, StorageWeakRef] = {}  # memory of modules built so far, as long as it is in use


def own_weights(module: nn.Module) -> nn.Module:
    """Return the module, or a copy where its memory was handed out before and is still in use.

    Families are built once before anything is trained, so what is copied is as it was made.

    Raises:
        RecipeError: it can't be copied.
    """
    gone = [key for key, ref in _SEEN.items() if ref.expired()]  # type: ignore[no-untyped-call]
    for key in gone:
        del _SEEN[key]
    tensors = {name: tensor for name, tensor in _tensors(module).items() if _has_memory(tensor)}
    refs = {name: _weak(tensor) for name, tensor in tensors.items()}
    again = [name for name, ref in refs.items() if ref.cdata in _SEEN]
    _SEEN.update({ref.cdata: ref for ref in refs.values()})
    if not again:
        return module
    try:
        return copied(module)
    except Exception as error:
        raise RecipeError(
            f"the model function hands out {again[0]} again, which all candidates would train on, "
            f"and it can't be copied ({error}): build it anew inside the function"
        ) from error


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _has_memory(tensor: Tensor) -> bool:
    return not (is_lazy(tensor) or tensor.is_meta) and tensor.nbytes > 0


def _weak(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
