"""Where the time went, in words that all reports share."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_multiplicity.findings import STAGES, ProfileReport


@dataclass(frozen=True)
class Spent:
    """A stage or a test: its seconds, its name, and what is to be said of it."""

    seconds: str
    name: str
    about: str


def told(found: ProfileReport) -> str:
    """Return of what the seconds are the sum."""
    added = "" if found.processes == 1 else f", added up over {found.processes} processes"
    return f"{found.seconds:.1f} s{added}, until this report was made"


def stages(found: ProfileReport) -> list[Spent]:
    """Return a row for each stage, in their order."""
    return [Spent(_seconds(spent), name, STAGES[name]) for name, spent in found.stages.items()]


def tests(found: ProfileReport) -> list[Spent]:
    """Return a row for each test, those first that took longest."""
    rows = []
    for name, by_stage in found.costliest:
        parts = sorted(by_stage.items(), key=lambda each: -each[1])
        about = " · ".join(f"{stage} {_seconds(spent)}" for stage, spent in parts)
        rows.append(Spent(_seconds(sum(by_stage.values())), name, about))
    return rows


def _seconds(spent: float) -> str:
    return f"{spent:.1f} s"
