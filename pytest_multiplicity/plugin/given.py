"""Property-based specs: all candidates see the same examples, and the worst one is remembered.

The attributes of hypothesis used here are its own plugin's way to set what a test runs with; they
are read defensively in one place, so that a change there is one change here.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation.metric import Metric
    from pytest_multiplicity.plugin.collection import Pair
    from pytest_multiplicity.plugin.recorder import Recorder

FALSIFIED = pytest.StashKey[dict[str, Any]]()


@contextmanager
def prepared(item: pytest.Item, pair: Pair, recorder: Recorder) -> Iterator[None]:
    """Around the call of a spec under ``@given``; around any other it does nothing."""
    function = getattr(item, "obj", None)
    if not getattr(function, "is_hypothesis_test", False):
        yield
        return
    _settle(function, pair)
    handle = function.hypothesis  # type: ignore[union-attr]
    inner = handle.inner_test
    inner._hypothesis_internal_add_digest = item.nodeid.encode()
    handle.inner_test = _watched(inner, item, recorder)
    try:
        with recorder.population.searching():  # type: ignore[union-attr]
            yield
    finally:
        handle.inner_test = inner


def _settle(function: Any, pair: Pair) -> None:
    """The same examples for every candidate; no deadline, since the first one may train."""
    from hypothesis import HealthCheck, settings

    target = getattr(function, "__func__", function)
    current = target._hypothesis_internal_use_settings
    # the public seed() would turn the example database off
    target._hypothesis_internal_use_seed = zlib.crc32(pair.spec.nodeid.encode())
    target._hypothesis_internal_use_settings = settings(
        current,
        deadline=None,
        suppress_health_check={
            *current.suppress_health_check,
            HealthCheck.too_slow,
            HealthCheck.differing_executors,
        },
    )


def _watched(inner: Any, item: pytest.Item, recorder: Recorder) -> Any:
    fixtures = set(getattr(item, "funcargs", {}))

    @functools.wraps(inner)
    def example(*args: Any, **kwargs: Any) -> Any:
        drawn = {name: value for name, value in kwargs.items() if name not in fixtures}
        try:
            with recorder.example(drawn):
                return inner(*args, **kwargs)
        except AssertionError:
            item.stash[FALSIFIED] = drawn  # the last one is the smallest that was found
            raise

    return example


def reason(item: pytest.Item, error: BaseException) -> str:
    """``falsified by angle=12.5: assert 0.71 >= 0.8``; empty where nothing was searched."""
    drawn = item.stash.get(FALSIFIED, None)
    if drawn is None:
        return ""
    example = ", ".join(f"{name}={value!r}" for name, value in drawn.items())
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[-1]
    return f"falsified by {example}: {error}"


def starred(metric: Metric, drawn: dict[str, Any]) -> str:
    """The name of a metric for every example alike: what was drawn reads ``*``."""
    from pytest_multiplicity.interventions.naming import shown

    head, under, tail = metric.name.partition(" under ")
    for text in map(shown, drawn.values()):
        tail = re.sub(rf"(?<![\w.-]){re.escape(text)}(?![\w.])", "*", tail)
    return f"worst {head}{under}{tail}"
