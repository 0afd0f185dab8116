"""What a run found, handed to the reports in terms that need no pytest; assembled once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.plugin import profiling
from pytest_multiplicity.plugin.completeness import doubt, partial

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Population
    from pytest_multiplicity.findings import (
        FamilyFindings,
        FurtherSeen,
        GateReport,
        PeopleAsked,
        RunReport,
    )
    from pytest_multiplicity.plugin.families import Family
    from pytest_multiplicity.plugin.state import State

FOUND = pytest.StashKey["list[FamilyFindings]"]()
RUN = pytest.StashKey["RunReport"]()


def found_in(state: State) -> list[FamilyFindings]:
    """Return what was found of each family that has specs or gates in this run."""
    stash = state.config.stash
    if FOUND not in stash:
        last = [*state.selected_gates, *state.selected_readers]
        gated = {state.after_specs[nodeid] for nodeid in last}
        families = [each for each in state.families if each.specs or each.key in gated]
        stash[FOUND] = [findings_of(state, each) for each in families]
    return stash[FOUND]


def run_of(state: State) -> RunReport:
    """Return the model of the run."""
    stash = state.config.stash
    if RUN not in stash:
        from pytest_multiplicity.findings import assemble, gates_of

        titles = state.families.titles()
        gates = gates_of(state.ledger, state.selected_gates)
        run = assemble(
            state.ledger,
            found_in(state),
            [(gate, titles[state.gate_families[gate.nodeid]]) for gate in gates],
            warnings=[*state.warnings, *filter(None, [doubt(state)])],
            settings=state.options.describe(),
        )
        stash[RUN] = replace(run, profile=profiling.told(state.config))
    return stash[RUN]


def add_gate(state: State, gate: GateReport) -> None:
    """Add a gate on the whole run, which can only be evaluated when all else is known."""
    run = run_of(state)
    state.config.stash[RUN] = replace(run, gates=[*run.gates, gate])


def findings_of(state: State, family: Family) -> FamilyFindings:
    """Return what was found of one family so far."""
    from pytest_multiplicity.evaluation import Facts
    from pytest_multiplicity.findings import FamilyFindings, Seen

    population = family.population
    seen = Seen(
        key=family.key,
        title=state.families.titles()[family.key],
        design=family.design,
        specs=family.specs,
        pairs=family.pairs,
        partial=partial(state, family),
        facts=Facts() if population is None else population.facts(),
        measured=state.metrics.get(family.key, {}),
        gated={} if population is None else population.metrics,
        data={} if population is None else population.data_by_name,
        people=people(state),
        **({} if population is None else _beside(population)),
    )
    looks = state.looks.get(family.key, ())
    ladder = state.ladder.get(family.key, {})
    seen = replace(seen, further=_further(state, family), looks=looks, ladder=ladder)
    return FamilyFindings(
        seen, state.ledger, lambda kind, key: state.resources.store.get(kind, key)
    )


def people(state: State) -> PeopleAsked | None:
    """Return what is asked of single samples; None where nothing is."""
    from pytest_multiplicity.findings import PeopleAsked

    options = state.options
    if not options.individuals:
        return None
    groups = options.individuals_groups or ()
    return PeopleAsked(options.individuals_id, groups, options.individuals_positive)


def _beside(population: Population) -> dict[str, Any]:
    """Return what gates asked of a family that is no metric."""
    names = ("reached", "extremes", "allocations", "cascades")
    return {name: tuple(getattr(population.beside, name).values()) for name in names}


def _further(state: State, family: Family) -> FurtherSeen | None:
    """Return what is known of the candidates that were added to the declared ones."""
    from pytest_multiplicity.findings import FurtherSeen

    if family.further is None:
        return None
    told = [each.population.facts() for each in family.rounds if each.population is not None]
    return FurtherSeen(
        design=family.further,
        at_least=state.options.reliable,
        specs=frozenset(family.adding),
        trained=sum(each.trained for each in told),
        stored=sum(each.stored for each in told),
    )
