"""The time left: honest after the first tenth, silent before anything is known."""

from __future__ import annotations

import io
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.plugin import progress


@given(
    start=st.floats(0, 600),
    step=st.floats(0.02, 5),
    uneven=st.lists(st.floats(0.8, 1.5), min_size=200, max_size=200),
    first=st.integers(1, 40),
)
def test_the_time_left_is_right_within_a_factor_of_two_after_a_tenth(start, step, uneven, first):
    """However long the start takes, and wherever a resumed run begins."""
    moments = [start]
    for share in uneven:
        moments.append(moments[-1] + step * share)
    total = first + len(uneven)
    pace = progress.Pace(total)
    for done, now in enumerate(moments, first):
        left = pace.left(now, done)
        seen = now - start
        if done < total and done - first >= total // 10 and seen >= 5 * progress.APART_SECONDS:
            truth = moments[-1] - now
            assert left is not None
            assert truth / 2 <= left <= 2 * truth


def test_what_was_done_long_ago_doesn_t_count():
    pace = progress.Pace(2000)
    for done in range(100):
        pace.left(float(done), done)  # one a second
    for tenth in range(310):
        left = pace.left(99 + tenth / 10, 100 + tenth)  # then ten
    assert left == pytest.approx((2000 - 409) / 10, rel=0.05)


def test_one_moment_says_nothing():
    pace = progress.Pace(10)
    assert pace.left(30.0, 3) is None
    assert pace.left(30.0, 3) is None
    assert pace.left(31.0, 3) is None
    assert pace.left(32.0, 4) == 12.0
    assert pace.left(33.0, 2) is None  # a worker was lost, and its work with it


def test_a_line_has_no_time_until_there_is_one(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    shown = progress.Shown(stream, nullcontext, lambda: None, progress._Lines)
    with shown.task("training", 10) as task:
        now[0] = 140.0  # workers started
        task.advance()
        now[0] = 160.0
        task.advance(4)
    assert stream.getvalue().splitlines() == ["training: 10%", "training: 50%, 0:25 left"]
