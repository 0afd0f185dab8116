"""How many samples would decide: for `--multiplicity-plan`, from what specifications compare with.

Thresholds are read from the text of a specification: plain numbers that something is compared
with, and those of `within`. How often candidates differ is known from a pilot: any earlier run.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.plugin import reported
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.state import State

if TYPE_CHECKING:
    from pytest_multiplicity.findings import FamilyFindings

KIND = "pilots"
DISTANCES = (0.01, 0.02, 0.05)
ASSUMED = 0.1
"""The share of samples on which two candidates differ, where there is no pilot."""
COMPARISONS = (ast.GtE, ast.Gt, ast.LtE, ast.Lt)


def lines(state: State, family: Family) -> list[str]:
    """Say for each threshold of a family's specs how many samples would decide about it."""
    pilots, count = _pilots(state, family), len(family.design.ids)
    told = []
    for nodeid, spec in family.specs.items():
        pilot = pilots.get(nodeid)
        if pilot is not None and not pilot.get("shares", True):
            continue
        for what, threshold in _compared(family.tests.get(spec.name)):
            told.append(f"  {spec.name}: {what}: {_samples(threshold, what, count, pilot)}")
    if told:
        told.insert(0, f"samples that decide beyond doubt, with 80% power, of {count} candidates:")
    return told


def _samples(threshold: float, what: str, count: int, pilot: dict[str, Any] | None) -> str:
    """Return the numbers of samples at each distance, and what they rest on."""
    from pytest_multiplicity.statistics import doubt

    if what.startswith("within"):
        differing = ASSUMED if pilot is None else float(pilot["differing"])
        needed = [doubt.samples_within(threshold, d, count, differing) for d in DISTANCES]
        rests = f"where {differing:.1%} of samples tell two candidates apart"
        rests += ", assumed: no pilot yet" if pilot is None else f", as of {pilot['samples']:,}"
    else:
        needed = [doubt.samples_beyond(threshold, d, count) for d in DISTANCES]
        rests = "" if pilot is None else f"the last run had {pilot['samples']:,}"
    told = [
        f"{n:,} at {100 * d:.0f} {'point' if d == DISTANCES[0] else 'points'}"
        for n, d in zip(needed, DISTANCES, strict=True)
        if n is not None
    ]
    return ", ".join(told) + (f" ({rests})" if rests else "")


def _compared(function: Any) -> Iterator[tuple[str, float]]:
    """Yield what a spec compares with plain numbers: `>= 0.95`, `within(0.01)`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            value = _number(node.comparators[0])
            if isinstance(node.ops[0], COMPARISONS) and value is not None and 0 < value < 1:
                shown = ast.unparse(node).removeprefix(ast.unparse(node.left)).strip()
                yield shown, value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "within":
            value = _number(node.args[0]) if node.args else None
            if value is not None and 0 <= value < 1:
                yield f"within({value:g})", value


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    return None


# --- pilots


def remember(state: State, found: FamilyFindings) -> None:
    """Keep how often candidates differ, for the plan of a later run."""
    import numpy as np

    from pytest_multiplicity.store import fingerprint

    pilots: dict[str, dict[str, Any]] = {}
    for nodeid in found.specs:
        metrics = [found.metrics[n] for n in found.measured_by(nodeid) if n in found.metrics]
        shares = [each for each in metrics if each.proportion and each.outcomes is not None]
        if metrics and not shares:  # such as a loss, about which no number of samples decides so
            pilots[nodeid] = {"shares": False}
        for metric in shares[:1]:
            outcomes, others = metric.outcomes, int(found.alive.sum()) - 1
            if outcomes is not None and others:
                best = outcomes[:, [int(np.nanargmax(metric.scores))]]
                if outcomes.dtype == np.bool_:  # as below, in an eighth of the memory
                    apart = (outcomes[:, found.alive] != best).sum()
                else:
                    apart = abs(outcomes[:, found.alive].astype(float) - best.astype(float)).sum()
                differing = apart / (len(best) * others)
                pilots[nodeid] = {"samples": len(best), "differing": float(differing)}
    if pilots:
        state.resources.store.put(KIND, fingerprint([KIND, found.seen.key]), {}, pilots)


def _pilots(state: State, family: Family) -> dict[str, Any]:
    from pytest_multiplicity.store import fingerprint

    return state.resources.store.meta(KIND, fingerprint([KIND, family.key])) or {}


def remember_all(state: State) -> None:
    """Keep pilots of all families of this run."""
    for found in reported.found_in(state):
        remember(state, found)
