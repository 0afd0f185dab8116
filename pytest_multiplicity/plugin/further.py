"""`--multiplicity-seeds=auto`: seeds beyond the declared ones, until configurations are decided.

All that may be needed is collected, so that a seed has the same ids in every run. Their pairs are
judged when all declared ones are, seed by seed, before the gates, by the process that knows every
verdict; workers of pytest-xdist leave them out. They go in rounds: each takes as many seeds of
every configuration that is still undecided as are the fewest that could decide about any of them,
so that none is wasted, and a round is trained together. What isn't needed ends as NOT NEEDED.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.design import Definition
from pytest_multiplicity.plugin import compat, completeness, factory, reported
from pytest_multiplicity.plugin.collection import FURTHER, Pair
from pytest_multiplicity.plugin.families import Family, Round
from pytest_multiplicity.plugin.state import STATE, State

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Candidate

CATEGORY = "not needed"


def order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the pairs of added candidates last, seed by seed; workers have none of them."""
    added = [item for item in items if FURTHER in item.stash]
    if not added:
        return
    state = config.stash[STATE]
    families = {family.key: number for number, family in enumerate(state.families)}
    specs = {spec: n for family in state.families for n, spec in enumerate(family.specs)}

    def place(item: pytest.Item) -> tuple[int, int, int]:
        pair = item.stash[FURTHER]
        return families[pair.family.key], pair.candidate, specs[pair.spec.nodeid]

    rest = [item for item in items if FURTHER not in item.stash]
    items[:] = rest if state.worker else [*rest, *sorted(added, key=place)]


def instead_of_running(item: pytest.Item, following: pytest.Item | None) -> bool | None:
    """Report a pair that isn't needed, with none of its fixtures; True keeps pytest from it."""
    pair = item.stash.get(FURTHER, None)
    if pair is None or _needed(item.config.stash[STATE], pair):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    report = pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="passed",
        longrepr=None,
        when="call",
    )
    report.multiplicity_category = CATEGORY  # type: ignore[attr-defined]
    hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    if following is not None:
        compat.tear_down_for(following)
    return True


def candidate(
    state: State, definition: Definition, param: Any, dependencies: Mapping[str, Any]
) -> Candidate:
    """Return one candidate, a declared or an added one, whose round is built with its first."""
    family = state.families.of(definition)
    first = len(family.design.ids)
    if not isinstance(param, int) or param < first:
        return factory.candidate(state, definition, param, dependencies)
    found = family.round_of(param - first)
    if found.population is None:
        found.population = factory.further(state, family, found.positions, dependencies)
        _announce(state, family, found)
    return found.population.candidates[found.positions.index(param - first)]


def _needed(state: State, pair: Pair) -> bool:
    """Return whether an added candidate is needed to decide about its configuration."""
    family = pair.family
    assert family.further is not None
    count = len(family.design.configurations)
    while pair.candidate >= family.planned * count and not family.decided:
        if pair.spec.unforeseen or completeness.partial(state, family):
            family.decided = True
        else:
            _plan(state, family)
    known = any(pair.candidate in each.positions for each in family.rounds)
    return known and not pair.spec.unforeseen


def _plan(state: State, family: Family) -> None:
    """Decide who is in the next round, on the verdicts so far; nobody: all is decided."""
    from pytest_multiplicity.findings import configurations
    from pytest_multiplicity.statistics import reliability

    assert family.further is not None
    trials = configurations.trials(reported.findings_of(state, family))
    known = [t.counted if t.added == family.planned else None for t in trials]
    room = len(family.further.seeds) - family.planned
    places, more = reliability.next_round(known, state.options.reliable, room)
    if not places:
        family.decided = True
        return
    seeds, count = range(family.planned, family.planned + more), len(trials)
    family.rounds.append(Round(tuple(seed * count + place for seed in seeds for place in places)))
    family.planned = seeds.stop


def _announce(state: State, family: Family, first: Round) -> None:
    """Say before the first round what it may come to."""
    reporter = compat.terminal(state.config)
    if reporter is None or state.config.get_verbosity() < 0 or family.rounds[0] is not first:
        return
    assert first.population is not None
    assert family.further is not None
    undecided = len(first.positions) // family.planned
    most = undecided * len(family.further.seeds)
    compat.end_line(reporter)
    reporter.write_line(
        f"multiplicity: {undecided} of {len(family.design.configurations)} configurations of "
        f"{family.name} are undecided at {state.options.reliable:.0%}: up to "
        f"{len(family.further.seeds)} more seeds each, {most} in all"
        + factory.about(first.population, most / len(first.positions))
    )


def beforehand(state: State) -> list[str]:
    """Say at collection what may be needed at most, and of whom no seeds can be added."""
    if not state.options.auto:
        return []
    lines = []
    for family in state.families:
        if family.further is None or _unasked(family):
            lines.append(
                f"multiplicity: no seeds are added to {family.name}: {_why(state, family)}"
            )
            continue
        lines.append(
            f"multiplicity: {family.name} may get up to {len(family.further.seeds)} seeds more for "
            f"each of {len(family.design.configurations)} configurations, "
            f"{len(family.further.ids)} in all (multiplicity_most_seeds), where "
            f"{state.options.reliable:.0%} isn't decided before"
        )
    return lines


def _unasked(family: Family) -> bool:
    """Return whether no specification decides about seeds."""
    return all(spec.unforeseen for spec in family.specs.values())


def _why(state: State, family: Family) -> str:
    """Return why no seeds can be added to a family."""
    if _unasked(family):
        return "none of its specifications is enforced, so none could reject a seed"
    if not family.definition.takes_seeds:
        return "its candidates are those of a table, or its configurations tell their own seeds"
    return (
        f"it declares {len(family.design.seeds)}, and multiplicity_most_seeds is "
        f"{state.options.most_seeds}"
    )
