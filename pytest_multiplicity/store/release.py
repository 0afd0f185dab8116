"""Which release of an installed library code comes from, and whether it is still that one.

A version says little about code that was built here, installed from a folder or mended in place, so
the hashes count that an installer wrote down for each file, and of files that are younger than
that list, or stand in none, the content.
"""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# Their versions are part of every key.
TOLD = frozenset({"torch", "torchvision", "numpy"})
COMPILED = (".so", ".pyd", ".dll")


@functools.cache
def release_of(top: str) -> str:
    """Return the distribution of an installed top package, and a hash of its code; "" for others.

    Wheels of a version for several platforms are one release: compiled code counts only where it
    was not downloaded from an index.
    """
    if not top or top in TOLD or top in sys.stdlib_module_names:
        return ""
    roots = _roots(top)
    records = {each for root in roots for each in _records(root.parent, top)}
    names = sorted(record.parent.name.removesuffix(".dist-info") for record in records)
    files = dict(each for record in sorted(_with_local(records)) for each in _recorded(record))
    if not files:
        files = {
            str(path.relative_to(root.parent)): _hash(path)
            for root in roots
            for path in _code_below(root)
        }
    if not files:
        return ""
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    return " ".join([*names, digest])


def _roots(top: str) -> list[Path]:
    """Return the folders of a package, or the file of a module."""
    module = sys.modules.get(top)
    try:
        spec = getattr(module, "__spec__", None) or find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.has_location and spec.origin else []


def _records(site: Path, top: str) -> list[Path]:
    """Return the lists of installed files, in a folder of libraries, that name a package."""
    beginnings = [f"\n{top}{sign}".encode("utf-8", "surrogatepass") for sign in "/."]
    named = _installed(site)
    likely = [named[_plain(top)]] if _plain(top) in named else []
    for records in (likely, named.values()):  # all lists are long: the one of that name comes first
        found = [each for each in records if _begins_a_line(each, beginnings)]
        if found:
            return found
    return []


def _begins_a_line(record: Path, beginnings: list[bytes]) -> bool:
    """Return whether a line of a list begins so; the lists of a folder have megabytes."""
    content = b"\n" + record.read_bytes()
    return any(beginning in content for beginning in beginnings)


def _installed(site: Path) -> dict[str, Path]:
    """Return the lists of installed files by the name of their distribution."""
    records = sorted(site.glob("*.dist-info/RECORD"))
    return {_plain(record.parent.name.partition("-")[0]): record for record in records}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _with_local(records: set[Path]) -> set[Path]:
    """Add the distributions that these need, and that didn't come from an index either."""
    found, new = set(records), set(records)
    while new:
        needed = {each for record in new for each in _needed(record) if _is_local(each)}
        new = needed - found
        found |= new
    return found


def _needed(record: Path) -> Iterator[Path]:
    installed = _installed(record.parent.parent)
    metadata = record.parent / "METADATA"
    if not metadata.exists():
        return
    about = metadata.read_text("utf-8", "replace").partition("\n\n")[0]
    for name in re.findall(r"^Requires-Dist: *([\w.-]+)", about, re.MULTILINE):
        if _plain(name) in installed:
            yield installed[_plain(name)]


def _is_local(record: Path) -> bool:
    """Return whether a distribution was installed from a folder, a file or a commit (PEP 610)."""
    return (record.parent / "direct_url.json").exists()


def _recorded(record: Path) -> Iterator[tuple[str, str]]:
    """Yield the code that a list names, with its hashes as they are now."""
    written, site = record.stat().st_mtime, record.parent.parent
    suffixes = (".py", *COMPILED) if _is_local(record) else (".py",)
    with record.open(encoding="utf-8", errors="replace", newline="") as stream:
        for name, known, *_ in csv.reader(stream):
            if name.endswith(suffixes):
                path = site / name
                try:
                    changed = not known or path.stat().st_mtime > written
                    yield name, _hash(path) if changed else known
                except OSError:
                    yield name, "gone"


def _code_below(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, _, files in os.walk(root):
        yield from (Path(folder, file) for file in files if file.endswith((".py", *COMPILED)))


def _hash(path: Path) -> str:
    """Hash a file as the lists do."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
