"""The pytest side: what every run loads, which is next to nothing.

The rest (`hooks.py` and all it needs) is registered when a family is met or an option is given,
so that a repository without families pays for a few checks only.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_multiplicity.compute import be_strict
from pytest_multiplicity.plugin import compat, garbage, lastfailed, options
from pytest_multiplicity.plugin.marks import BROKEN, DEFINITION, INCUMBENT
from pytest_multiplicity.plugin.roles import Process

HOOKS = "multiplicity-hooks"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--multiplicity-*` and their ini twins."""
    options.add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Get ready for what conftests import, and look where its time goes if that is asked for."""
    garbage.relax(early_config)
    if options.early(early_config, "profile"):
        from pytest_multiplicity.plugin import profiling

        profiling.begin(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; begin at once where an option or pytest-xdist asks for it."""
    for marker in options.MARKERS:
        config.addinivalue_line("markers", marker)
    config.pluginmanager.register(_Collection(config), "multiplicity-collection")
    lastfailed.begin(config)
    # a controller collects nothing, so it meets no family: its workers do
    if Process(config).distributes or options.given(config):
        _begin(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """Have garbage collected as usual once everything is imported."""
    garbage.restore(session.config)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize specs over their family's candidates, the candidate's id first."""
    known = compat.fixtures_of(metafunc).values()
    families = any(defs and _is_ours(defs[-1].func) for defs in known)
    last = {"survivors", "verdicts"}.intersection(metafunc.fixturenames)
    if families or last:
        _begin(metafunc.config)
        from pytest_multiplicity.plugin import collection

        collection.generate(metafunc)


@pytest.fixture
def survivors(request: pytest.FixtureRequest) -> Any:
    """Return the candidates that no enforced specification rejected.

    A test that takes it is a gate: it runs after every spec, on the whole family's verdicts.
    """
    from pytest_multiplicity.plugin import factory
    from pytest_multiplicity.plugin.state import STATE

    return factory.survivors(request.config.stash[STATE], request)


@pytest.fixture
def verdicts(request: pytest.FixtureRequest) -> Any:
    """Return what became of each candidate: `id`, `config`, `status`, `reasons`, `scores`.

    A test that takes it runs after all gates, whoever survives.
    """
    from pytest_multiplicity.plugin import readers
    from pytest_multiplicity.plugin.state import STATE

    return readers.verdicts(request.config.stash[STATE], request)


def _is_ours(function: Any) -> bool:
    """Return whether a fixture is a family, or an incumbent."""
    return hasattr(function, DEFINITION) or hasattr(function, INCUMBENT)


class _Collection:
    """Remembers that a module could not be collected, which leaves every matrix incomplete."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take note, also before there is a family."""
        if report.failed:
            self._config.stash[BROKEN] = True


def _begin(config: pytest.Config) -> None:
    """Register everything else, once."""
    if not config.pluginmanager.hasplugin(HOOKS):
        from pytest_multiplicity.plugin import hooks

        be_strict()
        config.pluginmanager.register(hooks, HOOKS)
