"""Places to read and write, tried before anything is trained: not after an hour of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.plugin.options import Options
from pytest_multiplicity.report import FORMATS, Format

SELECTION = "selection.json"  # the file by which an export is known


def check(options: Options, *, own_store: bool = False) -> None:
    """Raise pytest.UsageError for a path that can't be read or written as an option asks.

    The store is looked at where somebody chose its place: `own_store`. Many runs need none.
    """
    if own_store:
        _check_store(options.store)
    for each in FORMATS:
        path, option = getattr(options, each.name), f"--multiplicity-{each.name}"
        if path is not None:
            _check_installed(each, option)
            if not is_step_summary(path):
                _check_writable(option, path)
    needs = options.card_needs or ()
    if options.card is not None and "individuals" in needs and options.individuals is None:
        raise pytest.UsageError(
            "multiplicity_card_needs: 'individuals' takes --multiplicity-individuals PATH"
        )
    if options.update_lock and options.lock is None:
        raise pytest.UsageError("--multiplicity-update-lock: say which, with --multiplicity-lock")
    if options.lock is not None and options.update_lock:
        _check_writable("--multiplicity-lock", options.lock)
    elif options.lock is not None:
        _check_lock(options.lock)
    if options.profile is not None:
        _check_writable("--multiplicity-profile", options.profile)
    if options.export is not None:
        _check_export(options.export)


def is_step_summary(path: Path) -> bool:
    """Return whether it is the file that GitHub shows with a step: others write to it too."""
    return os.environ.get("GITHUB_STEP_SUMMARY") == str(path)


def _check_installed(format_: Format, option: str) -> None:
    try:
        format_.require()
    except MultiplicityError as error:
        raise pytest.UsageError(f"{option}: {error}") from None


def _check_lock(path: Path) -> None:
    from pytest_multiplicity.report import lock_file

    try:
        lock_file.parse(path.read_text("utf-8"))
    except FileNotFoundError:
        raise pytest.UsageError(
            f"--multiplicity-lock: there is no {str(path)!r}: write it with "
            "--multiplicity-update-lock"
        ) from None
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--multiplicity-lock: can't read {str(path)!r}: {error}") from None


def _check_export(path: Path) -> None:
    """Raise a UsageError for a folder that is neither empty nor an export."""
    replaceable = (path / SELECTION).is_file() or (path.is_dir() and not any(path.iterdir()))
    if path.exists() and not replaceable:
        raise pytest.UsageError(
            f"--multiplicity-export: {str(path)!r} holds something else than an export: "
            "give another folder, or remove it"
        )
    _check_writable("--multiplicity-export", path.with_name(f".{path.name}.partial"))


def _check_store(path: Path) -> None:
    """Raise a UsageError unless a folder can be written, or made."""
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    _check_writable("--multiplicity-store", there / ".multiplicity-was-here", shown=path)


def _check_writable(option: str, path: Path, *, shown: Path | None = None) -> None:
    existed = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
        if not existed:
            path.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, FileExistsError | NotADirectoryError):
            reason = "what should be its folder is a file"
        raise pytest.UsageError(
            f"{option}: can't write {str(shown or path)!r}: {reason}; give another path"
        ) from None
