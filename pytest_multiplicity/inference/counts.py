"""What was computed in this run and what came from the store, counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Foreseen:
    """What calling a function would take: how many calls, and seconds where that is known.

    `kept`: it is called once; otherwise in every run.
    """

    calls: int
    seconds: float | None
    kept: bool = True


@dataclass
class Counts:
    """Counts since the family was built; they are never part of a result.

    `trained` and `stored` count candidates, `inferred` counts (candidate, data, intervention)
    triples whose logits were computed, `intervened` counts batches to which an intervention that
    needs no model was applied (once for all candidates).
    """

    trained: int = 0
    stored: int = 0
    inferred: int = 0
    intervened: int = 0
