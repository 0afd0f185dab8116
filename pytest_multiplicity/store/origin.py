"""Which code is the project's own, and by what name all other code is known.

Code of the standard library and of installed distributions is known by module, qualified name and
release (see `release`); the version of torch belongs to the key of a result. Everything else (the
user's sources, editable installs, interactive sessions) is known by its content. This package is
the exception: it is known by its names and `RESULTS_VERSION` wherever it lies, so that working on
it retrains nothing unless bits change.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import sysconfig
from types import ModuleType

from pytest_multiplicity.store.release import release_of
from pytest_multiplicity.store.store import RESULTS_VERSION

OWN = "pytest_multiplicity"


def is_project(module: str, file: str | None) -> bool:
    """Return whether code of `module`, read from `file` (or None), is the project's."""
    top = module.partition(".")[0]
    if top == OWN:
        return False
    if file is None:
        return top not in sys.stdlib_module_names
    return _is_project_file(file)


def is_project_module(module: ModuleType) -> bool:
    """Return whether a module is the project's own."""
    return is_project(module.__name__, file_of(module))


def file_of(module: ModuleType | None) -> str | None:
    """Return the file of a module, or the folder of a namespace package; None without one."""
    file: str | None = getattr(module, "__file__", None)
    return file or next(iter(getattr(module, "__path__", ())), None)


def is_project_name(module: str) -> bool:
    """Return whether a module, imported or not, is the project's own; imports nothing."""
    loaded = sys.modules.get(module) or sys.modules.get(module.partition(".")[0])
    if loaded is not None:
        return is_project_module(loaded)
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None:
        return True  # nowhere to be found: the import fails, and its failing is the project's
    locations = spec.submodule_search_locations or []
    file = spec.origin if spec.has_location else next(iter(locations), None)
    return is_project(module, file)


def library_name(module: str, qualname: str) -> str:
    """Return the name by which code outside the project is known."""
    top = module.partition(".")[0]
    release = str(RESULTS_VERSION) if top == OWN else release_of(top)
    return f"{module}.{qualname} {release}".rstrip()


def importable(value: object, module: str | None, qualname: str) -> bool:
    """Return whether `module.qualname` is this very object, so that the name says all about it."""
    found: object = sys.modules.get(module or "")
    for name in qualname.split("."):
        if found is None or name == "<locals>":
            return False
        found = getattr(found, name, None)
    return found is value


@functools.cache
def _is_project_file(file: str) -> bool:
    if file.startswith("<frozen "):
        return False
    path = os.path.realpath(file)
    if {"site-packages", "dist-packages"} & set(path.split(os.sep)):
        return False
    return not any(path.startswith(folder + os.sep) for folder in _library_folders())


@functools.cache
def _library_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({os.path.realpath(sysconfig.get_path(name)) for name in names})
