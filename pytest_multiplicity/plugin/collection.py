"""At collection: which tests are specs, over which family, and which are gates."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_multiplicity.errors import DefinitionError, ScoresError
from pytest_multiplicity.findings import Spec
from pytest_multiplicity.plugin import compat, forgotten, lastfailed, readers
from pytest_multiplicity.plugin.families import Family, Place
from pytest_multiplicity.plugin.marks import DEFINITION, INCUMBENT
from pytest_multiplicity.plugin.state import STATE, State

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Population


@dataclass(frozen=True, slots=True)
class Pair:
    """An item that judges one candidate by one spec."""

    family: Family
    spec: Spec
    candidate: int
    added: bool = False
    """Whether it is a position among the candidates that were added to the declared ones."""

    @property
    def place(self) -> tuple[Population | None, int]:
        """The population that the candidate is in, and its position there."""
        if not self.added:
            return self.family.population, self.candidate
        found = self.family.round_of(self.candidate)
        return found.population, found.positions.index(self.candidate)


PAIR = pytest.StashKey[Pair]()
FURTHER = pytest.StashKey[Pair]()
"""Of a candidate beyond the declared ones: what counts pairs doesn't count these."""


def judged(item: pytest.Item) -> Pair | None:
    """Return the pair that an item judges, whether its candidate was declared or added."""
    return item.stash.get(PAIR, None) or item.stash.get(FURTHER, None)


def generate(metafunc: pytest.Metafunc) -> None:
    """Parametrize a spec over its family; check what can be checked before anything is built."""
    state = metafunc.config.stash[STATE]
    fixtures = _fixture_definitions(metafunc)
    _check_incumbents(metafunc)
    if taken := _taken(metafunc):
        _check_gate(metafunc, [name for name, _ in fixtures], taken)
        return
    if not fixtures:
        return
    if len(fixtures) > 1:
        names = " and ".join(repr(name) for name, _ in fixtures)
        _refuse(
            metafunc.definition,
            f"{metafunc.function.__name__} takes two families, {names}: a spec is about one; "
            "what runs today, to compare with, is no family: @pm.incumbent",
        )
    name, fixture = fixtures[0]
    family = _family(state, name, fixture, metafunc.definition)
    _check_dependencies(metafunc, family)
    if not _parametrized_by_user(metafunc, name):
        ids = family.design.ids
        if metafunc.definition.get_closest_marker("unforeseen") is None:
            ids += family.further_ids
        metafunc.parametrize(name, range(len(ids)), ids=ids, indirect=True, scope="session")


