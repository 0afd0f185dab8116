"""What tensors, modules, arrays and frames consist of; for libraries that are loaded already."""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.store.describe import Description
from pytest_multiplicity.store.names import Part

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

_COMPILED = "_torchdynamo_orig_callable"
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def describe_array(value: Any) -> Description | None:
    """State what a value of torch, numpy or pandas is made of; None for any other value.

    Imports none of them: a library that isn't loaded has no values.
    """
    for library, describe in (("torch", _torch), ("numpy", _numpy), ("pandas", _pandas)):
        if library in sys.modules and (description := describe(value)) is not None:
            return description
    return None


def _torch(value: Any) -> Description | None:
    import torch

    constants = (torch.dtype, torch.device, torch.layout, torch.memory_format)
    if isinstance(value, constants):
        return Description("torch", (str(value),))
    if isinstance(value, torch.nn.Module):
        return _describe_module(value)
    if isinstance(value, torch.Tensor):
        return _describe_tensor(value)
    if isinstance(value, torch.Generator):
        state = value.get_state().numpy()
        return Description("generator", (str(value.device), state.data))
    if isinstance(value, FunctionType) and (original := vars(value).get(_COMPILED)) is not None:
        return Description("compiled", (), (("function", original),))
    return None


def _kept_of(module: torch.nn.Module) -> dict[str, Any]:
    """Return what a module keeps when it is copied; all where it refuses to be."""
    try:
        state: Any = module.__getstate__()  # type: ignore[no-untyped-call]
    except Exception:
        return vars(module)
    return state if isinstance(state, dict) else vars(module)


def _describe_module(module: torch.nn.Module) -> Description:
    """Architecture and weights: the class's code, hyperparameters, parameters, buffers, children.

    Neither the mode (train or eval) nor the device belongs to what a module is, and neither does
    what it leaves behind when it is copied, as Lightning's leave their trainer.
    """
    import torch

    ordinary = vars(torch.nn.Module())
    attributes = {k: v for k, v in _kept_of(module).items() if k not in ordinary}
    if "_orig_mod" in module._modules:  # compiled: what surrounds the original is machinery
        attributes = {}
    parts: list[Part] = [("class", type(module))]
    parts += [(f"parameter {name}", value) for name, value in module._parameters.items()]
    parts += [(f"buffer {name}", value) for name, value in module._buffers.items()]
    parts += [(f"module {name}", value) for name, value in module._modules.items()]
    parts += [(f"attribute {name}", attributes[name]) for name in sorted(attributes)]
    parts += [(hooks, list(getattr(module, hooks).values())) for hooks in _HOOKS]
    if type(module).get_extra_state is not torch.nn.Module.get_extra_state:
        parts.append(("extra state", module.get_extra_state()))
    return Description("module", (module._non_persistent_buffers_set,), tuple(parts))


def _describe_tensor(tensor: torch.Tensor) -> Description:
    import torch

    facts = (str(tensor.dtype), tuple(tensor.shape), str(tensor.layout), tensor.requires_grad)
    parts: tuple[Part, ...] = (("class", type(tensor)),)
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        parts += (("attributes", dict(sorted(vars(tensor).items()))),)
    if tensor.is_meta:
        return Description("tensor", facts, parts)
    return Description("tensor", (*facts, _tensor_bytes(tensor)), parts)


def _tensor_bytes(tensor: torch.Tensor) -> memoryview:
    import torch

    dense = tensor.to_dense() if tensor.layout != torch.strided else tensor
    plain = dense.detach().as_subclass(torch.Tensor)
    flat = plain.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _numpy(value: Any) -> Description | None:
    import numpy as np

    if not isinstance(value, np.ndarray):
        return None
    parts: tuple[Part, ...] = (("class", type(value)), ("dtype", value.dtype))
    if type(value) is not np.ndarray:
        parts += (("attributes", getattr(value, "__dict__", {})),)
        if isinstance(value, np.ma.MaskedArray):
            parts += (("mask", np.ma.getmaskarray(value)),)
    return Description("array", (value.shape, _array_content(np.asarray(value))), parts)


def _array_content(array: np.ndarray[Any, Any]) -> memoryview | list[Any]:
    import numpy as np

    if array.dtype.hasobject:
        return _elements(array)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _pandas(value: Any) -> Description | None:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        columns = (value.iloc[:, at] for at in range(value.shape[1]))
        ends = (("columns", value.columns), ("index", value.index))
        return Description("frame", (), (*ends, *(("column", column.array) for column in columns)))
    if isinstance(value, pd.Series):
        content = (("name", value.name), ("index", value.index), ("values", value.array))
        return Description("series", (), content)
    if isinstance(value, pd.Index):
        values = list(value) if isinstance(value, pd.MultiIndex) else value.array
        return Description("index", (), (("names", list(value.names)), ("values", values)))
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _describe_values(value)
    return None


def _describe_values(values: pd.api.extensions.ExtensionArray) -> Description:
    """Describe a column: numbers as an array, anything else (text, dates) one by one."""
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        levels: tuple[Part, ...] = (("levels", values.dtype.categories),)
        return Description("values", (values.dtype.ordered,), (*levels, ("values", list(values))))
    if values.dtype.kind in "biufc" and not values.isna().any():
        return Description("values", (str(values.dtype),), (("values", values.to_numpy()),))
    return Description("values", (str(values.dtype),), (("values", list(values)),))


def _elements(array: np.ndarray[Any, Any]) -> list[Any]:
    elements: list[Any] = array.reshape(-1).tolist()
    return elements
