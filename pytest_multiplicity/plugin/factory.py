"""Builds the candidates of families, and the survivors that gates look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.design import Built, Definition, Design, Recorded, Standing, part
from pytest_multiplicity.plugin import certain, judging, reported, screening
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.options import Check
from pytest_multiplicity.plugin.state import State
from pytest_multiplicity.report import clock

if TYPE_CHECKING:
    from pytest_multiplicity.compute import Machine
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation import Candidate, Incumbent, Population, Survivors
    from pytest_multiplicity.findings import PeopleAsked

PATIENCE = 10.0  # seconds that a run may wait for a function without a remark


def candidate(
    state: State, definition: Definition, param: Any, dependencies: Mapping[str, Any]
) -> Candidate:
    """Return one candidate, by position or id; its family is built when the first is asked for."""
    family = state.families.of(definition)
    return population(state, family, dependencies).candidates[_position(family, param)]


def population(state: State, family: Family, dependencies: Mapping[str, Any]) -> Population:
    """Return all candidates of a family, built once; trains nothing yet."""
    if family.population is None:
        with family.building:
            family.population = _build(state, family, dependencies)
    return family.population


def survivors(state: State, gate: pytest.FixtureRequest) -> Survivors:
    """Return the survivors of the gate's family, on the verdicts so far."""
    from pytest_multiplicity.evaluation import Survivors
    from pytest_multiplicity.findings import configurations

    family = state.families.get(state.gate_families[gate.node.nodeid])
    needed = {name: gate.getfixturevalue(name) for name in family.definition.parameters}
    built = population(state, family, needed)
    built.prepare_gates(_selected_on(state, family))
    trials = (
        certain.best(state, family)
        if gate.node.nodeid in state.early_gates
        else configurations.trials(reported.findings_of(state, family))
    )
    found = Survivors(built, state.ledger.standing(family.key, built.alive), trials)
    found.judge = judging.judge_of(family, gate)
    return found


def further(
    state: State, family: Family, positions: Sequence[int], dependencies: Mapping[str, Any]
) -> Population:
    """Return candidates beyond the declared ones, which they are compared with."""
    from pytest_multiplicity.evaluation import FurtherPopulation, ModelPopulation
    from pytest_multiplicity.inference import common_data, each_its_own
    from pytest_multiplicity.keeping import Given

    declared, definition = population(state, family, dependencies), family.definition
    assert isinstance(declared, ModelPopulation)
    assert isinstance(definition, Built)
    assert family.further is not None
    held, design = state.resources, part(family.further, positions)
    if definition.keep:
        given = Given(definition.function, dependencies, definition.takes_run)
        made = [given] * len(design.ids)
    else:
        with held.machine.as_new():
            each = _made(definition, design, dependencies, planned=False)
            made = common_data(each_its_own(each, design.ids, family.name))
    models = declared.models.further(design, made)
    return FurtherPopulation(models, held.leakage, declared)


def about(population: Population, times: float) -> str:
    """Say how long a multiple of the work for a population takes; nothing where none can tell."""
    foreseen = population.foreseen()
    plans = population.plan()
    seconds = sum(plan.seconds for plan in plans)
    if foreseen is not None:
        seconds = foreseen.seconds or 0.0
    return f", about {clock(times * seconds)}" if seconds else ""


def incumbent(
    state: State, definition: Standing, dependencies: Mapping[str, Any], id_name: str | None
) -> Incumbent:
    """Return the model that runs today, asked nothing yet; None may be what there is."""
    from pytest_multiplicity.compute import preserved_rng, seed_everything
    from pytest_multiplicity.evaluation import Incumbent
    from pytest_multiplicity.inference import Models, ToldTable, is_table

    held, name = state.resources, definition.function.__name__
    with held.machine.as_new(), preserved_rng():
        seed_everything(0)
        made = definition.function(**dependencies)
    if made is None:
        _tell(state, f"{name} returned None: there was nobody to compare with")
        return Incumbent(name, None)
    if is_table(made):
        made = ToldTable(made, definition.where, id_name)
    models = Models(
        name,
        definition,
        definition.design(),
        [made],
        machine=held.machine,
        run_id=state.process.run_id,
    )
    return Incumbent(name, models, partial(_tell, state))


