"""List and clear a store: `python -m pytest_multiplicity.store list`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store import LocalStore
from pytest_multiplicity.store.disk import ENTRIES

UNITS = ("B", "KB", "MB", "GB", "TB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    if not (options.store / ENTRIES).is_dir():
        print(f"{options.store} is no store: give the folder with --store DIR", file=sys.stderr)
        return 1
    try:
        with LocalStore(options.store) as store:
            _ACTIONS[options.action](store, options.kind)
    except StoreError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_multiplicity.store",
        description="List or clear what pytest-multiplicity keeps of trained candidates.",
    )
    parser.add_argument(
        "action",
        choices=sorted(_ACTIONS),
        help="list: entries and bytes by kind; clear: remove what no run uses",
    )
    parser.add_argument("kind", nargs="?", help="only this kind, such as logits")
    parser.add_argument(
        "--store", type=Path, default=Path(".multiplicity"), help="default: %(default)s"
    )
    return parser


def _list(store: LocalStore, kind: str | None) -> None:
    usage = store.usage()
    for name, used in usage.items():
        if kind in (None, name):
            print(f"{name:12} {used.entries:8,} entries {_human(used.size):>10}")
    if kind is None:
        print(f"{'':29} {_human(sum(used.size for used in usage.values())):>10}")


def _clear(store: LocalStore, kind: str | None) -> None:
    removed = store.clear(kind)
    size = _human(sum(item.size for item in removed))
    print(f"removed {len(removed):,} entries, {size}; what a run uses at this moment stays")


_ACTIONS = {"list": _list, "clear": _clear}


def _human(size: float) -> str:
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes all")


if __name__ == "__main__":
    sys.exit(main())
