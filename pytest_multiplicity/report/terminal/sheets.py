"""Sheets in the paper's layout: a table per axis, side by side, shaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.text import Text

from pytest_multiplicity.findings import FamilyReport, SheetPair, Table
from pytest_multiplicity.report import facts
from pytest_multiplicity.report.colours import GOLD, Colour, blend, of_metric
from pytest_multiplicity.report.facts import OPTIONS_SHOWN, SEEDS_SHOWN
from pytest_multiplicity.report.terminal.page import BOLD, DIM, INDENT, Page, fit, stack
from pytest_multiplicity.report.text import assignment, option

OPTION_WIDTH = 12
GAP = 3

INK: Colour = (0, 0, 0)
FADED: Colour = (85, 85, 85)


def block(page: Page, family: FamilyReport, position: int) -> RenderableType:
    """Return one metric's sheet, its tables packed into the width, with what belongs below them."""
    pair = family.sheets[position]
    colour = of_metric(position)
    swatch = Style(color=page.ink(colour))
    title = Text.assemble((page.glyph("■ ", "* "), swatch), (page.name(pair.metric, 120), BOLD))
    shader = _Shader(page, pair, colour)
    below = [*_packed(shader.tables(), page.width - INDENT), _foot(page, family, pair)]
    return Group(title, *(Padding(each, (0, 0, 0, INDENT)) for each in below))


def _foot(page: Page, family: FamilyReport, pair: SheetPair) -> Text:
    default = f"default {page.prose(assignment(family.default))}"
    gone = [f"{page.gone} rejected"] if facts.narrowed(pair) and pair.before.tables else []
    optimistic = "optimistic" in facts.marks(pair)
    asides = [facts.in_words(pair.before, percent=pair.percent), page.prose(pair.sources)]
    asides += [facts.gap(pair), facts.unit(pair), facts.screened(pair)]
    asides += ["on the data that selected: optimistic"] if optimistic else []
    lines = [Text(_deltas(page, pair), BOLD), *(Text(aside, DIM) for aside in asides)]
    lines += [Text(page.dot.join([*gone, default]), DIM)]
    return stack(line for line in lines if line.plain)


def _deltas(page: Page, pair: SheetPair) -> str:
    """Return the delta over all, and what is left of it beside what chance would leave."""
    before, after = pair.before, pair.after
    values = (before.delta_all, after.delta_all, after.expected_delta_all)
    delta, kept, chance = (page.number(value, percent=pair.percent) for value in values)
    narrowed = (
        f", {kept} among {after.count} of {before.count + pair.screened} ({chance} by chance)"
    )
    return f"{page.delta} all {delta}" + (narrowed if facts.narrowed(pair) else "")


@dataclass(frozen=True)
class _Part:
    """Neighbouring columns of one table, as many as the page has room for."""

    axis: str
    table: Table
    columns: range
    widths: Sequence[int]
    """Of every column of the table, in cells."""
    seed: int
    """Width of the column of seeds."""
    delta: int
    """Width of the column of deltas; 0 where it stands in a later part."""

    @property
    def width(self) -> int:
        return self.seed + sum(self.widths[column] for column in self.columns) + self.delta


