"""Finding one's way: the first screen, sections that fold, search, links, the marks of pictures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from types import ModuleType
from typing import Any

import pytest

from pytest_multiplicity.report.html import glyphs, tradeoffs

Visit = Callable[..., Any]

INK = """
([paths, wide, box]) => paths.map(path => {
  const context = new OffscreenCanvas(24, 24).getContext("2d", { willReadFrequently: true });
  context.scale(24 / box, 24 / box);
  if (box === 10) context.translate(5, 5);
  context.lineWidth = wide;
  context.lineCap = context.lineJoin = "round";
  context.stroke(new Path2D(path));
  return [...context.getImageData(0, 0, 24, 24).data].filter((_, place) => place % 4 === 3);
})
"""


def open_parts(page: Any) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('.part[open]')].map(each => each.id)")


def test_one_screen_answers_and_the_rest_is_folded(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run())
    cards = page.locator(".card")
    assert cards.count() >= 4
    boxes = [card.bounding_box() for card in cards.all()]
    assert max(box["y"] + box["height"] for box in boxes) <= 900
    assert open_parts(page) == []
    assert page.evaluate("document.documentElement.scrollHeight") < 2000


def test_contents_open_their_section(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run())
    contents = page.get_by_role("navigation", name="Report")
    assert contents.get_by_role("link").all_text_contents()[:3] == [
        "Funnel",
        "What remains",
        "Trade-offs",
    ]
    contents.get_by_role("link", name="Funnel").click()
    page.locator("#funnel-0[open]").wait_for()
    assert page.locator("#funnel-0 tbody tr").first.is_visible()
    page.locator("#funnel-0 > summary").click()
    contents.get_by_role("link", name="Funnel").click()  # the same address once more
    page.locator("#funnel-0[open]").wait_for()


def test_everything_opens_and_folds_at_once(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run())
    page.get_by_role("button", name="Open all").click()
    assert len(open_parts(page)) == page.locator(".part").count()
    page.get_by_role("button", name="Fold all").click()
    assert open_parts(page) == []


@pytest.mark.parametrize(
    ("target", "part"),
    [("m0-3", "sheets-0"), ("s0-2", "funnel-0"), ("c0-7", "candidates-0"), ("g1", "gates")],
)
def test_a_link_opens_the_section_that_its_target_is_in(
    visit: Visit, samples: ModuleType, target: str, part: str
) -> None:
    page = visit(samples.paper_run())
    page.goto(f"{page.url}#{target}")
    page.locator(f"#{part}[open]").wait_for()
    page.locator(f"#{target}").wait_for(state="visible")
    assert open_parts(page) == [part]


def test_search_by_the_keyboard(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run())
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("trivial seed4")
    found = page.locator("#found a")
    assert found.all_text_contents() == ["candidateaugmentationTrivial-seed4"]
    assert page.locator("#finding").text_content() == "1 found"
    page.keyboard.press("Control+A")
    page.keyboard.type("accuracy on celeba")
    assert found.first.text_content() == "metricaccuracy on CelebA"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "metricaccuracy on CelebA"
    page.keyboard.press("Enter")
    page.locator("#m0-6").wait_for(state="visible")
    assert not page.locator("#found").is_visible()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert not page.locator("#found").is_visible()


def test_search_finds_specifications_by_their_words(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run())
    page.get_by_role("searchbox", name="Search the report").fill("smallest group")
    assert page.locator("#found a").all_text_contents() == ["specificationtest_minority"]


def test_hostile_names_are_found_and_do_nothing(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.hostile_run())
    page.get_by_role("searchbox", name="Search the report").fill("<script>alert(1)")
    assert page.locator("#found a").count() > 5
    assert page.locator("#found script").count() == 0


def test_marks_follow_the_axis_that_is_chosen(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run())
    page.goto(f"{page.url}#tradeoffs-0")
    marks = "[...document.querySelectorAll('.trade use')].map(each => each.getAttribute('href'))"
    before = page.evaluate(marks)
    assert len(set(before)) > 1
    page.get_by_label("Marked by").select_option(label="architecture")
    assert page.evaluate(marks) != before
    assert page.locator("[data-key]:visible b").all_text_contents() == ["architecture"]


@pytest.mark.parametrize(
    ("forms", "wide", "box"),
    [(glyphs.FRAMES, 1.5, 24), (tradeoffs.MARKS, 0.8, 10)]
    + [(forms, 2.6, 24) for forms in glyphs.PARTS[1:]],
    ids=["frames", "marks", "cores", "tops", "bottoms", "lefts", "rights"],
)
def test_forms_stay_apart_at_24_pixels_without_colour(
    chromium: Any, forms: tuple[str, ...], wide: float, box: int
) -> None:
    with chromium.new_page() as page:
        drawn = page.evaluate(INK, [list(forms), wide, box])
    for one, two in combinations(drawn, 2):
        differing = sum(abs(a - b) for a, b in zip(one, two, strict=True)) / 255
        assert differing >= 4
