from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.report import lock, lock_file
from pytest_multiplicity.report.lock import Locked, Majority

names = st.text(max_size=8)
numbers = st.lists(st.floats(0, 100).map(lambda x: float(f"{x:.4g}")), min_size=1, max_size=2)
classes = st.integers(1, 5000)


@st.composite
def samples(draw: st.DrawFn) -> Majority:
    count = draw(classes)
    majority = draw(st.lists(st.integers(0, count - 1), max_size=130))
    return Majority("0000abcd", count, tuple(majority))


locks = st.dictionaries(
    names,
    st.builds(
        Locked,
        verdicts=st.dictionaries(names, names),
        scores=st.dictionaries(names, numbers.map(tuple)),
        samples=st.dictionaries(names, samples(), max_size=2),
        comparisons=st.dictionaries(names, numbers.map(tuple)),
    ),
    max_size=2,
)


@given(locks)
def test_what_is_written_is_read_again(written: lock.Lock) -> None:
    text = lock_file.render(written)
    assert lock_file.parse(text) == written
    assert text.isascii()
    assert list(lock_file.parse(text)) == list(written)


@given(locks)
def test_a_lock_does_not_drift_from_itself(written: lock.Lock) -> None:
    assert lock.compare(written, written, 0).lines == []
    assert lock.updated(written, written, 0) == written


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "3", "null", '{"schema": "pytest-multiplicity-lock/2"}'],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        lock_file.parse(text)


def locked(**changes: object) -> lock.Lock:
    family = {
        "verdicts": {"default-seed0": "survivor", "lr0.1-seed0": "rejected by test_a"},
        "scores": {"accuracy on test, all": (0.9, 0.95), "loss on test, all": (2.0, 3.0)},
        "samples": {"test": Majority("aa", 3, (0, 1, 2, 0, 1, 2, 0, 1, 2, 0))},
    }
    return {"candidate": Locked(**{**family, **changes})}


def lines(before: lock.Lock, after: lock.Lock, tolerance: float = 0.005) -> list[str]:
    return lock.compare(before, after, tolerance).lines


def test_a_changed_verdict_is_named() -> None:
    now = locked(
        verdicts={"default-seed0": "rejected by test_b", "lr0.1-seed0": "rejected by test_a"}
    )
    assert lines(locked(), now) == ["default-seed0: was survivor, is rejected by test_b"]
    drift = lock.compare(locked(), now, 0.005)
    assert str(drift).splitlines()[0] == "1 verdict changed"


def test_new_and_missing_candidates_are_named() -> None:
    now = locked(verdicts={"default-seed0": "survivor", "lr0.2-seed0": "survivor"})
    assert lines(locked(), now) == [
        "lr0.1-seed0: was rejected by test_a, is gone",
        "lr0.2-seed0: new, survivor",
    ]


def test_a_grown_range_is_named() -> None:
    scores = {"accuracy on test, all": (0.88, 0.95), "loss on test, all": (2.0, 3.0)}
    assert lines(locked(), locked(scores=scores)) == [
        "accuracy on test, all: range grew by 0.02: 0.9 to 0.95 became 0.88 to 0.95"
    ]


@pytest.mark.parametrize("moved", [(0.9049, 0.9451), (0.905, 0.945), (0.8951, 0.9549)])
def test_what_lies_within_the_tolerance_passes(moved: tuple[float, float]) -> None:
    scores = {"accuracy on test, all": moved, "loss on test, all": (2.009, 2.986)}
    now = locked(scores=scores)
    assert lines(locked(), now) == []
    assert lock.updated(locked(), now, 0.005) == locked()


def test_flipped_samples_are_named() -> None:
    now = locked(samples={"test": Majority("aa", 3, (0, 1, 2, 2, 1, 2, 0, 0, 2, 0))})
    assert lines(locked(), now) == ["test: 2 of 10 samples flipped: 3 (0 to 2), 7 (1 to 0)"]
    assert lines(locked(), now, 0.2) == []


def test_other_samples_are_not_compared() -> None:
    now = locked(samples={"test": Majority("bb", 3, (0,) * 10)})
    assert lines(locked(), now) == ["test: other samples than those of the lock"]
    assert lines(locked(), locked(samples={})) == ["test: its samples were not looked at"]


def test_many_changes_are_counted() -> None:
    before = {"candidate": Locked(verdicts={f"c{i}": "survivor" for i in range(500)})}
    after = {"candidate": Locked(verdicts={f"c{i}": "rejected by t" for i in range(500)})}
    text = str(lock.compare(before, after, 0.005)).splitlines()
    assert text[0] == "500 verdicts changed"
    assert text[-1] == "and 480 more"
    assert len(text) == 22


def test_families_that_did_not_run_are_not_compared() -> None:
    two = {**locked(), "other": Locked(verdicts={"a": "survivor"})}
    assert lines(two, locked()) == []
    assert "not in this run, not compared: other" in str(lock.compare(two, locked(), 0.005))
    assert lock.updated(two, locked(), 0.005) == two
    assert lines(locked(), two) == ["other: new"]


def test_hostile_names_are_inert() -> None:
    bad = "\x1b[31m\u202e<script>"
    now = locked(verdicts={bad: bad}, scores={bad: (1.0, 2.0)}, samples={})
    assert "\x1b" not in str(lock.compare({"candidate": Locked()}, now, 0.005))
    assert lock_file.parse(lock_file.render(now)) == now


def test_a_small_change_is_a_small_diff(samples_of_paper: lock.Lock) -> None:
    before = lock_file.render(samples_of_paper).splitlines()
    name, family = next(iter(samples_of_paper.items()))
    verdicts = {**family.verdicts, next(iter(family.verdicts)): "rejected by test_new"}
    after = lock_file.render({name: Locked(verdicts, family.scores, family.samples)}).splitlines()
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


@pytest.fixture
def samples_of_paper(samples: ModuleType) -> lock.Lock:
    return lock.of_run(samples.paper_run(), {}, {})


def test_a_run_is_locked_by_verdicts_and_ranges(samples_of_paper: lock.Lock) -> None:
    (family,) = samples_of_paper.values()
    assert len(family.verdicts) == 45
    assert {verdict.split(" by ")[0] for verdict in family.verdicts.values()} == {
        "survivor",
        "rejected",
    }
    assert "accuracy on UTKFace, survivors" in family.scores


def test_what_a_search_found_is_left_out(samples: ModuleType) -> None:
    run = samples.paper_run()
    name = run.families[0].name
    (family,) = lock.of_run(run, {}, {name: {"accuracy on UTKFace"}}).values()
    assert "accuracy on UTKFace, survivors" not in family.scores
    assert "accuracy on FairFace, survivors" in family.scores


def test_comparisons_drift_as_scores_do() -> None:
    name = "churn against production on test, survivors"
    before = locked(comparisons={name: (0.02, 0.05)})
    assert lines(before, locked(comparisons={name: (0.02, 0.08)})) == [
        f"{name}: range grew by 0.03: 0.02 to 0.05 became 0.02 to 0.08"
    ]
    assert lines(before, locked(comparisons={name: (0.024, 0.05)})) == []
    assert lines(before, locked()) == [f"{name}: gone"]


def test_comparisons_that_a_lock_knows_nothing_of_are_no_drift() -> None:
    now = locked(comparisons={"gain against production on test, survivors": (0.0, 0.1)})
    assert lines(locked(), now) == []
    assert lock.lacks_comparisons(locked(), now)
    assert not lock.lacks_comparisons(now, now)
    assert lock.updated(locked(), now, 0.005) == now