def _tell(state: State, text: str) -> None:
    """Say something once in the reports."""
    if text not in state.warnings:
        state.warnings.append(text)


def _build(state: State, family: Family, dependencies: Mapping[str, Any]) -> Population:
    if isinstance(family.definition, Recorded):
        from pytest_multiplicity.evaluation import RecordedPopulation

        state.warnings.extend(family.definition.doubts_about_unit())
        return RecordedPopulation(family.definition, family.design)
    from pytest_multiplicity.evaluation import ModelPopulation
    from pytest_multiplicity.inference import Models, common_data, each_its_own
    from pytest_multiplicity.keeping import Given
    from pytest_multiplicity.plugin import looks

    assert isinstance(family.definition, Built)
    held = state.resources
    definition = family.definition
    check, again = state.options.check is Check.ON, None
    if definition.keep:
        given = Given(definition.function, dependencies, definition.takes_run)
        made = [given] * len(family.design.ids)
    else:
        begun = time.monotonic()
        with held.machine.as_new():
            each = _made(definition, family.design, dependencies, planned=state.options.plan)
            made = common_data(each_its_own(each, family.design.ids, family.name))
        if check:
            again = _again(held.machine, definition, family, dependencies)
        _remark(state, family, made, time.monotonic() - begun)
    models = Models(
        state.families.titles()[family.key],  # two of one name are told apart
        definition,
        family.design,
        made,
        machine=held.machine,
        run_id=state.process.run_id,
        selected=sorted(family.selected),
    )
    if check:
        models.check(again)
    leakage = looks.of(state).watched(family, held.leakage)
    if not state.options.screen:
        built = ModelPopulation(models, state.names, leakage)
    else:
        screened = partial(screening.of(state).screened, family)
        built = ModelPopulation(models, state.names, leakage, screened)
    if (people := reported.people(state)) is not None:
        built.met = _checked(people)
    return built


def _checked(people: PeopleAsked) -> Callable[[Data], None]:
    """Return what raises an error for data of which reports couldn't tell what is asked."""
    from pytest_multiplicity.findings import check_people

    fine: set[str] = set()

    def check(data: Data) -> None:
        if data.name not in fine:
            check_people(data, people)
            fine.add(data.name)

    return check


def _remark(state: State, family: Family, made: Sequence[Any], seconds: float) -> None:
    """Say so where a run waited long for what could have been kept."""
    from pytest_multiplicity.training import Recipe

    if seconds > PATIENCE and not any(isinstance(each, Recipe) for each in made):
        state.warnings.append(
            f"{family.name}: every run waits for its function ({seconds:.0f} s in this one); with "
            "keep=True it would be called once, and what it returns be kept"
        )


def _again(machine: Machine, definition: Built, family: Family, given: Mapping[str, Any]) -> Any:
    """Call the function for the first candidate once more."""
    with machine.as_new():
        return next(_made(definition, family.design, given, planned=False))


def _made(
    definition: Built, design: Design, dependencies: Mapping[str, Any], *, planned: bool
) -> Iterator[Any]:
    """Call a family's function for every candidate, global generators seeded with its seed.

    Where this is only for a plan, the first that isn't a recipe stands for all.
    """
    from pytest_multiplicity.compute import preserved_rng, seed_everything

    with preserved_rng():
        for config in design.configs:
            seed_everything(config.seed % 2**63)
            made = definition.function(config, **dependencies)
            if planned and type(made).__name__ != "Recipe":
                yield from [made] * len(design.ids)
                return
            yield made


def _selected_on(state: State, family: Family) -> dict[str, str]:
    """Return the data sets that enforced specs used, in any process: name -> fingerprint."""
    known = state.ledger.metrics.get(family.key, {})
    metrics = [
        known[name]
        for spec in family.specs.values()
        if not spec.unforeseen
        for record in state.ledger.judged(family.key, spec.nodeid).values()
        for name in record.metrics
    ]
    return {m.data: str(m.data_key) for m in metrics if m.data is not None}


def _position(family: Family, param: Any) -> int:
    if isinstance(param, int):
        return param
    if param in family.design.ids:
        return family.design.ids.index(param)
    raise pytest.UsageError(
        f"family {family.name!r} has no candidate {param!r}; its ids run from "
        f"{family.design.ids[0]} to {family.design.ids[-1]}"
    )
