"""Whether a family's matrix is complete: every pair has a verdict, nothing was left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.marks import BROKEN
from pytest_multiplicity.plugin.state import State


def partial(state: State, family: Family) -> str | None:
    """Why the family's matrix is incomplete, such as `34 of 72 pairs`; None when complete."""
    left_out = _left_out(state, family)
    return left_out or state.ledger.missing(family.key, family.specs, family.pairs)


def _left_out(state: State, family: Family) -> str | None:
    """Return what the counts can't see: specs that were never collected."""
    config = state.config
    if state.collection_failed or config.stash.get(BROKEN, False):
        return "a module could not be collected"
    for option in ("lf", "stepwise"):
        if config.getoption(option, default=False):
            return f"--{'lf' if option == 'lf' else 'stepwise'} leaves specifications out"
    home = _home(config, family)
    for option in ("ignore", "ignore_glob"):
        for path in config.getoption(option, default=None) or []:
            if option == "ignore_glob" or _below(_absolute(config, path), home):
                return f"--{option.replace('_', '-')}={path} leaves specifications out"
    if not any(_covers(config, argument, home) for argument in config.args):
        return f"not all of {family.base or 'the root'} was asked for"
    return None


def _covers(config: pytest.Config, argument: str, home: Path) -> bool:
    return "::" not in argument and _below(home, _absolute(config, argument))


def _absolute(config: pytest.Config, path: str | Path) -> Path:
    return (config.invocation_params.dir / path).resolve()


def _home(config: pytest.Config, family: Family) -> Path:
    return (config.rootpath / family.base.partition("::")[0]).resolve()


def _below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
