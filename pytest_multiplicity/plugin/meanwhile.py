"""What is trained while specs judge those that are there: between tests it is seen to.

A candidate is judged once it is trained, and the others go on in worker processes. What a spec
measures is measured for those that are there by then, and for all when the last pair is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pytest_multiplicity.compute import LOCAL, available_cores, get_ready
from pytest_multiplicity.design import Built, Recorded
from pytest_multiplicity.errors import failed_attempt
from pytest_multiplicity.keeping import COMMON, KEPT
from pytest_multiplicity.plugin import recorder
from pytest_multiplicity.plugin.collection import PAIR
from pytest_multiplicity.plugin.roles import Role
from pytest_multiplicity.plugin.state import STATE, State
from pytest_multiplicity.store import has_any

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Metric, ModelPopulation

LEFT = pytest.StashKey[dict[str, set[pytest.Item]]]()
"""Family's key -> the pairs that are still to be judged."""


def order(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Know which pairs there are of each family."""
    left = config.stash[LEFT] = {}
    for item in items:
        if (pair := item.stash.get(PAIR, None)) is not None:
            left.setdefault(pair.family.key, set()).add(item)


def prepare(session: pytest.Session) -> None:
    """Have what workers are forked from come up while the first test is set up.

    Where a family keeps and nothing is kept yet, its function is called in workers as soon as torch
    is imported here, which takes as long as it does there. Should all be kept elsewhere, or the run
    end before, it came up in vain.
    """
    state = session.config.stash[STATE]
    options, called = state.options, [each for each in state.families if each.selected]
    here = options.engine == LOCAL and options.device in ("auto", "cpu")
    idle = available_cores() > 1 and state.resources.process.role is Role.ALONE
    asked = not (options.plan or session.config.option.collectonly)
    keeps = any(isinstance(each.definition, Built) and each.definition.keep for each in called)
    if here and idle and asked and keeps:
        with suppress(OSError):  # whoever needs the store, or a process, says what is wrong
            if not has_any(options.store, KEPT):
                get_ready(COMMON)


def begin(item: pytest.Item) -> None:
    """Before a test: have training go on."""
    for population in _populations(item.config.stash[STATE]).values():
        population.go_on()


def end(item: pytest.Item) -> None:
    """After a family's last pair: measure for everybody what was measured for some."""
    pair, session = item.stash.get(PAIR, None), item.session
    if pair is None or session.shouldfail or session.shouldstop:
        return
    left = item.config.stash[LEFT].get(pair.family.key, set())
    left.discard(item)
    if not left:
        try:
            _finish(item.config.stash[STATE], pair.family.key)
        except Exception as error:
            attempt = failed_attempt(error)
            if attempt is None or attempt.shown is None:  # else it was told where it was needed
                raise


def _finish(state: State, key: str) -> None:
    """Measure who was trained too late for what was measured."""
    population = _populations(state).get(key)
    if population is not None:
        _tell(state, key, population, population.finish())


def stop(config: pytest.Config) -> None:
    """End what is still trained where the run stops early; what is finished is kept."""
    state = config.stash[STATE]
    for key, population in _populations(state).items():
        population.stop()
        if not state.worker:
            _tell(state, key, population, [])


def _tell(state: State, key: str, population: ModelPopulation, metrics: Sequence[Metric]) -> None:
    """Tell the ledger what it doesn't know yet of a family of which it was told something."""
    if key in state.facts:
        named = {metric.name: metric for metric in metrics}
        if (news := recorder.news_of(population, named, key, state)) is not None:
            state.ledger.learn(key, news)


def _populations(state: State) -> dict[str, ModelPopulation]:
    """Return the families that are trained, as far as they are built, by key."""
    built = {
        each.key: each.population
        for each in state.families
        if each.population is not None and not isinstance(each.definition, Recorded)
    }
    if not built:  # recorded scores need no torch
        return {}
    from pytest_multiplicity.evaluation import ModelPopulation

    return {key: each for key, each in built.items() if isinstance(each, ModelPopulation)}
