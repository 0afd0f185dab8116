"""Sheets in the paper's layout: a table per axis, side by side, shaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.text import Text

from pytest_multiplicity.report import facts
from pytest_multiplicity.report.colours import GOLD, Colour, blend, of_metric
from pytest_multiplicity.report.facts import OPTIONS_SHOWN, SEEDS_SHOWN
from pytest_multiplicity.report.model import Family, SheetPair, Table
from pytest_multiplicity.report.text import assignment, option

from .page import BOLD, DIM, INDENT, Page, fit, stack

OPTION_WIDTH = 12
GAP = 3

INK: Colour = (0, 0, 0)
FADED: Colour = (85, 85, 85)


def block(page: Page, family: Family, position: int) -> RenderableType:
    """One metric's sheet, its tables packed into the width, with what belongs below them."""
    pair = family.sheets[position]
    colour = of_metric(position)
    swatch = Style(color=page.ink(colour))
    title = Text.assemble((page.glyph("■ ", "* "), swatch), (page.name(pair.metric, 120), BOLD))
    shader = _Shader(page, pair, colour)
    tables = [
        part for axis, table in pair.before.tables.items() for part in shader.parts(axis, table)
    ]
    below = [*_packed(tables, page.width - INDENT), _foot(page, family, pair)]
    return Group(title, *(Padding(each, (0, 0, 0, INDENT)) for each in below))


def _foot(page: Page, family: Family, pair: SheetPair) -> Text:
    default = f"default {page.prose(assignment(family.default))}"
    gone = [f"{page.gone} rejected"] if facts.narrowed(pair) and pair.before.tables else []
    optimistic = "optimistic" in facts.marks(pair)
    asides = [facts.in_words(pair.before, percent=pair.percent), page.prose(pair.sources)]
    asides += ["on the data that selected: optimistic"] if optimistic else []
    lines = [Text(_deltas(page, pair), BOLD), *(Text(aside, DIM) for aside in asides)]
    lines += [Text(page.dot.join([*gone, default]), DIM)]
    return stack(line for line in lines if line.plain)


def _deltas(page: Page, pair: SheetPair) -> str:
    """The delta over all, and what is left of it beside what chance would leave."""
    before, after = pair.before, pair.after
    values = (before.delta_all, after.delta_all, after.expected_delta_all)
    delta, kept, chance = (page.number(value, percent=pair.percent) for value in values)
    narrowed = f", {kept} among {after.count} of {before.count} ({chance} by chance)"
    return f"{page.delta} all {delta}" + (narrowed if facts.narrowed(pair) else "")


@dataclass(frozen=True)
class _Shader:
    """Draws one metric's tables: the same two scales for all of them."""

    page: Page
    pair: SheetPair
    colour: Colour

    def parts(self, axis: str, table: Table) -> Iterator[list[Text]]:
        """The table as lines of one width; in several parts where the page is too narrow."""
        options = [self._heading(each) for each in table.options[:OPTIONS_SHOWN]]
        widths = [self._width(table, i, heading) for i, heading in enumerate(options)]
        room = self.page.width - INDENT - _seed_width(table) - self._delta_width(table)
        for columns in _chunks(widths, room):
            yield self._part(axis, table, columns, options, widths)

    def _heading(self, value: object) -> str:
        return self.page.name(option(value), OPTION_WIDTH)

    def _width(self, table: Table, column: int, heading: str) -> int:
        texts = [self._number(row[column]) for row in table.scores[:SEEDS_SHOWN]]
        texts += [self._number(table.delta_by_option[column]), heading]
        return max(map(cell_len, texts)) + 2

    def _delta_width(self, table: Table) -> int:
        texts = [self._number(value) for value in table.delta_by_seed[:SEEDS_SHOWN]]
        return max(map(cell_len, texts), default=4) + 2

    def _number(self, value: float | None) -> str:
        return self.page.number(value, percent=self.pair.percent)

    def _part(
        self,
        axis: str,
        table: Table,
        columns: range,
        options: Sequence[str],
        widths: Sequence[int],
    ) -> list[Text]:
        first, last = _seed_width(table), columns.stop == len(options)
        end = self._delta_width(table) if last else 0
        mark = _right(self.page.delta, end) if last else ""
        headings = "".join(_right(options[c], widths[c]) for c in columns)
        lines = [Text(" " * first + headings + mark, DIM)]
        for row, seed in enumerate(table.seeds[:SEEDS_SHOWN]):
            line = Text(_right(str(seed), first), DIM)
            for column in columns:
                line.append_text(self._score(axis, table, row, column, widths[column]))
            lines.append(line + self._delta(table.delta_by_seed[row], end))
        foot = Text(_right(self.page.delta, first), DIM)
        for column in columns:
            foot.append_text(self._delta(table.delta_by_option[column], widths[column]))
        lines.append(foot + Text(" " * end))
        width = first + sum(widths[c] for c in columns) + end
        title = [Text(fit(self.page.name(axis, width), width), "italic")]
        return [*title, *lines, *self._cut(table, width)]

    def _cut(self, table: Table, width: int) -> list[Text]:
        hidden = facts.cut(table)
        return [Text(fit(f"and {hidden}", width), DIM)] if hidden else []

    def _score(self, axis: str, table: Table, row: int, column: int, width: int) -> Text:
        value = table.scores[row][column]
        shade = facts.scales(self.pair.before)[0].shade(value)
        if shade is None:
            return Text(_right(self._number(None), width), DIM)
        gone = self.pair.after.tables[axis].scores[row][column] is None
        text = self._number(value).rjust(width - 1) + (self.page.gone if gone else " ")
        return Text(text, self._style(self.colour, shade, FADED if gone else INK))

    def _delta(self, value: float | None, width: int) -> Text:
        shade = facts.scales(self.pair.before)[1].shade(value)
        if shade is None or not width:
            return Text(_right(self._number(None), width) if width else "", DIM)
        return Text(_right(self._number(value), width), self._style(GOLD, shade, INK))

    def _style(self, colour: Colour, shade: float, ink: Colour) -> Style:
        return Style(color=self.page.ink(ink), bgcolor=self.page.ink(blend(colour, shade)))


def _right(text: str, width: int) -> str:
    return " " * (width - 1 - cell_len(text)) + text + " "


def _seed_width(table: Table) -> int:
    return max((len(str(seed)) for seed in table.seeds[:SEEDS_SHOWN]), default=1) + 2


def _chunks(widths: Sequence[int], room: int) -> Iterator[range]:
    """Ranges of columns that fit the room, at least one column each."""
    start, used = 0, 0
    for column, width in enumerate(widths):
        if used + width > room and column > start:
            yield range(start, column)
            start, used = column, 0
        used += width
    yield range(start, len(widths))


def _packed(tables: Sequence[list[Text]], width: int) -> Iterator[Text]:
    """The tables side by side, in as few rows as the width allows."""
    row: list[list[Text]] = []
    for table in tables:
        taken = sum(each[0].cell_len + GAP for each in row)
        if row and taken + table[0].cell_len > width:
            yield _beside(row)
            row = []
        row.append(table)
    if row:
        yield _beside(row)


def _beside(tables: Sequence[list[Text]]) -> Text:
    blanks = [Text(" " * table[0].cell_len) for table in tables]
    lines = []
    for parts in zip_longest(*tables):
        filled = [part or blank for part, blank in zip(parts, blanks, strict=True)]
        lines.append(Text(" " * GAP).join(filled))
    return stack([*lines, Text()])
