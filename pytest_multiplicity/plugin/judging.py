"""Asks every enforced specification about a model that is no candidate of its family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.plugin import compat, given
from pytest_multiplicity.plugin.collection import PAIR
from pytest_multiplicity.plugin.families import Family

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Candidate

Spec = Callable[["Candidate"], bool]


def judge_of(family: Family, gate: pytest.FixtureRequest) -> Spec:
    """Return what says whether every enforced spec of a family keeps a candidate.

    A spec gets the fixtures that the gate can see, under the parameters it was collected with.
    """
    known: list[Spec] = []

    def judge(candidate: Candidate) -> bool:
        if not known:
            known.extend(_specs(family, gate))
        return all(spec(candidate) for spec in known)

    return judge


def _specs(family: Family, gate: pytest.FixtureRequest) -> Iterator[Spec]:
    found: dict[str, pytest.Function] = {}
    for item in gate.session.items:
        pair = item.stash.get(PAIR, None)
        if pair is not None and pair.family.key == family.key and not pair.spec.unforeseen:
            assert isinstance(item, pytest.Function)
            found.setdefault(pair.spec.nodeid, item)
    yield from (_spec(item, family.name, gate) for item in found.values())


def _spec(item: pytest.Function, name: str, gate: pytest.FixtureRequest) -> Spec:
    params = getattr(item, "callspec", None)
    own = {} if params is None else dict(params.params)
    values = {arg: _value(item, arg, own, gate) for arg in compat.arguments(item) if arg != name}
    if compat.is_given(item.obj):
        given.settle(getattr(item.obj, "__func__", item.obj))

    def keeps(candidate: Candidate) -> bool:
        try:
            item.obj(**{name: candidate}, **values)
        except AssertionError:
            return False
        return True

    return keeps


def _value(
    item: pytest.Function, name: str, own: dict[str, Any], gate: pytest.FixtureRequest
) -> Any:
    """Return what a spec's argument is; MeasurementError where the gate can't know."""
    if name in own and compat.is_direct(item, name):
        return own[name]
    reason = f"which the gate {gate.node.name} can't see: define it in a conftest.py that both see"
    if name in own:
        reason = "which has parameters: give the spec plain values, as parametrize does"
    else:
        try:
            return gate.getfixturevalue(name)
        except pytest.FixtureLookupError:
            pass
    raise MeasurementError(f"specs=True: {item.name} takes the fixture {name!r}, {reason}")
