"""What stands beside scores in the model of the run: gaps and floors, comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class GapOf:
    """One candidate's gap."""

    id: str
    low: float | None
    """Of the interval that holds for all pairs of groups; None where it wasn't asked for."""
    high: float | None
    floor: float
    """The gap that drawing membership at random would make, on average."""
    floor_95: float
    p_value: float
    """How often it would make a gap this large."""
    lowest: str
    """The group with the smallest rate."""
    highest: str


@dataclass(frozen=True, kw_only=True)
class GapReport:
    """What is known of a gap, or a ratio, beside its sheet."""

    kind: Literal["gap", "ratio"]
    null: str
    """What the floor supposes: `no gap given the target`, `group and answer independent`."""
    groups: Mapping[str, int]
    """Group -> how many samples of it are counted."""
    floor: float | None
    """Mean over the candidates of what drawing membership at random would make."""
    floor_95: float | None
    beyond: int
    """Candidates whose gap chance alone makes less than 5 times in 100."""
    candidates: Sequence[GapOf] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True)
class Valued:
    """A candidate's value, and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """A family beside an incumbent on one data set: a value for each candidate, in their order.

    None for a candidate that wasn't compared; nothing at all of flips and gains where there are no
    targets.
    """

    incumbent: str
    data: str
    """The data set, and the intervention if any."""
    flips: Sequence[Valued | None]
    """Shares of samples that the incumbent gets right and the candidate wrong."""
    churn: Sequence[Valued | None]
    """Shares of samples that are answered otherwise."""
    gain: Sequence[Valued | None]
    """Accuracies minus the incumbent's."""
    trust: Sequence[float | None]
    """Backward trust: of what the incumbent gets right, how much the candidate does, too."""
    flips_per_error: Sequence[float | None]
    """Of the candidate's errors, how many are new."""
    flips_floor: float | None
    """What retraining one and the same configuration does; None where each has one seed."""
    churn_floor: float | None


@dataclass(frozen=True, kw_only=True)
class RegionReport:
    """Where something happens more often, as samples confirm that it wasn't found on."""

    what: str
    """`survivors disagree`, `survivors flip against production`."""
    data: str
    """What confirms it."""
    found_on: str
    query: str
    """`age >= 60 and device == 'B'`."""
    inside: float
    """How often on these samples, a share."""
    elsewhere: float
    samples: int
    of: int
    p_value: float
    """After Holm's correction over what was tested."""


def comparison_reports(
    asides: Iterable[Mapping[str, Any] | None], count: int
) -> list[ComparisonReport]:
    """Return each comparison once, as metrics tell of it; of several the one with most in it."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for told in _told(asides):
        key = told["incumbent"], told["data"]
        if key not in found or len(found[key]["churn"]) < len(told["churn"]):
            found[key] = told
    return [_comparison(each, count) for each in found.values()]


def _told(asides: Iterable[Mapping[str, Any] | None]) -> Iterator[Mapping[str, Any]]:
    """Yield comparisons, of which a metric is one, or that it was used in."""
    for aside in asides:
        own = (aside or {}).get("comparison")
        yield from [own] if own else (aside or {}).get("comparisons", ())


def _comparison(told: Mapping[str, Any], count: int) -> ComparisonReport:
    def values(kind: str) -> list[Valued | None]:
        own = told[kind]
        known = [own.get(str(index)) for index in range(count)] if own else []
        return [None if each is None else Valued(**each) for each in known]

    return ComparisonReport(
        incumbent=told["incumbent"],
        data=told["data"],
        flips=values("flips"),
        churn=values("churn"),
        gain=values("gain"),
        trust=[told["trust"].get(str(index)) for index in range(count)],
        flips_per_error=[told["flips_per_error"].get(str(index)) for index in range(count)],
        flips_floor=told["flips_floor"],
        churn_floor=told["churn_floor"],
    )


def gap_report(aside: Mapping[str, Any] | None, ids: Sequence[str]) -> GapReport | None:
    """Return what a metric says of its groups; None for one that is no gap."""
    if aside is None or aside.get("kind") not in ("gap", "ratio"):
        return None
    each = aside["candidates"]
    found = [GapOf(id=ids[int(index)], **each[index]) for index in sorted(each, key=int)]
    return GapReport(**{**aside, "candidates": found})
