"""Self-consistency of other outcomes than the prediction."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.survivors import Survivors


@pytest.mark.parametrize("kind", [bool, str, int, object])
def test_pairs_that_agree_are_counted(bench: Any, kind: type) -> None:
    survivors = Survivors(bench.family(), range(4))

    def robust(candidate: pm.Candidate) -> Any:
        told = candidate.predictions(bench.test, pm.InputNoise(0.5)) == bench.test.targets
        return np.asarray(told.numpy().astype(int).astype(kind))

    found = survivors.self_consistency(bench.test, of=robust)
    outcomes = [robust(each) for each in survivors]
    slow = [
        np.mean([a[i] == b[i] for a, b in combinations(outcomes, 2)])
        for i in range(len(bench.test))
    ]
    assert found.tolist() == pytest.approx(slow)


def test_what_is_no_outcome_of_every_sample(bench: Any) -> None:
    survivors = Survivors(bench.family(), range(2))
    for of, told in [
        ("robust", "give a function from a candidate"),
        (lambda each: [True], r"shape \(1,\) for default-seed0: one outcome of each of the 40"),
        (lambda each: np.full(40, np.nan), "nan for default-seed0"),
    ]:
        with pytest.raises(MeasurementError, match=told):
            survivors.self_consistency(bench.test, of=of)  # type: ignore[arg-type]
