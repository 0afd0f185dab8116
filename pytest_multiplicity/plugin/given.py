"""Property-based specs: all candidates see the same examples, and the worst one is remembered."""

from __future__ import annotations

import functools
import inspect
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from pytest_multiplicity.plugin import compat
from pytest_multiplicity.plugin.searching import Names, Search

if TYPE_CHECKING:
    from pytest_multiplicity.plugin.collection import Pair
    from pytest_multiplicity.plugin.recorder import Recorder

Drawn: TypeAlias = "Mapping[str, Any]"

FALSIFIED = pytest.StashKey[Drawn]()
NAMES = pytest.StashKey[dict[str, Names]]()
PASSED = pytest.StashKey[dict[str, Sequence[Drawn]]]()
AGAIN = pytest.StashKey["Callable[[], bool | None] | None"]()
# of which a copy that hypothesis draws anew is no other than the first
PLAIN = (bool, int, float, complex, str, bytes, Enum, type(None))
RAISED = (Exception, pytest.skip.Exception, pytest.fail.Exception)


@dataclass
class _Watched:
    """A spec's function, and which examples of one search it has passed.

    Args:
        function: what hypothesis calls with each example.
        drawn: those so far.
        alike: whether others would get the very same: nothing was drawn that a test could change,
            none was given up.
    """

    function: Callable[..., Any]
    drawn: list[Drawn] = field(default_factory=list)
    alike: bool = True


@contextmanager
def prepared(item: pytest.Item, pair: Pair, recorder: Recorder) -> Iterator[None]:
    """Around the call of a spec under `@given`; around any other it does nothing."""
    function = getattr(item, "obj", None)
    if not compat.is_given(function):
        yield
        return
    decorated = getattr(function, "__func__", function)
    settle(decorated)
    handle = function.hypothesis  # type: ignore[union-attr]
    inner, spec = handle.inner_test, pair.spec.nodeid
    names = item.config.stash.setdefault(NAMES, {}).setdefault(spec, Names())
    passed = item.config.stash.setdefault(PASSED, {})
    try:
        with recorder.searching(names, pair.place[1]) as search:
            watched = _watched(inner, item, search)
            handle.inner_test = watched.function
            if spec in passed:
                item.stash[AGAIN] = lambda: _again(item, inner, search, recorder, passed[spec])
            yield
        if watched.drawn and watched.alike and compat.draws_unseen(decorated, item):
            passed.setdefault(spec, watched.drawn)
    finally:
        handle.inner_test = inner
        item.stash[AGAIN] = None


def instead_of_running(item: pytest.Item) -> bool | None:
    """Try the examples that an earlier candidate has passed; True where this one does, too.

    Hypothesis would draw the same for each candidate that fails none of them, and takes many times
    as long to draw one as it takes to look a score up.
    """
    again = item.stash.get(AGAIN, None)
    return again() if again is not None else None


def _again(
    item: pytest.Item,
    inner: Callable[..., Any],
    search: Search,
    recorder: Recorder,
    passed: Sequence[Drawn],
) -> bool | None:
    """Try examples; None where one is no success, which is for hypothesis to deal with, then."""
    owner, known = getattr(item, "instance", None), getattr(item, "funcargs", {})
    names = [name for name in inspect.signature(inner).parameters if name in known]
    fixtures = {name: known[name] for name in names if name not in passed[0]}
    undecided = len(recorder.undecided)
    with compat.examples() as begin:
        for drawn in passed:
            begin()
            search.start(drawn)
            try:
                returned = inner(*([] if owner is None else [owner]), **fixtures, **drawn)
            except RAISED:
                returned = NotImplemented
            if returned is not None:
                search.worst.clear()
                del recorder.undecided[undecided:]
                return None
    return True


def settle(function: Any) -> None:
    """Set the same examples for every candidate and run; no deadline: the first may train.

    Without the example database: the worst that was found is a score, which must not depend on what
    an earlier run has left there. The seed has a search find again what it found.

    One counterexample per candidate is sought, the smallest: looking for others would go on for as
    long as the clock allows, and a rejection shows none of what explaining it would measure. A seed
    that the user chose stays.
    """
    from hypothesis import HealthCheck, Phase, settings

    current = compat.settings_of(function)
    name = f"{function.__module__}.{function.__qualname__}"
    compat.seed_if_unset(function, zlib.crc32(name.encode()))
    wanted = settings(
        current,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=[phase for phase in current.phases if phase is not Phase.explain],
        suppress_health_check={
            *current.suppress_health_check,
            HealthCheck.too_slow,
            HealthCheck.differing_executors,
        },
    )
    compat.set_settings(function, wanted)


def _watched(inner: Callable[..., Any], item: pytest.Item, search: Search) -> _Watched:
    fixtures = set(getattr(item, "funcargs", {}))
    owner = getattr(item, "instance", None)  # of a method's class

    @functools.wraps(inner)
    def example(*args: Any, **kwargs: Any) -> Any:
        drawn = {
            name: value
            for name, value in kwargs.items()
            if name not in fixtures and (owner is None or value is not owner)
        }
        search.start(drawn)
        done = False
        try:
            returned = inner(*args, **kwargs)
            done = True
        except AssertionError:
            search.fail()
            item.stash[FALSIFIED] = drawn  # the last one is the smallest that was found
            raise
        finally:
            watched.drawn.append(drawn)
            watched.alike &= done and all(map(_plain, drawn.values()))
        return returned

    watched = _Watched(example)
    return watched


def _plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return isinstance(value, PLAIN) or _is_intervention(value)


def _is_intervention(value: object) -> bool:
    if "torch" not in sys.modules:  # which interventions import
        return False
    from pytest_multiplicity.interventions import Chain, Intervention

    return isinstance(value, Chain | Intervention)  # values: whoever changes one makes another


def reason(item: pytest.Item, error: BaseException) -> str:
    """`falsified by angle=12.5: assert 0.71 >= 0.8`; empty where nothing was searched."""
    drawn = item.stash.get(FALSIFIED, None)
    if drawn is None:
        return ""
    example = ", ".join(f"{name}={value!r}" for name, value in drawn.items())
    return f"falsified by {example}: {error}"
