"""Strings and numbers as reports print them: short, inert, the same everywhere."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from pytest_multiplicity.findings import known

NAME_LIMIT = 200

DASH = "\N{EN DASH}"

MOST_DECIMALS = 4
FRACTION = re.compile(r"(?<![\w.])-?\d+\.\d+(?![\w.])")
SHORT = 6
"""Characters of a number that is short enough as it is."""

# Control, format (bidirectional overrides among them), surrogate, private, unassigned, and the
# separators of lines and paragraphs: what could move, colour, hide or reorder its surroundings.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_ISOLATE, _POP = "\u2068", "\u2069"


def inert(text: str, limit: int = NAME_LIMIT, *, unicode: bool = True) -> str:
    """Return one line of at most `limit` characters that does nothing to its surroundings.

    Whitespace becomes single spaces, control and format characters their escapes, and text that is
    too long loses its middle, so that the seed at the end of an id stays readable. Markup (rich,
    markdown, HTML) is each renderer's own to escape.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return " ".join(text.split())
    raw = text if len(text) <= 4 * limit else text[: 2 * limit] + text[-2 * limit :]
    line = "".join(_harmless(character) for character in " ".join(raw.split()))
    if not unicode:
        line = line.encode("ascii", "backslashreplace").decode()
    cut = len(raw) < len(text) or len(line) > limit
    return _without_middle(line, limit, "…" if unicode else "...") if cut else line


def isolated(text: str) -> str:
    """Return text between isolates where it runs right to left: its neighbours stay put."""
    reorders = any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)
    return f"{_ISOLATE}{text}{_POP}" if reorders else text


def _harmless(character: str) -> str:
    if unicodedata.category(character) not in _HARMFUL:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _without_middle(line: str, limit: int, mark: str) -> str:
    room = max(1, limit - len(mark))
    tail = room // 3
    return line[: room - tail] + mark + (line[-tail:] if tail else "")


def option(value: Any) -> str:
    """Return an axis' option as people write it: strings bare, tuples in parentheses."""
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(option(each) for each in value) + ")"
    return str(value)


def assignment(config: Any) -> str:
    """Return a configuration in one line: `lr=0.1, batch_size=128`."""
    return ", ".join(f"{axis}={option(value)}" for axis, value in config.items())


def number(value: float | None, *, percent: bool = True, unknown: str = DASH) -> str:
    """Return a score or a delta: percent with the paper's two decimals, or four digits."""
    if not known(value):
        return unknown
    return f"{100 * value + 0.0:.2f}" if percent else f"{value:.4g}"


def interval(
    low: float | None, high: float | None, *, percent: bool = True, dash: str = DASH
) -> str:
    """Return a range: `92.05` to `93.17`, with a dash; empty when unknown."""
    if not (known(low) and known(high)):
        return ""
    return number(low, percent=percent) + dash + number(high, percent=percent)


def brief(value: float | None, *, percent: bool = True, least: int = 0, unknown: str = DASH) -> str:
    """Return a value to two digits that mean something: `26` and `0.28` percent, `0.45`, `3512`.

    Near 100 percent these are digits of what is missing: `96.7`, `99.62`. `least` is how many
    decimals a percentage has at least.
    """
    if not known(value):
        return unknown
    if isinstance(value, int) and not percent:
        return str(value)
    shown = 100 * value if percent else value
    size = abs(shown)
    if percent and 50 < size <= 100:
        size = 100 - size
    size = float(f"{size:.1e}")  # as it is rounded: 0.999999 is 1.0
    decimals = 1 - math.floor(math.log10(size)) if size else 0
    if not percent and decimals > MOST_DECIMALS:
        return f"{shown:.2g}"
    return f"{shown + 0.0:.{max(least * percent, min(decimals, MOST_DECIMALS))}f}"


def shortened(line: str) -> str:
    """Return a line in which long decimal fractions have as few digits as keep their order.

    `0.2578125 <= 0.2` becomes `0.26 <= 0.2`: two digits, or more where two numbers would not
    compare as they did.
    """
    values = [float(each) for each in FRACTION.findall(line)]
    if max(map(len, FRACTION.findall(line)), default=0) <= SHORT:
        return line
    for digits in range(2, 17):
        shorter = _with_digits(line, digits)
        if _ranks([float(each) for each in FRACTION.findall(shorter)]) == _ranks(values):
            return shorter
    return line


def rounded(text: str, digits: int = 3) -> str:
    """Return a text in which long decimal fractions have so many digits that mean something."""
    return _with_digits(text, digits)


def _with_digits(line: str, digits: int) -> str:
    return FRACTION.sub(lambda found: _to(found.group(), digits), line)


def _to(text: str, digits: int) -> str:
    """Return a number with so many digits that mean something; a short one as it is."""
    if len(text) <= SHORT:
        return text
    value = float(text)
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, min(decimals, 17))}f}"


def _ranks(values: list[float]) -> list[int]:
    ordered = sorted(set(values))
    return [ordered.index(each) for each in values]


def plural(count: int, noun: str) -> str:
    """Return `1 candidate`, `30 candidates`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("ly") else f"{count} {noun}s"


def clock(seconds: float) -> str:
    """Return a duration: `1:05`, or `2:01:05` where it takes hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