def note_items(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark specs and gates among the collected items, before anything is deselected."""
    state = config.stash[STATE]
    first: dict[tuple[int, str], pytest.Function] = {}  # of a function
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if taken := _taken(item):
            _note_gate(state, item, taken)
        elif found := _fixture_definitions(item):
            _note_pair(state, item, *found[0])
            compat.share_place(item, first.setdefault((id(item.parent), item.originalname), item))


def note_selected(items: list[pytest.Item]) -> None:
    """Note which candidates the run is about, once it is known what is deselected."""
    for item in items:
        if (pair := item.stash.get(PAIR, None)) is not None:
            pair.family.selected.add(pair.candidate)


def bring_along(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under `--lf` select a family's pairs where a gate of it failed last."""
    state, failed = config.stash[STATE], compat.last_failed(config)
    last = state.after_specs
    state.judged_again = {last[each] for each in lastfailed.brings_along(config, last)}
    for item in items:
        pair, known = judged(item), compat.id_of(item)
        if pair and pair.family.key in state.judged_again and known not in failed:
            place = -1 if pair.added else pair.candidate
            state.brought[known] = (pair.family.key, pair.spec.nodeid, place)
            failed[known] = True


def _note_pair(state: State, item: pytest.Function, name: str, fixture: Any) -> None:
    callspec = getattr(item, "callspec", None)
    if callspec is None or name not in callspec.params:
        return
    family = _family(state, name, fixture, item)
    param = callspec.params[name]
    if isinstance(param, str) and param not in family.design.ids:
        return  # building it says so, and which ids there are
    index = param if isinstance(param, int) else family.design.ids.index(param)
    first = len(family.design.ids)
    known = family.design.ids[index] if index < first else family.further_ids[index - first]
    rest = callspec.id.removeprefix(str(known)).removeprefix("-")
    brackets = f"[{rest}]" if rest else ""
    nodeid = item.nodeid.removesuffix(f"[{callspec.id}]") + brackets
    if nodeid not in family.specs:
        unforeseen = item.get_closest_marker("unforeseen") is not None
        _note_forgotten(state, item, "nobody is rejected by it")
        text = inspect.getdoc(item.function) or ""
        family.specs[nodeid] = Spec(f"{item.originalname}{brackets}", nodeid, unforeseen, text)
        family.tests[f"{item.originalname}{brackets}"] = item.function
    if isinstance(param, str):
        family.picked.setdefault(nodeid, set()).add(index)
    spec = family.specs[nodeid]
    if index < first:
        item.stash[PAIR] = Pair(family, spec, index)
    else:
        item.stash[FURTHER] = Pair(family, spec, index - first, added=True)
        if not spec.unforeseen:
            family.adding.add(nodeid)


def _taken(test: pytest.Metafunc | pytest.Function) -> str:
    """Return which fixture makes a test one that runs after all specs; nothing for others."""
    if "survivors" in test.fixturenames:
        return "survivors"
    return readers.FIXTURE if readers.is_one(test) else ""


def _note_gate(state: State, item: pytest.Function, taken: str) -> None:
    visible = _visible_families(state, item)
    marker = item.get_closest_marker("family")
    if marker is not None:
        visible = [family for family in visible if family.name == marker.args[0]]
    if visible and taken == readers.FIXTURE:
        state.readers[item.nodeid] = visible[0].key
    elif visible:
        state.gate_families[item.nodeid] = visible[0].key
        visible[0].tests[item.name] = item.function
        _note_forgotten(state, item, "it says nothing of the survivors")


def _note_forgotten(state: State, item: pytest.Function, outcome: str) -> None:
    """Warn, once, of a comparison whose `assert` was forgotten."""
    if (found := forgotten.comparison(item.function)) is not None:
        text = f"{item.originalname} compares and asserts nothing, so {outcome}: assert {found}"
        if text not in state.warnings:
            state.warnings.append(text)


def _check_gate(metafunc: pytest.Metafunc, families: list[str], taken: str) -> None:
    name = metafunc.function.__name__
    if families:
        _refuse(
            metafunc.definition,
            f"{name} takes {taken} and the family {families[0]!r}: a gate takes survivors, a "
            "spec takes a candidate; write two tests",
        )
    state = metafunc.config.stash[STATE]
    visible = [family.name for family in _visible_families(state, metafunc.definition)]
    marker = metafunc.definition.get_closest_marker("family")
    if marker is not None and (len(marker.args) != 1 or marker.args[0] not in visible):
        wanted = repr(marker.args[0]) if marker.args else "nothing"
        _refuse(
            metafunc.definition,
            f"{name} is marked family({wanted}), which it can't see; it sees "
            f"{', '.join(visible) or 'no family'}",
        )
    if not visible:
        _refuse(
            metafunc.definition,
            f"{name} takes {taken} but sees no family: define one with @pm.family",
        )
    if marker is None and len(visible) > 1:
        _refuse(
            metafunc.definition,
            f"{name} takes {taken} of one of {len(visible)} families, {', '.join(visible)}: "
            f"mark it with @pytest.mark.family({visible[0]!r})",
        )


def _visible_families(state: State, node: pytest.Item) -> list[Family]:
    found = []
    for name in _family_names(node):
        fixtures = compat.visible_fixtures(name, node)
        if fixtures and _definition(fixtures[-1]):
            found.append(_family(state, name, fixtures[-1], node))
    return found


def _family_names(node: pytest.Item) -> dict[str, None]:
    """Names of fixtures that are families somewhere: in a conftest, a plugin or the module."""
    assert isinstance(node, pytest.Function)
    places = [*node.config.pluginmanager.get_plugins(), node.module, node.cls]
    return {
        name: None
        for place in places
        for name, value in getattr(place, "__dict__", {}).items()
        if DEFINITION in getattr(value, "__dict__", {})
    }


def _fixture_definitions(node: pytest.Metafunc | pytest.Function) -> list[tuple[str, Any]]:
    """Return the families among a test's fixtures, also those it reaches through other fixtures."""
    return [
        (name, fixtures[-1])
        for name, fixtures in compat.fixtures_of(node).items()
        if fixtures and name in node.fixturenames and _definition(fixtures[-1])
    ]


def _definition(fixture: Any) -> Any:
    return getattr(fixture.func, DEFINITION, None)


def _family(state: State, name: str, fixture: Any, node: pytest.Item) -> Family:
    try:
        definition = _definition(fixture)
        return state.families.find(name, definition, lambda: _place(fixture, definition, node))
    except (DefinitionError, ScoresError) as error:
        problem = str(error)
    return _refuse(node, problem)  # not in the handler, which would print the message three times


def _place(fixture: Any, definition: Any, node: pytest.Item) -> Place:
    """Return where a family is at home, whatever pytest's root is: node ids are below that."""
    assert isinstance(node, pytest.Function)
    root = node.config.rootpath.resolve()
    folders = [each.resolve() for each in node.path.parents]  # each: any of them may be a link
    homes = {
        Path(plugin.__file__).parent.resolve()
        for plugin in node.config.pluginmanager.get_plugins()
        if Path(getattr(plugin, "__file__", None) or "").name == "conftest.py"
        and _defines(plugin, definition)
    }
    nearest = next((place for place, folder in enumerate(folders) if folder in homes), None)
    if nearest is not None:
        above = folders[nearest:]
    elif any(_defines(place, definition) for place in (node.module, node.cls)):
        above = [node.path.resolve(), *folders]
    else:  # a plugin's
        above = [root, *root.parents]
    base = "" if above[0] == root else Path(os.path.relpath(above[0], root)).as_posix()
    return base + "".join(str(fixture.baseid).partition("::")[1:]), tuple(above)


def _defines(place: object, definition: Any) -> bool:
    values = getattr(place, "__dict__", {}).values()
    return any(getattr(value, "__dict__", {}).get(DEFINITION) is definition for value in values)


def _check_incumbents(metafunc: pytest.Metafunc) -> None:
    """Refuse incumbents that depend on what only candidates have."""
    known = compat.fixtures_of(metafunc)
    for name in metafunc.fixturenames:
        fixtures = known.get(name)
        definition = getattr(fixtures[-1].func, INCUMBENT, None) if fixtures else None
        if definition is None:
            continue
        try:
            definition.check()
        except DefinitionError as error:
            _refuse(metafunc.definition, str(error))
        for needed, fixture in _closure(metafunc, definition.parameters):
            if _definition(fixture) is not None:
                _refuse(
                    metafunc.definition,
                    f"the incumbent {name!r} needs the family {needed!r}: an incumbent is one "
                    "model, outside the family; load it, or record its answers in a table",
                )


def _check_dependencies(metafunc: pytest.Metafunc, family: Family) -> None:
    """All specs of a family must build it from the same session-scoped fixtures.

    pytest itself would hand out the candidate that was built with the first spec's.
    """
    for name, fixture in _closure(metafunc, family.definition.parameters):
        if fixture.scope != "session":
            _refuse(
                metafunc.definition,
                f"family {family.name!r} needs the fixture {name!r}, whose scope is "
                f"{fixture.scope}: make it session, as the family is",
            )
        if fixture.params is not None:
            _refuse(
                metafunc.definition,
                f"family {family.name!r} needs the fixture {name!r}, which is parametrized: make "
                "that an axis of the family",
            )
        known = family.dependencies.setdefault(name, fixture.func)
        if known is not fixture.func:
            _refuse(
                metafunc.definition,
                f"{metafunc.definition.nodeid} sees another fixture {name!r} than other specs of "
                f"the family {family.name!r}, which is built once: give it another name",
            )


def _closure(metafunc: pytest.Metafunc, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the fixtures a family needs, and those that these need."""
    known, seen, todo = compat.fixtures_of(metafunc), set(), list(names)
    while todo:
        name = todo.pop(0)
        fixtures = known.get(name)
        if name in seen or not fixtures:
            continue  # `request`, or an unknown fixture, which pytest itself reports
        seen.add(name)
        yield name, fixtures[-1]
        todo.extend(fixtures[-1].argnames)


def _parametrized_by_user(metafunc: pytest.Metafunc, name: str) -> bool:
    for marker in metafunc.definition.iter_markers("parametrize"):
        names = marker.args[0] if marker.args else marker.kwargs.get("argnames", "")
        listed = names.split(",") if isinstance(names, str) else names
        if name in (each.strip() for each in listed):
            return True
    return False


def _refuse(node: pytest.Item, message: str) -> NoReturn:
    """Fail the collection of a test; what was said of another one before is not said again."""
    first = node.config.stash[STATE].refused.setdefault(message, node.nodeid)
    pytest.fail(message if first == node.nodeid else f"the same as of {first}", pytrace=False)
