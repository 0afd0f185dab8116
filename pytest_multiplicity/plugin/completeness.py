"""Whether a family's matrix is complete: every pair has a verdict, nothing was left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_multiplicity.plugin import compat, lastfailed
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.marks import BROKEN
from pytest_multiplicity.plugin.options import Partial
from pytest_multiplicity.plugin.state import STATE, State


def partial(state: State, family: Family) -> str | None:
    """Why the family's matrix is incomplete, such as `34 of 72 pairs`; None when complete."""
    return left_out(state, family) or state.ledger.missing(family.key, family.specs, family.pairs)


def left_out(state: State, family: Family) -> str | None:
    """Return what the counts can't see: specs that were never collected."""
    config = state.config
    if state.collection_failed or config.stash.get(BROKEN, False):
        return "a module could not be collected"
    if config.getoption("stepwise", default=False):
        return "--stepwise leaves specifications out"
    whole = lastfailed.runs_everything(config) or family.key in state.judged_again
    if config.getoption("lf", default=False) and not whole:
        return "--lf leaves specifications out"
    home = family.home
    for option in ("ignore", "ignore_glob"):
        for path in config.getoption(option, default=None) or []:
            if option == "ignore_glob" or _below(_absolute(config, path), home):
                return f"--{option.replace('_', '-')}={path} leaves specifications out"
    if state.asked.isdisjoint(family.above):
        return f"not all of {family.base or 'the root'} was asked for"
    return None


def note_asked(session: pytest.Session) -> None:
    """Remember what was asked for whole, while pytest knows."""
    asked = {path.resolve() for path in compat.asked_paths(session)}
    session.config.stash[STATE].asked = asked


def doubt(state: State) -> str:
    """Return what to say of gates that were skipped though nobody asked for less; else nothing."""
    reasons = {
        nodeid: partial(state, state.families.get(state.gate_families[nodeid]))
        for nodeid in state.selected_gates
        if nodeid not in state.early_gates  # which did run, before others of its family had
    }
    skipped = {nodeid: reason for nodeid, reason in reasons.items() if reason}
    if not skipped or state.options.partial is Partial.FAIL or _asked_for_less(state):
        return ""
    names = ", ".join(nodeid.rpartition("::")[2] for nodeid in skipped)
    return (
        f"not evaluated, though the whole suite was asked for: {names} "
        f"({'; '.join(dict.fromkeys(skipped.values()))}); multiplicity_partial = fail makes that "
        "a failure"
    )


def _asked_for_less(state: State) -> bool:
    """Return whether the call itself says that it wants a part of the suite."""
    config = state.config
    narrowing = ["keyword", "markexpr", "deselect", "stepwise", "ignore", "ignore_glob"]
    narrowing += ["lf"] * (not lastfailed.runs_everything(config))
    always = config.getini("addopts")  # what is left out of every run, nobody asked for in this one
    wanted = [config.getoption(option, default=None) for option in narrowing]
    if any(value and value not in always for value in wanted):
        return True
    chosen = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    gated = {state.gate_families[nodeid] for nodeid in state.selected_gates}
    return chosen and any(state.asked.isdisjoint(state.families.get(key).above) for key in gated)


def _absolute(config: pytest.Config, path: str | Path) -> Path:
    return (config.invocation_params.dir / path).resolve()


def _below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
