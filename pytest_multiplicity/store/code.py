"""What a code object does, and which names it takes from outside itself.

Two code objects are alike when they run the same instructions on the same constants. Line numbers,
comments, docstrings, and the place of a constant in its table are not part of that.
"""

from __future__ import annotations

import dis
import functools
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any, Literal

from pytest_multiplicity.store.encoding import Encoder

# Instructions that do nothing: NOPs stay behind for line tracing only.
_SILENT = frozenset({"NOP", "CACHE", "EXTENDED_ARG", "RESUME"})
# Names that a class body binds to what is not behaviour: its docstring and its place in the file.
_UNTOLD = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
_GLOBAL_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_FREE_LOADS = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_ATTRIBUTE_LOADS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
# Variable and keyword arguments, generators and coroutines; not: optimised, nested, __future__.
_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200


@dataclass(frozen=True)
class Use:
    """A name from outside, with the attributes read from it at once: `helpers.scale.factor`.

    `scope` "import" is an import statement inside the function: `name` is its module, `level` its
    leading dots, and `top` says that it binds the top package (`import a.b`).
    """

    scope: Literal["global", "closure", "import"]
    name: str
    attributes: tuple[str, ...] = ()
    level: int = 0
    top: bool = False

    def plus(self, *attributes: str) -> Use:
        """Return the same name, read further."""
        return replace(self, attributes=self.attributes + attributes)


@dataclass(frozen=True)
class Code:
    """What a code object does, as a digest, and the names it uses, nested functions included."""

    digest: bytes
    uses: frozenset[Use]


@functools.lru_cache(maxsize=8192)
def read_code(code: CodeType) -> Code:
    """Read a code object together with the functions, lambdas and classes nested in it."""
    encoder = Encoder()
    encoder.write(_content(code))
    return Code(encoder.digest(), frozenset(_uses(code, {})))


def _instructions(code: CodeType) -> list[dis.Instruction]:
    kept: list[dis.Instruction] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_NAME" and instruction.argval in _UNTOLD:
            kept.pop()  # the constant that would have been stored
        elif instruction.opname not in _SILENT:
            kept.append(instruction)
    return kept


def _content(code: CodeType) -> tuple[Any, ...]:
    instructions = _instructions(code)
    offsets = [instruction.offset for instruction in instructions]
    return (
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_flags & _FLAGS,
        code.co_varnames[: _parameter_count(code)],
        tuple((i.opname, _operand(code, i, offsets)) for i in instructions),
        _handlers(code, offsets),
    )


def _parameter_count(code: CodeType) -> int:
    variadic = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    return code.co_argcount + code.co_kwonlyargcount + variadic


def _operand(code: CodeType, instruction: dis.Instruction, offsets: list[int]) -> Any:
    if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
        return _position(instruction.argval, offsets)
    if instruction.opcode in dis.hasconst and instruction.arg is not None:
        # not `argval`: dis doesn't look up the names of keyword arguments (KW_NAMES) in Python 3.11
        return _constant(code.co_consts[instruction.arg])
    named = instruction.opcode in dis.hasname or instruction.opcode in dis.haslocal
    if named or instruction.opcode in dis.hasfree:
        return instruction.argval
    return instruction.arg


def _position(offset: int, offsets: list[int]) -> int:
    """Count the instructions before an offset: offsets shift when a constant table grows."""
    return bisect_left(offsets, offset)


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _content(value)
    if isinstance(value, slice):  # a constant since Python 3.14
        return ("slice", value.start, value.stop, value.step)
    return value


def _handlers(code: CodeType, offsets: list[int]) -> tuple[tuple[int, ...], ...]:
    """Return which instructions are covered by which exception handler."""
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]  # not in typeshed
    return tuple(
        (*(_position(at, offsets) for at in (e.start, e.end, e.target)), e.depth, e.lasti)
        for e in entries
    )


def _uses(code: CodeType, outer: Mapping[str, Use]) -> Iterator[Use]:
    instructions = _instructions(code)
    imports = {**outer, **_imports(instructions)}
    for at, instruction in enumerate(instructions):
        attributes = _attributes_after(instructions, at)
        for name in _loaded(instruction):
            if name in imports:
                yield imports[name].plus(*attributes)
        if instruction.opname in _GLOBAL_LOADS:
            yield Use("global", instruction.argval, attributes)
        elif instruction.opname in _FREE_LOADS:
            yield Use("closure", instruction.argval, attributes)
        elif isinstance(instruction.argval, CodeType):
            yield from _uses(instruction.argval, imports)


def _loaded(instruction: dis.Instruction) -> tuple[str, ...]:
    """Return the variables an instruction reads; since Python 3.13 one may read two."""
    opname, value = instruction.opname, instruction.argval
    if opname.startswith("STORE_FAST_LOAD_FAST"):
        return (value[1],)
    if opname.startswith("LOAD_FAST"):
        return value if isinstance(value, tuple) else (value,)
    return (value,) if opname in _GLOBAL_LOADS | _FREE_LOADS else ()


def _attributes_after(instructions: list[dis.Instruction], at: int) -> tuple[str, ...]:
    attributes: list[str] = []
    for instruction in instructions[at + 1 :]:
        if instruction.opname not in _ATTRIBUTE_LOADS:
            break
        attributes.append(instruction.argval)
    return tuple(attributes)


def _imports(instructions: list[dis.Instruction]) -> dict[str, Use]:
    """Variables bound by import statements, whatever the path through the code."""
    found: dict[str, Use] = {}
    module = bound = None
    for at, instruction in enumerate(instructions):
        opname, value = instruction.opname, instruction.argval
        if opname == "IMPORT_NAME":
            level, names = (instructions[at - back].argval for back in (2, 1))
            module = Use("import", value, level=level, top=names is None)
            bound = module if names is None else None
        elif opname == "IMPORT_FROM" and module is not None:
            bound = (bound or module).plus(value)
        elif opname.startswith("STORE_") and bound is not None:
            found[value[0] if isinstance(value, tuple) else value] = bound
            bound = None
    return found
