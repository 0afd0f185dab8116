"""What Python objects consist of: their code, their parts, the names they use.

`describe` takes one step: it states what a value is made of, and leaves the parts to its caller.
"""

from __future__ import annotations

import contextvars
import copyreg
import enum
import functools
import logging
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_multiplicity.store.code import Use, read_code
from pytest_multiplicity.store.names import Part, closure_of, resolve
from pytest_multiplicity.store.origin import (
    OWN,
    file_of,
    importable,
    is_project,
    is_project_module,
    library_name,
)


@dataclass(frozen=True)
class Description:
    """What a value is made of: plain facts about it, and labelled parts to be described in turn."""

    kind: str
    facts: tuple[Any, ...] = ()
    parts: tuple[Part, ...] = ()


# What these hold can't change what code computes, or is nobody's in particular: locks, channels of
# logs, caches of weak references, what belongs to one thread or to the environment of a process.
_STATELESS = (
    type(threading.Lock()),
    type(threading.RLock()),
    logging.Logger,
    contextvars.ContextVar,
    threading.local,
    type(os.environ),
    weakref.ref,
    weakref.WeakKeyDictionary,
    weakref.WeakValueDictionary,
    weakref.WeakSet,
)
_BOUND = (types.BuiltinFunctionType, types.MethodWrapperType)
_UNBOUND = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
)
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
# Members of a class that are not behaviour, differ between runs, or are told by other members
# (a dataclass by its generated methods).
_UNTOLD = frozenset({
    "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__",
    "__annotations_cache__", "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__",
    "__firstlineno__", "__module__", "__orig_bases__", "__parameters__", "__qualname__",
    "__slotnames__", "__static_attributes__", "__type_params__", "__weakref__", "_abc_impl",
    "_autograd_function_id",
})  # fmt: skip


def name_of(value: object) -> str | None:
    """Return the name that says all about a library's function, class or module; else None."""
    if isinstance(value, types.ModuleType):
        return None if is_project_module(value) else library_name(value.__name__, "")
    if isinstance(value, type):
        return _library_class_name(value)
    if isinstance(value, types.FunctionType):
        module, qualname = value.__module__, value.__qualname__
        if module is None or is_project(module, file_of(sys.modules.get(module))):
            return None
        return library_name(module, qualname) if importable(value, module, qualname) else None
    if isinstance(value, types.BuiltinFunctionType) and not _is_bound(value):
        return library_name(value.__module__ or "builtins", value.__qualname__)
    return None


def describe(value: Any) -> Description:
    """State what a value that has no telling name is made of."""
    for kind, describe_kind in _KINDS.items():
        if isinstance(value, kind):
            return describe_kind(value)
    return _describe_object(value)


def _describe_function(function: types.FunctionType) -> Description:
    code = function.__code__
    home = str(function.__globals__.get("__name__", ""))
    settings: list[Part] = [
        ("defaults", function.__defaults__),
        *_named("default", function.__kwdefaults__ or {}),
        *_named("attribute", vars(function)),
    ]
    if not is_project(home, function.__globals__.get("__file__")):
        # A library's wrapper around something: known by its name, and by what it was made with.
        name = library_name(home, code.co_qualname)
        return Description(
            "wrapper", (name,), (*settings, *_named("closure", closure_of(function)))
        )
    facts = read_code(code)
    return Description("function", (facts.digest,), (*settings, *_used(function, facts.uses)))


def _used(function: types.FunctionType, uses: Iterable[Use]) -> Iterator[Part]:
    closure = closure_of(function)
    found = dict(resolve(use, function.__globals__, closure) for use in uses)
    yield from sorted(found.items(), key=lambda part: part[0])


def _describe_code(code: types.CodeType) -> Description:
    return Description("code", (read_code(code).digest,))


def _describe_module(module: types.ModuleType) -> Description:
    """Describe a project module used as a whole (`getattr(models, name)`): all that it defines."""
    namespace = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith(("__", "@")) and not isinstance(value, types.ModuleType)
    }
    return Description("module", (), _named("global", namespace))


def _describe_class(cls: type) -> Description:
    parts: list[Part] = [("metaclass", type(cls))]
    parts += [(f"base {base.__name__}", base) for base in cls.__bases__]
    if isinstance(cls, enum.EnumMeta):
        members: Mapping[str, enum.Enum] = cls.__members__
        parts += [(f"option {name}", member.value) for name, member in members.items()]
    return Description("class", (cls.__name__,), (*parts, *_named("member", _members(cls))))


def _members(cls: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(cls).items()
        if name not in _UNTOLD and not isinstance(value, _SLOTS) and not _of_enum(cls, name)
    }


def _of_enum(cls: type, name: str) -> bool:
    """Return whether a member is an option of an enum, or a table that enum keeps of them."""
    if not isinstance(cls, enum.EnumMeta):
        return False
    table = name.startswith("_") and not callable(getattr(cls, name))
    return table or name in cls.__members__ or name in ("_member_type_", "_new_member_")


