"""Every number on the page that says where it stands in the JSON report is the number there."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import ModuleType
from typing import Any

import pytest

from pytest_multiplicity.report import as_json, html

VOID = {"meta", "br", "img", "input", "path", "use", "polyline", "image"}
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


class Numbers(HTMLParser):
    """The texts of elements with `data-at`, which is a way on from that of what is around them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.open: list[tuple[str, str, list[str], bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        at = dict(attrs).get("data-at")
        around = self.open[-1][1] if self.open else ""
        way = around if at is None else at if at.startswith("/") else f"{around}/{at}"
        self.open.append((tag, way, [], at is not None))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        _, way, texts, own = self.open.pop()
        if own:
            self.found.append((way, "".join(texts)))

    def handle_data(self, data: str) -> None:
        for each in self.open:
            each[2].append(data)


def there(document: Any, way: str) -> Any:
    """What stands there; a step `@2` is the third entry of an object."""
    for step in way.strip("/").split("/"):
        if isinstance(document, list):
            document = document[int(step)]
        elif step.startswith("@"):
            document = [*document.values()][int(step[1:])]
        else:
            document = document[step]
    return document


def numbers(run: Any) -> list[tuple[str, str, Any]]:
    document = json.loads(as_json.render(run))
    found = [
        (way, text.removesuffix(" rejected").strip(), there(document, way))
        for way, text in Numbers(html.render(run)).found
    ]
    return [
        (way, text, value)
        for way, text, value in found
        if not isinstance(value, dict | list | str) and not way.endswith("/")
    ]


def says(text: str, value: float | None) -> bool:
    """Whether a text is the value as it is or in percent, to as many digits as it has."""
    if value is None:
        return text == "\N{EN DASH}"
    found = NUMBER.fullmatch(text)
    if found is None:
        return False
    shown = float(text.replace(",", ""))
    mantissa, _, power = text.partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(power or 0)
    return any(abs(shown - unit * value) <= 0.5000001 * 10.0**-decimals for unit in (1, 100))


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_numbers_on_the_page_are_those_of_the_json_report(samples: ModuleType, build: str) -> None:
    found = numbers(getattr(samples, build)())
    assert len(found) > 300
    assert [each for each in found if not says(each[1], each[2])] == []


def test_the_first_screen_s_numbers_are_among_them(samples: ModuleType) -> None:
    ways = [way for way, _, _ in numbers(samples.paper_run())]
    for way in (
        "/families/0/pick/margin",
        "/families/0/sheets/7/after/delta_all",
        "/families/0/predictive/0/after",
        "/families/0/sheets/0/before/tables/@0/scores/0/0",
        "/families/0/specs/0/rejected",
        "/families/0/candidates/44/scores/@0",
    ):
        assert way in ways


@pytest.mark.parametrize(
    ("text", "value", "fits"),
    [("26", 0.2578125, True), ("27", 0.2578125, False), ("0.26", 0.2578125, True),
     ("0.27", 0.2578125, False), ("1e-05", 1.2e-5, True), ("–", None, True), ("0", None, False),  # noqa: RUF001
     ("3512", 3512.3, True), ("", 0.1, False)],
)  # fmt: skip
def test_what_counts_as_the_same_number(text: str, value: float | None, fits: bool) -> None:
    assert says(text, value) is fits
