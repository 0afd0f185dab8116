"""Does the betting process keep its promise, and after how many seeds does it decide?

    python -m benchmarks.reliable [--families 1000] [--most 40]

Every family has one configuration at each of the shares below, or only ones at the border, where
any decision is wrong. It is looked at after every seed; by `--multiplicity-seeds=auto`, in rounds
that the function picks which picks them there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from pytest_multiplicity.statistics import reliability
from pytest_multiplicity.statistics.doubt import Decision
from pytest_multiplicity.statistics.reliability import Trust

SHARES = (1.0, 0.98, 0.95, 0.9, 0.6, 0.4, 0.2, 0.0)


def decided(
    share: float, at_least: float, configurations: int, families: int, most: int, seed: int = 0
) -> list[Trust]:
    """What is decided of one configuration in each of many families."""
    rng = np.random.default_rng(seed)
    passed = rng.random((families, most)) < share
    return [reliability.trust(row.tolist(), at_least, configurations) for row in passed]


def wrong(
    at_least: float, configurations: int, families: int, most: int, seed: int = 0
) -> tuple[float, float]:
    """Shares of families of configurations at the border of which any is decided: each way."""
    rng = np.random.default_rng(seed)
    kept = rejected = 0
    for _ in range(families):
        passed = rng.random((configurations, most)) < at_least
        found = [
            reliability.trust(row.tolist(), at_least, configurations).decision for row in passed
        ]
        kept += Decision.KEEP in found
        rejected += Decision.REJECT in found
    return kept / families, rejected / families


def auto(
    shares: Sequence[float], at_least: float, declared: int, most: int, rng: np.random.Generator
) -> list[Trust]:
    """What a family is told by rounds of seeds, and after how many: the function that picks them.

    `shares`: of each configuration, how often its seeds pass.
    """
    seeds = rng.random((len(shares), most)) < np.asarray(shares)[:, None]
    passed: list[list[bool]] = [row[:declared].tolist() for row in seeds]
    planned = declared
    while True:  # as a run does: whoever isn't in a round lacks a verdict from then on
        known = [own if len(own) == planned else None for own in passed]
        places, more = reliability.next_round(known, at_least, most - planned)
        if not places:
            found = [reliability.trust(own, at_least, len(shares)).decision for own in passed]
            return [Trust(d, len(own)) for d, own in zip(found, passed, strict=True)]
        for place in places:
            passed[place] += seeds[place, planned : planned + more].tolist()
        planned += more


def wrong_by_rounds(
    at_least: float, configurations: int, families: int, most: int, seed: int = 0
) -> float:
    """Share of families at the border of which rounds decide anything at all."""
    rng = np.random.default_rng(seed)
    border = [at_least] * configurations
    told = (auto(border, at_least, 5, most, rng) for _ in range(families))
    return sum(any(each.decision is not Decision.UNDECIDED for each in t) for t in told) / families


def wrong_in_mixed(at_least: float, families: int, most: int, seed: int = 0) -> tuple[float, float]:
    """Of families of all `SHARES` and one at the border: share told wrong, seeds that it took."""
    rng, shares = np.random.default_rng(seed), [*SHARES, at_least]
    told = [auto(shares, at_least, 5, most, rng) for _ in range(families)]
    mistaken = sum(
        any(
            (each.decision is Decision.KEEP and share <= at_least)
            or (each.decision is Decision.REJECT and share >= at_least)
            for share, each in zip(shares, family, strict=True)
        )
        for family in told
    )
    spent = np.mean([sum(each.seeds for each in family) for family in told])
    return mistaken / families, float(spent)


def cell(found: Sequence[Trust]) -> str:
    """Seeds until it is decided, the median, and how often it is."""
    done = [each.seeds for each in found if each.decision is not Decision.UNDECIDED]
    if 2 * len(done) < len(found):
        return f"- ({len(done) / len(found):.0%})"
    seeds = sorted(done)[len(found) // 2 - (len(found) % 2 == 0)]
    return f"{seeds}" if len(done) == len(found) else f"{seeds} ({len(done) / len(found):.0%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", type=int, default=1000)
    parser.add_argument("--most", type=int, default=40)
    given = parser.parse_args()
    print(f"seeds until decided, median of {given.families}, up to {given.most} each")
    print("at_least  C  wrong at the border  " + "".join(f"{p:>11.0%}" for p in SHARES))
    for at_least in (0.8, 0.5):
        for count in (1, 7):
            kept, rejected = wrong(at_least, count, given.families, given.most)
            cells = [
                cell(decided(share, at_least, count, given.families, given.most))
                for share in SHARES
            ]
            row = f"{at_least:<8}  {count}  {f'{kept:.3f} + {rejected:.3f}':<19}  "
            print(row + "".join(f"{each:>11}" for each in cells))
    print(
        f"\nby rounds, after 5 declared seeds, up to {given.most}: seeds until a round is the last"
    )
    print("at_least  C  wrong at the border  " + "".join(f"{p:>11.0%}" for p in SHARES))
    for at_least in (0.8, 0.5):
        for count in (1, 7):
            border = wrong_by_rounds(at_least, count, given.families, given.most)
            cells = []
            for share in SHARES:
                rng = np.random.default_rng(0)
                told = [
                    auto([share, *[at_least] * (count - 1)], at_least, 5, given.most, rng)[0]
                    for _ in range(given.families)
                ]
                cells.append(cell(told))
            print(
                f"{at_least:<8}  {count}  {border:<19.3f}  "
                + "".join(f"{each:>11}" for each in cells)
            )
        mistaken, spent = wrong_in_mixed(at_least, given.families, given.most)
        every = given.most * (len(SHARES) + 1)
        print(
            f"families of one at each share and one at the border: {mistaken:.3f} told wrong, "
            f"{spent:.0f} seeds of {every}"
        )
    print("\nwith confidence 95%, at most this share of further seeds would beat the best of n:")
    for count in (10, 30, 60):
        fixed, anytime = (reliability.beaten(count, anytime=each) for each in (False, True))
        print(f"n = {count}: {fixed:.2f}, looked at after each seed {anytime:.2f}")


if __name__ == "__main__":
    main()
