"""What marks the run of a tracker among the options of a configuration: it is no axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_multiplicity.errors import DefinitionError

RUN = "run"


class RunId:
    """The id of a run, known as such by its type; `instead_of` names the reruns left out for it."""

    instead_of: tuple[str, ...] = ()

    @property
    def plain(self) -> str | int:
        """The id as a builtin."""
        return int(self) if isinstance(self, int) else str(self)


class _Text(RunId, str):
    pass


class _Number(RunId, int):
    pass


def run_id(value: str | int, instead_of: tuple[str, ...] = ()) -> RunId:
    """Return an id that is one of a run, and still a text or a number."""
    marked: RunId = _Number(value) if isinstance(value, int) else _Text(value)
    marked.instead_of = instead_of
    return marked


def without_runs(
    listed: Iterable[Mapping[str, Any]],
) -> tuple[list[dict[str, Any]], list[RunId | None]]:
    """Return configurations without the runs that they name, and these."""
    configurations = [dict(options) for options in listed]
    runs = [options.get(RUN) for options in configurations]
    if not any(isinstance(run, RunId) for run in runs):
        return configurations, [None] * len(runs)
    for options, run in zip(configurations, runs, strict=True):
        if not isinstance(run, RunId):
            raise DefinitionError(
                f"configuration {options!r} has no run, which others have: give a list of "
                "configurations of runs alone, or write two families"
            )
        del options[RUN]
    return configurations, runs


def left_out(runs: Iterable[RunId | None]) -> int:
    """Return how many runs were left out as reruns of these."""
    return sum(len(run.instead_of) for run in runs if run is not None)
