"""One entry as one safetensors file that can tell whether it is whole, and whose it is.

The header's metadata hold the layout, kind, key, the caller's own metadata as JSON, and a SHA-256
of the whole file in which the checksum's own place is taken by zeros. Nothing in a file is trusted
before that, nothing is ever unpickled, and no more memory is taken than the file is long.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_multiplicity.errors import StoreError

LAYOUT = "pytest-multiplicity/1"
SUFFIX = ".safetensors"

_LENGTH = 8  # bytes that state the header's length, little-endian; data start at a multiple of it
_LONGEST_HEADER = 100_000_000  # the format's own limit
_NO_CHECKSUM = "0" * 64
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8,
    "BOOL": torch.bool, "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """What the store holds under a key: CPU tensors by name, and plain JSON data about them."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


class SickFileError(Exception):
    """A file is not what it should be; the message says in what way."""


@dataclass(frozen=True)
class _Place:
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def encode(
    kind: str, key: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> list[bytes | memoryview]:
    """The file as pieces to write one after the other.

    Raises StoreError for tensors that the format can't hold, and metadata that JSON can't.
    """
    named = {name: _plain(name, tensor) for name, tensor in tensors.items()}
    order = sorted(named, key=lambda name: -named[name].itemsize)  # so that each is aligned
    table, end = {}, 0
    for name in order:
        start, end = end, end + named[name].nbytes
        table[name] = {
            "dtype": _CODES[named[name].dtype],
            "shape": list(named[name].shape),
            "data_offsets": [start, end],
        }
    about = {
        "sha256": _NO_CHECKSUM,  # first, so that its place is known
        "layout": LAYOUT,
        "kind": kind,
        "key": key,
        "meta": _json(kind, key, meta),
    }
    text = json.dumps({"__metadata__": about, **{name: table[name] for name in named}}).encode()
    header = text.ljust(-(-len(text) // _LENGTH) * _LENGTH)
    data = [_bytes(named[name]) for name in order]
    checksum = _checksum(header, data).encode()
    length = len(header).to_bytes(_LENGTH, "little")
    return [length, header.replace(_NO_CHECKSUM.encode(), checksum, 1), *data]


def read(path: Path, kind: str, key: str) -> Entry:
    """Read and verify a file.

    Raises SickFileError when it isn't the whole file that was written for this kind and key, and
    OSError when it can't be read.
    """
    with open(path, "rb", buffering=0, opener=_open_at_once) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SickFileError("it is not an ordinary file")
        header = _read_header(stream, status.st_size)
        size = status.st_size - _LENGTH - len(header)
        about, places = _parse_header(header, size)
        data = _read_exactly(stream, size)
    _verify(about, header, data, kind, key)
    try:
        tensors = {name: _tensor(data, place) for name, place in places.items()}
        return Entry(tensors, json.loads(about["meta"]))
    except (LookupError, OverflowError, RecursionError, RuntimeError, ValueError) as error:
        raise SickFileError("its content can't be read") from error


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the other end, should it be a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_header(stream: FileIO, size: int) -> bytearray:
    length = int.from_bytes(_read_exactly(stream, _LENGTH), "little")
    if length > min(size - _LENGTH, _LONGEST_HEADER):
        raise SickFileError(f"its header claims {length} bytes, the file has {size}")
    return _read_exactly(stream, length)


def _read_exactly(stream: FileIO, length: int) -> bytearray:
    buffer = bytearray(length)
    view, done = memoryview(buffer), 0
    while done < length:
        count = stream.readinto(view[done:])
        if not count:
            raise SickFileError("it is truncated")
        done += count
    return buffer


def _parse_header(header: bytearray, size: int) -> tuple[dict[str, str], dict[str, _Place]]:
    try:
        table = json.loads(header)
        about = {name: str(value) for name, value in table.pop("__metadata__").items()}
        places = {name: _parse_place(value) for name, value in table.items()}
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise SickFileError("its header can't be read") from error
    at = 0
    for place in sorted(places.values(), key=lambda place: (place.start, place.end)):
        if place.start != at or place.end - at != math.prod(place.shape) * place.dtype.itemsize:
            raise SickFileError("its table of tensors contradicts itself")
        at = place.end
    if at != size:
        raise SickFileError(f"it has {size} bytes of tensors instead of {at}")
    return about, places


def _parse_place(value: Mapping[str, Any]) -> _Place:
    numbers = [*value["shape"], *value["data_offsets"]]
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError("not a size")
    start, end = value["data_offsets"]
    return _Place(_DTYPES[value["dtype"]], tuple(value["shape"]), start, end)


def _verify(
    about: Mapping[str, str], header: bytearray, data: bytearray, kind: str, key: str
) -> None:
    if about.get("layout") != LAYOUT:
        raise SickFileError(f"its layout is {about.get('layout')!r}, not {LAYOUT!r}")
    if (about.get("kind"), about.get("key")) != (kind, key):
        raise SickFileError(f"it belongs to {about.get('kind')}/{about.get('key')}")
    claimed = about.get("sha256", "").encode()
    blank = header.replace(claimed, _NO_CHECKSUM.encode(), 1) if claimed else header
    if _checksum(blank, [data]).encode() != claimed:
        raise SickFileError("its content doesn't match its checksum")


def _checksum(header: bytes | bytearray, data: list[Any]) -> str:
    digest = hashlib.sha256(header)
    for piece in data:
        digest.update(piece)
    return digest.hexdigest()


def _tensor(data: bytearray, place: _Place) -> Tensor:
    if place.start == place.end:
        return torch.empty(place.shape, dtype=place.dtype)
    count = math.prod(place.shape)
    flat = torch.frombuffer(data, dtype=place.dtype, count=count, offset=place.start)
    return flat.reshape(place.shape)


def _plain(name: str, tensor: Tensor) -> Tensor:
    if name == "__metadata__":
        raise StoreError("a tensor can't be named '__metadata__': the file format uses that name")
    if tensor.dtype not in _CODES or tensor.layout != torch.strided:
        raise StoreError(
            f"the store can't hold {name!r}, a {tensor.layout} tensor of {tensor.dtype}; "
            f"convert it to a dense one of {', '.join(str(dtype) for dtype in _CODES)}"
        )
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _json(kind: str, key: str, meta: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(meta))
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"the metadata of {kind}/{key} can't be written as JSON ({error}): {meta!r}; "
            "use plain numbers, text, lists and dicts"
        ) from error
