"""Every name of pytest, pytest-xdist and hypothesis that is not public, each with why it is used.

A release of theirs that renames one is mended here and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import pytest

# --- pytest: fixtures


def fixtures_of(test: pytest.Metafunc | pytest.Function) -> Mapping[str, Sequence[Any]]:
    """Return a test's fixtures with those they need: name -> definitions, the last one holds.

    There is no public way to know them before they are set up (pytest#14991).
    """
    if isinstance(test, pytest.Function):
        return test._fixtureinfo.name2fixturedefs
    return test._arg2fixturedefs


def visible_fixtures(name: str, node: pytest.Item) -> Sequence[Any]:
    """Return the definitions of a fixture that a node sees, requested or not (pytest#14991)."""
    manager: Any = node.session._fixturemanager
    return manager.getfixturedefs(name, node) or ()


def arguments(test: pytest.Function) -> Sequence[str]:
    """Return the fixtures and parameters that a test's function takes (pytest#14991)."""
    return test._fixtureinfo.argnames


def is_direct(test: pytest.Function, name: str) -> bool:
    """Return whether an argument is a plain value of `parametrize`, not a fixture's parameter.

    pytest keeps such values as fixtures of its own, which this function tells from others.
    """
    found: Sequence[Any] = test._fixtureinfo.name2fixturedefs.get(name, ())
    return bool(found) and found[-1].func.__name__ == "get_direct_param_fixture_func"


def share_place(item: pytest.Item, like: pytest.Item) -> None:
    """Have an item of a function know its place in the source from another one of that function.

    pytest looks it up for each, which takes as long as judging a pair of recorded scores does; what
    it found is in `location`, a cached property since pytest 3, which can't be set in public.
    """
    if item is like or not type(item) is type(like) is pytest.Function:
        return
    path, line, name = like.location
    if name.endswith(like.name):
        vars(item)["location"] = (path, line, name.removesuffix(like.name) + item.name)


def tear_down_for(following: pytest.Item) -> None:
    """Take down the fixtures that the item which comes next now doesn't need.

    pytest chose the next item before its order changed; `SetupState`, clarified for plugins in
    pytest#8219, is not public.
    """
    following.session._setupstate.teardown_exact(following)


def asked_paths(session: pytest.Session) -> list[Path]:
    """Return the folders and modules that were asked for whole, however they were named.

    pytest resolves its arguments (`--pyargs`, files of arguments, links) for itself; known while
    it collects only, and `Session.isinitpath` can't tell a module from a test in it (pytest#11137).
    """
    return [argument.path for argument in session._initial_parts if not argument.parts]


# --- pytest: outcomes


def marked_xfail(report: pytest.TestReport) -> bool:
    """Return whether the user's own mark has made this an expected failure (pytest#7327)."""
    return hasattr(report, "wasxfail")


def reject(report: pytest.TestReport, reason: str) -> None:
    """Make a failure one that fails nothing: skipped with `wasxfail` (undocumented, pytest#7327).

    Without the attribute a skipped report trips assertions in junitxml and the terminal.
    """
    report.outcome = "skipped"
    report.wasxfail = reason


def let_go_of_frames(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Let go of what a spec's frames hold once its verdict is told, unless a debugger is asked for.

    pytest-rerunfailures, for one, keeps every exception that it sees until the run ends: two dozen
    frames of pytest's each, with all that the spec had in its hands. An `ExceptionInfo` has a
    traceback, which can't be replaced in public, and so it gets one that leads nowhere.
    """
    if not item.config.getoption("usepdb", False):
        error = excinfo.value.with_traceback(_nowhere())
        excinfo._excinfo, excinfo._traceback = (type(error), error, _nowhere()), None


@cache
def _nowhere() -> TracebackType:
    """Return a traceback that holds nothing: a generator's frame has no callers when it is left."""
    found = None
    try:
        next(1 / each for each in range(1))
    except ZeroDivisionError:
        found = sys.exc_info()[2]
    assert found is not None
    assert found.tb_next is not None
    return found.tb_next


def skip_at_item(reason: str) -> BaseException:
    """Return what to raise to skip an item as if it were marked so, at its line instead of ours."""
    return pytest.skip.Exception(reason, _use_item_location=True)


def crash_of(longrepr: object) -> Any:
    """Return where a failure happened and its message, None where that isn't known.

    `ReprFileLocation` is not public; JUnit and the short summary read its message.
    """
    return getattr(longrepr, "reprcrash", None)


def junit(config: pytest.Config) -> Any:
    """Return what writes `--junitxml`, None where nothing does: its key is not exported."""
    from _pytest.junitxml import xml_key

    return config.stash.get(xml_key, None)


def last_failed(config: pytest.Config) -> dict[Any, bool]:
    """Return what `--lf` remembers, to change: it forgets a test that is skipped; no hook asks."""
    plugin: Any = config.pluginmanager.getplugin("lfplugin")
    return {} if plugin is None else plugin.lastfailed


def collect_all_files(config: pytest.Config) -> None:
    """Have `--lf` leave tests out after collection only; files it would not even collect."""
    if (plugin := config.pluginmanager.getplugin("lfplugin-collwrapper")) is not None:
        config.pluginmanager.unregister(plugin)


def id_of(item: pytest.Item) -> Any:
    """Return what `lastfailed` knows an item by: since pytest 9 an object, before a text."""
    return getattr(item, "id", item.nodeid)


@contextmanager
def collecting_again(session: pytest.Session) -> Iterator[None]:
    """Inside, `perform_collect` is silent, and doesn't refuse after `-x`.

    The public setters of `shouldfail` and `shouldstop` only ever set (pytest#11721).
    """
    option = session.config.option
    verbose, option.verbose = option.verbose, min(option.verbose, -1)
    stops = session._shouldfail, session._shouldstop
    session._shouldfail = session._shouldstop = False
    try:
        yield
    finally:
        option.verbose = verbose
        session._shouldfail, session._shouldstop = stops


# --- pytest: the terminal


def session(config: pytest.Config) -> pytest.Session:
    """Return the session: the hook that prints the summary isn't told, and it has the exit code."""
    found: pytest.Session = config.pluginmanager.getplugin("session")
    return found


def terminal(config: pytest.Config) -> pytest.TerminalReporter | None:
    """Return the terminal's reporter; None under `-p no:terminal`, and in workers of xdist."""
    reporter: pytest.TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
    return reporter


def writer(reporter: pytest.TerminalReporter) -> Any:
    """Return what knows the terminal's width and colours: its public alias went in pytest#6779."""
    return reporter._tw


def stream(reporter: pytest.TerminalReporter) -> TextIO:
    """Return the stream that the terminal's reporter writes to (pytest#6779)."""
    written: TextIO = reporter._tw._file
    return written


def end_line(reporter: pytest.TerminalReporter) -> None:
    """Begin a new line after the letters of tests: under -q `ensure_newline()` doesn't know."""
    if reporter._tw.width_of_current_line:
        reporter.write_line("")


def outside_capture(config: pytest.Config) -> AbstractContextManager[Any]:
    """Leave pytest's capture for a moment; the fixture `capsys.disabled()` is for tests alone."""
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    return nullcontext() if manager is None else manager.global_and_fixture_disabled()


# --- pytest-xdist: its own helpers take a session or a request, no config (xdist#504)


def worker_input(config: Any) -> dict[str, Any] | None:
    """Return what a worker of pytest-xdist is told, by its config or its node; else None."""
    return getattr(config, "workerinput", None)


def worker_output(worker: Any) -> dict[str, Any]:
    """Return what a worker leaves for its controller: of its config to add to, of its node to read.

    A worker that crashed left nothing.
    """
    return getattr(worker, "workeroutput", {})


def controls_workers(config: pytest.Config) -> bool:
    """Return whether workers judge for this process: known once its session has started."""
    return config.pluginmanager.hasplugin("dsession")


def run_id(config: pytest.Config) -> str | None:
    """Return the id that a controller gave its workers; the fixture of it is for tests alone."""
    if (told := worker_input(config)) is not None:
        return told["testrunuid"]  # type: ignore[no-any-return]
    session = config.pluginmanager.getplugin("dsession")
    return getattr(getattr(session, "nodemanager", None), "testrunuid", None)


# --- hypothesis


def is_given(function: object) -> bool:
    """Return whether hypothesis draws a test's arguments, whether or not it was ever imported."""
    return getattr(function, "is_hypothesis_test", False) is True


def settings_of(function: Any) -> Any:
    """Return the settings that a test under `@given` runs with."""
    return function._hypothesis_internal_use_settings


def set_settings(function: Any, settings: Any) -> None:
    """Have a test run with these settings: hypothesis' own plugin sets them so for its options."""
    function._hypothesis_internal_use_settings = settings


def seed_if_unset(function: Any, seed: int) -> None:
    """Have a test draw from a seed, unless its author or `--hypothesis-seed` chose one.

    The public `seed()` turns the example database off, and can't be told from the author's.
    """
    from hypothesis import core

    if function._hypothesis_internal_use_seed is None and core.global_force_seed is None:
        function._hypothesis_internal_use_seed = seed


@contextmanager
def examples() -> Iterator[Callable[[], None]]:
    """Around examples: what it yields makes the shared generators be as they are in each of them.

    Afterwards they are as they were. Hypothesis puts them back after each example.
    """
    from hypothesis.internal import entropy

    with entropy.deterministic_PRNG():
        yield lambda: entropy.get_seeder_and_restorer()[0]()


def draws_unseen(function: Any, item: pytest.Item) -> bool:
    """Return whether hypothesis' own examples do no more than call the test that it decorates.

    It may be asked to tell of each, a class may have methods that it calls around them, and parts
    of a test report by themselves.
    """
    from hypothesis import Verbosity
    from hypothesis.internal import observability

    names = vars(observability)  # the list, in older releases
    observed = names.get("observability_enabled", lambda: bool(names["TESTCASE_CALLBACKS"]))
    chosen = settings_of(function)
    owner = getattr(item, "instance", None)
    around = ("execute_example", "setup_example", "teardown_example")
    return not (
        chosen.verbosity > Verbosity.normal
        or getattr(chosen, "backend", "hypothesis") != "hypothesis"
        or item.config.getoption("--hypothesis-show-statistics", False)
        or observed()
        or any(hasattr(owner, name) for name in around)
        or "subtests" in getattr(item, "fixturenames", ())
    )
