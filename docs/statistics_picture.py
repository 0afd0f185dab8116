"""Make docs/statistics.svg: the noise floor by the number of samples, and what its test rejects.

    python docs/statistics_picture.py [--families 200]

Candidates are equally good, and wrong on the same hard samples, as in benchmarks/calibration.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from pytest_multiplicity.statistics.noise import noise

HERE = Path(__file__).parent
SAMPLES = (50, 100, 200, 500, 1000, 2000, 5000)
FAMILIES = (5, 35)
SHARED = 0.8
ACCURACY = 0.9
COLOURS = ("#2c6fb3", "#b3452c")


def outcomes(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return who of equally good candidates is right about what: [n, count]."""
    hard = rng.standard_normal((n, 1))
    own = rng.standard_normal((n, count))
    return np.sqrt(SHARED) * hard + np.sqrt(1 - SHARED) * own < stats.norm.ppf(ACCURACY)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--families", type=int, default=200)
    families = parser.parse_args().families
    plt.rcParams.update({"svg.hashsalt": "statistics", "font.size": 9, "svg.fonttype": "none"})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for count, colour in zip(FAMILIES, COLOURS, strict=True):
        rng = np.random.default_rng(count)
        floors, wrong = [], []
        for n in SAMPLES:
            found = [noise(outcomes(n, count, rng)) for _ in range(families)]
            floors.append(100 * np.mean([each.floor for each in found]))
            wrong.append(100 * np.mean([each.p_value <= 0.05 for each in found]))
        print(count, np.round(floors, 2), np.round(wrong, 1))
        left.plot(SAMPLES, floors, "o-", color=colour, label=f"{count} candidates")
        right.plot(SAMPLES, wrong, "o-", color=colour, label=f"{count} candidates")
    left.set(xscale="log", yscale="log", xlabel="samples", ylabel="noise floor, points")
    left.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    left.legend(frameon=False)
    right.axhline(5, color="#777777", linestyle="--")
    right.annotate("the promise", (50, 5.3), color="#777777")
    right.set(xscale="log", ylim=(0, 12), xlabel="samples", ylabel="% called different")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "statistics.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
