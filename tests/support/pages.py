"""Pages of the documentation, read for their examples."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    """Return the text of a page of docs."""
    return (DOCS / name).read_text("utf-8")


def blocks(text: str, language: str = "python") -> list[str]:
    """Return the fenced blocks of a language, those of tabs without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(body) for _, body in found]
