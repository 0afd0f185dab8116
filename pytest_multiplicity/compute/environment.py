"""The environment that workers have: one thread each, and bits that depend on nothing else.

Imports nothing that takes long: it is asked for before anything is computed.
"""

from __future__ import annotations

import os
import sys

# MKL's products, whose bits then don't depend on where a matrix lies in memory. It reads this when
# it multiplies for the first time, so the plugin sets it when it is loaded.
STRICT = {"MKL_CBWR": "AUTO,STRICT"}
# One thread each; and an allocator (glibc's) that keeps what is freed: handing out new pages costs
# a tenth of a step.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
# What would end a process at a warning, or hold it at its end.
FOR_PEOPLE = ("PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONBREAKPOINT")
# Variables that nothing reads while it is imported: they may differ from worker to worker.
READ_LATER = (
    *("HOME", "USERPROFILE", "PWD", "OLDPWD", "COLUMNS", "LINES"),
    *("PYTEST_CURRENT_TEST", "PYTEST_DEBUG_TEMPROOT", "PYTEST_VERSION"),
    "TORCHINDUCTOR_CACHE_DIR",  # which torch sets itself, once something is imported that compiles
)


def be_strict() -> None:
    """Have products here be those of workers, unless the user has chosen."""
    for name, value in STRICT.items():
        os.environ.setdefault(name, value)


def of_workers() -> dict[str, str]:
    """Return the environment of a worker that is begun now."""
    shown = {name: value for name, value in os.environ.items() if name not in FOR_PEOPLE}
    return {**STRICT, **shown, **ENVIRONMENT}


def importable_paths() -> list[str]:
    """Return `sys.path` as Python reads it: what is no text it passes over."""
    return [path for path in sys.path if isinstance(path, str)]
