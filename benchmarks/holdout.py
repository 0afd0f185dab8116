"""How far may one fall for a data set by trying again and again? Coin flips, and the ladder.

    python -m benchmarks.holdout [--models 400] [--samples 1000] [--runs 50]

Every model guesses at random, so its true error is a half. Who sees the score of each keeps those
that look better than a half and lets them vote, as in boosting: the vote looks good on the data,
and is a coin flip elsewhere. Who is told by the ladder keeps those that it announced.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.statistics.holdout import Announced, ladder, optimism


def attack(models: int, samples: int, rng: np.random.Generator, *, told_by_ladder: bool) -> float:
    """The error that is believed in at the end."""
    wrong = rng.random((models, samples)) < 0.5
    last: Announced | None = None
    votes = np.zeros(samples)
    for losses in wrong:
        if told_by_ladder:
            before, last = last, ladder(last, losses)
            good = last is not before
        else:
            good = losses.mean() < 0.5
        votes += np.where(losses, -1, 1) * good
    voted: npt.NDArray[np.bool_] = np.where(votes == 0, rng.random(samples) < 0.5, votes < 0)
    if told_by_ladder:
        return ladder(last, voted).loss
    return float(voted.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=400)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=50)
    given = parser.parse_args()
    print(f"{given.models} coin flips, {given.samples} samples, {given.runs} runs: true error 50%")
    for name, told_by_ladder in (("all scores are told", False), ("the ladder tells", True)):
        rng = np.random.default_rng(0)
        found = [
            attack(given.models, given.samples, rng, told_by_ladder=told_by_ladder)
            for _ in range(given.runs)
        ]
        print(f"{name:<20} believed error {np.mean(found):.1%}, lowest {min(found):.1%}")
    fixed = optimism(given.samples, 1, 1)
    for answers in (0, 10, 100, given.models):
        bound = optimism(given.samples, 1, 1, answers)
        shown = "nothing" if bound is None else f"{100 * bound:.1f} points"
        print(f"after {answers} answers of yes or no a score may be too good by {shown}")
    assert fixed is not None


if __name__ == "__main__":
    main()
