"""Every page has its place in the site, and a test where it has examples."""

from __future__ import annotations

import re
from pathlib import Path

from support.pages import DOCS, blocks

ROOT = DOCS.parent
NAV = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)

EXCERPTS = {"diabetes.md", "reviews.md", "trackers.md"}
"""Parts of what specs and `nox -s recipes` run whole."""


def test_every_page_is_in_the_navigation_once() -> None:
    assert sorted(NAV) == sorted(path.name for path in DOCS.glob("*.md"))


def test_examples_have_a_test_that_names_their_page() -> None:
    others = set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__)}
    tests = "\n".join(path.read_text("utf-8") for path in others)
    pages = [path.name for path in DOCS.glob("*.md") if blocks(path.read_text("utf-8"))]
    assert {name for name in pages if name not in tests} == EXCERPTS


def test_pictures_say_which_command_makes_them() -> None:
    for path in DOCS.glob("*picture.py"):
        assert re.search(rf"^    python docs/{path.name}", path.read_text("utf-8"), re.MULTILINE)
