"""Do verdicts beyond doubt keep their promises? Simulated families, printed as tables.

    python -m benchmarks.doubt [--families 1000]

Candidates err on the same hard samples: correctness is a threshold on a shared difficulty plus an
own part. Every family is the worst case for its promise: all accuracies at the border, where any
rejection is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from pytest_multiplicity.statistics import doubt
from pytest_multiplicity.statistics.doubt import Decision, Verdict

Judge = Callable[[npt.NDArray[np.bool_]], tuple[Verdict, ...]]

COUNT = 50
SHARE = (
    0.92  # of the latent variance that is the samples' difficulty: correctness correlates at 0.7
)


def family(
    accuracies: npt.ArrayLike, samples: int, rng: np.random.Generator, share: float = SHARE
) -> npt.NDArray[np.bool_]:
    """Correctness [n, K] of candidates with these population accuracies."""
    levels = special.ndtri(np.asarray(accuracies))
    difficulty = rng.standard_normal((samples, 1))
    own = rng.standard_normal((samples, len(levels)))
    return levels + np.sqrt(share) * difficulty + np.sqrt(1 - share) * own > 0


def threshold(value: float) -> Judge:
    def judge(outcomes: npt.NDArray[np.bool_]) -> tuple[Verdict, ...]:
        count = outcomes.shape[1]
        return tuple(doubt.at_least(column, value, count) for column in outcomes.T)

    return judge


def within(eps: float) -> Judge:
    return lambda outcomes: doubt.within(outcomes, eps)


def in_top(k: float) -> Judge:
    return lambda outcomes: doubt.in_top(outcomes, k)


def decisions(
    judge: Judge, accuracies: npt.ArrayLike, samples: int, families: int, seed: int = 0
) -> Iterator[list[Decision]]:
    """What is decided about every candidate of many families."""
    rng = np.random.default_rng(seed)
    for _ in range(families):
        yield [verdict.decision for verdict in judge(family(accuracies, samples, rng))]


def any_wrong(
    judge: Judge, accuracies: npt.ArrayLike, samples: int, families: int, wrong: Decision
) -> float:
    """Share of families with at least one wrong verdict."""
    return float(
        np.mean([wrong in each for each in decisions(judge, accuracies, samples, families)])
    )


def decided(
    judge: Judge, accuracies: npt.NDArray[np.float64], samples: int, families: int, right: Decision
) -> float:
    """Share of the candidates at the lowest accuracy that get the right verdict."""
    last = np.flatnonzero(accuracies == accuracies.min())
    rows = decisions(judge, accuracies, samples, families)
    return float(np.mean([[each[j] is right for j in last] for each in rows]))


def coverage(samples: int, accuracy: float, confidence: float = 0.95) -> float:
    """Exact coverage of Wilson's interval: how often it holds the accuracy."""
    right = np.arange(samples + 1)
    ends = [doubt.wilson(r / samples, samples, confidence) for r in right]
    holds = [low <= accuracy <= high for low, high in ends]
    return float(stats.binom.pmf(right[holds], samples, accuracy).sum())


def exact_error(samples: int, accuracy: float, candidates: int) -> float:
    """Exact chance that one candidate whose accuracy is the threshold is rejected."""
    right = np.arange(samples + 1)
    rejected = [
        doubt.at_least(np.arange(samples) < r, accuracy, candidates).decision is Decision.REJECT
        for r in right
    ]
    return float(stats.binom.pmf(right[rejected], samples, accuracy).sum())


def worst_cases() -> dict[str, tuple[Judge, npt.NDArray[np.float64], Decision]]:
    """Families in which the named decision about anybody is wrong."""
    equal, half = np.full(COUNT, 0.9), COUNT // 2
    two_points = np.where(np.arange(COUNT) == 0, 0.92, 0.9)
    clusters = np.repeat([0.92, 0.9], half)
    return {
        "threshold, all at it, rejected": (threshold(0.9), equal, Decision.REJECT),
        "threshold, all just below, kept": (threshold(0.9 + 1e-9), equal, Decision.KEEP),
        "threshold 0.99, all at it, rejected": (threshold(0.99), equal + 0.09, Decision.REJECT),
        "within(0), all equal, rejected": (within(0.0), equal, Decision.REJECT),
        "within(0.02), one best, rejected": (within(0.02), two_points, Decision.REJECT),
        "within(0.02), half best, rejected": (within(0.02), clusters, Decision.REJECT),
        "in_top(0.5), all equal, rejected": (in_top(0.5), equal, Decision.REJECT),
        "in_top(0.1), all equal, kept": (in_top(0.1), equal + 1e-9 * np.arange(50), Decision.KEEP),
    }


def print_coverage() -> None:
    print("coverage of the 95% interval, exact: mean over accuracies 0.5 to 0.99, and the lowest")
    for samples in (52, 200, 1000, 2000):
        values = [coverage(samples, p) for p in np.linspace(0.5, 0.99, 50)]
        print(f"  n = {samples:5d}   mean {np.mean(values):.4f}   lowest {min(values):.4f}")
    print(f"\none of {COUNT} at the threshold is rejected, exact, times {COUNT} (promised: 0.05)")
    for samples in (52, 200, 1000):
        errors = [COUNT * exact_error(samples, p, COUNT) for p in (0.5, 0.9, 0.95, 0.99)]
        print(f"  n = {samples:5d}   " + "   ".join(f"{error:.4f}" for error in errors))


def print_wrong(families: int) -> None:
    print(f"\nfamilies of {COUNT} with any wrong verdict, of {families} (promised: at most 0.05)")
    for name, (judge, accuracies, wrong) in worst_cases().items():
        rates = [any_wrong(judge, accuracies, n, families, wrong) for n in (500, 2000)]
        print(f"  {name:38s} n = 500: {rates[0]:.3f}   n = 2000: {rates[1]:.3f}")


def print_power(families: int) -> None:
    print(f"\ncandidates rejected beyond doubt, families of {COUNT}, by distance in points")
    for name, judge, border in (
        ("threshold 0.9", threshold(0.9), 0.9),
        ("within(0.01) of 0.92", within(0.01), 0.91),
        ("in_top(0.5), half at 0.92", in_top(0.5), 0.92),
    ):
        for samples in (1000, 2000, 10_000):
            powers = []
            for points in (1, 2, 5):
                accuracies = np.repeat([0.92, border - points / 100], COUNT // 2)
                powers.append(decided(judge, accuracies, samples, families, Decision.REJECT))
            text = "   ".join(f"{d}: {p:.2f}" for d, p in zip((1, 2, 5), powers, strict=True))
            print(f"  {name:26s} n = {samples:6d}   {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", type=int, default=1000)
    families = parser.parse_args().families
    sample = family(np.full(COUNT, 0.9), 20_000, np.random.default_rng(0))
    correlation = np.corrcoef(sample.T)[np.triu_indices(COUNT, 1)].mean()
    print(f"correctness of two candidates at 0.9 correlates at {correlation:.2f}\n")
    print_coverage()
    print_wrong(families)
    print_power(max(1, families // 20))


if __name__ == "__main__":
    main()
