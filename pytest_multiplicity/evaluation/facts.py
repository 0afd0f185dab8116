"""What of a population crosses processes: its metrics, and what it says of itself beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self, cast

Row = Mapping[str, float]


class Wired:
    """A frozen dataclass of builtins, and of others of its kind."""

    def to_wire(self) -> dict[str, Any]:
        """Return it as exact builtins: execnet takes nothing else."""
        return asdict(cast("Any", self))

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Return what `to_wire` wrote."""
        return cls(**wire)


@dataclass(frozen=True)
class Facts(Wired):
    """What may change from pair to pair.

    `trained` and `stored` count candidates as this process found them, `trained_now` those that
    any process trained in this run.
    """

    device: str | None = None
    trained: int = 0
    stored: int = 0
    trained_now: int = 0
    warnings: tuple[str, ...] = ()
    candidates: str = ""
    """What all of them are known by, whichever run they are met in; "" where that is nothing."""


@dataclass(frozen=True)
class TrainingFacts(Wired):
    """What training left to tell, once: by position of the candidate, but for `ways`."""

    ways: Mapping[str, int] = field(default_factory=dict)
    diverged: Mapping[int, str] = field(default_factory=dict)
    history: Mapping[int, Sequence[Row]] = field(default_factory=dict)
    weights: Mapping[int, str] = field(default_factory=dict)
    """What the store knows the weights by."""


@dataclass(frozen=True)
class MetricRecord(Wired):
    """What of a metric crosses processes; `portable` is a `Portable` as text. See `Metric`."""

    name: str
    scores: tuple[float | None, ...]
    n: int | None = None
    higher_is_better: bool = True
    data: str | None = None
    data_key: str | None = None
    under: str = ""
    key: str | None = None
    searched: bool = False
    proportion: bool = True
    unit: str = ""
    whole: bool = True
    logits: Mapping[int, str] = field(default_factory=dict)
    task: Mapping[str, Any] | None = None
    """What says when predictions differ, as `tasks.to_record` tells."""
    portable: str | None = None
    aside: Mapping[str, Any] | None = None

    @property
    def count(self) -> int:
        """How many candidates have a score."""
        return len(self.scores) - self.scores.count(None)

    def merged(self, later: MetricRecord) -> MetricRecord:
        """Return one record of two that processes made of the same metric.

        Of what they measured for different candidates, the more, with what it was computed from.
        Two that searched looked at different examples: the worst of both is the worst found.
        """
        if not later.searched:
            return max(later, self, key=lambda each: each.count)
        pick = min if later.higher_is_better else max
        pairs = zip(self.scores, later.scores, strict=True)
        return replace(
            later,
            scores=tuple(b if a is None else a if b is None else pick(a, b) for a, b in pairs),
        )
