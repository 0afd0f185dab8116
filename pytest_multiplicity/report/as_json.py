"""The JSON report: the model of a run written out, schema `pytest-multiplicity/1`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from typing import Any, cast

from pytest_multiplicity.findings import RunReport

ELSEWHERE = frozenset(
    {"thumbnail", "attributes", "example", "divided", "scale", "everybody", "profile"}
)
"""What the model holds for pictures of samples alone, which a controller of workers doesn't know;
every single sample, and where the time went, which have files of their own."""


def render(run: RunReport) -> str:
    """Return the report as ASCII text: stable order of keys, two spaces of indentation."""
    return json.dumps(document(run), indent=2, allow_nan=False) + "\n"


def document(run: RunReport) -> dict[str, Any]:
    """Return the report as plain builtins, the schema first; `nan` and infinities are None."""
    return {"schema": run.schema, **plain(run)}


def schema() -> dict[str, Any]:
    """Return the JSON Schema that every report validates against."""
    file = resources.files(__package__).joinpath("report.schema.json")
    return cast("dict[str, Any]", json.loads(file.read_text("utf-8")))


def plain(value: Any) -> Any:
    """Return the value as JSON takes it: dataclasses as objects, `nan` and infinities as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name not in ELSEWHERE]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [plain(each) for each in value]
    return value
