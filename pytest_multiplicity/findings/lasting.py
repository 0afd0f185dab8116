"""What the model of a run holds of what goes on after it: further seeds, and further looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ConfigurationReport:
    """One configuration: how many of its seeds passed every enforced specification."""

    name: str
    """As in the ids of its candidates: `lr0.05`."""
    config: Mapping[str, Any]
    seeds: int
    """That were judged."""
    passed: int
    low: float | None
    """With `high` the 95% interval of the share of further seeds that would pass."""
    high: float | None
    added: int = 0
    """How many of the seeds were run beyond the declared ones, to decide."""
    rejected_by: Mapping[str, int] = field(default_factory=dict)
    """Specs that rejected some of its seeds, with how many; `training` where they diverged."""
    reliable: Mapping[str, bool | None] = field(default_factory=dict)
    """Share -> whether it is decided that as many seeds pass: `{"0.8": True}`; None: undecided."""


@dataclass(frozen=True, kw_only=True)
class LookReport:
    """How often a data set was looked at, this run included, and what that allows."""

    data: str
    samples: int
    looks: int
    reporting: bool
    """A gate looks at it, or a spec that rejects nobody."""
    optimism: float | None
    """By how much an accuracy may be too good, at most, for who was told of gates alone; None
    where that says nothing. Of differences it is twice."""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What the ladder tells of a data set that reports: the best accuracy announced so far."""

    accuracy: float | None
    """Rounded to one sample; None where nothing was announced."""
    candidate: str | None = None
    """Who reached it, where it is new in this run."""