@dataclass(frozen=True)
class _Shader:
    """Draws one metric's tables: the same two scales for all of them."""

    page: Page
    pair: SheetPair
    colour: Colour

    @cached_property
    def scales(self) -> tuple[facts.Scale, facts.Scale]:
        """That of the scores, and that of the deltas."""
        return facts.scales(self.pair.before)

    def tables(self) -> Iterator[list[Text]]:
        """Return every table as lines of one width; in parts where the page is too narrow."""
        for axis, table in self.pair.before.tables.items():
            for part in self._parts(axis, table):
                yield self._lines(part)

    def _parts(self, axis: str, table: Table) -> Iterator[_Part]:
        seed = max((len(str(each)) for each in table.seeds[:SEEDS_SHOWN]), default=1) + 2
        delta = self._fitting(table.delta_by_seed[:SEEDS_SHOWN])
        widths = [self._width(table, i) for i in range(len(table.options[:OPTIONS_SHOWN]))]
        for columns in _chunks(widths, self.page.width - INDENT - seed - delta):
            last = columns.stop == len(widths)
            yield _Part(axis, table, columns, widths, seed, delta if last else 0)

    def _width(self, table: Table, column: int) -> int:
        scores = [row[column] for row in table.scores[:SEEDS_SHOWN]]
        heading = cell_len(self._heading(table, column)) + 2
        return max(heading, self._fitting([*scores, table.delta_by_option[column]]))

    def _fitting(self, values: Iterable[float | None]) -> int:
        return max((len(self._number(value)) for value in values), default=4) + 2

    def _heading(self, table: Table, column: int) -> str:
        return self.page.name(option(table.options[column]), OPTION_WIDTH)

    def _number(self, value: float | None) -> str:
        return self.page.number(value, percent=self.pair.percent)

    def _lines(self, part: _Part) -> list[Text]:
        rows = range(len(part.table.seeds[:SEEDS_SHOWN]))
        hidden = facts.cut(part.table)
        return [
            Text(fit(self.page.name(part.axis, part.width), part.width), "italic"),
            self._head(part),
            *(self._row(part, row) for row in rows),
            self._foot(part),
            *([Text(fit(f"and {hidden}", part.width), DIM)] if hidden else []),
        ]

    def _head(self, part: _Part) -> Text:
        headings = [(self._heading(part.table, c), part.widths[c]) for c in part.columns]
        cells = [*headings, (self.page.delta, part.delta)]
        return Text(" " * part.seed + "".join(_right(*cell) for cell in cells), DIM)

    def _row(self, part: _Part, row: int) -> Text:
        line = Text.assemble((_right(str(part.table.seeds[row]), part.seed), DIM))
        for column in part.columns:
            line.append_text(self._score(part, row, column))
        return line.append_text(self._delta(part.table.delta_by_seed[row], part.delta))

    def _foot(self, part: _Part) -> Text:
        line = Text.assemble((_right(self.page.delta, part.seed), DIM))
        for column in part.columns:
            line.append_text(self._delta(part.table.delta_by_option[column], part.widths[column]))
        return line.append(" " * part.delta)

    def _score(self, part: _Part, row: int, column: int) -> Text:
        value, width = part.table.scores[row][column], part.widths[column]
        shade = self.scales[0].shade(value)
        if shade is None:
            return Text(_right(self._number(None), width), DIM)
        gone = self.pair.after.tables[part.axis].scores[row][column] is None
        text = self._number(value).rjust(width - 1) + (self.page.gone if gone else " ")
        return Text(text, self._style(self.colour, shade, FADED if gone else INK))

    def _delta(self, value: float | None, width: int) -> Text:
        shade = self.scales[1].shade(value)
        style = DIM if shade is None else self._style(GOLD, shade, INK)
        return Text(_right(self._number(value), width), style)

    def _style(self, colour: Colour, shade: float, ink: Colour) -> Style:
        return Style(color=self.page.ink(ink), bgcolor=self.page.ink(blend(colour, shade)))


def _right(text: str, width: int) -> str:
    """Return the text at the right of so many cells, a blank after it; nothing for none."""
    return " " * (width - 1 - cell_len(text)) + text + " " if width else ""


def _chunks(widths: Sequence[int], room: int) -> Iterator[range]:
    """Ranges of columns that fit the room, at least one column each."""
    start, used = 0, 0
    for column, width in enumerate(widths):
        if used + width > room and column > start:
            yield range(start, column)
            start, used = column, 0
        used += width
    yield range(start, len(widths))


def _packed(tables: Iterable[list[Text]], width: int) -> Iterator[Text]:
    """Yield the tables side by side, in as few rows as the width allows."""
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
