"""Property-based specs: all candidates see the same examples, and the worst one is remembered."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.plugin import compat
from pytest_multiplicity.plugin.searching import Names, Search

if TYPE_CHECKING:
    from pytest_multiplicity.plugin.collection import Pair
    from pytest_multiplicity.plugin.recorder import Recorder

FALSIFIED = pytest.StashKey[dict[str, Any]]()
NAMES = pytest.StashKey[dict[str, Names]]()


@contextmanager
def prepared(item: pytest.Item, pair: Pair, recorder: Recorder) -> Iterator[None]:
    """Around the call of a spec under `@given`; around any other it does nothing."""
    function = getattr(item, "obj", None)
    if not compat.is_given(function):
        yield
        return
    settle(getattr(function, "__func__", function))
    handle = function.hypothesis  # type: ignore[union-attr]
    inner = handle.inner_test
    names = item.config.stash.setdefault(NAMES, {}).setdefault(pair.spec.nodeid, Names())
    try:
        with recorder.searching(names, pair.place[1]) as search:
            handle.inner_test = _watched(inner, item, search)
            yield
    finally:
        handle.inner_test = inner


def settle(function: Any) -> None:
    """Set the same examples for every candidate and run; no deadline: the first may train.

    Without the example database: the worst that was found is a score, which must not depend on what
    an earlier run has left there. The seed has a search find again what it found.

    One counterexample per candidate is sought, the smallest: looking for others would go on for as
    long as the clock allows. A seed that the user chose stays.
    """
    from hypothesis import HealthCheck, settings

    current = compat.settings_of(function)
    name = f"{function.__module__}.{function.__qualname__}"
    compat.seed_if_unset(function, zlib.crc32(name.encode()))
    wanted = settings(
        current,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check={
            *current.suppress_health_check,
            HealthCheck.too_slow,
            HealthCheck.differing_executors,
        },
    )
    compat.set_settings(function, wanted)


def _watched(inner: Callable[..., Any], item: pytest.Item, search: Search) -> Callable[..., Any]:
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
        try:
            return inner(*args, **kwargs)
        except AssertionError:
            search.fail()
            item.stash[FALSIFIED] = drawn  # the last one is the smallest that was found
            raise

    return example


def reason(item: pytest.Item, error: BaseException) -> str:
    """`falsified by angle=12.5: assert 0.71 >= 0.8`; empty where nothing was searched."""
    drawn = item.stash.get(FALSIFIED, None)
    if drawn is None:
        return ""
    example = ", ".join(f"{name}={value!r}" for name, value in drawn.items())
    return f"falsified by {example}: {error}"
