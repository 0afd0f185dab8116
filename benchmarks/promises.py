"""Do gaps and comparisons with an incumbent keep their promises? Simulations, printed as tables.

    python -m benchmarks.promises [--draws 2000] [--only gaps]

Correctness of candidates, and of an incumbent, correlates as that of real models does: it is a
threshold on a difficulty that all share plus an own part (see `benchmarks.doubt`).
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.statistics import gaps

Floats = npt.NDArray[np.float64]

SIZES = ((20, 20), (20, 200), (100, 100, 100), (20, 50, 200, 1000, 2000), (2000, 2000))
GAPS = (0.0, 0.02, 0.1, 0.2)
LOWEST = 0.7


def rates_of(gap: float, groups: int) -> Floats:
    """Population rates of groups, evenly from `LOWEST` to `LOWEST + gap`."""
    return LOWEST + gap * np.linspace(0, 1, groups)


def coverage_of_gap(
    sizes: tuple[int, ...], gap: float, draws: int, *, ratio: bool = False, seed: int = 0
) -> tuple[float, bool]:
    """How often a 95% interval holds the true gap, and whether the point always lies inside."""
    rng, n, rates = np.random.default_rng(seed), np.array(sizes), rates_of(gap, len(sizes))
    hits = rng.binomial(n, rates, size=(draws, len(n)))
    true = rates.min() / rates.max() if ratio else gap
    low, high = gaps.interval(hits, n, 0.95, ratio=ratio)
    point = gaps.extent(hits / n, ratio=ratio)
    return float(np.mean((low <= true) & (true <= high))), bool(
        ((low <= point) & (point <= high)).all()
    )


def rejected_without_gap(
    sizes: tuple[int, ...], shares: tuple[float, float], draws: int, seed: int = 0
) -> float:
    """How often the floor rejects where accuracy depends on the target alone, not on the group.

    `shares`: that of the second class in the first group and in all others: groups differ in their
    mix of classes, and classes in their accuracy.
    """
    rng, rejected = np.random.default_rng(seed), 0
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for draw in range(draws):
        classes = (rng.random(len(groups)) < np.where(groups == 0, *shares)).astype(np.int64)
        right = rng.random(len(groups)) < np.where(classes == 1, 0.7, 0.95)
        rates = np.bincount(groups, weights=right) / np.bincount(groups)
        chance = gaps.permuted(right, groups, classes, ratio=False, seed=draw)
        rejected += gaps.floor(float(np.ptp(rates)), chance, ratio=False).p_value <= 0.05
    return rejected / draws


def show_gaps(draws: int) -> None:
    print("gaps: coverage of the 95% interval, by true gap; in brackets: of the ratio's")
    print("groups".ljust(28) + "".join(f"{gap:>16g}" for gap in GAPS) + "   point inside")
    for sizes in SIZES:
        found = [coverage_of_gap(sizes, gap, 10 * draws) for gap in GAPS]
        ratios = [coverage_of_gap(sizes, gap, 10 * draws, ratio=True) for gap in GAPS]
        cells = [f"{a[0]:.3f} ({b[0]:.3f})" for a, b in zip(found, ratios, strict=True)]
        inside = all(each[1] for each in (*found, *ratios))
        print(", ".join(map(str, sizes)).ljust(28) + "".join(f"{c:>16}" for c in cells), inside)
    print("\nfloor: rejected at 5% where there is no gap given the target (at most .07)")
    for sizes in SIZES[:-1]:
        for shares in ((0.5, 0.5), (0.8, 0.3)):
            share = rejected_without_gap(sizes, shares, draws)
            print(f"{', '.join(map(str, sizes)).ljust(28)} classes {shares}: {share:.3f}")


SHOWN = {"gaps": show_gaps}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--only", choices=[*SHOWN], default=None)
    given = parser.parse_args()
    for name, show in SHOWN.items():
        if given.only in (None, name):
            show(given.draws)
            print()


if __name__ == "__main__":
    main()
