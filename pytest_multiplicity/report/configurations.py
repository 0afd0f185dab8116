"""What all reports say of configurations, worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_multiplicity.findings import ConfigurationReport, FamilyReport

HEADINGS = ("configuration", "seeds", "passed", "95% interval", "reliable at", "rejected by")
LEGEND = (
    "interval: the share of further seeds that would pass; reliable at: the share of which it is "
    "decided, at 5% in all"
)
UNDECIDED = "undecided"
REJECTING = 4
"""Specifications that are named."""


def shown(family: FamilyReport) -> Sequence[ConfigurationReport]:
    """Return the configurations; none where nothing is known of how seeds differ."""
    several = any(each.seeds > 1 for each in family.configurations)
    return family.configurations if several else ()


def decided(configuration: ConfigurationReport) -> str:
    """Return `80%`, `50%, not 80%`, or `undecided`."""
    known = {float(share): said for share, said in configuration.reliable.items()}
    passes = max((share for share, said in known.items() if said), default=None)
    fails = min((share for share, said in known.items() if said is False), default=None)
    told = [f"{passes:.0%}"] if passes is not None else []
    told += [f"not {fails:.0%}"] if fails is not None else []
    return ", ".join(told) or UNDECIDED


def in_words(verdict: str) -> str:
    """Return what `decided` says as a heading: `reliable at 50%, not 80%`."""
    if verdict.startswith("not "):
        return f"not reliable at {verdict.removeprefix('not ')}"
    return verdict if verdict == UNDECIDED else f"reliable at {verdict}"


def rejecting(configuration: ConfigurationReport) -> Iterator[str]:
    """Yield what rejected some of its seeds, the most first: `test_private 3`."""
    named = list(configuration.rejected_by.items())
    yield from (f"{spec} {count}" for spec, count in named[:REJECTING])
    if len(named) > REJECTING:
        yield f"and {len(named) - REJECTING} more"
