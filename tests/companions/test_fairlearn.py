"""Gaps and ratios are fairlearn's on the same predictions.

Skipped where it isn't installed; `nox -s fairlearn` installs it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from support.bench import bench

import pytest_multiplicity as pm

__all__ = ["bench"]
metrics = pytest.importorskip("fairlearn.metrics", reason="run `nox -s fairlearn`")
pytestmark = pytest.mark.filterwarnings("default")  # of the peer's own making


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    n = 3000
    frame = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "race": rng.choice(list("abc"), n)})
    targets = torch.tensor(rng.integers(0, 2, n))
    inputs = torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    inputs = (inputs + 0.3 * targets[:, None, None, None]) / 1.3
    return pm.Data(inputs, targets, frame, name="people")


RATES = {
    "accuracy": lambda y, said: float(np.mean(y == said)),
    "positive rate": metrics.selection_rate,
    "true positive rate": metrics.true_positive_rate,
    "false positive rate": metrics.false_positive_rate,
}


@pytest.mark.parametrize("by", ["sex", ["sex", "race"]])
@pytest.mark.parametrize("of", RATES)
def test_rates(bench, people, of, by):
    candidate = bench.family(lambda config: bench.recipe(config, epochs=8)).candidates[1]
    frame = metrics.MetricFrame(
        metrics=RATES[of],
        y_true=people.targets.numpy(),
        y_pred=candidate.predictions(people).numpy(),
        sensitive_features=people.attributes[by],
    )
    gap = candidate.gap(people, by=by, of=of)
    assert float(gap) == pytest.approx(frame.difference(method="between_groups"), abs=1e-9)
    ratio = candidate.gap(people, by=by, of=of, ratio=True)
    assert float(ratio) == pytest.approx(frame.ratio(method="between_groups"), abs=1e-9)


def test_named_gaps(bench, people):
    candidate = bench.family(lambda config: bench.recipe(config, epochs=8)).candidates[0]
    truth, said = people.targets.numpy(), candidate.predictions(people).numpy()
    known = {"sensitive_features": people.attributes["race"]}
    parity = candidate.gap(people, "race", "positive rate")
    assert float(parity) == pytest.approx(
        metrics.demographic_parity_difference(truth, said, **known), abs=1e-9
    )
    odds = max(candidate.gap(people, "race", f"{each} positive rate") for each in ("true", "false"))
    assert float(odds) == pytest.approx(
        metrics.equalized_odds_difference(truth, said, **known), abs=1e-9
    )
