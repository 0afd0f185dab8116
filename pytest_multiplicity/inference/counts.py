"""What was computed in this run and what came from the store, counted."""

from __future__ import annotations

from dataclasses import dataclass


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
