"""Who uses a store right now: one marker per process, locked for as long as it lives.

The operating system releases a lock when its process dies, however it dies. So a marker that can
be locked belongs to a dead process, and so do the temporary files that carry its id.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from pytest_multiplicity.errors import StoreError

PATIENCE = 60.0  # seconds to wait for the gate, which is held for a moment only


@dataclass(frozen=True)
class Census:
    """The ids of the other processes: those that live, and those that died without a word."""

    alive: frozenset[str]
    dead: frozenset[str]


class Runs:
    """The processes that use the store at `root`; this one from construction to `close`."""

    def __init__(self, root: Path) -> None:
        self.id = secrets.token_hex(8)
        self._folder = root / "runs"
        self._used: set[str] = set()
        self._gate = FileLock(root / "gate.lock")
        self._marker = FileLock(self._marker_path(self.id))
        with self.gate():
            self._marker.acquire()
            self._list = self._list_path(self.id).open("a", encoding="ascii")

    def close(self) -> None:
        """Take the marker away: what this process used is no longer in use."""
        if not self._list.closed:
            with self.gate():
                self._list.close()
                self._marker.release()
                self.forget([self.id])

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """Inside, no other process begins or ends its use of the store, or tidies it."""
        try:
            held = self._gate.acquire(timeout=PATIENCE)
        except Timeout as error:
            raise StoreError(
                f"another process has held {self._gate.lock_file} for {PATIENCE:.0f} s; "
                "end it, or choose another store: --multiplicity-store DIR"
            ) from error
        with held:
            yield

    def mark(self, name: str) -> None:
        """State that this process uses an entry, which nobody may evict from now on."""
        if name not in self._used and not self._list.closed:
            self._used.add(name)
            self._list.write(f"{name}\n")
            self._list.flush()

    def census(self) -> Census:
        """Look who else is there. Call it behind the gate, where nobody comes or goes."""
        others = {path.stem for path in self._folder.glob("*.lock")} - {self.id}
        alive = {run for run in others if _is_locked(self._marker_path(run))}
        return Census(frozenset(alive), frozenset(others - alive))

    def in_use(self, runs: Iterable[str]) -> set[str]:
        """Return the names of the entries that these processes have used."""
        names: set[str] = set()
        for run in runs:
            with contextlib.suppress(FileNotFoundError):
                names.update(self._list_path(run).read_text("ascii", "replace").splitlines())
        return names

    def bind(self, run: str, name: str) -> None:
        """State that an entry goes with a run, which may have many processes."""
        with self.list_of_run(run).open("a", encoding="ascii") as stream:
            stream.write(f"{name}\n")

    def bound(self, path: Path) -> list[str]:
        """Return the names in a list of what goes with a run."""
        try:
            return path.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return []

    def lists(self) -> list[Path]:
        """Return the lists of all runs that have something of their own."""
        return list(self._folder.glob("*.bound"))

    def list_of_run(self, run: str) -> Path:
        """Return the list of what goes with a run, whatever its name is made of."""
        return self._folder / f"{hashlib.sha256(run.encode()).hexdigest()}.bound"

    def forget(self, runs: Iterable[str]) -> None:
        """Remove the markers of processes that are gone."""
        for run in runs:
            self._list_path(run).unlink(missing_ok=True)
            self._marker_path(run).unlink(missing_ok=True)

    def _marker_path(self, run: str) -> Path:
        return self._folder / f"{run}.lock"

    def _list_path(self, run: str) -> Path:
        return self._folder / f"{run}.used"


def check_locks(root: Path) -> None:
    """Raise StoreError unless file locks work in this folder: some file systems only pretend."""
    path = root / f"probe-{secrets.token_hex(8)}.lock"
    path.touch()  # so that a folder that can't be written is not taken for one without locks
    lock = FileLock(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # filelock's, that it falls back to locks of another kind
        try:
            lock.acquire(timeout=1)  # nobody else knows the name, so any wait is for nothing
            works = type(lock) is not SoftFileLock and _is_locked(path)
        except (NotImplementedError, OSError) as error:
            raise StoreError(_no_locks(root)) from error
        finally:
            lock.release()
            path.unlink(missing_ok=True)
    if not works:
        raise StoreError(_no_locks(root))


def _is_locked(path: Path) -> bool:
    try:
        with FileLock(path).acquire(blocking=False):
            return False
    except Timeout:
        return True


def _no_locks(root: Path) -> str:
    return (
        f"the file system of {root} has no working file locks, without which processes would "
        "train the same candidates and remove each other's results; put the store on a local "
        "disk: --multiplicity-store DIR"
    )
