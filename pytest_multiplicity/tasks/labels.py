"""Targets that are names: text, categories, bools, and the indices that stand for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

BOOLS = (False, True)
KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool, np.bool_),
    "text": (str, bytes),
    "int": (int, np.integer),
    "float": (float, np.floating),
}


def named(targets: Any, name: str) -> tuple[Tensor, tuple[Any, ...]] | None:
    """Return indices [n] and the names that they stand for; None where targets are numbers.

    Names are in the order of their categories, or sorted. Raises DataError for names that are
    missing, of several kinds, or objects.
    """
    import pandas as pd  # for whom workers, which are given indices, needn't wait

    values = _column(targets)
    if isinstance(values, pd.Series | pd.Index | pd.Categorical):
        if isinstance(values.dtype, pd.CategoricalDtype):
            return _of_categories(pd.Categorical(values), name)
        if isinstance(values.dtype, pd.StringDtype | pd.BooleanDtype):
            values = np.asarray(values, dtype=object)
    if isinstance(values, Tensor):
        one_each = values.dtype == torch.bool and values.ndim == 1
        return (values.detach().to("cpu", torch.int64), BOOLS) if one_each else None
    if hasattr(values, "toarray"):
        raise DataError(f"targets of {name!r} are a sparse matrix: give them by .toarray()")
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError):
        return None  # whose error is told as that of numbers
    if isinstance(values, list | tuple) and array.dtype.kind in "UST":
        array = np.array(values, dtype=object)  # numbers among text had become text
    if isinstance(values, list | tuple) and any(map(_is_long, values)):
        _refuse_long(name)  # of which numpy makes floats
    if array.dtype.kind == "b" and array.ndim == 1:
        return torch.from_numpy(array.astype(np.int64)), BOOLS
    if array.dtype.kind in "UST":
        array = array.astype(str).astype(object)
    return _of_objects(array, name) if array.dtype.kind == "O" else None


def _column(targets: Any) -> Any:
    """Return the one column of a frame, or what was given."""
    import pandas as pd

    if isinstance(targets, pd.DataFrame) and targets.shape[1] == 1:
        return targets.iloc[:, 0]
    return targets


def _of_categories(values: pd.Categorical, name: str) -> tuple[Tensor, tuple[Any, ...]]:
    codes = np.asarray(values.codes, dtype=np.int64)
    _refuse_missing(codes < 0, name)
    names = values.categories.tolist()
    plain = all(isinstance(each, bool | int | float | str) for each in names)
    return torch.from_numpy(codes), tuple(names if plain else map(str, names))


def _of_objects(array: np.ndarray[Any, Any], name: str) -> tuple[Tensor, tuple[Any, ...]] | None:
    if array.ndim != 1:
        raise DataError(
            f"targets of {name!r} are objects of shape {array.shape}: give one name for each "
            "sample, or numbers"
        )
    import pandas as pd

    _refuse_missing(np.asarray(pd.isna(array)), name)
    kinds = sorted({_kind(value) for value in array.tolist()})
    if kinds == ["text"]:
        names, codes = np.unique(array.astype(str), return_inverse=True)
        return torch.from_numpy(codes.astype(np.int64)), tuple(names.tolist())
    if kinds == ["bool"]:
        return torch.from_numpy(array.astype(np.int64)), BOOLS
    if len(kinds) > 1:
        raise DataError(
            f"targets of {name!r} are of several kinds ({', '.join(kinds)}): give names alone, or "
            "numbers alone"
        )
    if kinds == ["int"] and any(abs(value) >= 2**63 for value in array.tolist()):
        _refuse_long(name)
    if kinds in (["int"], ["float"]):
        raise DataError(
            f"targets of {name!r} are an array of objects that are numbers: convert them, as by "
            f".astype({kinds[0]})"
        )
    raise DataError(
        f"targets of {name!r} are objects ({kinds[0]}): give class names as text, class indices, "
        "or values; lists of one length each (ragged ones padded)"
    )


def _is_long(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63


def _refuse_long(name: str) -> NoReturn:
    raise DataError(f"targets of {name!r} have ints beyond 64 bits: give them smaller")


def _kind(value: Any) -> str:
    for kind, of in KINDS.items():
        if isinstance(value, of):
            return kind
    return type(value).__name__


def _refuse_missing(missing: np.ndarray[Any, Any], name: str) -> None:
    if missing.any():
        raise DataError(
            f"targets of {name!r} are missing for {int(missing.sum())} of {len(missing)} samples "
            f"(the first is sample {int(missing.argmax())}): drop these samples first"
        )
