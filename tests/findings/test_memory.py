"""What formulas found is found once, the same bits, and never where it can't be known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_multiplicity.evaluation.measure import noise_of_measure
from pytest_multiplicity.findings import StoredMemory
from pytest_multiplicity.statistics import MEMORY, gaps, noise, rashomon_capacity, regions
from pytest_multiplicity.store import LocalStore

RIGHT = np.random.default_rng(0).random((90, 5)) < np.linspace(0.3, 0.9, 90)[:, None]
SURE = np.random.default_rng(1).dirichlet(np.ones(3), (4, 30))
GROUPS = np.arange(90) % 2
AGES = {"age": np.arange(90), "sex": np.array(["f", "m"] * 45, dtype=object)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore(tmp_path / "store") as store:
        yield store


@pytest.fixture
def memory(store: LocalStore) -> Iterator[StoredMemory]:
    token = MEMORY.set(StoredMemory(lambda: store))
    yield StoredMemory(lambda: store)
    MEMORY.reset(token)


def entries(store: LocalStore) -> int:
    return store.usage()["found"].entries if "found" in store.usage() else 0


def found() -> dict[str, Any]:
    """All that is kept, as text: every bit of a float is in it."""
    capacity = rashomon_capacity(SURE)
    happened = (np.arange(90) >= 60).astype(float)
    return {
        "floor": repr(noise.noise(RIGHT)),
        "of gaps": repr(gaps.noise(RIGHT, GROUPS, ratio=False)),
        "of no gap": repr(gaps.noise(RIGHT, GROUPS * 2, ratio=False)),  # a group is empty: None
        "capacity": [*capacity.values.tolist(), capacity.gap],
        "regions": repr(regions.confirmed(happened, AGES, happened, AGES)),
    }


def test_what_is_known_is_what_was_made_and_made_once(memory, store, monkeypatch):
    token = MEMORY.set(None)
    alone = found()
    MEMORY.reset(token)
    assert alone["of no gap"] == "None"
    assert "age >= " in alone["regions"]
    assert found() == alone
    assert entries(store) == len(alone)
    for module, name in ((noise, "_permuted_ranges"), (regions, "_leaves"), (gaps, "rows_of")):
        monkeypatch.setattr(module, name, None)  # who computes, fails
    monkeypatch.setattr("pytest_multiplicity.statistics.capacity._capacity", None)
    assert found() == alone


def test_other_samples_are_another_question(memory, store):
    one = noise.noise(RIGHT)
    assert noise.noise(~RIGHT) != one
    assert noise.noise(RIGHT, permutations=50) != one
    assert entries(store) == 3


def test_another_formula_finds_anew(memory, store, monkeypatch):
    noise.noise(RIGHT)
    monkeypatch.setattr("pytest_multiplicity.findings.memory._code_beside", lambda file: "mended")
    noise.noise(RIGHT)
    assert entries(store) == 2


def test_a_measure_is_known_by_its_code_and_not_by_what_hides(memory, store):
    logits, targets = SURE.astype("float32"), np.arange(30) % 3
    calls = []

    class Hidden:
        def __init__(self) -> None:
            self.log = (each for each in ())  # a generator shows no state

        def __call__(self, answers: Any, truth: Any) -> float:
            calls.append(1)
            return float((answers.argmax(1) == truth).float().mean())

    hidden = Hidden()
    first = noise_of_measure(hidden, logits, targets)
    made = len(calls)
    assert noise_of_measure(hidden, logits, targets) == first
    assert len(calls) == 2 * made
    assert entries(store) == 0

    def shown(answers: Any, truth: Any) -> float:
        return float((answers.argmax(1) == truth).float().mean())

    assert noise_of_measure(shown, logits, targets) == first
    assert noise_of_measure(shown, logits, targets) == first
    assert entries(store) == 1


def test_a_process_without_a_store_remembers_nothing():
    token = MEMORY.set(StoredMemory(lambda: None))
    try:
        assert noise.noise(RIGHT) == noise.noise(RIGHT)
    finally:
        MEMORY.reset(token)
