"""`--lf`: a gate that failed brings its family's pairs along, so that it is judged again.

pytest knows the last failures by node id, and doesn't even collect the files of other tests. Which
of them are gates is remembered in pytest's cache, since it must be known before.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_multiplicity.plugin import compat

GATES = "multiplicity/failed_gates"
AGAIN = pytest.StashKey[bool]()
EVERYTHING = pytest.StashKey[bool]()


def begin(config: pytest.Config) -> None:
    """Where a gate is among the last failures, collect its family's specs too."""
    nothing = config.getoption("last_failed_no_failures", default="all") == "none"
    config.stash[EVERYTHING] = not (_failed(config) or nothing)
    if config.getoption("lf", default=False) and _known(config) & _failed(config):
        config.stash[AGAIN] = True
        compat.collect_all_files(config)


def runs_everything(config: pytest.Config) -> bool:
    """Return whether `--lf` selects nothing: no test is known to have failed."""
    return config.stash.get(EVERYTHING, False)


def brings_along(config: pytest.Config, gates: Iterable[str]) -> set[str]:
    """Return which of these gates bring their families along: those that failed last."""
    return _failed(config) & {*gates} if config.stash.get(AGAIN, False) else set()


def remember(config: pytest.Config, gates: Iterable[str]) -> None:
    """Keep for the next run which of the last failures are gates."""
    known = _known(config)
    failed = _failed(config) & {*known, *gates}
    if failed != known and (cache := config.cache) is not None:
        cache.set(GATES, sorted(failed))


def _known(config: pytest.Config) -> set[str]:
    cache = getattr(config, "cache", None)  # none under `-p no:cacheprovider`
    return set() if cache is None else {*cache.get(GATES, [])}


def _failed(config: pytest.Config) -> set[str]:
    return {str(key) for key in compat.last_failed(config)}
