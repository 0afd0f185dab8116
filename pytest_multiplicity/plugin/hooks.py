"""The hooks of a run that has families. Each is one line: what it does is in the module it names.

Registered when the first family is met; see `pytest_multiplicity/plugin/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_multiplicity.plugin import (
    certain,
    collection,
    completeness,
    distributed,
    failures,
    fixtures,
    further,
    garbage,
    gates,
    given,
    meanwhile,
    outcomes,
    parts,
    run,
    screening,
    summary,
)
from pytest_multiplicity.plugin import plan as foresight
from pytest_multiplicity.plugin.state import STATE


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, start the run's state."""
    run.configure(config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> Generator[None, None, None]:
    """Close what the run holds open, and let pytest look for what was left behind."""
    run.unconfigure(config)
    yield from garbage.looks(config)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Arrange for gates to run on the controller under pytest-xdist."""
    distributed.start(session)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Know specs and gates, and put the gates last, whatever other plugins did."""
    completeness.note_asked(session)
    collection.note_items(config, items)
    collection.bring_along(config, items)
    yield
    collection.note_selected(items)
    further.order(config, items)
    gates.order(config, items)
    screening.order(config, items)
    foresight.keep_one_of_each(config, items)
    meanwhile.order(config, items)
    certain.order(config, items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare what is there from the garbage collector while tests run."""
    garbage.spare(session.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Begin what takes long to come up, if it is going to be needed."""
    meanwhile.prepare(session)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say what added seeds may come to."""
    return further.beforehand(config.stash[STATE])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Leave out added candidates that aren't needed."""
    return further.instead_of_running(item, nextitem)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Know what is asked; skip gates that can't be evaluated, and pairs that are decided."""
    run.know_questions(item.config)
    meanwhile.begin(item)
    parts.begin(item)
    gates.setup(item)
    screening.setup(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """Order the specs that are left, once their costs are known."""
    parts.end(item)
    yield
    screening.teardown(item, nextitem)
    meanwhile.end(item)
    certain.teardown(item, nextitem)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """Have families and incumbents know what asks for them."""
    return (yield from fixtures.asked(request))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Under `--multiplicity-plan` plan instead of judging; try examples that are known by now."""
    return foresight.instead_of_running(pyfuncitem) or given.instead_of_running(pyfuncitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Record what a spec measures; a spec that measures nothing is an error."""
    with parts.calling(item), outcomes.judging(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a spec's AssertionError into a rejection; show errors of ours without their depths."""
    report = yield from outcomes.converted(item, call)
    return outcomes.judge(item, call, failures.shortened(item, call, report))


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str | tuple[str, dict[str, bool]]] | None:
    """Name REJECTED, UNDECIDED and MEASURED."""
    return outcomes.status(report)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports that were asked for."""
    meanwhile.stop(session.config)
    gates.remember_unsettled(session.config)
    summary.write(session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the funnel, the survivors, the sheets and the gates."""
    summary.show(terminalreporter)
