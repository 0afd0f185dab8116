"""What the model of a run holds of survivors' agreement, and of samples that divide them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often survivors predict the same, pair by pair (HTML)."""

    data: str
    ids: Sequence[str]
    values: Sequence[Sequence[float]]
    """Symmetric, `len(ids)` squared: shares of samples; 1 on the diagonal."""


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture of one sample."""

    width: int
    height: int
    pixels: bytes
    """8 bits a channel, row by row: `height * width` bytes (grey), or three times that (RGB)."""


@dataclass(frozen=True, kw_only=True)
class SaidValues:
    """The values that survivors gave one sample, in the unit of the target."""

    values: Sequence[Sequence[float]]
    """Of each survivor one, or several."""
    target: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One sample on which survivors disagree."""

    row: int
    """Position in the data set."""
    target: str
    votes: Mapping[str, Sequence[str]]
    """Predicted class -> ids of the survivors that say so."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    """What it is, in words: a text, the columns that matter; "" for what has a picture."""
    thumbnail: Thumbnail | None = None
    divided: Thumbnail | None = None
    """The same, with the positions coloured on which survivors differ."""
    scale: SaidValues | None = None
    """Values that they gave it, to be drawn on one scale."""


@dataclass(frozen=True, kw_only=True)
class Conflicts:
    """The samples of one data set on which survivors disagree, the most divided first (HTML)."""

    data: str
    total: int
    """How many there are; `rows` may hold only the first."""
    rows: Sequence[Conflict] = ()
