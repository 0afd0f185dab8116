"""Hashes of samples by their content, and of all inputs by those of the samples.

A sample's hash has 64 bits. Tensors are hashed whole, as large ones are read block by block.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import hashlib
import numbers
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.data.hashing import combine, raw
from pytest_multiplicity.data.kinds import Batch
from pytest_multiplicity.errors import DataError

BLOCK_BYTES = 1 << 25
Digests = NDArray[np.uint64]
PLAIN = (str, bytes, bool, numbers.Number, decimal.Decimal, datetime.date, datetime.time)
SPANS = (datetime.timedelta, type(None), type(pd.NA), type(pd.NaT), pd.Period, pd.Interval)


def hash_whole(batch: Batch, digests: Digests | None) -> str:
    """Hash all inputs; `digests` are those of the samples of a frame or a list."""
    parts = [(name, hash_tensor(tensor)) for name, tensor in kinds.tensors(batch).items()]
    if digests is not None:
        parts.append(("samples", hashlib.sha256(digests.data).hexdigest()))
    schema = hash_schema(batch) if kinds.is_frame(batch) else ""
    return combine(kinds.kind(batch), schema, parts)


def hash_tensor(tensor: Tensor) -> str:
    """Hash dtype, shape and values."""
    digest = hashlib.sha256(repr((str(tensor.dtype), tuple(tensor.shape))).encode())
    for block in torch.split(tensor, max(1, BLOCK_BYTES // max(1, tensor[0].nbytes))):
        digest.update(raw(block.reshape(-1)).view(np.uint8).data)
    return digest.hexdigest()


def hash_schema(frame: pd.DataFrame) -> str:
    """Hash what a model may see of columns beside their values: names, kinds, categories."""
    return combine([(repr(name), _schema(frame[name])) for name in frame])


def _schema(column: pd.Series[Any]) -> object:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = column.cat.categories
        return "category", dtype.ordered, str(categories.dtype), list(map(repr, categories))
    return "text" if _is_text(column) else str(dtype)


def _is_text(column: pd.Series[Any]) -> bool:
    if isinstance(column.dtype, pd.StringDtype):
        return True
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "string"


def hash_rows_of(frame: pd.DataFrame, name: str) -> Digests:
    """Hash every row of a frame: the same wherever it lies, and in whatever company.

    Raises:
        DataError: a column has what can't be told by its content.
    """
    columns = {str(i): _hashable(frame.iloc[:, i], name) for i in range(frame.shape[1])}
    hashed = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False)
    return np.asarray(hashed, dtype=np.uint64)


def _hashable(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Return a column that pandas hashes by its content; text is hashed as text, of any dtype."""
    if isinstance(column.dtype, pd.SparseDtype):
        return pd.Series(np.asarray(column), index=column.index)
    if _is_text(column):
        return column.astype(object).where(column.notna(), None)
    if column.dtype != object:
        return column
    try:
        return pd.Series([repr(_content(each)) for each in column], index=column.index)
    except DataError as error:
        raise DataError(f"column {column.name!r} of inputs of {name!r}: {error}") from None


def hash_each(batch: Batch, name: str) -> Digests:
    """Hash every sample of a batch by itself [n]."""
    if kinds.is_frame(batch):
        return hash_rows_of(batch, name)
    parts = kinds.tensors(batch).values()
    if not parts:
        found = (_hash_object(each, row, name) for row, each in enumerate(batch))
    else:
        flat = [raw(part.reshape(len(part), -1)).view(np.uint8) for part in parts]
        found = (b"".join(each.tobytes() for each in row) for row in zip(*flat, strict=True))
    digests = b"".join(hashlib.sha256(each).digest()[:8] for each in found)
    return np.frombuffer(digests, dtype=np.uint64)


def _hash_object(value: Any, row: int, name: str) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    try:
        return repr(_content(value)).encode(errors="surrogatepass")
    except DataError as error:
        raise DataError(f"sample {row} of inputs of {name!r}: {error}") from None


def _content(value: Any) -> object:
    """Return plain values whose repr is the content of an object.

    Raises:
        DataError: it can't be told.
    """
    known = getattr(value, "fingerprint", None)
    if isinstance(known, str):
        return type(value).__qualname__, known
    if isinstance(value, PurePath):
        return _file(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (*PLAIN, *SPANS)):
        return type(value).__name__, value
    if isinstance(value, Tensor):
        return "array", hash_tensor(value.detach().cpu().reshape(1, -1)), tuple(value.shape)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSUmM":
        content = np.ascontiguousarray(value).tobytes()
        return "array", str(value.dtype), value.shape, hashlib.sha256(content).hexdigest()
    if isinstance(value, Image.Image):
        return "image", value.mode, value.size, hashlib.sha256(value.tobytes()).hexdigest()
    return type(value).__qualname__, list(_parts(value))


def _parts(value: Any) -> Iterator[object]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        yield from ((_content(key), _content(each)) for key, each in value.items())
    elif isinstance(value, tuple | list):
        yield from map(_content, value)
    elif isinstance(value, set | frozenset):
        yield from sorted(repr(_content(each)) for each in value)
    else:
        raise DataError(
            f"the content of a {type(value).__module__}.{type(value).__qualname__} can't be told: "
            "give text, numbers, arrays, images, paths, or lists, dicts and dataclasses of these; "
            "or give it an attribute `fingerprint` that is a text"
        )


def _file(path: PurePath) -> object:
    """Return what a path leads to where that is a file: models read it."""
    file = Path(path)
    if not file.is_file():
        return "path", str(path)
    with file.open("rb") as opened:
        return "file", path.name, hashlib.file_digest(opened, "sha256").hexdigest()
