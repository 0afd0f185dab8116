"""The lock as a file: JSON with a line per candidate, score and block of samples.

All stands in the order of the run, so that a small change is a small diff.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.report.lock import Lock, Locked, Majority
from pytest_multiplicity.store import Looked

SCHEMA = "pytest-multiplicity-lock/1"
BLOCK = 60
"""Samples on a line."""
DIGITS = string.digits + string.ascii_letters
"""A class is a digit; where there are more classes than digits, two or more."""


def render(lock: Lock, looks: Sequence[Looked] = ()) -> str:
    """Return the text of the file, ASCII."""
    families = _lines({name: _family(each) for name, each in lock.items()}, "  ")
    ledger = _lines({each.name: each.to_json() for each in looks}, "  ")
    aside = f',\n  "looks": {ledger}' if looks else ""
    return f'{{\n  "schema": {json.dumps(SCHEMA)},\n  "families": {families}{aside}\n}}\n'


def looks(text: str) -> list[Looked]:
    """Return the ledger of looks in a file; none in one from before there was a ledger."""
    found = json.loads(text)
    known = found.get("looks", {}) if isinstance(found, dict) else {}
    try:
        return [Looked.from_json(each) for each in known.values()]
    except (StoreError, AttributeError) as error:
        raise ValueError(f"its looks are no ledger: {error}") from None


def parse(text: str) -> Lock:
    """Return the lock in a file. Raises ValueError for anything else."""
    try:
        found = json.loads(text)
        if found["schema"] != SCHEMA:
            raise ValueError(f"its schema is {found['schema']!r}, not {SCHEMA!r}")
        looks(text)
        return {str(name): _locked(each) for name, each in found["families"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no lock of this plugin: {error!r}") from None


def _family(family: Locked) -> dict[str, Any]:
    samples = {
        name: {"targets": each.targets, "classes": each.classes, "majority": _encode(each)}
        for name, each in family.samples.items()
    }
    scores = {name: list(numbers) for name, numbers in family.scores.items()}
    beside = {name: list(numbers) for name, numbers in family.comparisons.items()}
    aside = ({"comparisons": beside} if beside else {}) | (
        {"screened": True} if family.screened else {}
    )
    return {"candidates": dict(family.verdicts), "scores": scores, "samples": samples} | aside


def _locked(family: Mapping[str, Any]) -> Locked:
    return Locked(
        verdicts={str(name): str(verdict) for name, verdict in family["candidates"].items()},
        scores={name: tuple(map(float, ends)) for name, ends in family["scores"].items()},
        samples={name: _decode(each) for name, each in family["samples"].items()},
        comparisons={
            name: tuple(map(float, ends)) for name, ends in family.get("comparisons", {}).items()
        },
        screened=bool(family.get("screened", False)),
    )


def _lines(value: Any, indent: str) -> str:
    """Objects and lists of texts with a line per entry, everything else on one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        entries = [f"{json.dumps(name)}: {_lines(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(inner + each for each in entries) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], str):
        return "[\n" + ",\n".join(inner + json.dumps(each) for each in value) + f"\n{indent}]"
    return json.dumps(value)


def _encode(samples: Majority) -> list[str]:
    width = _width(samples.classes)
    texts = ["".join(_digits(klass, width)) for klass in samples.majority]
    return ["".join(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)]


def _decode(found: Mapping[str, Any]) -> Majority:
    classes = int(found["classes"])
    width, text = _width(classes), "".join(found["majority"])
    majority = tuple(_number(text[i : i + width]) for i in range(0, len(text), width))
    return Majority(str(found["targets"]), classes, majority)


def _width(classes: int) -> int:
    """Return how many digits a class takes."""
    return next(width for width in range(1, 12) if len(DIGITS) ** width >= classes)


def _digits(klass: int, width: int) -> Iterator[str]:
    for place in reversed(range(width)):
        yield DIGITS[klass // len(DIGITS) ** place % len(DIGITS)]


def _number(digits: Sequence[str]) -> int:
    value = 0
    for digit in digits:
        value = value * len(DIGITS) + DIGITS.index(digit)
    return value
