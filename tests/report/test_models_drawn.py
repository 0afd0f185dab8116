"""Pictures of models: fronts of two metrics, drawings by option, the order of the agreement map."""

from __future__ import annotations

import random
from dataclasses import replace
from types import ModuleType

import pytest

from pytest_multiplicity.findings import (
    Agreement,
    CandidateReport,
    Conflict,
    FamilyReport,
    SheetPair,
    SheetReport,
)
from pytest_multiplicity.report import html
from pytest_multiplicity.report.html import agreement, glyphs, limits, tradeoffs

AXES = {"lr": (0.1, 0.01), "width": (16, 32, 64)}


def family_of(scores: list[tuple[float, float]], *, lower: bool = False) -> FamilyReport:
    candidates = [
        CandidateReport(
            id=f"c{i}",
            seed=i,
            config={"lr": AXES["lr"][i % 2], "width": AXES["width"][i % 3]},
            status="rejected" if i % 5 == 4 else "survivor",
            scores={"first": a, "second": b},
        )
        for i, (a, b) in enumerate(scores)
    ]

    def sheet(place: int) -> SheetReport:
        own = [each[place] for each in scores]
        low, high = min(own), max(own)
        return SheetReport(count=len(own), delta_all=high - low, low=low, high=high)

    sheets = [
        SheetPair(metric="first", before=sheet(0), after=sheet(0)),
        SheetPair(metric="second", before=sheet(1), after=sheet(1), higher_is_better=not lower),
    ]
    return FamilyReport(
        name="family", design="grid", default={"lr": 0.1, "width": 16}, axes=AXES,
        seeds=range(len(scores)), candidates=candidates, sheets=sheets,
    )  # fmt: skip


@pytest.mark.parametrize("lower", [False, True])
def test_the_front_is_of_those_that_nobody_beats(lower: bool) -> None:
    drawn = random.Random(3)
    for _ in range(40):
        scores = [(drawn.randrange(6) / 10, drawn.randrange(6) / 10) for _ in range(12)]
        family = family_of(scores, lower=lower)
        sign = -1 if lower else 1
        points = {(each.scores["first"], sign * each.scores["second"]) for each in family.survivors}
        unbeaten = {
            one
            for one in points
            if not any(two != one and two[0] >= one[0] and two[1] >= one[1] for two in points)
        }
        found = tradeoffs.front(family.survivors, *family.sheets)
        assert [(each.scores["first"], sign * each.scores["second"]) for each in found] == sorted(
            unbeaten, reverse=True
        )


def test_what_is_traded_is_said() -> None:
    family = family_of([(0.9, 0.1), (0.5, 0.5), (0.1, 0.9), (0.4, 0.4)])
    (plot,) = tradeoffs.drawn(family, None).plots
    assert plot.sees == (
        "3 of 4 survivors are on the front, from c0 (90.0, 10.0) to c2 (10.0, 90.0)"
    )
    assert plot.front == "M300,190L150,95L0,0"
    assert [(p.x, p.y, p.options) for p in plot.points[:2]] == [
        (300, 190, [0, 0]),
        (150, 95, [1, 1]),
    ]
    (plot,) = tradeoffs.drawn(family_of([(0.9, 0.9), (0.5, 0.5)]), None).plots
    assert plot.sees == "c0 is the best survivor in both: nothing is traded"
    assert tradeoffs.drawn(family_of([(0.9, 0.5), (0.1, 0.5)]), None) is None


def test_each_configuration_has_a_drawing_of_its_own() -> None:
    family = family_of([(0.5, i / 10) for i in range(6)])
    votes = {"yes": ["c0", "c2"], "no": ["c1", "c3", "c5"]}
    found = glyphs.drawn(family, "test", [Conflict(row=7, target="yes", votes=votes)])
    assert len({(each.frame, each.marks) for each in found.symbols}) == 6
    assert [part.axis for part in found.legend] == ["width", "lr"]
    (sample,) = found.samples
    assert sample.sees == "the answer follows lr"
    assert [(each.answer, each.count, len(each.symbols)) for each in sample.said] == [
        ("no", 3, 3),
        ("yes", 2, 2),
    ]


def test_seeds_that_differ_are_told_from_options() -> None:
    family = family_of([(0.5, i / 10) for i in range(12)])
    votes = {"a": ["c0", "c1", "c2"], "b": ["c6", "c7", "c8"]}
    found = glyphs.drawn(family, "test", [Conflict(row=0, target="a", votes=votes)])
    assert found.samples[0].sees == "no axis decides: seeds of one configuration differ"


def test_nothing_is_drawn_where_nobody_agrees_or_nothing_varies() -> None:
    family = family_of([(0.5, 0.1), (0.5, 0.2)])
    apart = Conflict(row=0, target="0.1", votes={"0.3": ["c0"], "0.4": ["c1"]})
    assert glyphs.drawn(family, "test", [apart]) is None
    together = Conflict(row=0, target="1", votes={"0": ["c0", "c1"]})
    assert glyphs.drawn(replace(family, axes={}), "test", [together]) is None


def test_forms_beyond_the_last_are_said_to_be_shared() -> None:
    family = family_of([(0.5, 0.1), (0.5, 0.2)])
    many = tuple(range(20))
    family = replace(family, axes={"lr": many, **{f"axis{i}": (0, 1) for i in range(7)}})
    votes = {"0": ["c0", "c1"]}
    found = glyphs.drawn(family, "test", [Conflict(row=0, target="1", votes=votes)])
    assert found.legend[0].shared == 20 - len(glyphs.FRAMES)
    assert len(found.undrawn) == 8 - len(glyphs.PARTS)
    assert all(len(set(forms)) == len(forms) for forms in glyphs.PARTS)


def test_a_page_draws_every_model_once_per_sample(samples: ModuleType) -> None:
    page = html.render(samples.large_run())
    survivors = len(samples.large_run().families[0].survivors)
    assert survivors < 2 * limits.GLYPH_MODELS
    assert page.count('<use href="#y0-0-') == limits.GLYPHS * survivors
    assert page.count("the answer mostly follows width") == limits.GLYPHS


def test_those_that_agree_stand_together_and_dark_is_disagreement() -> None:
    group = [0, 1, 0, 1, 1, 0]
    values = [[1.0 if a == b else 0.6 for b in group] for a in group]
    values[1][3] = values[3][1] = 0.9
    order = agreement.clustered(values)
    sides = [group[place] for place in order]
    assert sides in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])
    assert agreement.clustered(values) == order
    found = agreement.drawn(Agreement(data="test", ids=list("abcdef"), values=values))
    assert found.sees.endswith("the darkest pair agrees on 60%, the lightest on 100%")
    assert agreement.shade(0.6, 0.6) == agreement.DARK
    assert agreement.shade(1.0, 0.6) == agreement.LIGHT
    assert sum(agreement.DARK) < sum(agreement.shade(0.8, 0.6)) < sum(agreement.LIGHT)
    assert agreement.drawn(Agreement(data="test", ids=["a"], values=[[1.0]])) is None
