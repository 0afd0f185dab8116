"""Plain values as an unambiguous stream of bytes into a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any


class Encoder:
    """Feeds values to SHA-256: each token carries its type and length, so no two streams collide.

    Equal content gives equal digests whatever the process and its hash seed. Types count (1, 1.0
    and True differ), so do the sign of zero and the order of a dict, which a program can see; all
    nans are one, and sets have no order.
    """

    def __init__(self, open_containers: Iterable[int] = ()) -> None:
        self._hash = hashlib.sha256()
        self._open = list(open_containers)  # ids of the containers being written, outermost first

    def digest(self) -> bytes:
        """Return the digest of everything written so far."""
        return self._hash.digest()

    def hexdigest(self) -> str:
        """Return the same, as text."""
        return self._hash.hexdigest()

    def token(self, tag: str, payload: bytes | memoryview = b"") -> None:
        """Write one framed token; `payload` is one-dimensional, of single bytes."""
        self._hash.update(f"{tag}:{len(payload)}:".encode())
        self._hash.update(payload)

    def write(self, value: Any) -> None:
        """Write any value; what is not plain goes to `write_other`."""
        kind = type(value)
        if (encode := _ATOMS.get(kind)) is not None:
            self.token(kind.__name__, encode(value))
        elif kind in _CONTAINERS:
            self._write_container(value)
        else:
            self.write_other(value)

    def write_other(self, value: Any) -> None:
        """Write a value that is neither an atom nor a builtin container."""
        raise TypeError(f"not a plain value: {value!r}")

    def fresh(self) -> Encoder:
        """Return an encoder for an element whose digest is independent of what came before."""
        return type(self)(self._open)

    def _write_container(self, value: Any) -> None:
        if id(value) in self._open:
            self.token("cycle", str(len(self._open) - self._open.index(id(value))).encode())
            return
        self._open.append(id(value))
        self.token(type(value).__name__, str(len(value)).encode())
        if isinstance(value, (set, frozenset)):
            for digest in sorted(map(self._element, value)):
                self.token("element", digest)
        else:
            for item in _items(value):
                self.write(item)
        self._open.pop()

    def _element(self, value: Any) -> bytes:
        encoder = self.fresh()
        encoder.write(value)
        return encoder.digest()


def _items(container: Any) -> Iterable[Any]:
    if isinstance(container, dict):
        return (part for item in container.items() for part in item)
    items: Iterable[Any] = container
    return items


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _nothing(value: object) -> bytes:
    return b""


_ATOMS: dict[type, Callable[[Any], bytes | memoryview]] = {
    type(None): _nothing,
    type(Ellipsis): _nothing,
    type(NotImplemented): _nothing,
    bool: lambda value: b"1" if value else b"0",
    int: lambda value: hex(value).encode(),  # decimal digits are limited in number
    float: lambda value: value.hex().encode(),
    complex: lambda value: f"{value.real.hex()} {value.imag.hex()}".encode(),
    str: _text,
    bytes: lambda value: value,
    bytearray: bytes,
    memoryview: lambda value: value,
}
_CONTAINERS = frozenset({tuple, list, dict, set, frozenset})
