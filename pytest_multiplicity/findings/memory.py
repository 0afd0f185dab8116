"""What formulas found in earlier runs: entries of a store, by the content of what was given.

The key holds the code of our formulas, too, so that whoever mends one needn't raise a version:
floors are cheaper to find again than to distrust.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.statistics import kept
from pytest_multiplicity.store import RESULTS_VERSION, fingerprint

if TYPE_CHECKING:
    from pytest_multiplicity.statistics import Row
    from pytest_multiplicity.store import Entry, Store

KIND = "found"
PACKAGES = ("numpy", "scipy", "torch")  # whose versions may decide the last bits


class StoredMemory:
    """Remembers rows in a store; see `statistics.kept`.

    Args:
        store: gives the store; None where this process has come to use none.
    """

    def __init__(self, store: Callable[[], Store | None]) -> None:
        self._store = store

    def recall(
        self, formula: Callable[..., Any], given: Any, make: Callable[[], list[Row]]
    ) -> list[Row]:
        """Return what the store has, or what is made, which it then has.

        What can't be known by its content is made each time.
        """
        store = self._store()
        key = None if store is None else _key(formula, given)
        if store is None or key is None:
            return make()
        if (entry := store.get(KIND, key)) is not None:
            return _rows(entry)
        rows = make()
        _give_back()
        with suppress(StoreError):  # what can't be kept is made again
            store.put(KIND, key, *_parts(rows))
        return rows


def _give_back() -> None:
    """Give back what a formula took: of many candidates, matrices among what stays."""
    from pytest_multiplicity.compute import give_back

    give_back()


def _key(formula: Callable[..., Any], given: Any) -> str | None:
    name = f"{formula.__module__}.{formula.__qualname__}"
    code = [_code_beside(inspect.getfile(each)) for each in (formula, kept)]
    try:
        return fingerprint([name, code, _circumstances(), given])
    except StoreError:
        return None


@functools.cache
def _code_beside(file: str) -> str:
    """Return a digest of the code in a file's folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(file).parent.glob("*.py")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def _circumstances() -> list[str]:
    """Return what else decides bits; formulas are computed by numpy, on the processor."""
    import torch

    from pytest_multiplicity.compute import machine_class

    versions = [metadata.version(name) for name in PACKAGES]
    return [str(RESULTS_VERSION), str(machine_class(torch.device("cpu"))), *versions]


def _parts(rows: list[Row]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays of rows as tensors, by place and name, and the rest."""
    import numpy as np
    import torch

    tensors = {
        f"{at}.{name}": torch.from_numpy(np.ascontiguousarray(value))
        for at, row in enumerate(rows)
        for name, value in row.items()
        if isinstance(value, np.ndarray)
    }
    plain = [{n: v for n, v in row.items() if not isinstance(v, np.ndarray)} for row in rows]
    return tensors, {"rows": plain}


def _rows(entry: Entry) -> list[Row]:
    rows: list[Row] = entry.meta["rows"]
    for place, tensor in entry.tensors.items():
        at, _, name = place.partition(".")
        rows[int(at)][name] = tensor.numpy()
    return rows
