"""Reviews of restaurants that nobody wrote, and what people do to texts.

A review has one opinion, which may be negated, among remarks that say nothing: "we came on a
friday . the soup was not dull". Whether it is good or bad can be read off the opinion alone.
"""

from __future__ import annotations

import random
from typing import NamedTuple

DISHES = ["soup", "fish", "bread", "salad", "rice", "cake", "curry", "pasta"]
GOOD = [
    "good",
    "nice",
    "great",
    "fine",
    "tasty",
    "lovely",
    "splendid",
    "superb",
    "delightful",
    "exquisite",
]
BAD = [
    "bad",
    "poor",
    "awful",
    "bland",
    "dull",
    "dreadful",
    "horrid",
    "mediocre",
    "dismal",
    "abysmal",
]
COMMON = 5  # of either list: the words that learners know
REMARKS = (
    "we came on a {day}",
    "we were {count} at the table",
    "a friend of mine had the {dish}",
    "it is near the station",
    "we had a table by the window",
)
DAYS = ["monday", "tuesday", "friday", "sunday"]
COUNTS = ["two", "three", "four", "six"]


class Review(NamedTuple):
    """A text, the opinion in it, and what is known of it besides."""

    text: str
    opinion: str
    writer: str
    negated: bool


def write(count: int) -> list[Review]:
    """As many reviews, no two alike; one in four is a learner's, who knows less and misspells."""
    draw = random.Random(0)
    found: dict[str, Review] = {}
    while len(found) < count:
        review = _write(draw)
        found[review.text] = review
    return list(found.values())


def _write(draw: random.Random) -> Review:
    writer = "learner" if draw.random() < 0.25 else "native"
    good, negated = draw.random() < 0.5, draw.random() < 0.3
    known = COMMON if writer == "learner" else None
    word = draw.choice((GOOD if good != negated else BAD)[:known])
    opinion = f"the {draw.choice(DISHES)} was {'not ' * negated}{word}"
    remarks = draw.sample(REMARKS, draw.randint(1, 3))
    parts = [
        each.format(day=draw.choice(DAYS), count=draw.choice(COUNTS), dish=draw.choice(DISHES))
        for each in remarks
    ]
    parts.insert(draw.randint(0, len(parts)), opinion)
    text = " . ".join(parts)
    if writer == "learner":
        text = misspelt(text, 0.1, draw)
    return Review(text, "good" if good else "bad", writer, negated)


def misspelt(text: str, share: float, draw: random.Random) -> str:
    """The text with two letters exchanged in a share of its words of four letters or more."""
    return " ".join(
        _exchanged(word, draw) if len(word) > 3 and draw.random() < share else word
        for word in text.split()
    )


def _exchanged(word: str, draw: random.Random) -> str:
    at = draw.randrange(1, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
