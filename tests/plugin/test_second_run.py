"""A second run finds what the first has found, and reports the same."""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from pytest_multiplicity.store import LocalStore

SPECS = """
    import gc

    def test_accurate(candidate, points):
        assert candidate.accuracy(points.test).within(0.5)

    def test_fair(candidate, points):
        assert candidate.gap(points.test, by="odd", minimum=10) <= 0.9

    def test_own(candidate, points):
        assert candidate.measure(margin, points.test) >= -9

    def margin(logits, targets):
        return float(logits[range(len(targets)), targets].mean())

    def test_gate(survivors, points):
        assert survivors.ambiguity(points.test) <= 1
        assert gc.get_freeze_count()  # nobody looks through modules and tests again and again
"""
ODD = ('{"age": range(n)}', '{"age": range(n), "odd": [i // 2 % 2 for i in range(n)]}')
HARD = (
    "torch.rand(n, 1, 2, 2, generator=rng) + targets[:, None, None, None]",
    "torch.rand(n, 1, 2, 2, generator=rng) + torch.rand(n, 1, 2, 2, generator=rng).round()",
)  # so that candidates differ
COSTLY = (
    "pytest_multiplicity.statistics.noise._permuted_ranges",
    "pytest_multiplicity.statistics.noise.noise_of_draws",
    "pytest_multiplicity.statistics.gaps.permuted",
    "pytest_multiplicity.statistics.capacity._capacity",
)


@pytest.fixture
def computed(monkeypatch):
    """Names of the costly formulas, each time that one computes."""
    calls = []

    def counted(name):
        module, _, own = name.rpartition(".")
        original = getattr(__import__(module, fromlist=[own]), own)

        def call(*args, **kwargs):
            calls.append(own)
            return original(*args, **kwargs)

        monkeypatch.setattr(name, call)

    for name in COSTLY:
        counted(name)
    return calls


def told(report):
    """A report but for what tells how often data were looked at and what was trained."""
    (family,) = report["families"]
    history = ("trained", "stored", "from_store", "looks", "optimism", "notes", "ways")
    return {name: value for name, value in family.items() if name not in history}


def test_a_second_run_computes_no_floor(trained, computed):
    made = trained(SPECS, ODD, HARD)
    gc.unfreeze()  # what the run of these tests may have spared
    _, first = made.report()
    assert not gc.get_freeze_count()
    assert {*computed} >= {"_permuted_ranges", "permuted", "_capacity"}
    computed.clear()
    _, second = made.report()
    assert computed == []
    assert told(second) == told(first)
    sheets = second["families"][0]["sheets"]
    assert all(each["before"]["noise_floor"] is not None for each in sheets)
    other = made.report("--multiplicity-store=elsewhere")[1]
    assert computed
    assert told(other) == told(first)


def test_what_changed_is_computed_anew(trained, computed):
    made = trained(SPECS, ODD, HARD)
    made.run()
    computed.clear()
    path = made.pytester.path / "conftest.py"
    path.write_text(path.read_text().replace('draw(40, "test", 2)', 'draw(40, "test", 3)'))
    made.run()
    assert {*computed} >= {"_permuted_ranges", "permuted", "_capacity"}


def test_answers_are_read_once_to_measure(trained, monkeypatch):
    made = trained(SPECS, ODD, HARD)
    made.run()
    reads = Counter()
    original = LocalStore.get

    def get(self, kind, key):
        reads[key] += kind == "logits"
        return original(self, kind, key)

    monkeypatch.setattr(LocalStore, "get", get)
    made.run()
    assert max(reads.values()) <= 3  # reports read some for themselves: who is a copy, who is sure
