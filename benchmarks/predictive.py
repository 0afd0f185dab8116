"""How long all predictive metrics take, and how much memory, on candidates that half agree.

OMP_NUM_THREADS=2 python -m benchmarks.predictive [--candidates 200] [--samples 10000]
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.statistics import predictive


def probabilities(
    candidates: int, samples: int, classes: int, spread: float, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Softmax of shared logits plus own ones of standard deviation ``spread``: [K, n, C]."""
    rng = np.random.default_rng(seed)
    shared = 3 * rng.standard_normal((samples, classes), dtype=np.float32)
    found = np.empty((candidates, samples, classes), dtype=np.float32)
    for each in found:
        logits = shared + spread * rng.standard_normal((samples, classes), dtype=np.float32)
        each[:] = np.exp(logits - logits.max(axis=1, keepdims=True))
        each /= each.sum(axis=1, keepdims=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, size in (("candidates", 200), ("samples", 10_000), ("classes", 10)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--spread", type=float, default=1.0)
    options = parser.parse_args()
    found = probabilities(options.candidates, options.samples, options.classes, options.spread)
    said, labels = found.argmax(axis=2), found[0].argmax(axis=1)
    measures = {
        "ambiguity": lambda: predictive.ambiguity(said),
        "ambiguity, baseline": lambda: predictive.ambiguity(said, said[0]),
        "discrepancy": lambda: predictive.discrepancy(said),
        "discrepancy, baseline": lambda: predictive.discrepancy(said, said[0]),
        "disagreement": lambda: predictive.disagreement(said),
        "self-consistency": lambda: predictive.self_consistency(said).mean(),
        "Fleiss' kappa": lambda: predictive.fleiss_kappa(said),
        "viable range": lambda: np.ptp(predictive.viable_prediction_range(found, labels)),
        "probabilistic ambiguity": lambda: predictive.probabilistic_ambiguity(
            found, labels, delta=0.1
        ),
        "score variance": lambda: predictive.score_variance(found, labels).mean(),
        "Rashomon capacity": lambda: predictive.rashomon_capacity(found).values.mean(),
    }
    total = 0.0
    for name, measure in measures.items():
        start = time.perf_counter()
        value = measure()
        elapsed = time.perf_counter() - start
        total += elapsed
        print(f"{name:26s} {float(value):8.4f}   {elapsed:6.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'all':26s} {'':8s}   {total:6.2f} s, peak {peak:.2f} GiB with the input")


if __name__ == "__main__":
    main()
