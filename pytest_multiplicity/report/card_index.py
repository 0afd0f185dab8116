"""The front matter of a card: YAML, with the results of each family's pick as a model-index.

Scalars are JSON's, which YAML reads alike; floats always have a point, without which YAML 1.1 takes
1e-05 for text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

from pytest_multiplicity.findings import FamilyReport, RunReport, SheetPair, known
from pytest_multiplicity.report.text import inert

TASK = "other"
"""Hugging Face's name for a task that isn't one of theirs: a run doesn't say which it is."""


def front_matter(run: RunReport) -> str:
    """Return it between its lines of dashes."""
    lines = ["---", "tags:", f"- {_text('model-multiplicity')}"]
    told = [line for family in run.families for line in _family(family)]
    return "\n".join([*lines, *(["model-index:", *told] if told else []), "---"])


def _family(family: FamilyReport) -> Iterator[str]:
    results = list(_results(family))
    if family.pick is None or not results:
        return
    yield f"- name: {_text(f'{family.name} {family.pick.id}')}"
    yield "  results:"
    yield from results


def _results(family: FamilyReport) -> Iterator[str]:
    """Yield the results on each data set, under each intervention."""
    scores = next(
        (e.scores for e in family.survivors if e.id == getattr(family.pick, "id", "")), {}
    )
    where: dict[tuple[str, str], list[tuple[SheetPair, float]]] = {}
    for pair in family.sheets:
        score = scores.get(pair.metric)
        if known(score):
            where.setdefault((pair.data or "recorded", pair.under), []).append((pair, score))
    for (data, under), pairs in where.items():
        yield "  - task:"
        yield f"      type: {_text(TASK)}"
        yield "    dataset:"
        yield f"      name: {_text(f'{data} under {under}' if under else data)}"
        yield f"      type: {_text(data)}"
        if under:  # by which their parser tells results on one data set apart
            yield f"      config: {_text(under)}"
        yield "    metrics:"
        for pair, score in pairs:
            yield f"    - type: {_text(_measure(pair))}"
            yield f"      name: {_text(pair.metric)}"
            yield f"      value: {number(score)}"


def _measure(pair: SheetPair) -> str:
    """Return what is measured, without where: `accuracy`."""
    where = f"{pair.data} under {pair.under}" if pair.under else str(pair.data)
    return pair.metric.removesuffix(f" on {where}")


def number(value: float) -> str:
    """Return a finite float as YAML reads it, exactly."""
    assert math.isfinite(value)
    return re.sub(r"^(-?\d+)e", r"\1.0e", repr(float(value)))


def _text(text: str) -> str:
    return json.dumps(inert(text), ensure_ascii=False)
