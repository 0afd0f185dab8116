"""A store in a folder, which processes and runs share.

    <root>/v1/<kind>/<first two of key>/<key>.safetensors   entries, see `files`
    <root>/quarantine/                                      files that were found sick
    <root>/unfinished/<name>/                               what a training left for its next try
    <root>/locks/, runs/, gate.lock                         who does what at this moment, see `runs`

Another layout would live beside this one, in a folder of its own. Everything may be deleted
whenever no run uses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from filelock import FileLock, Timeout
from torch import Tensor

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store.disk import (
    ENTRIES,
    explained,
    make_store_folder,
    names_in,
    write_whole,
)
from pytest_multiplicity.store.files import SUFFIX, SickFileError, encode, read, read_meta
from pytest_multiplicity.store.runs import Runs, check_locks
from pytest_multiplicity.store.store import Entry, Item

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_KEY = re.compile(r"[0-9a-f]{4,128}")
_LOCK_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TEMPORARY = ".tmp"
# What is computed again in a moment isn't waited for: the disk takes longer than an answer does.
# The kernel writes it within half a minute, whatever becomes of this process. Should power fail
# before, a checksum tells what is torn; it is put aside and computed again. Weights, what a
# function kept, and ledgers are worth the wait: an hour of training may hang on one file.
_COMPUTED_AGAIN = frozenset({"logits", "scores", "found"})
UNFINISHED = "unfinished"

_Read = TypeVar("_Read")


class StoreWarning(UserWarning):
    """A file of the store was found sick, put aside, and counts as missing."""


@dataclass(frozen=True)
class Usage:
    """How much lies in the store of one kind; `size` in bytes."""

    entries: int
    size: int


def _warn(message: str) -> None:
    warnings.warn(message, StoreWarning, stacklevel=4)


class LocalStore:
    """A store in the folder `root`, shared by all processes that open it; see `Store`.

    A file that is not what was written is put aside with a warning (`warn` is called with its
    text) and counts as missing. What a process has used is not evicted while it lives. Close the
    store, or use it in a `with` statement; what a process leaves that dies without, the next to
    open the store tidies.

    Raises StoreError where the folder can't be written, the disk is full, or file locks don't
    work: when it is opened, as far as that can be known then.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, warn: Callable[[str], None] = _warn
    ) -> None:
        self.root = Path(root).absolute()
        self._entries = self.root / ENTRIES
        self._warn = warn
        self._counter = itertools.count()
        self._locks: dict[str, FileLock] = {}
        with explained(self.root):
            make_store_folder(self.root, (ENTRIES, "locks", "runs"))
            check_locks(self.root)
            self._runs = Runs(self.root)
            self._tidy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End this process's use of the store: what it has used may be evicted from now on."""
        with explained(self.root):
            self._runs.close()

    def get(self, kind: str, key: str) -> Entry | None:
        """Read an entry, verified; None where there is none, or only a sick file, put aside."""
        return self._read(kind, key, read)

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        """Read an entry's metadata, verified, and none of its tensors; None as `get`."""
        return self._read(kind, key, read_meta)

    def put(
        self,
        kind: str,
        key: str,
        tensors: Mapping[str, Tensor],
        meta: Mapping[str, Any] = {},
        *,
        run: str | None = None,
    ) -> None:
        """Write an entry, as `Store.put`; when this returns it is on the disk.

        But for answers and what is found of them, which are only in the hands of the system.
        """
        path = self._use(kind, key)
        if run is not None:
            self._runs.bind(run, f"{kind}/{key}")
        content = encode(kind, key, tensors, meta)
        temporary = path.with_name(f"{key}.{self._runs.id}.{next(self._counter)}{_TEMPORARY}")
        with explained(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, temporary, content, wait=kind not in _COMPUTED_AGAIN)

    def has(self, kind: str, key: str) -> bool:
        """Return whether there is a file for this key; it is verified only when it is read."""
        return self._use(kind, key).is_file()

    @contextlib.contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a lock of the file system: see `Store.lock`."""
        lock = self._locks.setdefault(name, FileLock(self._lock_path(name)))
        held = self._acquire(lock, wait)
        try:
            yield held
        finally:
            if held:
                lock.release()

    def folder(self, name: str) -> Path:
        """Return a folder for unfinished work; see `Store.folder`."""
        if not _LOCK_NAME.fullmatch(name):
            raise StoreError(f"{name!r} can't be a folder; use letters and digits")
        return self.root / UNFINISHED / name

    def drop_folder(self, name: str) -> None:
        """Remove such a folder."""
        shutil.rmtree(self.folder(name), ignore_errors=True)

    def entries(self, kind: str | None = None) -> list[Item]:
        """Return what lies in the store, of one kind or of all, least recently used first."""
        kinds = names_in(self._entries, _KIND) if kind is None else [_checked_kind(kind)]
        found = [item for each in kinds for item in self._items(each)]
        return sorted(found, key=lambda item: (item.used, item.kind, item.key))

    def end(self, run: str) -> None:
        """Remove what was put for this run only; its other processes have closed the store.

        Where no other run uses the store, what killed runs left for themselves goes with it.
        """
        with explained(self.root), self._runs.gate():
            everybody = not self._runs.census().alive
            for path in self._runs.lists() if everybody else [self._runs.list_of_run(run)]:
                for name in self._runs.bound(path):
                    kind, _, key = name.partition("/")
                    if _KIND.fullmatch(kind) and _KEY.fullmatch(key):
                        self._file(kind, key).unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    def usage(self) -> dict[str, Usage]:
        """Return how much lies in the store, by kind; "quarantine" is what is aside."""
        sizes: dict[str, list[int]] = {}
        for item in self.entries():
            sizes.setdefault(item.kind, []).append(item.size)
        if aside := self._aside():
            sizes["quarantine"] = list(aside.values())
        return {kind: Usage(len(each), sum(each)) for kind, each in sorted(sizes.items())}

    def bound(self, max_bytes: int) -> list[Item]:
        """Evict what was not used for longest until `max_bytes` are left; return what went.

        What was put aside goes first. What any living process has used since it opened the store
        stays, even when that is more.
        """
        with explained(self.root), self._runs.gate():
            self._tidy()
            excess = sum(usage.size for usage in self.usage().values()) - max_bytes
            if excess > 0:
                excess -= self._drop_aside()
            living = {self._runs.id, *self._runs.census().alive}
            return self._evict(self.entries(), self._runs.in_use(living), excess)

    def clear(self, kind: str | None = None) -> list[Item]:
        """Remove all entries, or those of one kind, but none that another living process uses."""
        with explained(self.root), self._runs.gate():
            self._tidy()
            if kind is None:
                self._drop_aside()
                shutil.rmtree(self.root / UNFINISHED, ignore_errors=True)
            used_by_others = self._runs.in_use(self._runs.census().alive)
            return self._evict(self.entries(kind), used_by_others, float("inf"))

    def _read(self, kind: str, key: str, reader: Callable[[Path, str, str], _Read]) -> _Read | None:
        path = self._use(kind, key)
        try:
            found = reader(path, kind, key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (SickFileError, OSError) as error:
            self._put_aside(path, str(error))
            return None
        with contextlib.suppress(OSError):  # it may be gone since
            os.utime(path)
        return found

    def _use(self, kind: str, key: str) -> Path:
        """Return the file of an entry, in use from now on. Nothing but hex digits is a key."""
        if not _KEY.fullmatch(key):
            raise StoreError(f"{key!r} can't be a key; use the hex digits of a fingerprint")
        path = self._file(_checked_kind(kind), key)
        self._runs.mark(f"{kind}/{key}")
        return path

    def _file(self, kind: str, key: str) -> Path:
        return self._entries / kind / key[:2] / f"{key}{SUFFIX}"

    def _acquire(self, lock: FileLock, wait: bool) -> bool:
        with explained(self.root):
            try:
                lock.acquire(blocking=wait)
            except Timeout:
                return False
        return True

    def _lock_path(self, name: str) -> Path:
        plain = _LOCK_NAME.fullmatch(name) is not None
        stem = name if plain else f".{hashlib.sha256(name.encode()).hexdigest()}"
        return self.root / "locks" / f"{stem}.lock"

    def _items(self, kind: str) -> Iterator[Item]:
        for shard in names_in(self._entries / kind, _SHARD):
            with os.scandir(self._entries / kind / shard) as files:
                for file in files:
                    key = file.name.removesuffix(SUFFIX)
                    if key != file.name and _KEY.fullmatch(key):
                        with contextlib.suppress(FileNotFoundError):  # replaced or evicted
                            status = file.stat(follow_symlinks=False)
                            yield Item(kind, key, status.st_size, status.st_mtime)

    def _evict(self, items: list[Item], protected: set[str], excess: float) -> list[Item]:
        evicted: list[Item] = []
        for item in items:
            if excess <= 0:
                break
            if item.name not in protected:
                self._file(item.kind, item.key).unlink(missing_ok=True)
                excess -= item.size
                evicted.append(item)
        return evicted

    def _tidy(self) -> None:
        """Remove what dead processes left behind."""
        with self._runs.gate():
            census = self._runs.census()
            if census.dead:
                for path in self._entries.glob(f"*/*/*{_TEMPORARY}"):
                    if path.name.split(".")[1] not in {self._runs.id, *census.alive}:
                        path.unlink(missing_ok=True)
                self._runs.forget(census.dead)
            if not census.alive and not self._locks:  # so nobody holds or awaits any of these
                for path in (self.root / "locks").iterdir():
                    path.unlink(missing_ok=True)

    def _put_aside(self, path: Path, why: str) -> None:
        target = self.root / "quarantine" / f"{path.stem}-{secrets.token_hex(4)}{SUFFIX}"
        try:
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
        except FileNotFoundError:  # another process was faster, and has said so
            return
        except OSError as error:
            self._warn(f"{path} is sick: {why}; it can't be moved ({error.strerror}): delete it")
            return
        self._warn(f"{path} is sick: {why}; it was moved to {target} and counts as missing")

    def _aside(self) -> dict[Path, int]:
        folder = self.root / "quarantine"
        paths = list(folder.iterdir()) if folder.is_dir() else []
        return {path: path.lstat().st_size for path in paths if not path.is_dir()}

    def _drop_aside(self) -> int:
        aside = self._aside()
        for path in aside:
            path.unlink(missing_ok=True)
        return sum(aside.values())


def _checked_kind(kind: str) -> str:
    if not _KIND.fullmatch(kind):
        raise StoreError(f"{kind!r} can't be a kind; use lower-case letters, as in 'weights'")
    return kind
