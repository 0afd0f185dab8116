"""Models as a pickle beside their weights, which are tensors of their own."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pytest_multiplicity.compute import CodePickler, pickled, project_code_by_value
from pytest_multiplicity.errors import DefinitionError
from pytest_multiplicity.store import DTYPES, closure_of
from pytest_multiplicity.training import Recipe

MODULE, ESTIMATOR, CALLABLE = "torch module", "estimator", "callable"
ANSWERING = ("predict_log_proba", "predict_proba", "decision_function", "predict")
DEPTH = 6  # of attributes among which is looked for what can't be pickled


@dataclass(frozen=True)
class Packed:
    """A model for another process: weights by name, and a pickle that refers to them."""

    kind: str
    tensors: dict[str, Tensor]
    pickled: bytes


def kind_of(model: object) -> str | None:
    """Return what kind of model it is; None for what is none."""
    if isinstance(model, nn.Module):
        return MODULE
    if isinstance(model, type):
        return None
    answers = any(hasattr(model, name) for name in ANSWERING)
    if answers and (not callable(model) or hasattr(model, "fit")):
        return ESTIMATOR
    return CALLABLE if callable(model) else None


def pack(model: Any) -> Packed:
    """Pack what a function returned; a module without its compiler, on the CPU.

    Raises:
        DefinitionError: it is no model, or can't be pickled, which names the part that can't.
    """
    kind = kind_of(model)
    if isinstance(model, Recipe):
        raise DefinitionError(
            "the function returned a pm.Recipe, which is trained once as it is: leave keep=True out"
        )
    if kind is None:
        hint = "did you forget to return it? " if model is None else ""
        raise DefinitionError(
            f"the function returned {_short(model)}: {hint}With keep=True return a torch module, a "
            "fitted estimator, or a callable from a batch to answers"
        )
    if isinstance(model, nn.Module):
        model = eager(model).to("cpu")
        with suppress(NotImplementedError):  # what torch.export made has one mode
            model.eval()
        for parameter in model.parameters():
            parameter.grad = None
    with project_code_by_value():
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, model)
        try:
            pickler.dump(model)
        except Exception as error:
            part = culprit(model, "model") or "it"
            raise DefinitionError(
                f"the {kind} that the function returned can't be kept: {part} "
                f"can't be pickled ({type(error).__name__}: {error}); leave it out of the "
                "model, or give its class a __getstate__ that does"
            ) from error
    return Packed(kind, pickler.tensors, buffer.getvalue())


def unpack(pickled: bytes, tensors: Mapping[str, Tensor]) -> Any:
    """Return the model that was packed. Its pickle runs what it says: only give one to be trusted.

    Raises whatever its classes raise, and ImportError where they are not here.
    """
    return _Unpickler(io.BytesIO(pickled), tensors).load()


def eager(module: nn.Module) -> nn.Module:
    """Return a module without the wrappers that `torch.compile` puts around it and its parts."""
    module = _unwrapped(module)
    for part in list(module.modules()):
        for name, child in part._modules.items():
            if child is not None and (inner := _unwrapped(child)) is not child:
                part._modules[name] = inner
    return module


def culprit(value: Any, label: str) -> str | None:
    """Name the innermost part of a value that can't be pickled, as `model.head.lock`; or None.

    Ask inside `project_code_by_value`.
    """
    if _can_be_pickled(value):
        return None
    for _ in range(DEPTH):
        found = next((each for each in _parts(value) if not _can_be_pickled(each[1])), None)
        if found is None:
            break
        label, value = label + found[0], found[1]
    return f"{label}, a {type(value).__name__},"


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{at}]", part) for at, part in enumerate(value))
    elif isinstance(value, nn.Module):
        yield from ((f".{name}", part) for name, part in value.named_children())
        yield from ((f".{n}", part) for n, part in vars(value).items() if n != "_modules")
    elif isinstance(value, FunctionType):
        captured = closure_of(value) | {
            name: value.__globals__[name]
            for name in value.__code__.co_names
            if name in value.__globals__
        }
        yield from ((f": {name}", part) for name, part in captured.items())
    else:
        yield from ((f".{name}", part) for name, part in getattr(value, "__dict__", {}).items())


def _can_be_pickled(value: Any) -> bool:
    try:
        pickled(value)
    except Exception:
        return False
    return True


def _unwrapped(module: nn.Module) -> nn.Module:
    inner = module._modules.get("_orig_mod")
    return module if inner is None else inner


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


class _Pickler(CodePickler):
    """Leaves plain tensors out, and names them as the module does."""

    def __init__(self, buffer: io.BytesIO, model: Any) -> None:
        super().__init__(buffer)
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        self._seen: dict[int, tuple[str, Tensor]] = {}
        if isinstance(model, nn.Module):
            named = (*model.named_parameters(), *model.named_buffers())
            self._names = {_place(t): name for name, t in named if _is_plain(t)}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, nn.Module) and parametrize.is_parametrized(obj):
            return _parametrized, (type(obj).__base__, vars(obj))
        return super().reducer_override(obj)

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) is not Tensor or not _is_plain(obj):
            return None
        if id(obj) not in self._seen:
            name = self._names.get(_place(obj), f"tensor {len(self.tensors)}")
            while name in self.tensors:
                name += "'"
            self.tensors[name] = obj.detach().clone()
            self._seen[id(obj)] = name, obj  # held, so that its id isn't used again
        return self._seen[id(obj)][0]


def _parametrized(cls: type[nn.Module], state: dict[str, Any]) -> nn.Module:
    """Make a parametrized module, which torch refuses to pickle: its class is made for it alone."""
    module = cls.__new__(cls)
    vars(module).update(state)
    parametrize._inject_new_class(module)
    for name in module.parametrizations:  # type: ignore[union-attr]
        parametrize._inject_property(module, name)
    return module


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(buffer)
        self._tensors = tensors

    def persistent_load(self, name: Any) -> Tensor:
        return self._tensors[name]


def _is_plain(tensor: Tensor) -> bool:
    """Say whether a tensor's values are all there is to it, and the store can hold them."""
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_meta
    simple = plain and tensor.dtype in DTYPES and not tensor.is_quantized and not tensor.is_conj()
    return simple and not (type(tensor) is Tensor and (tensor.requires_grad or vars(tensor)))


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
