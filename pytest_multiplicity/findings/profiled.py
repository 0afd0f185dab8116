"""Where the time of a run went: told beside its results, and never part of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = "pytest-multiplicity-profile/1"
STAGES = {
    "collect": "collecting tests",
    "imports": "importing modules",
    "train": "training, and recalling what is trained",
    "infer": "asking models for answers",
    "attack": "attacking them",
    "judge": "all else that tests do",
    "report": "making reports",
    "wait": "waiting for workers of pytest-xdist",
    "rest": "pytest and other plugins",
}
"""What each means. Importing counts wherever it happens."""


@dataclass(frozen=True, kw_only=True)
class ProfileReport:
    """Seconds by stage, and by test of all its candidates."""

    processes: int
    """Whose seconds are added up: with pytest-xdist those of all workers and the controller."""
    tests: Mapping[str, Mapping[str, float]]
    """Node id -> stage -> seconds; "": outside of tests."""

    @property
    def stages(self) -> dict[str, float]:
        """Stage -> seconds, in the order of `STAGES`; none that took no time."""
        found = {name: sum(each.get(name, 0.0) for each in self.tests.values()) for name in STAGES}
        return {name: seconds for name, seconds in found.items() if seconds}

    @property
    def seconds(self) -> float:
        """All of them."""
        return sum(self.stages.values())

    @property
    def costliest(self) -> list[tuple[str, dict[str, float]]]:
        """Tests and their seconds by stage, those first that took longest."""
        tests = [(test, dict(found)) for test, found in self.tests.items() if test]
        return sorted(tests, key=lambda each: -sum(each[1].values()))

    def document(self) -> dict[str, Any]:
        """Return it as plain builtins."""
        return {
            "schema": SCHEMA,
            "processes": self.processes,
            "seconds": self.seconds,
            "stages": self.stages,
            "tests": {
                name: {"seconds": sum(found.values()), "stages": found}
                for name, found in self.costliest
            },
        }
