"""Small drawings of models, grouped by what they answer: each part is an axis, its form an option.

After Eerlings et al., AI-Spectra (2024), whose drawings are of neural networks alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_multiplicity.findings import CandidateReport, Conflict, FamilyReport
from pytest_multiplicity.report.html import limits

FRAMES = (
    "M19 12a7 7 0 1 1-14 0a7 7 0 1 1 14 0z",  # circle
    "M5.5 5.5h13v13h-13z",
    "M12 4.5l7.5 14h-15z",
    "M12 4l8 8l-8 8l-8-8z",
    "M4.5 5.5h15l-7.5 14z",
    "M8.5 5.5h7l4 6.5l-4 6.5h-7l-4-6.5z",
    "M9.5 4.5h5v5h5v5h-5v5h-5v-5h-5v-5h5z",
    "M5.5 11.5a6.5 6.5 0 0 1 13 0v7h-13z",
)
"""Outlines in a box of 24; the parts have as many forms as stay apart at 24 pixels."""
CORES = (
    "",
    "M12 12h.01",
    "M9 12h6",
    "M12 9v6",
    "M9.5 9.5l5 5M14.5 9.5l-5 5",
    "M9.5 10.5h5M9.5 13.8h5",
    "M10.3 9.5v5M13.7 9.5v5",
    "M9 12h6M12 9v6",
)
TOPS = ("", "M12 .8v2", "M9 .8v2M15 .8v2", "M7 .8v2M12 .8v2M17 .8v2")
BOTTOMS = ("", "M12 21.2v2", "M9 21.2v2M15 21.2v2", "M7 21.2v2M12 21.2v2M17 21.2v2")
LEFTS = ("", "M.8 12h2", "M.8 9h2M.8 15h2", "M.8 7h2M.8 12h2M.8 17h2")
RIGHTS = ("", "M21.2 12h2", "M21.2 9h2M21.2 15h2", "M21.2 7h2M21.2 12h2M21.2 17h2")
PARTS = (FRAMES, CORES, TOPS, BOTTOMS, LEFTS, RIGHTS)
"""Those with most forms first: they are for the axes with most options."""
MOSTLY = 0.5
"""Of what the largest group leaves unexplained, an axis that is named explains more than this."""


@dataclass(frozen=True)
class Symbol:
    """One configuration's drawing: paths."""

    frame: str
    marks: str


@dataclass(frozen=True)
class LegendOf:
    """What the forms of one part mean."""

    axis: str
    options: Sequence[tuple[Any, Symbol]]
    shared: int
    """Further options, drawn as the last one."""


@dataclass(frozen=True)
class SameAnswer:
    """Those models that gave one sample the same answer."""

    answer: str
    count: int
    symbols: Sequence[int]
    """Of the first models, by configuration."""


@dataclass(frozen=True)
class DrawnSample:
    """One contested sample, and who says what of it."""

    row: int
    target: str
    sees: str
    said: Sequence[SameAnswer]


@dataclass(frozen=True)
class Glyphs:
    """The contested samples of a data set, model by model."""

    data: str
    symbols: Sequence[Symbol]
    legend: Sequence[LegendOf]
    undrawn: Sequence[str]
    """Axes that no part is left for."""
    samples: Sequence[DrawnSample]


def drawn(family: FamilyReport, data: str, rows: Sequence[Conflict]) -> Glyphs | None:
    """Return the most contested samples of a data set; None where no axis varies."""
    models = {each.id: each for each in family.candidates}
    rows = [
        row
        for row in rows
        if not all_differ(row.votes)
        and all(id in models for ids in row.votes.values() for id in ids)
    ]
    if not family.axes or not rows:
        return None
    axes = sorted(family.axes, key=lambda axis: -len(family.axes[axis]))
    forms = dict(zip(axes, PARTS, strict=False))
    known: dict[tuple[int, ...], int] = {}
    own = {id: _forms(family, each.config, forms) for id, each in models.items()}
    places = {id: known.setdefault(each, len(known)) for id, each in own.items()}
    return Glyphs(
        data=data,
        symbols=[_symbol(dict(zip(forms, each, strict=True)), forms) for each in known],
        legend=[_legend(family, axis, forms) for axis in forms],
        undrawn=axes[len(forms) :],
        samples=[_sample(family, row, models, places) for row in rows[: limits.GLYPHS]],
    )


