"""Readers of options: from a text, and the name it was given by, to the value.

All raise pytest.UsageError, with the value and the remedy.
"""

from __future__ import annotations

import re

import pytest

AUTO = "auto"
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def seeds(text: str, shown: str, config: pytest.Config) -> int:
    """Read how many seeds."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise pytest.UsageError(f"{shown}: {text!r} is no count: give 1 or more")
    return int(text)


def count(text: str, shown: str, config: pytest.Config) -> int:
    """Read a count, or none."""
    if not text.isascii() or not text.isdigit():
        raise pytest.UsageError(f"{shown}: {text!r} is no count: give 0 or more")
    return int(text)


def share(text: str, shown: str, config: pytest.Config) -> float:
    """Read a share that is neither none nor all."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise pytest.UsageError(f"{shown}: {text!r} is no share: give one between 0 and 1, as 0.8")
    return value


def seeds_or_auto(text: str, shown: str, config: pytest.Config) -> int | str:
    """Read how many seeds, or that they are added until it is decided."""
    if text == AUTO:
        return text
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise pytest.UsageError(f"{shown}: {text!r} is no count: give 1 or more, or {AUTO!r}")
    return int(text)


def fraction(text: str, shown: str, config: pytest.Config) -> float:
    """Read a fraction."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise pytest.UsageError(f"{shown}: {text!r} is no fraction: give one from 0 to 1, as 0.005")
    return value


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
