"""Do gaps and comparisons with an incumbent keep their promises? Simulations, printed as tables.

    python -m benchmarks.promises [--draws 2000] [--only gaps]

Correctness of candidates, and of an incumbent, correlates as that of real models does: it is a
threshold on a difficulty that all share plus an own part (see `benchmarks.doubt`).
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.statistics import doubt, gaps, paired
from pytest_multiplicity.statistics.doubt import Decision

Floats = npt.NDArray[np.float64]

SIZES = ((20, 20), (20, 200), (100, 100, 100), (20, 50, 200, 1000, 2000), (2000, 2000))
GAPS = (0.0, 0.02, 0.1, 0.2)
LOWEST = 0.7


SHARE = 0.92  # of the latent variance that is the samples' difficulty: see benchmarks.doubt


def family(
    accuracies: npt.ArrayLike, samples: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Correctness [n, K] of models with these population accuracies."""
    levels = special.ndtri(np.asarray(accuracies))
    difficulty = rng.standard_normal((samples, 1))
    own = rng.standard_normal((samples, len(levels)))
    return levels + np.sqrt(SHARE) * difficulty + np.sqrt(1 - SHARE) * own > 0


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


def coverage_of_flips(samples: int, rate: float, draws: int, seed: int = 0) -> float:
    """How often Clopper and Pearson's interval holds the true share of flips."""
    hits = np.random.default_rng(seed).binomial(samples, rate, size=draws)
    found = {x: paired.clopper_pearson(x, samples, 0.95) for x in set(hits.tolist())}
    return float(np.mean([found[x][0] <= rate <= found[x][1] for x in hits.tolist()]))


def bound_of_flips(samples: int, rate: float, draws: int, seed: int = 0) -> float:
    """The mean upper bound of a share of flips, one-sided at 5%."""
    hits = np.random.default_rng(seed).binomial(samples, rate, size=draws)
    found = {x: paired.clopper_pearson(x, samples, 0.9)[1] for x in set(hits.tolist())}
    return float(np.mean([found[x] for x in hits.tolist()]))


def coverage_of_gain(samples: int, accuracies: tuple[float, float], draws: int) -> float:
    """How often Tango's interval holds the true gain of a candidate over an incumbent."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(draws):
        new, old = family(accuracies, samples, rng).T
        low, high = paired.tango_interval(
            int((new & ~old).sum()), int((old & ~new).sum()), samples, 0.95
        )
        covered += low <= accuracies[0] - accuracies[1] <= high
    return covered / draws


def not_worse(
    samples: int, by: float, gain: float, candidates: int, families: int
) -> tuple[float, float]:
    """Share of families with any `not worse` verdict, and the share of such verdicts."""
    rng, found = np.random.default_rng(0), []
    for _ in range(families):
        x = family([0.9, *[0.9 + gain] * candidates], samples, rng)
        verdicts = [
            doubt.not_worse(x[:, [j, 0]], by, candidates, "incumbent").decision
            for j in range(1, candidates + 1)
        ]
        found.append([each is Decision.KEEP for each in verdicts])
    held = np.array(found)
    return float(held.any(axis=1).mean()), float(held.mean())


def wrong_not_worse(samples: int, by: float, candidates: int, families: int) -> float:
    """Share of families with a wrong verdict where every candidate is exactly `by` worse."""
    return not_worse(samples, by, -by, candidates, families)[0]


def show_flips(draws: int) -> None:
    print("flips: coverage of the 95% interval, and the mean one-sided bound, by the true rate")
    for samples in (52, 500, 1000, 2000, 10_000):
        cells = [
            f"{coverage_of_flips(samples, rate, 10 * draws):.3f} "
            f"({bound_of_flips(samples, rate, draws):.4f})"
            for rate in (0.005, 0.02, 0.1)
        ]
        print(f"n = {samples:<8}" + "".join(f"{cell:>18}" for cell in cells))
    print("\ngain: coverage of Tango's 95% interval, by the candidate's accuracy (incumbent's .9)")
    for samples in (52, 500, 2000, 10_000):
        cells = [coverage_of_gain(samples, (a, 0.9), draws) for a in (0.88, 0.9, 0.92)]
        print(f"n = {samples:<8}" + "".join(f"{cell:>10.3f}" for cell in cells))


def show_not_worse(draws: int) -> None:
    print(
        "not worse: families with a wrong verdict (all candidates exactly `by` worse, at most .05)"
    )
    for samples in (52, 500, 2000, 10_000):
        cells = [wrong_not_worse(samples, by, 20, draws // 4) for by in (0.0, 0.005, 0.02)]
        print(f"n = {samples:<8} by 0, .005, .02: " + "".join(f"{cell:>8.3f}" for cell in cells))
    print("\nand power: share of candidates that are found not worse by .005, by their gain")
    for samples in (500, 2000, 10_000):
        cells = [not_worse(samples, 0.005, gain, 20, draws // 20)[1] for gain in (0.005, 0.015)]
        print(f"n = {samples:<8} 1 and 2 points above: " + "".join(f"{c:>8.3f}" for c in cells))


SHOWN = {"gaps": show_gaps, "flips": show_flips, "not_worse": show_not_worse}


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
