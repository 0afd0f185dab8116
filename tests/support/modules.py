"""Modules by their files: scripts and helpers that stand in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def module_at(path: Path, name: str, *, known: bool = False) -> ModuleType:
    """Return what the file defines; `known` to `sys.modules`, where dataclasses look theirs up."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if known:
        sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
