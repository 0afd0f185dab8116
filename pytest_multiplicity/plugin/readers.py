"""Tests that take `verdicts`: run after every gate, whoever survives, to tell others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_multiplicity.plugin import compat, reported
from pytest_multiplicity.plugin.state import State

if TYPE_CHECKING:
    from pytest_multiplicity.findings import Verdicts

FIXTURE = "verdicts"


def is_one(test: pytest.Metafunc | pytest.Function) -> bool:
    """Return whether a test takes the fixture: ours, and none of the suite's own by that name."""
    known = compat.fixtures_of(test).get(FIXTURE, ())
    return bool(known) and known[-1].func.__module__ == "pytest_multiplicity.plugin"


def verdicts(state: State, request: pytest.FixtureRequest) -> Verdicts:
    """Return what became of the candidates of the test's family; say where that isn't all."""
    from pytest_multiplicity.findings import tell

    nodeid = request.node.nodeid
    family = state.families.get(state.readers.get(nodeid) or state.gate_families[nodeid])
    found = tell(reported.findings_of(state, family))
    if found.partial:
        state.told_in_part = (
            f"{request.node.originalname} was told of verdicts that are not all: {found.partial}; "
            "verdicts.complete says so"
        )
        state.warnings.append(state.told_in_part)
    return found
