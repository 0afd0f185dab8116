"""Text of others in markdown, where nothing of it is markup: names, sentences, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pytest_multiplicity.report.text import inert, isolated

SIGN = re.compile(r"[!-/:-@\[-`{-~]")


def folded(summary: str, body: str) -> str:
    """Return a part that is closed until a reader opens it."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>\n"


def table_of(headings: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Return a table, its first columns to the left."""
    rule = [":--" if column < left else "--:" for column in range(len(headings))]
    lines = (headings, rule, *rows)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def code(text: str) -> str:
    """Return a name: nothing in it is markdown or HTML, and GitHub links no mentions in `code`."""
    return f"<code>{entities(isolated(inert(text)))}</code>"


def message(text: str) -> str:
    """Return the first lines of a text."""
    return "<br>".join(code(line) for line in text.splitlines()[:8])


def prose(text: str) -> str:
    """Text of some length. A comment after `@` and `#` keeps GitHub from mentioning people."""
    escaped = entities(isolated(inert(text, 600)))
    return re.sub(r"(&#(?:64|35);)", r"\1<!-- -->", escaped)


def entities(text: str) -> str:
    """Every sign as a character reference: no parser then takes it for markup or an address."""
    return SIGN.sub(lambda found: f"&#{ord(found[0])};", text)
