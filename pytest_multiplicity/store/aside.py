"""A store that reads from another and writes to memory: for what is asked once and never again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.store.store import Entry, Item, Store

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


class Aside:
    """What is put here stays in memory and goes with this object; see `Store`."""

    def __init__(self, behind: Store) -> None:
        self._behind, self._held = behind, dict[tuple[str, str], Entry]()

    def get(self, kind: str, key: str) -> Entry | None:
        """Read an entry, here or behind."""
        return self._held.get((kind, key)) or self._behind.get(kind, key)

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """Read an entry's metadata."""
        held = self._held.get((kind, key))
        return self._behind.meta(kind, key) if held is None else held.meta

    def has(self, kind: str, key: str) -> bool:
        """Return whether there is an entry."""
        return (kind, key) in self._held or self._behind.has(kind, key)

    def put(
        self,
        kind: str,
        key: str,
        tensors: Mapping[str, Tensor],
        meta: Mapping[str, Any] = {},
        *,
        run: str | None = None,
    ) -> None:
        """Hold an entry."""
        self._held[kind, key] = Entry(dict(tensors), dict(meta))

    def lock(self, name: str, *, wait: bool = True) -> AbstractContextManager[bool]:
        """Hold the lock behind."""
        return self._behind.lock(name, wait=wait)

    def folder(self, name: str) -> Path:
        """Return the folder behind."""
        return self._behind.folder(name)

    def drop_folder(self, name: str) -> None:
        """Remove the folder behind."""
        self._behind.drop_folder(name)

    def end(self, run: str) -> None:
        """Do nothing: what is held here goes by itself."""

    def bound(self, max_bytes: int) -> Sequence[Item]:
        """Evict nothing."""
        return ()

    def close(self) -> None:
        """Do nothing: others use the store behind."""