def all_differ(votes: Mapping[str, Sequence[str]]) -> bool:
    """Return whether no two models say the same, as of values: there is nothing to group."""
    return all(len(ids) == 1 for ids in votes.values())


def _forms(
    family: FamilyReport, config: Mapping[str, Any], forms: Mapping[str, Sequence[str]]
) -> tuple[int, ...]:
    """Return which form each axis has, those beyond the last as the last."""
    return tuple(
        min(place_of(family, axis, config), len(parts) - 1) for axis, parts in forms.items()
    )


def place_of(family: FamilyReport, axis: str, config: Mapping[str, Any]) -> int:
    """Return which of its options an axis has, the default first."""
    options = list(family.axes[axis])
    return options.index(config[axis]) if config.get(axis) in options else len(options)


def _symbol(places: Mapping[str, int], forms: Mapping[str, Sequence[str]]) -> Symbol:
    paths = [parts[places.get(axis, 0)] for axis, parts in forms.items()]
    return Symbol(paths[0], "".join(paths[1:]))


def _legend(family: FamilyReport, axis: str, forms: Mapping[str, Sequence[str]]) -> LegendOf:
    options, most = family.axes[axis], len(forms[axis])
    shown = [(option, _symbol({axis: i}, forms)) for i, option in enumerate(options[:most])]
    return LegendOf(axis, shown, max(0, len(options) - most))


def _sample(
    family: FamilyReport,
    conflict: Conflict,
    models: Mapping[str, CandidateReport],
    places: Mapping[str, int],
) -> DrawnSample:
    said = sorted(conflict.votes.items(), key=lambda vote: -len(vote[1]))
    return DrawnSample(
        row=conflict.row,
        target=conflict.target,
        sees=_sees(family, conflict.votes, models),
        said=[
            SameAnswer(answer, len(ids), sorted(places[id] for id in ids)[: limits.GLYPH_MODELS])
            for answer, ids in said[: limits.ANSWERS]
        ],
    )


def _sees(
    family: FamilyReport, votes: Mapping[str, Sequence[str]], models: Mapping[str, CandidateReport]
) -> str:
    """Return which axis the answer follows: the one whose options have most of one answer each."""
    said = [(answer, models[id].config) for answer, ids in votes.items() for id in ids]
    largest = max(map(len, votes.values())) / len(said)
    shares = dict(_explained(family, said))
    axis = max(shares, key=lambda each: shares[each])
    if shares[axis] == 1:
        return f"the answer follows {axis}"
    if shares[axis] - largest > MOSTLY * (1 - largest):
        return f"the answer mostly follows {axis}"
    by_configuration: dict[str, set[str]] = {}
    for answer, config in said:
        by_configuration.setdefault(repr(sorted(config.items())), set()).add(answer)
    split = any(len(answers) > 1 for answers in by_configuration.values())
    return "no axis decides: seeds of one configuration differ" if split else "no axis decides"


def _explained(
    family: FamilyReport, said: Sequence[tuple[str, Mapping[str, Any]]]
) -> Iterator[tuple[str, float]]:
    """Yield, for each axis, the share of models that say what most with their option say."""
    for axis in family.axes:
        groups: dict[int, Counter[str]] = {}
        for answer, config in said:
            groups.setdefault(place_of(family, axis, config), Counter())[answer] += 1
        yield axis, sum(max(group.values()) for group in groups.values()) / len(said)
