from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Visit = Callable[..., Any]

VIOLATIONS = {"resultTypes": ["violations"]}  # of what passes only so much as rules need
# Of the rules that are on, those about colours take most of the time. In the dark nothing else
# differs; and of what is there twice, `test_axe_finds_nothing` has seen the colours.
COLOURS = ["color-contrast", "link-in-text-block"]
IN_THE_DARK = {**VIOLATIONS, "runOnly": {"type": "rule", "values": COLOURS}}
TWICE = {**VIOLATIONS, "rules": {"color-contrast": {"enabled": False}}}
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"
SHADES = """
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = colour => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  return [...document.querySelectorAll('td[style*="--s"]')].map(cell => {
    const style = getComputedStyle(cell);
    return [rgb(style.color), rgb(style.backgroundColor)];
  });
})()
"""


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_it_fits_every_screen(visit: Visit, keep: Any, samples: ModuleType, build: str) -> None:
    page = visit(getattr(samples, build)())
    for width in (400, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            keep(page, f"{build}-{width}-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("build", ["paper_run", "hostile_run"])
def test_axe_finds_nothing(visit: Visit, samples: ModuleType, build: str, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="axe is not installed: pip install axe-playwright-python",
    )
    page = visit(getattr(samples, build)(), scheme=scheme)
    page.evaluate(OPEN_ALL)
    options = VIOLATIONS if scheme == "light" else IN_THE_DARK
    found = axe.Axe().run(page, options=options).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def test_axe_finds_nothing_on_two_families_with_everything(
    visit: Visit, samples: ModuleType
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    run = samples.hostile_run()
    page = visit(replace(run, families=[run.families[0], replace(run.families[0], name="other")]))
    page.evaluate(OPEN_ALL)
    found = axe.Axe().run(page, options=TWICE).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def test_a_page_of_several_families(visit: Visit, samples: ModuleType) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    run = samples.paper_run()
    first = replace(run.families[0], sheets=run.families[0].sheets[:2])
    page = visit(replace(run, families=[first, replace(first, name="other")]))
    assert axe.Axe().run(page, options=VIOLATIONS).response["violations"] == []
    page.get_by_role("link", name="other").click()
    assert page.evaluate("location.hash") == "#f1"
    page.evaluate(OPEN_ALL)
    page.locator("[data-tools='1'] [data-search]").fill("nobody is called so")
    assert page.locator("[data-tools='1'] [data-count]").text_content() == "0 of 45 shown"
    assert page.locator("[data-tools='0'] [data-count]").text_content() == "45 of 45 shown"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_stand_out_from_their_shade(visit: Visit, samples: ModuleType, scheme: str) -> None:
    page = visit(samples.paper_run(), scheme=scheme)
    pairs = page.evaluate(SHADES)
    assert len(pairs) > 500
    assert min(contrast(ink, paper) for ink, paper in pairs) >= 4.5


def contrast(one: list[int], two: list[int]) -> float:
    """The contrast ratio of WCAG 2.2, 1.4.3."""
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def luminance(rgb: list[int]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in scaled(rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def scaled(rgb: list[int]) -> list[float]:
    return [channel / 255 for channel in rgb]


def first_column(page: Any) -> list[str]:
    return [text.strip() for text in page.locator(".sortable tbody th:visible").all_text_contents()]


def column(page: Any, position: int) -> list[float]:
    cells = page.locator(f".sortable tbody tr:visible td:nth-child({position})")
    return [float(text) for text in cells.all_text_contents()]


def unfolded(page: Any, title: str) -> Any:
    """The page with one of its sections open, as a reader opens it."""
    page.locator("summary", has_text=title).first.click()
    return page


def test_candidates_can_be_sorted(visit: Visit, samples: ModuleType) -> None:
    page = unfolded(visit(samples.paper_run()), "Candidates")
    names = first_column(page)
    head = page.get_by_role("columnheader", name="accuracy on FairFace")
    for order in ("ascending", "descending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        scores = column(page, 6)
        assert scores == sorted(scores, reverse=order == "descending")
    page.get_by_role("columnheader", name="candidate").get_by_role("button").click()
    assert first_column(page) == sorted(names)
    assert head.get_attribute("aria-sort") is None


def test_candidates_can_be_found(visit: Visit, samples: ModuleType) -> None:
    run = samples.paper_run()
    page = unfolded(visit(run), "Candidates")
    count = page.locator("[data-count]")
    assert count.text_content() == "45 of 45 shown"
    page.get_by_label("Status").select_option("survivor")
    assert first_column(page) == [each.id for each in run.families[0].survivors]
    assert count.text_content() == "19 of 45 shown"
    page.get_by_label("Status").select_option("")
    page.get_by_label("Rejected by").select_option(label="test_shift")
    assert count.text_content() == "11 of 45 shown"
    page.get_by_label("Filter").fill("Architecture")
    shown = first_column(page)
    assert shown
    assert all(name.startswith("architecture") for name in shown)


def test_the_keyboard_reaches_everything(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    unfolded(page, "Candidates")
    search = page.get_by_label("Filter")
    search.focus()
    page.keyboard.type("trivial-seed4")
    for _ in range(4):
        page.keyboard.press("Tab")
    assert "candidate" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert page.locator(".sortable th[aria-sort]").count() == 1
    page.locator(".sortable tbody a:visible").focus()
    page.keyboard.press("Enter")
    opened = page.locator("details[data-find=candidate]:visible[open]")
    opened.wait_for()
    assert opened.count() == 1
    assert "augmentationTrivial-seed4" in opened.text_content()
    assert "test_attack" in opened.text_content()
    page.wait_for_function("document.activeElement.tagName === 'SUMMARY'")
    page.keyboard.press("Enter")
    opened.wait_for(state="hidden")


def test_a_link_to_a_candidate_opens_its_page(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.large_run())
    page.goto(page.url + "#c0-7")
    page.locator("#c0-7[open]").wait_for()
    assert page.locator("#c0-7 polyline").count() == 2
    assert page.locator("#c0-7 summary").is_visible()


def test_light_and_dark_can_be_chosen(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run(), scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(paper) != dark
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(paper) == dark


def test_without_scripts_everything_is_there(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.paper_run(), java_script_enabled=False)
    assert page.locator(".sortable tbody tr").count() == 45
    assert page.locator(".tools:visible").count() == 0 < page.locator(".tools").count()
    assert not page.locator("#theme").is_visible()


def test_it_prints_light_and_opened(visit: Visit, samples: ModuleType, tmp_path: Path) -> None:
    page = visit(samples.paper_run(), scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator(".top").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf(path=tmp_path / "page.pdf")[:5] == b"%PDF-"


def test_hostile_names_do_nothing(visit: Visit, samples: ModuleType) -> None:
    page = visit(samples.hostile_run())
    page.evaluate(OPEN_ALL)
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    assert page.locator("a[href^='http']").count() == 0
    assert page.get_by_text("<script>alert(1)</script>").count() > 5
