"""How reliable a configuration is: the share of its seeds that pass, decided by betting.

Seeds of a configuration are exchangeable, and another one can always be trained. So a test must
hold however often it is looked at: a gambler bets on every seed at the odds of the hypothesis, and
where that holds she multiplies her capital by a number `a` with chance `1 / a` at most, whenever
she stops (Ville 1939; Waudby-Smith and Ramdas 2024). All functions are pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.statistics.doubt import BUDGET, Decision

Floats = npt.NDArray[np.float64]

AT_LEAST = 0.8
"""The share of seeds that makes a configuration reliable, unless another one is asked about."""
GRID = 20
"""Bets among which the capital is spread at the start."""
HALVINGS = 20
"""Of the shares in which an interval's end is sought: to a millionth."""


@dataclass(frozen=True)
class Trust:
    """What seeds say of a configuration: `KEEP` is reliable, `REJECT` is not."""

    decision: Decision
    seeds: int
    """How many had been looked at when it was decided; all of them where it is not."""


def trust(passed: Sequence[bool], at_least: float, configurations: int) -> Trust:
    """Return whether a configuration passes with `at_least` of its seeds, once that is decided.

    `passed`: for each seed in turn, whether it passes everything; `configurations`: the size of
    the family. A wrong decision anywhere in the family has a chance of `BUDGET` at most, half of
    it in each direction, however many seeds follow. Raises MeasurementError for a share outside
    (0, 1).
    """
    check_share(at_least)
    bar, right, wrong = 2 * configurations / BUDGET, 0, 0
    for seeds, good in enumerate(passed, 1):
        right, wrong = right + bool(good), wrong + (not good)
        if capital(right, wrong, at_least) >= bar:
            return Trust(Decision.KEEP, seeds)
        if capital_below(right, wrong, at_least) >= bar:
            return Trust(Decision.REJECT, seeds)
    return Trust(Decision.UNDECIDED, len(passed))


@lru_cache(maxsize=1 << 16)
def capital(right: int, wrong: int, at_least: float) -> float:
    """Return what a gambler has who bets that the share of passing seeds is over `at_least`.

    The mean over bets `l` of the product of `1 + l (X - r)`, with which X is 1 for `right` of the
    seeds and 0 for `wrong` of them. There are more of the high bets: a configuration that is worth
    calling reliable passes with nearly all of its seeds.
    """
    high, low = _bets(at_least, dense=True)
    return float(np.exp(right * high + wrong * low).mean())


@lru_cache(maxsize=1 << 16)
def capital_below(right: int, wrong: int, at_least: float) -> float:
    """Return what a gambler has who bets that the share is under `at_least`: X' = 1 - X."""
    high, low = _bets(1 - at_least, dense=False)
    return float(np.exp(wrong * high + right * low).mean())


@cache
def _bets(share: float, *, dense: bool) -> tuple[Floats, Floats]:
    """Return the logarithms of what each bet makes of a unit, on a passing and on a failing seed.

    Bets lie in (0, 1 / share).
    """
    places = np.arange(1, GRID + 1) / (GRID + 1)
    bets = (1 - (1 - places) ** 2 if dense else places) / share
    return np.log1p(bets * (1 - share)), np.log1p(-bets * share)


def fewest(passed: Sequence[bool], at_least: float, configurations: int, room: int) -> int | None:
    """Return how few further seeds could decide; None where not even `room` of them could.

    None as well where it is decided. Soonest decide seeds that all pass, or all fail.
    """
    if trust(passed, at_least, configurations).decision is not Decision.UNDECIDED:
        return None
    bar, right = 2 * configurations / BUDGET, sum(map(bool, passed))
    wrong = len(passed) - right
    for more in range(1, room + 1):
        if capital(right + more, wrong, at_least) >= bar:
            return more
        if capital_below(right, wrong + more, at_least) >= bar:
            return more
    return None


def next_round(
    counted: Sequence[Sequence[bool] | None], at_least: float, room: int
) -> tuple[list[int], int]:
    """Return which configurations get further seeds, and how many each; nobody: all is over.

    Those that are undecided and about which `room` further seeds could decide get as many as are
    the fewest that could decide about any of them, so that none is wasted.

    Args:
        counted: for each configuration, whether the seeds that count pass; None for one that gets
            none, since a verdict is missing.
        at_least: the share of seeds that is asked for.
        room: how many further seeds there may be of each.
    """
    needed = {
        place: more
        for place, passed in enumerate(counted)
        if passed is not None and (more := fewest(passed, at_least, len(counted), room)) is not None
    }
    return list(needed), min(needed.values(), default=0)


def all_passing(at_least: float, configurations: int) -> int:
    """Return how many seeds decide that a configuration is reliable, where all of them pass."""
    bar, seeds = 2 * configurations / BUDGET, 1
    while capital(seeds, 0, at_least) < bar:
        seeds += 1
    return seeds


def anytime_interval(passed: Sequence[bool], confidence: float = 0.95) -> tuple[float, float]:
    """Return the shares that the seeds don't rule out, however often they were looked at."""
    bar = 2 / (1 - confidence)
    rights = np.cumsum(np.asarray(passed, dtype=int)).tolist()
    counts = [(right, seeds - right) for seeds, right in enumerate(rights, 1)]

    def ruled_out(share: float) -> bool:
        return any(capital(*each, share) >= bar for each in counts)

    def ruled_out_above(share: float) -> bool:
        return any(capital_below(*each, 1 - share) >= bar for each in counts)

    return _last(ruled_out), 1 - _last(ruled_out_above)


def _last(holds: Callable[[float], bool]) -> float:
    """Return up to where something holds that holds for small shares; capital falls with these."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def beaten(seeds: int, *, anytime: bool = False, level: float = BUDGET) -> float:
    """Return the largest share of further seeds that would beat the best of so many.

    With confidence `1 - level`: `1 - level ** (1 / n)`, since the best of n lies in the top share
    `s` of all unless n draws miss it, which has the chance `(1 - s) ** n`. `anytime`: also for who
    looks after every seed, `level / (n (n + 1))` of the budget each time.
    """
    if seeds < 1:
        raise MeasurementError(f"enough() of {seeds} seeds: one or more are needed")
    spent = level / (seeds * (seeds + 1)) if anytime else level
    return float(1 - spent ** (1 / seeds))


def check_share(at_least: float) -> None:
    """Raise MeasurementError for what is no share between 0 and 1."""
    if not isinstance(at_least, int | float) or not 0 < at_least < 1:
        raise MeasurementError(
            f"reliable(at_least={at_least!r}): give a share between 0 and 1, such as {AT_LEAST}"
        )
