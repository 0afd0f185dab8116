"""Make docs/reachable.svg: how much of a data set is arbitrary, and how much reachable.

    python docs/reachable_picture.py

Ten networks are trained on scikit-learn's digits; then models are built from their last layers.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from benchmarks.reachable import SEEDS, TRIALS, accuracy, base_of, parts, trained
from pytest_multiplicity.reach import Reach
from pytest_multiplicity.tasks import Classification

HERE = Path(__file__).parent
BUDGETS = (0.0, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02)


def figures() -> tuple[float, list[float], np.ndarray]:
    """Return the share that is arbitrary, that reachable by budget, and the costs at a point."""
    trial = TRIALS[0]
    data = parts(trial, trial.split)
    models = [trained(trial.network, data[0], seed) for seed in range(SEEDS)]
    said = torch.stack([model(data[2].inputs).argmax(1) for model in models])
    bases = [base_of(model, *data) for model in models]
    best = max(accuracy(base, base.select) for base in bases)
    found = [Reach(Classification(), said, best - budget).of(bases) for budget in BUDGETS]
    shares = [float((each.base >= 0).double().mean()) for each in found]
    at_a_point = found[BUDGETS.index(0.01)]
    costs = at_a_point.cost[at_a_point.base >= 0].numpy()
    return float((said != said[0]).any(0).double().mean()), shares, np.sort(costs)


def main() -> None:
    """Write the picture."""
    arbitrary, shares, costs = figures()
    plt.rcParams.update({"svg.hashsalt": "reachable", "font.size": 9, "svg.fonttype": "none"})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    points = [100 * budget for budget in BUDGETS]
    left.plot(points, [100 * each for each in shares], "o-", color="#b3452c", clip_on=False)
    left.axhline(100 * arbitrary, color="#2c6fb3", linestyle="--")
    left.annotate("reachable", (points[3], 100 * shares[3] - 12), color="#b3452c")
    left.annotate(f"arbitrary: {SEEDS} trained models differ", (0.35, 6), color="#2c6fb3")
    left.set(ylim=(0, 100), xlim=(0, 2), ylabel="% of the samples")
    left.set_xlabel("points that a model may score below the best")
    share = 100 * np.arange(1, len(costs) + 1) / len(costs)
    right.plot(np.clip(costs, 1e-6, None), share, color="#b3452c")
    right.set(xscale="log", ylim=(0, 100), ylabel="% of the reachable samples")
    right.set_xlabel("training loss that it takes, at most")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "reachable.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
