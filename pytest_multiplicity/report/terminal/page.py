"""What every block needs to know: the width, and which characters can be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.color import Color, ColorSystem
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pytest_multiplicity.report.colours import Colour
from pytest_multiplicity.report.text import DASH, inert, interval, isolated, number

WIDE = 110
"""From this width on, tables have room for more columns."""
WIDEST = 116
"""Wider tables would only put the numbers further from their names."""

DIM, BOLD, GOOD, BAD, CARE = "dim", "bold", "green", "bold red", "yellow"
INDENT = 2


@dataclass(frozen=True)
class Page:
    """A terminal `width` cells wide; without `unicode` everything printed is ASCII."""

    width: int
    unicode: bool = True
    truecolor: bool = True

    def ink(self, colour: Colour) -> Color:
        """Return the colour, or the nearest of 256.

        Not left to rich, which keeps the escape codes of a style for the first terminal it met.
        """
        exact = Color.from_rgb(*colour)
        return exact if self.truecolor else exact.downgrade(ColorSystem.EIGHT_BIT)

    def glyph(self, unicode: str, plain: str) -> str:
        """Return one of the two, as the terminal can show."""
        return unicode if self.unicode else plain

    @property
    def delta(self) -> str:
        """The sign for max minus min."""
        return self.glyph("Δ", "d")

    @property
    def dot(self) -> str:
        """What separates parts of a line."""
        return self.glyph(" · ", " - ")

    @property
    def noise(self) -> str:
        """Marks a delta that is within test-set noise."""
        return self.glyph("≈", "~")

    @property
    def gone(self) -> str:
        """Marks the score of a rejected candidate."""
        return self.glyph("\N{MULTIPLICATION SIGN}", "x")

    @property
    def screened(self) -> str:
        """Marks a metric that was not measured for everybody."""
        return self.glyph("†", "+")

    def name(self, text: str, limit: int = 72) -> str:
        """Return a name on one line, inert, at most `limit` characters."""
        short = inert(text, limit, unicode=self.unicode)
        return isolated(short) if self.unicode else short

    def prose(self, text: str) -> str:
        """Return text of some length: a docstring, a message, a definition."""
        return self.name(text, 600)

    def lines(self, text: str, shown: int = 8) -> str:
        """Return a message of several lines, the first of them."""
        return "\n".join(map(self.prose, text.splitlines()[:shown]))

    def number(self, value: float | None, *, percent: bool = True) -> str:
        """Return a score or a delta."""
        return number(value, percent=percent, unknown=self.glyph(DASH, "-"))

    def interval(self, low: float | None, high: float | None, *, percent: bool = True) -> str:
        """Return a range, or the sign for what is not known."""
        dash = self.glyph(DASH, "-")
        return interval(low, high, percent=percent, dash=dash) or dash

    def title(self, text: str, aside: str = "") -> Text:
        """Return a block's heading, with something said beside it."""
        return Text.assemble((text, BOLD), (f"  {aside}" if aside else "", DIM))


def fit(text: str, width: int) -> str:
    """Return the text in exactly `width` terminal cells: cut, or padded on the right."""
    return set_cell_size(text, width)


def stack(lines: Iterable[Text]) -> Text:
    """Return lines below one another."""
    return Text("\n").join(lines)


def calm_table(page: Page, title: str) -> Table:
    """Return a table without lines, its first column as wide as what the others leave."""
    width = min(page.width, WIDEST)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, width=width, header_style=DIM)
    table.add_column(Text(title, BOLD), ratio=1, overflow="fold", min_width=16)
    return table


def add(table: Table, *cells: str | Text, style: str = "") -> None:
    """Add a row. rich would read markup in plain strings; in a Text it doesn't."""
    table.add_row(*(Text(c) if isinstance(c, str) else c for c in cells), style=style)


def indented(block: RenderableType) -> Padding:
    """Return the block a little to the right, below its title."""
    return Padding(block, (0, 0, 0, INDENT))


def listed(names: Sequence[str], shown: int = 6) -> str:
    """Return `a, b and 3 more`."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def fitting(names: Sequence[str], room: int) -> str:
    """Return as many names as fit into so many cells, at least one, and how many there are more."""
    least = range(len(names), 1, -1)
    return next((s for n in least if cell_len(s := listed(names, n)) <= room), listed(names, 1))
