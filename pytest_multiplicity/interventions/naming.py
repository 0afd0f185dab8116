"""Names that reports show: `PGD(0.01, steps=20)`, `Corrupt(rotate, angle=15)`."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any


def call(name: str, positional: Sequence[Any] = (), keywords: Mapping[str, Any] = {}) -> str:
    """Return the text of a call."""
    arguments = [shown(value) for value in positional]
    arguments += [f"{key}={shown(value)}" for key, value in keywords.items()]
    return f"{name}({', '.join(arguments)})"


def shown(value: Any) -> str:
    """Return a value as text on one line, without addresses: 5 for 5.0, a function's name."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, functools.partial):
        return call(shown(value.func), value.args, value.keywords)
    if isinstance(value, FunctionType) and value.__name__ == "<lambda>":
        return f"lambda at {_place(value.__code__)}"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    text = re.sub(r"\s+", " ", repr(value)).replace("( ", "(").replace(" )", ")")
    return type(value).__name__ if " at 0x" in text else text


def _place(code: CodeType) -> str:
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}"
