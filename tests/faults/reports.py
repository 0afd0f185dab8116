"""What two JSON reports of the same specifications must agree in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATHS = ("json", "html", "markdown", "store")  # settings that may differ between two runs
WORK = ("trained", "stored", "from_store")  # what was done anew is no result


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """The report without paths and counts of work, in place of which None stands."""
    families = [family | dict.fromkeys(WORK) for family in report["families"]]
    settings = report["settings"] | dict.fromkeys(PATHS)
    return report | {"families": families, "settings": settings}


def raw(path: Path) -> dict[str, Any]:
    """The report in a file."""
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return report


def read(path: Path) -> dict[str, Any]:
    """The comparable part of the report in a file."""
    return comparable(raw(path))


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two reports differ, as lines such as ``families[0].specs[1].kept: 3 is not 4``."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*one, *other])
        pairs = [(f"{where}.{key}", one.get(key), other.get(key)) for key in keys]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(f"{where}[{i}]", *each) for i, each in enumerate(zip(one, other, strict=True))]
    else:
        return [] if one == other else [f"{where.removeprefix('.')}: {one!r} is not {other!r}"]
    return [line for place, a, b in pairs for line in differences(a, b, place)]
