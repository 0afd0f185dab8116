"""Reads a page's numbers back: each with its place in the JSON report, and what stands there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

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


def numbers(page: str, document: Any) -> list[tuple[str, str, Any]]:
    """Of each number on a page its place in the JSON report, how it is shown, and the value."""
    found = [
        (way, text.removesuffix(" rejected").strip(), there(document, way))
        for way, text in Numbers(page).found
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
    text = text.removesuffix("%")
    found = NUMBER.fullmatch(text)
    if found is None:
        return False
    shown = float(text.replace(",", ""))
    mantissa, _, power = text.partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(power or 0)
    return any(abs(shown - unit * value) <= 0.5000001 * 10.0**-decimals for unit in (1, 100))
