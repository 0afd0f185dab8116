"""Folders and files as the store needs them: hidden from tools, written whole, errors explained."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_multiplicity.errors import StoreError

# What keeps a cache out of backups, of version control, and of a reader's way.
_GUARDS = {
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache, which backups may leave out: https://bford.info/cachedir/\n",
    ".gitignore": "*\n",
    "README.md": "Weights and results that pytest-multiplicity would otherwise compute again. "
    "Safe to delete when no run uses it.\n",
}
ENTRIES = "v1"  # where a store's entries are, a folder of a kind in it
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}


def make_store_folder(root: Path, folders: Iterable[str]) -> None:
    """Make the root of a store and the folders in it."""
    is_new = not root.exists() or not any(root.iterdir())
    root.mkdir(parents=True, exist_ok=True)
    if is_new:  # a folder that holds anything else is not ours to hide
        for name, text in _GUARDS.items():
            (root / name).write_text(text, "utf-8")
    for folder in folders:
        (root / folder).mkdir(exist_ok=True)


def has_any(root: Path, kind: str) -> bool:
    """Return whether a store has ever held entries of a kind; makes no store."""
    return (root / ENTRIES / kind).is_dir()


def write_whole(path: Path, temporary: Path, content: bytes, *, wait: bool = True) -> None:
    """Write a file so that it appears whole or not at all, and survives a loss of power.

    Without `wait` it survives the end of this process, and is on the disk when the system comes to
    that: after a loss of power it may be missing, empty or torn.
    """
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            if wait:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if wait:
        _sync_folder(path.parent)


def names_in(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """Return the names in a folder that match; none where there is no such folder."""
    try:
        return sorted(name for name in os.listdir(folder) if pattern.fullmatch(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def explained(root: Path) -> Iterator[None]:
    """Turn the system's errors into ones that say what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(_explanation(root, error)) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders can't be opened
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _explanation(root: Path, error: OSError) -> str:
    what, where = error.strerror or str(error), error.filename or root
    if error.errno in _FULL:
        remedy = (
            "free some space (python -m pytest_multiplicity.store clear), bound the store "
            "(multiplicity_store_size), or choose another with --multiplicity-store DIR"
        )
    elif error.errno in _FORBIDDEN:
        remedy = "make it writable, or choose another with --multiplicity-store DIR"
    elif error.errno in _IN_THE_WAY:
        remedy = "something is there that isn't the store's: move it away"
    else:
        remedy = "see to that, or choose another with --multiplicity-store DIR"
    return f"the store at {root} can't be used: {where}: {what}; {remedy}"
