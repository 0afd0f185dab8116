"""What is told of single samples, and of those in groups: people, as a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PeopleAsked:
    """What is asked of single samples."""

    id: str | None = None
    """The attribute that identifies them; None: they stay without a name."""
    groups: Sequence[str] = ()
    """Attributes whose values are groups."""
    positive: str | None = None
    """The class that is wanted, as text; None: of two classes the second."""


@dataclass(frozen=True)
class Pick:
    """The survivor that would ship: the best by the first accuracy that selected."""

    id: str
    by: str | None
    """The metric; None where nothing selected: it is the first."""
    margin: float | None = None
    """By how much it is better than the next survivor; None where there is no other."""
    next: str | None = None
    """That survivor; copies of the pick are none."""


@dataclass(frozen=True, kw_only=True)
class Individual:
    """One sample, and what survivors say of it."""

    sample: int
    """Position in the data set."""
    id: str | None
    """None where no attribute was asked for."""
    target: str
    answer: str
    """What the pick says."""
    conflict: float
    """The share of the others that answer otherwise than the model they are held against; `nan`
    where that is the only survivor."""
    consistency: float
    """The share of pairs of survivors that say the same; `nan` of one."""
    turned_by: str | None
    """The axis along which survivors differ most often; None where none of them differ alone."""
    reachable_to: str | None
    """What a model as good that nobody trained says of it; None where none is listed."""
    reachable_cost: float | None
    """The loss that takes."""
    rejecting: float | None
    """The share of survivors that don't say the wanted class; None where none is."""
    rejected_by_pick: bool | None


@dataclass(frozen=True, kw_only=True)
class PeopleOf:
    """Some samples together: all of a data set, or those of a group."""

    attribute: str | None
    group: str | None
    """With `attribute` None for all."""
    samples: int
    contested: float
    """The share of samples on which survivors differ."""
    conflict: float
    """Its mean."""
    consistency: float
    """Its mean."""
    quantiles: Sequence[float]
    """Of the consistency: the least, 10%, 25%, 50%, 75%, 90%, the largest."""
    rejected_by_everybody: float | None
    rejected_by_pick_only: float | None


@dataclass(frozen=True, kw_only=True)
class IndividualsReport:
    """Single samples of one data set, and what becomes of them."""

    data: str
    survivors: int
    """Distinct ones: copies count once."""
    pick: str
    """The survivor that would ship."""
    picked_by: str | None
    """The metric that it is best by; None where there is none: it is the first."""
    against: str
    """Whom `conflict` is against: an incumbent whose churn was measured, else the pick."""
    positive: str | None
    """The class that is wanted."""
    turned: Mapping[str, float]
    """Axis -> the share of pairs of survivors that differ in it alone and disagree."""
    people: Sequence[PeopleOf]
    """All of them first, then group by group."""
    most: Sequence[Individual]
    """The most contested samples."""
    everybody: Sequence[Individual]
    """All samples: they have a file of their own."""
