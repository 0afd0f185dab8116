"""Readers of options: from a text, and the name it was given by, to the value.

All raise pytest.UsageError, with the value and the remedy.
"""

from __future__ import annotations

import math
import re

import pytest

AUTO = "auto"
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def seeds(text: str, shown: str, config: pytest.Config) -> int:
    """Read how many seeds."""
    return _count(text, shown, 1, "1 or more")


def count(text: str, shown: str, config: pytest.Config) -> int:
    """Read a count, or none."""
    return _count(text, shown, 0, "0 or more")


def seeds_or_auto(text: str, shown: str, config: pytest.Config) -> int | str:
    """Read how many seeds, or that they are added until it is decided."""
    return text if text == AUTO else _count(text, shown, 1, f"1 or more, or {AUTO!r}")


def _count(text: str, shown: str, least: int, wanted: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise pytest.UsageError(f"{shown}: {text!r} is no count: give {wanted}")
    return int(text)


def share(text: str, shown: str, config: pytest.Config) -> float:
    """Read a share that is neither none nor all."""
    value = _number(text)
    if not 0 < value < 1:
        raise pytest.UsageError(f"{shown}: {text!r} is no share: give one between 0 and 1, as 0.8")
    return value


def fraction(text: str, shown: str, config: pytest.Config) -> float:
    """Read a fraction."""
    value = _number(text)
    if not 0 <= value < 1:
        raise pytest.UsageError(f"{shown}: {text!r} is no fraction: give one from 0 to 1, as 0.005")
    return value


def _number(text: str) -> float:
    """Return a number; nan, which lies in no range, for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def size(text: str, shown: str, config: pytest.Config) -> int:
    """Bytes. Decimal units, as disks are sold in."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?([KMGT]?B)", text.strip(), re.ASCII)
    if found is None:
        raise pytest.UsageError(
            f"{shown}: {text!r} is no size: give a number and one of "
            f"{', '.join(UNITS)}, such as 20 GB"
        )
    return int(float(found[1]) * UNITS[found[2]])


def seconds(text: str, shown: str, config: pytest.Config) -> float:
    """Read a number of seconds."""
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text.strip(), re.ASCII):
        raise pytest.UsageError(f"{shown}: {text!r} is no number of seconds: give one of 0 or more")
    return float(text)
