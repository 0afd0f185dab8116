"""With `-x`, or `--maxfail`: gates run as soon as no verdict to come can change what they look at.

That is when a family's last pair is judged, other families still to come; when every candidate is
rejected; and, of a gate that only asks for enough survivors or reliable configurations, when
it would fail even if nobody were rejected any more. Without `-x` gates run last, as ever.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.plugin import compat, completeness, reported
from pytest_multiplicity.plugin.collection import PAIR
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.state import STATE, State

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import ConfigurationTrial


@dataclass
class Awaited:
    """A family of which all pairs were selected: what is to come of it."""

    left: set[pytest.Item] = field(default_factory=set)
    gates: list[pytest.Item] = field(default_factory=list)
    rejected: int = 0  # candidates, when its gates were last looked at


AWAITED = pytest.StashKey[dict[str, Awaited]]()
"""Families by key, where a failure ends the run."""


def order(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Know what is to come, where a failure ends the run."""
    state = config.stash[STATE]
    awaited: dict[str, Awaited] = {}
    if config.getvalue("maxfail") and not (state.worker or state.options.auto):
        awaited = {family.key: Awaited() for family in state.families}
        for item in items:
            if (pair := item.stash.get(PAIR, None)) is not None:
                awaited[pair.family.key].left.add(item)
            elif item.nodeid in state.gate_families:
                awaited[state.gate_families[item.nodeid]].gates.append(item)
    whole = {family.key: family.pairs for family in state.families}
    config.stash[AWAITED] = {
        k: a for k, a in awaited.items() if len(a.left) == whole[k] and a.gates
    }


def after(item: pytest.Item) -> list[pytest.Item]:
    """Return the gates that are certain once a test has run, wherever it ran; none twice."""
    pair, state = item.stash.get(PAIR, None), item.config.stash[STATE]
    awaited = item.config.stash[AWAITED].get(pair.family.key) if pair else None
    if pair is None or awaited is None:
        return []
    awaited.left.discard(item)
    before, awaited.rejected = awaited.rejected, len(state.ledger.rejected(pair.family.key))
    if awaited.left and awaited.rejected == before:
        return []
    left = len(awaited.left)
    gates = [gate for gate in awaited.gates if _is_certain(state, pair.family, gate, left)]
    awaited.gates = [gate for gate in awaited.gates if gate not in gates]
    return gates


def teardown(item: pytest.Item, following: pytest.Item | None) -> None:
    """After a pair: have the gates come next that are certain now."""
    session = item.session
    if following is not None and (gates := after(item)):
        position = session.items.index(item) + 1
        others = [each for each in session.items[position:] if each not in gates]
        session.items[position:] = [*gates, *others]
        if gates[0] is not following:
            compat.tear_down_for(gates[0])


def _is_certain(state: State, family: Family, gate: pytest.Item, left: int) -> bool:
    """Return whether a gate's outcome is known, and say why where pairs are left."""
    if completeness.left_out(state, family):
        return False
    if not left:
        return completeness.partial(state, family) is None
    rejected = len(state.ledger.rejected(family.key))
    if rejected == len(family.design.ids):
        why = "nobody can survive any more"
    elif _is_hopeless(state, family, gate):
        why = f"{rejected} of {len(family.design.ids)} are rejected, which are too many"
    else:
        return False
    if all(state.gate_families[each] != family.key for each in state.early_gates):
        _say(state, f"multiplicity: {family.name}: {why}, with {left} pairs to come")
    state.early_gates.add(gate.nodeid)
    return True


def _say(state: State, line: str) -> None:
    reporter = compat.terminal(state.config)
    if reporter is not None and state.config.get_verbosity() >= -1:
        compat.end_line(reporter)
        reporter.write_line(line)


# --- the best that can still come


def _is_hopeless(state: State, family: Family, gate: pytest.Item) -> bool:
    """Return whether a gate fails even if no other candidate is rejected."""
    if not isinstance(gate, pytest.Function) or not _asks_for_enough(gate.obj):
        return False
    from pytest_multiplicity.evaluation import Survivors

    if family.population is None:
        return False
    standing = set(range(len(family.design.ids))) - set(state.ledger.rejected(family.key))
    trials = best(state, family) if "reliable" in gate.obj.__code__.co_names else []
    try:
        gate.obj(survivors=Survivors(family.population, sorted(standing), trials))
    except AssertionError:
        return True
    except Exception:  # it is told when the gate runs
        return False
    return False


def best(state: State, family: Family) -> list[ConfigurationTrial]:
    """Return what becomes of the seeds of each configuration if no other is rejected."""
    from pytest_multiplicity.findings import configurations

    rejected = state.ledger.rejected(family.key)
    found = configurations.trials(reported.findings_of(state, family))
    seeds = family.design.configurations
    return [
        replace(each, passed=tuple(index not in rejected for index in seeds[each.name]))
        for each in found
    ]


@cache
def _asks_for_enough(function: Any) -> bool:
    """Return whether a gate only asserts that there are as many of something, or more."""
    if list(inspect.signature(function).parameters) != ["survivors"]:
        return False
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    body = [each for each in getattr(tree, "body", ()) if not _is_text(each)]
    return bool(body) and all(isinstance(s, ast.Assert) and _is_more(s.test) for s in body)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_more(test: ast.expr) -> bool:
    """Return whether more survivors can only make a condition true."""
    match test:
        case ast.Compare(left, [ast.GtE() | ast.Gt()], [ast.Constant()]):
            return _is_count(left)
        case ast.Compare(_, [ast.In()], [several]):
            return _is_reliable(several) and not list(_names(test.left))
        case ast.BoolOp(ast.And() | ast.Or(), parts):
            return all(map(_is_more, parts))
    return _is_some(test)


def _is_count(value: ast.expr) -> bool:
    match value:
        case ast.Call(ast.Name("len"), [several], []):
            return _is_some(several)
    return False


def _is_some(value: ast.expr) -> bool:
    return (isinstance(value, ast.Name) and value.id == "survivors") or _is_reliable(value)


def _is_reliable(value: ast.expr) -> bool:
    match value:
        case ast.Call(ast.Attribute(ast.Name("survivors"), "reliable"), given, named):
            return not any(map(list, map(_names, [*given, *(each.value for each in named)])))
    return False


def _names(value: ast.expr) -> Iterator[ast.Name]:
    return (each for each in ast.walk(value) if isinstance(each, ast.Name))
