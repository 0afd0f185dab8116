"""One entry as one safetensors file that can tell whether it is whole, and whose it is.

The header's metadata hold the layout, kind, key, the names of the tensors in order, the caller's
own metadata as JSON, a SHA-256 of the tensors, and one of these metadata, so that they can be read
alone. Nothing in a file is trusted before that, and nothing is unpickled here.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store.store import Entry

LAYOUT = "pytest-multiplicity/2"
SUFFIX = ".safetensors"

_LENGTH = 8  # bytes that state the header's length, little-endian
_LONGEST_HEADER = 100_000_000  # the format's own limit
DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
)


class SickFileError(Exception):
    """A file is not what it should be; the message says in what way."""


def encode(kind: str, key: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    """Return the content of an entry's file.

    Raises StoreError for tensors that the format can't hold, and metadata that JSON can't.
    """
    plain = _apart({name: _plain(name, tensor) for name, tensor in tensors.items()})
    about = {
        "layout": LAYOUT,
        "kind": kind,
        "key": key,
        "meta": _json(kind, key, meta),
        "names": json.dumps(list(plain)),
        "data": _digest_of_tensors(plain),
    }
    return save(plain, {**about, "sha256": _digest(about)})


def read(path: Path, kind: str, key: str) -> Entry:
    """Read and verify a file.

    Raises SickFileError when it isn't the whole file that was written for this kind and key, and
    OSError when it can't be read.
    """
    with _opened(path) as (stream, size):
        about = _verified(_header(stream, size), kind, key)
        stream.seek(0)
        content = stream.read()
    try:
        tensors = load(content)
        tensors = {name: tensors.pop(name) for name in json.loads(about["names"])}
    except (SafetensorError, LookupError) as error:
        raise SickFileError(f"its tensors can't be read: {error}") from error
    if _digest_of_tensors(tensors) != about["data"]:
        raise SickFileError("its content doesn't match its checksum")
    return Entry(tensors, json.loads(about["meta"]))


def read_meta(path: Path, kind: str, key: str) -> dict[str, Any]:
    """Read and verify a file's metadata alone, with the errors of `read`."""
    with _opened(path) as (stream, size):
        meta: dict[str, Any] = json.loads(_verified(_header(stream, size), kind, key)["meta"])
    return meta


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    with open(path, "rb", opener=_open_at_once) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SickFileError("it is not an ordinary file")
        yield stream, status.st_size


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the other end, should it be a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _header(stream: BufferedReader, size: int) -> dict[str, str]:
    """Read the metadata in a file's header, and nothing behind it."""
    length = int.from_bytes(stream.read(_LENGTH), "little")
    if length > min(size - _LENGTH, _LONGEST_HEADER):
        raise SickFileError(f"its header claims {length} bytes, the file has {size}")
    try:
        about = json.loads(stream.read(length))["__metadata__"]
        return {name: str(value) for name, value in about.items()}
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise SickFileError("its header can't be read") from error


def _verified(about: dict[str, str], kind: str, key: str) -> dict[str, str]:
    if about.get("layout") != LAYOUT:
        raise SickFileError(f"its layout is {about.get('layout')!r}, not {LAYOUT!r}")
    if (about.get("kind"), about.get("key")) != (kind, key):
        raise SickFileError(f"it belongs to {about.get('kind')}/{about.get('key')}")
    if about.pop("sha256", "") != _digest(about):
        raise SickFileError("its metadata don't match their checksum")
    return about


def _digest(about: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    table = [[name, str(each.dtype), list(each.shape)] for name, each in tensors.items()]
    digest = hashlib.sha256(json.dumps(table).encode())
    for tensor in tensors.values():
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy those that share memory with one before them, which safetensors refuses."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        if memory in seen:
            tensors[name] = tensor.clone()
        seen.add(memory)
    return tensors


def _plain(name: str, tensor: Tensor) -> Tensor:
    if name == "__metadata__":
        raise StoreError("a tensor can't be named '__metadata__': the file format uses that name")
    if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
        raise StoreError(
            f"the store can't hold {name!r}, a {tensor.layout} tensor of {tensor.dtype}; "
            f"convert it to a dense one of {', '.join(map(str, DTYPES))}"
        )
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


def _json(kind: str, key: str, meta: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(meta))
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"the metadata of {kind}/{key} can't be written as JSON ({error}): {meta!r}; "
            "use plain numbers, text, lists and dicts"
        ) from error
