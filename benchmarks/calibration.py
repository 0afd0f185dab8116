"""Is the noise test calibrated? Simulated families of equally good candidates, printed as a table.

    python -m benchmarks.calibration [--families 500]

Candidates err on the same hard samples, in the ways real ones do: as alike as each other, in
clusters, or one odd among many alike. The 5% test is to reject at most 7% of such families, at
least 3% from n = 1,000; and a planted spread of twice the floor is to be detected 9 times in 10.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from pytest_multiplicity.statistics.noise import LEVEL, mean_range_of_normals, noise

Outcomes = npt.NDArray[np.bool_]
Family = Callable[[int, npt.NDArray[np.float64], np.random.Generator], Outcomes]

ACCURACY = 0.8
SHARE = 0.92  # of the latent variance that is shared: correctness then correlates at 0.7
PERMUTATIONS = 400


def alike(share: float) -> Family:
    """``share`` of the latent variance is the difficulty of the samples, the rest is their own."""

    def family(
        samples: int, accuracies: npt.NDArray[np.float64], rng: np.random.Generator
    ) -> Outcomes:
        own = rng.standard_normal((samples, len(accuracies)))
        return _right(accuracies, [(share, rng.standard_normal((samples, 1))), (1 - share, own)])

    return family


def clustered(clusters: int) -> Family:
    """Candidates of one cluster nearly say the same; clusters share the difficulty of samples."""

    def family(
        samples: int, accuracies: npt.NDArray[np.float64], rng: np.random.Generator
    ) -> Outcomes:
        member = np.arange(len(accuracies)) % clusters
        parts = [
            (0.7, rng.standard_normal((samples, 1))),
            (0.27, rng.standard_normal((samples, clusters))[:, member]),
            (0.03, rng.standard_normal((samples, len(accuracies)))),
        ]
        return _right(accuracies, parts)

    return family


def one_odd(
    samples: int, accuracies: npt.NDArray[np.float64], rng: np.random.Generator
) -> Outcomes:
    """All alike but the first, which is as good and errs on other samples."""
    outcomes = alike(SHARE)(samples, accuracies, rng)
    outcomes[:, :1] = alike(SHARE)(samples, accuracies[:1], rng)
    return outcomes


FAMILIES: dict[str, Family] = {
    "alike, latent 0.80": alike(0.80),
    "alike, latent 0.92": alike(SHARE),
    "independent": alike(0.0),
    "3 clusters": clustered(3),
    "one odd candidate": one_odd,
}


def rejected(family: Family, samples: int, count: int, families: int, seed: int = 0) -> float:
    """Share of families of equally good candidates that the 5% test calls different."""
    return _called_different(family, samples, np.full(count, ACCURACY), families, seed)


def detected(family: Family, samples: int, count: int, families: int, seed: int = 0) -> float:
    """Share of families found whose population accuracies range over twice the noise floor."""
    rng = np.random.default_rng(seed)
    equal = np.full(count, ACCURACY)
    floor = float(np.mean([noise(family(samples, equal, rng)).floor for _ in range(5)]))
    spread = ACCURACY + 2 * floor * (_quantiles(count) - 0.5)
    return _called_different(family, samples, spread, families, seed)


def _called_different(
    family: Family,
    samples: int,
    accuracies: npt.NDArray[np.float64],
    families: int,
    seed: int,
) -> float:
    rng = np.random.default_rng(seed)
    p_values = [
        # each with draws of its own: an error of the common quantile would show as a bias
        noise(family(samples, accuracies, rng), permutations=PERMUTATIONS, seed=number).p_value
        for number in range(families)
    ]
    return float(np.mean(np.array(p_values) <= LEVEL))


def _quantiles(count: int) -> npt.NDArray[np.float64]:
    """Normal quantiles stretched to [0, 1]: accuracies spread as those of real families do."""
    scores = special.ndtri((np.arange(count) + 0.5) / count)
    return (scores - scores.min()) / np.ptp(scores)


def _right(
    accuracies: npt.NDArray[np.float64], parts: list[tuple[float, npt.NDArray[np.float64]]]
) -> Outcomes:
    latent = sum(np.sqrt(share) * values for share, values in parts)
    return special.ndtri(accuracies) + latent > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", type=int, default=500)
    parser.add_argument("--count", type=int, default=35)
    options = parser.parse_args()
    error = stats.binom.std(options.families, LEVEL) / options.families
    print(
        f"{options.families} families of {options.count}, equally good; standard error {error:.3f}"
    )
    print(f"{'':20s} {'n':>6s} {'rejected at 5%':>15s} {'twice the floor detected':>25s}")
    rows = itertools.product(FAMILIES.items(), (52, 200, 1000, 2000))
    for seed, ((name, family), samples) in enumerate(rows):  # rows must not share their draws
        alarms = rejected(family, samples, options.count, options.families, seed)
        found = detected(family, samples, options.count, max(1, options.families // 5), seed)
        print(f"{name:20s} {samples:6d} {alarms:15.3f} {found:25.2f}", flush=True)
    ranges = " ".join(f"{mean_range_of_normals(k):.2f}" for k in (2, 3, 5))
    print(f"\n2, 3 and 5 equal normals range over {ranges} standard deviations on average")


if __name__ == "__main__":
    main()
