"""`--multiplicity-plan`: what would be trained, how and how long; nothing is.

One pair of every family is run as far as its fixtures, which is what building the candidates needs;
instead of the spec's own body the family's training is planned.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_multiplicity.design import Recorded
from pytest_multiplicity.plugin import compat, factory, thresholds
from pytest_multiplicity.plugin.collection import PAIR
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.state import STATE
from pytest_multiplicity.report import clock

if TYPE_CHECKING:
    from pytest_multiplicity.inference import Foreseen
    from pytest_multiplicity.training import Plan

PLANS = pytest.StashKey[list[str]]()
PLANNED = pytest.StashKey[set[str]]()  # what the store will know the planned candidates by


def keep_one_of_each(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect all but the first pair of every family."""
    if not config.stash[STATE].options.plan:
        return
    chosen: dict[str, pytest.Item] = {}
    for item in items:
        if (pair := item.stash.get(PAIR, None)) is not None:
            chosen.setdefault(pair.family.key, item)
    left_out = [item for item in items if item not in chosen.values()]
    config.hook.pytest_deselected(items=left_out)
    items[:] = chosen.values()


def instead_of_running(item: pytest.Item) -> bool | None:
    """Plan the training of the pair's family; True keeps pytest from calling the spec."""
    pair = item.stash.get(PAIR, None)
    config = item.config
    if pair is None or not config.stash[STATE].options.plan:
        return None
    planned = config.stash.setdefault(PLANNED, set())
    lines = config.stash.setdefault(PLANS, [])
    lines.extend(_lines(pair.family, planned))
    if not isinstance(pair.family.definition, Recorded):
        lines.extend(thresholds.lines(config.stash[STATE], pair.family))
        lines.extend(_further(pair.family))
    return True


def show(reporter: pytest.TerminalReporter) -> bool:
    """Print the plans, if that is what was asked for."""
    state = reporter.config.stash[STATE]
    if not state.options.plan:
        return False
    reporter.section("multiplicity plan")
    lines = reporter.config.stash.get(PLANS, ["no family of recipes was selected"])
    for line in lines:
        for part in _wrapped(line, compat.writer(reporter).fullwidth):
            reporter.write_line(part)
    return True


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line in as many as it takes, those after the first further to the right."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    found = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return found or [line]


def _lines(family: Family, planned: set[str]) -> list[str]:
    """Say what is trained for a family, and not for one before it; add that to `planned`."""
    count = len(family.design.ids)
    if isinstance(family.definition, Recorded) or family.population is None:
        return [f"{family.name}: {count} recorded candidates, nothing to train"]
    if (foreseen := family.population.foreseen()) is not None:
        return [f"{family.name}: {count} candidates, {_called(foreseen)}"]
    planned_now = family.population.plan()
    groups = {plan: {job.key for job in plan.group.jobs} for plan in planned_now}
    plans = [plan for plan, keys in groups.items() if keys - planned]
    fresh = len(set().union(*groups.values()) - planned)
    planned.update(*groups.values())
    head = f"{family.name}: {count} candidates, {fresh} to train"
    if not plans:
        return [head]
    seconds = sum(plan.seconds for plan in plans)
    return [f"{head} in about {clock(seconds)}", *(f"  {_group(plan)}" for plan in plans)]


def _further(family: Family) -> list[str]:
    """Say how many seeds may be added to decide, and how long that would take at most."""
    if family.further is None or family.population is None:
        return []
    most, declared = len(family.further.ids), len(family.design.ids)
    head = f"{family.name}: up to {most} seeds may be added to decide"
    return [head + factory.about(family.population, most / declared)]


def _called(foreseen: Foreseen) -> str:
    """Say what calling a function would take."""
    if not foreseen.kept:
        return "which its function returns in every run; keep=True would call it once for each"
    head = f"{foreseen.calls} to train by its own function"
    if not foreseen.calls or foreseen.seconds is None:
        return head
    return f"{head} in about {clock(foreseen.seconds)}"


def _group(plan: Plan) -> str:
    """One group: how, how long, how much memory, and who."""
    cost = f"about {clock(plan.seconds)}, {plan.bytes / 1e6:,.1f} MB"
    return f"{plan}: {cost}: {_some([job.id for job in plan.group.jobs])}"


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:3])
    return f"{shown}, ..." if len(ids) > 3 else shown
