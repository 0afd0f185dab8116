"""Plots as SVG that follows the page: text stays text, and colours come from its style sheet."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytest_multiplicity.findings import Agreement
from pytest_multiplicity.report.colours import Colour, css
from pytest_multiplicity.report.html import limits
from pytest_multiplicity.report.text import inert

INK, MUTED = "#010203", "#030201"
"""Stand-ins for the page's own colours, replaced in the finished SVG."""
_PAGE = {INK: "currentColor", MUTED: "var(--muted)"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": MUTED,
}


@dataclass(frozen=True)
class Strip:
    """One metric's distribution: a dot per candidate, all of them above, survivors below."""

    label: str
    before: Sequence[float]
    after: Sequence[float]
    colour: Colour


def strips(rows: Sequence[Strip], *, salt: str) -> str:
    """Return the strips below one another on a common scale, in percent."""
    height = 0.55 + 0.42 * len(rows)
    labels = [_label(strip.label) for strip in rows]
    margin = 0.1 + 0.075 * max(len(line) for label in labels for line in label.splitlines())
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(7.2, height))
        axes = figure.add_axes((margin / 7.2, 0.38 / height, 0.97 - margin / 7.2, 1 - 0.5 / height))
        for position, strip in enumerate(rows):
            _draw(axes, position, strip)
        _frame(axes, labels)
        return _svg(figure)


def _label(text: str) -> str:
    """Return the label in two short lines at most."""
    return "\n".join(textwrap.wrap(inert(text, 52), 27)[:2]) or " "


def _draw(axes: Axes, position: int, strip: Strip) -> None:
    rows = ((strip.before, -0.17, "none", MUTED), (strip.after, 0.17, css(strip.colour), INK))
    for scores, offset, face, edge in rows:
        x = [100 * score for score in _thinned(scores)]
        y = [position + offset] * len(x)
        axes.scatter(x, y, s=17, facecolors=face, edgecolors=edge, linewidths=0.5, clip_on=False)


def _thinned(scores: Sequence[float]) -> list[float]:
    """At most as many points as the page has room for, the extremes among them."""
    ordered = sorted(scores)
    step = -(-len(ordered) // limits.POINTS) if ordered else 1
    return [*ordered[:-1:step], *ordered[-1:]]


def _frame(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=MUTED, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def heat_map(agreement: Agreement, *, salt: str) -> str:
    """Return how often each two survivors agree, in percent: the darker, the less."""
    ids = [inert(each, 24) for each in agreement.ids[: limits.AGREEMENT]]
    values = [[100 * value for value in row[: len(ids)]] for row in agreement.values[: len(ids)]]
    side = min(9.0, 1.2 + 0.13 * len(ids))  # inches, as everything here
    width, height, left = side + 3.0, side + 0.2, 1.9
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt, "font.size": 7}):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left / width, 0.1 / height, side / width, side / height))
        picture = axes.imshow(values, cmap="Blues_r", aspect="auto")
        axes.set_yticks(range(len(ids)), ids)
        axes.set_xticks([])
        edge = (left + side + 0.2) / width
        beside = figure.add_axes((edge, 0.1 / height, 0.15 / width, side / height))
        figure.colorbar(picture, cax=beside)
        for each in (axes, beside):
            each.tick_params(length=0)
            each.spines[:].set_visible(False)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    """Return the figure as an element of the page, without prolog, style sheet, or needless ids."""
    file = io.StringIO()
    with warnings.catch_warnings():
        # A name may hold characters that the font lacks; the reader's browser has its own fonts.
        warnings.simplefilter("ignore")
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace("font-family: 'DejaVu Sans'; ", "")
    for stand_in, colour in _PAGE.items():
        svg = svg.replace(stand_in, colour)
    return svg
