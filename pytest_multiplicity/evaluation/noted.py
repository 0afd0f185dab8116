"""Attributes of data sets in the store: who reports need not be who measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.evaluation.metric import Look

if TYPE_CHECKING:
    import pandas as pd

    from pytest_multiplicity.data import Data
    from pytest_multiplicity.store import Store

KIND = "attributes"
MOST_COLUMNS = 40
MOST_TEXTS = 100
"""Different texts of a column that is kept: one with more names samples."""


def note_attributes(store: Store, data: Data) -> None:
    """Keep the attributes of a data set that may be told of later."""
    import torch

    if data.attributes is None or store.has(KIND, data.fingerprint):
        return
    tensors, texts = {}, {}
    for name in list(data.attributes)[:MOST_COLUMNS]:
        encoded = _encoded(data.attributes[name])
        if encoded is not None:
            values, kinds = encoded
            tensors[str(name)] = torch.from_numpy(values)
            texts[str(name)] = kinds
    if tensors:
        store.put(KIND, data.fingerprint, tensors, {"texts": texts})


def _encoded(column: pd.Series[Any]) -> tuple[npt.NDArray[Any], list[Any] | None] | None:
    """Return a column's numbers, or codes and the texts or truths they stand for."""
    if column.dtype.kind in "fiu":
        return np.array(column, dtype=np.float64), None
    kinds = list(dict.fromkeys(column.dropna().tolist()))
    if len(kinds) > MOST_TEXTS or not all(isinstance(each, str | bool) for each in kinds):
        return None
    codes = {kind: code for code, kind in enumerate(kinds)}
    return np.array([codes.get(each, -1) for each in column.tolist()], dtype=np.int64), kinds


def noted_attributes(look: Look, key: str | None) -> dict[str, npt.NDArray[Any]]:
    """Return the attributes of the data set that a key stands for, as they are told apart."""
    entry = look(KIND, key) if key else None
    if entry is None:
        return {}
    found = {}
    for name, kinds in entry.meta["texts"].items():
        values = entry.tensors[name].numpy()
        if kinds is None:
            whole = values[~np.isnan(values)]
            is_whole = len(whole) == len(values) and bool((whole == np.round(whole)).all())
            found[name] = values.astype(np.int64) if is_whole else values
        else:
            found[name] = np.array([*kinds, None], dtype=object)[values]
    return found
