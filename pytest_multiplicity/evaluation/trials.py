"""What became of the seeds of every configuration, and what that says of further ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.statistics import Decision, reliability

AUTO = "--multiplicity-seeds=auto"


@dataclass(frozen=True)
class ConfigurationTrial:
    """One configuration: for each of its seeds that were judged, whether it passed everything.

    `passed` stands in the order of the seeds, the declared ones first; the last `added` were run
    to decide. `fresh`: only these count, since the declared ones set what they are compared with.
    `enforced`: whether there is a specification that could have rejected them.
    """

    name: str
    config: Mapping[str, Any]
    passed: tuple[bool, ...]
    added: int = 0
    fresh: bool = False
    enforced: bool = True

    @property
    def counted(self) -> tuple[bool, ...]:
        """Those by which it is decided."""
        return self.passed[len(self.passed) - self.added :] if self.fresh else self.passed

    def decision(self, at_least: float, configurations: int) -> Decision:
        """Return whether it is decided that it passes with this share of its seeds."""
        return reliability.trust(self.counted, at_least, configurations).decision


class Reliable(list[dict[str, Any]]):
    """The configurations that are reliable; its repr also says what isn't decided."""

    def __init__(self, found: Sequence[Mapping[str, Any]], aside: str) -> None:
        super().__init__(map(dict, found))
        self._aside = aside

    def __repr__(self) -> str:
        return f"{super().__repr__()} ({self._aside})"


def reliable(trials: Sequence[ConfigurationTrial], at_least: float) -> Reliable:
    """Return the configurations of which it is decided that they pass with this share of seeds.

    Raises MeasurementError where every configuration has one seed, nothing is enforced, or
    `at_least` is no share.
    """
    reliability.check_share(at_least)
    if not any(each.enforced for each in trials):
        raise MeasurementError(
            "reliable(): no specification of these candidates is enforced, so every seed passes, "
            "whatever it is: write one that asserts, without pytest.mark.unforeseen"
        )
    if all(len(each.passed) < 2 for each in trials):
        raise MeasurementError(
            "reliable(): no configuration has two seeds that were judged, and one says nothing of "
            f"further ones: give the family seeds=25, or run with {AUTO}"
        )
    decisions = [each.decision(at_least, len(trials)) for each in trials]
    kept = [t.config for t, d in zip(trials, decisions, strict=True) if d is Decision.KEEP]
    undecided = decisions.count(Decision.UNDECIDED)
    aside = f"at {at_least:g}: {len(kept)} reliable, {decisions.count(Decision.REJECT)} not"
    if undecided:
        needed = reliability.all_passing(at_least, len(trials))
        aside += f", {undecided} undecided; {needed} seeds that all pass decide: seeds=, or {AUTO}"
    return Reliable(kept, aside)


def enough(trials: Sequence[ConfigurationTrial]) -> pd.DataFrame:
    """Return how many further seeds could still beat the best declared, by configuration."""
    counts = {each.name: len(each.passed) - each.added for each in trials}
    counts = {name: count for name, count in counts.items() if count}
    if not counts:
        raise MeasurementError("enough(): no seed was judged: run the specifications too")
    return pd.DataFrame(
        {
            "seeds": counts.values(),
            "beaten_by": [reliability.beaten(n) for n in counts.values()],
            "anytime": [reliability.beaten(n, anytime=True) for n in counts.values()],
            "next": [1 / (n + 1) for n in counts.values()],
        },
        index=pd.Index(counts, name="configuration"),
    )
