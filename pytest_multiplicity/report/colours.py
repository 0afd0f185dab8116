"""The shading of sheets: from white to the metric's colour, and to gold for deltas."""

from __future__ import annotations

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
GOLD: Colour = (255, 205, 60)
METRICS: tuple[Colour, ...] = (
    (107, 174, 214),  # blue
    (120, 198, 121),  # green
    (173, 158, 214),  # violet
    (240, 138, 124),  # coral
    (98, 190, 182),  # teal
    (226, 146, 190),  # pink
    (158, 172, 188),  # slate
)
"""Light enough for black text (7:1 and more) on the fullest shade; none is near gold."""


def of_metric(position: int) -> Colour:
    """Return the colour of the family's metric in this position."""
    return METRICS[position % len(METRICS)]


def blend(colour: Colour, shade: float) -> Colour:
    """Return white at 0, the colour at 1."""
    red, green, blue = (round(w + (c - w) * shade) for w, c in zip(WHITE, colour, strict=True))
    return red, green, blue


def css(colour: Colour) -> str:
    """Return it as HTML and rich write it: `#6baed6`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