def _library_class_name(cls: type) -> str | None:
    module: object = cls.__module__
    if not isinstance(module, str):  # C types may describe their instances' module there
        return cls.__qualname__
    if is_project(module, file_of(sys.modules.get(module))):
        return None
    named = importable(cls, module, cls.__qualname__)
    return library_name(module, cls.__qualname__) if named else None


def _describe_property(value: property) -> Description:
    return Description(
        "property", (), (("get", value.fget), ("set", value.fset), ("delete", value.fdel))
    )


def _describe_static(value: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> Description:
    return Description(type(value).__name__, (), (("function", value.__func__),))


def _describe_method(value: types.MethodType) -> Description:
    return Description("method", (), (("function", value.__func__), ("self", value.__self__)))


def _describe_partial(value: functools.partial[Any]) -> Description:
    parts = (("function", value.func), ("arguments", value.args), *_named("", value.keywords))
    return Description("partial", (), (*parts, *_named("attribute", vars(value))))


def _describe_cached(value: functools._lru_cache_wrapper[Any]) -> Description:
    return Description("lru_cache", (), (("function", value.__wrapped__),))


def _describe_bound(value: types.BuiltinFunctionType | types.MethodWrapperType) -> Description:
    return Description("bound", (value.__name__,), (("of", value.__self__),))


def _describe_unbound(value: types.MethodDescriptorType) -> Description:
    return Description("unbound", (value.__name__,), (("of", value.__objclass__),))


def _describe_proxy(value: types.MappingProxyType[Any, Any]) -> Description:
    return Description("mapping", (), (("items", dict(value)),))


def _describe_stateless(value: object) -> Description:
    name = getattr(value, "name", None)
    return Description("stateless", (type(value).__qualname__, name if type(name) is str else None))


def _describe_own(value: object) -> Description:
    return Description(
        "object", (), (("class", type(value)), *_named("attribute", _state_of(value)))
    )


def _describe_sets(value: set[Any] | frozenset[Any]) -> Description:
    parts = (("class", type(value)), ("elements", frozenset(value)))
    return Description("object", (), (*parts, *_named("attribute", getattr(value, "__dict__", {}))))


def _describe_object(value: object) -> Description:
    """Any other object: its class, and its state as `copy` and `pickle` see it."""
    if type(value).__module__.partition(".")[0] == OWN and hasattr(value, "__dict__"):
        return _describe_own(value)
    reduced = _reduce(value)
    if isinstance(reduced, str):
        return Description("object", (reduced,), (("class", type(value)),))
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    return Description(
        "object",
        (),
        (
            ("class", type(value)),
            ("constructor", make),
            ("argument", arguments),
            *_state_parts(value, state),
            ("item", None if items is None else list(items)),
            ("item", None if pairs is None else list(pairs)),
        ),
    )


def _reduce(value: object) -> str | tuple[Any, ...]:
    registered: Callable[[Any], Any] | None = copyreg.dispatch_table.get(type(value))
    reduced: str | tuple[Any, ...] = (
        registered(value) if registered is not None else value.__reduce_ex__(4)
    )
    return reduced


def _state_parts(value: object, state: Any) -> Iterator[Part]:
    """Yield the attributes by name: in what order they were set tells nothing."""
    halves = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if not all(half is None or isinstance(half, dict) for half in halves):
        yield "state", state
        return
    for half in halves:
        yield from _named("attribute", _lasting(value, half or {}))


def _state_of(value: object) -> dict[str, Any]:
    return _lasting(value, vars(value))


def _lasting(value: object, attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes without those that `cached_property` keeps: they come and go with use."""
    cached = {
        name
        for cls in type(value).__mro__
        for name, member in vars(cls).items()
        if isinstance(member, functools.cached_property)
    }
    return {name: part for name, part in attributes.items() if name not in cached}


def _named(prefix: str, values: Mapping[Any, Any]) -> tuple[Part, ...]:
    """Labelled parts in the order of their names."""
    return tuple(sorted(((f"{prefix} {name}", part) for name, part in values.items()), key=_label))


def _label(part: Part) -> str:
    return part[0]


def _is_bound(value: types.BuiltinFunctionType) -> bool:
    return not isinstance(value.__self__, (types.ModuleType, type(None)))


_KINDS: dict[Any, Callable[[Any], Description]] = {
    types.FunctionType: _describe_function,
    type: _describe_class,
    types.ModuleType: _describe_module,
    types.CodeType: _describe_code,
    types.MethodType: _describe_method,
    functools.partial: _describe_partial,
    functools._lru_cache_wrapper: _describe_cached,
    property: _describe_property,
    (staticmethod, classmethod): _describe_static,
    types.MappingProxyType: _describe_proxy,
    _BOUND: _describe_bound,
    _UNBOUND: _describe_unbound,
    _STATELESS: _describe_stateless,
    (set, frozenset): _describe_sets,
}
