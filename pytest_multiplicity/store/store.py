"""What a store is: what was trained and computed once, found again by the content of what made it.

`LocalStore` is one in a folder; another kind implements the same methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

RESULTS_VERSION = 2
"""Part of every key. Raise it when the bits of results change, however small the change, and only
then: everybody trains again. tests/store/test_results.py fails where that was forgotten."""


@dataclass(frozen=True)
class Entry:
    """What a store holds under a key: CPU tensors by name, and plain JSON data about them."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


@dataclass(frozen=True)
class Item:
    """An entry as it lies in a store: `size` in bytes, `used` the time of its last use."""

    kind: str
    key: str
    size: int
    used: float

    @property
    def name(self) -> str:
        """What markers of use call it."""
        return f"{self.kind}/{self.key}"


class Store(Protocol):
    """Tensors and their metadata by kind and key, shared by all processes of all runs.

    An entry appears whole or not at all, and is verified whenever it is read. Kinds are words of
    lower-case letters, keys the hex digits of a fingerprint; anything else is a StoreError, as is
    whatever keeps a store from working.
    """

    def get(self, kind: str, key: str) -> Entry | None:
        """Read an entry; None where there is none."""

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """Read an entry's metadata and no tensor; None where there is no such entry."""

    def has(self, kind: str, key: str) -> bool:
        """Return whether there is an entry; it is verified only when it is read."""

    def put(
        self,
        kind: str,
        key: str,
        tensors: Mapping[str, Tensor],
        meta: Mapping[str, Any] = {},
        *,
        run: str | None = None,
    ) -> None:
        """Write an entry, in the place of any that is there; when this returns it is kept.

        That is, whatever becomes of this process; what takes no time may be lost with the machine.
        `meta` must be plain JSON data, `tensors` dense; tensors that share memory are written
        apart, and their order is kept. What is of use in one `run` only goes when that ends.
        """

    def lock(self, name: str, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Hold the lock `name`, which one process at a time can hold.

        Gives True while it is held; False when another process holds it and `wait` is false. A
        process that holds it may enter again. A crash releases it.
        """

    def folder(self, name: str) -> Path:
        """Return a folder for unfinished work, not made yet; it stays until it is dropped."""

    def drop_folder(self, name: str) -> None:
        """Remove such a folder, and what is in it."""

    def end(self, run: str) -> None:
        """Remove what was put for this run only; its other processes have closed the store."""

    def bound(self, max_bytes: int) -> Sequence[Item]:
        """Evict what was not used for longest until `max_bytes` are left; return what went."""

    def close(self) -> None:
        """End this process's use of the store: what it has used may be evicted from now on."""
