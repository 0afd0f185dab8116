"""Make the pictures of docs/concepts.md: family.svg, sheet.svg and conflict.svg.

    python docs/concepts_picture.py

Twenty forests, four configurations with five seeds, are trained on scikit-learn's breast cancer
data.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from pytest_multiplicity import Sheet

HERE = Path(__file__).parent
DEFAULT = {"depth": 3, "leaf": 1}
OPTIONS = {"depth": [3, 6], "leaf": [1, 5, 20]}
SEEDS = range(5)
RED, BLUE, SAND = "#b3452c", "#2c6fb3", "#f0d9a8"


def configurations() -> list[dict[str, int]]:
    """Return the default, and what differs from it in one axis."""
    others = [{**DEFAULT, axis: option} for axis, all_ in OPTIONS.items() for option in all_[1:]]
    return [DEFAULT, *others]


def answers() -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """Return a row per forest with its accuracy in percent, and who says benign: [forests, n]."""
    inputs, benign = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(inputs))
    train, test = order[:200], order[200:]
    rows, said = [], []
    for config in configurations():
        for seed in SEEDS:
            forest = RandomForestClassifier(
                10,
                max_depth=config["depth"],
                min_samples_leaf=config["leaf"],
                random_state=seed,
            ).fit(inputs[train], benign[train])
            said.append(forest.predict(inputs[test]) == 1)
            rows.append(
                {**config, "seed": seed, "accuracy": 100 * np.mean(said[-1] == benign[test])}
            )
    return pd.DataFrame(rows), np.stack(said)


def bare(axes: Axes) -> None:
    """Leave out the box around a picture."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def family(path: Path) -> None:
    """Draw the configurations of a star and of a grid, each with five seeds."""
    figure, both = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained", sharey=True)
    for axes, design in zip(both, ("star", "grid"), strict=True):
        for x, leaf in enumerate(OPTIONS["leaf"]):
            for y, depth in enumerate(OPTIONS["depth"]):
                config = {"depth": depth, "leaf": leaf}
                if design == "star" and config not in configurations():
                    continue
                colour = RED if config == DEFAULT else BLUE
                places = x + 0.11 * (np.arange(len(SEEDS)) - 2)
                axes.plot(places, [y] * len(SEEDS), "o", color=colour, ms=7)
        axes.set(title=f'design="{design}"', xlim=(-0.5, 2.5), ylim=(-0.6, 1.6))
        axes.set_xticks(range(3), [f"leaf={leaf}" for leaf in OPTIONS["leaf"]])
        axes.set_yticks(range(2), [f"depth={depth}" for depth in OPTIONS["depth"]])
        bare(axes)
    both[0].annotate("default", (0, -0.4), color=RED, ha="center")
    figure.savefig(path, metadata={"Date": None})


def sheet(path: Path, scores: pd.DataFrame) -> None:
    """Draw the table of an axis, with the deltas of its rows and columns."""
    made = Sheet.from_scores(scores, metric="accuracy", default=DEFAULT)
    table = made.tables["leaf"]
    figure, axes = plt.subplots(figsize=(6, 2.9), layout="constrained")
    axes.imshow(table, cmap="Blues", vmin=table.min().min() - 3, vmax=table.max().max() + 3)
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center")
    for row, value in enumerate(made.delta_by_seed("leaf")):
        axes.text(3.1, row, f"{value:.2f}", ha="center", va="center", color=RED)
    for column, value in enumerate(made.delta_by_option("leaf")):
        axes.text(column, 5, f"{value:.2f}", ha="center", va="center", color=RED)
    axes.text(3.1, 5, f"{made.delta_all:.2f}", ha="center", va="center", color=RED, weight="bold")
    axes.set_xticks([0, 1, 2, 3.1], [*(f"leaf={leaf}" for leaf in OPTIONS["leaf"]), "Δ"])
    axes.set_yticks(range(6), [*(f"seed {seed}" for seed in SEEDS), "Δ"])
    axes.xaxis.tick_top()
    axes.set(xlim=(-0.5, 3.7), ylim=(5.5, -0.5), aspect="auto")
    bare(axes)
    figure.savefig(path, metadata={"Date": None})


def conflict(path: Path, said: npt.NDArray[np.bool_]) -> float:
    """Draw what models say of the samples on which two differ; return their share."""
    divided = said.any(0) & ~said.all(0)
    shown = said[:, divided]
    shown = shown[:, np.argsort(shown.mean(0), kind="stable")]
    figure, axes = plt.subplots(figsize=(7, 2.9), layout="constrained")
    colours = matplotlib.colors.ListedColormap([BLUE, SAND])
    axes.imshow(shown, cmap=colours, aspect="auto", interpolation="none")
    axes.set_xlabel(f"the {shown.shape[1]} of {said.shape[1]} samples on which any two differ")
    axes.set_ylabel(f"{len(said)} models")
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)
    figure.savefig(path, metadata={"Date": None})
    return float(divided.mean())


def main() -> None:
    """Write the pictures."""
    plt.rcParams.update({"svg.hashsalt": "concepts", "font.size": 9, "svg.fonttype": "none"})
    scores, said = answers()
    family(HERE / "family.svg")
    sheet(HERE / "sheet.svg", scores)
    print(f"ambiguity {conflict(HERE / 'conflict.svg', said):.1%}")


if __name__ == "__main__":
    main()
