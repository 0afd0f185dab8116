"""What reports say of allocations, worked out once."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_multiplicity.findings import AllocationFacts, known
from pytest_multiplicity.report.text import brief

HEADINGS = ("survivor", "qualified", "utility", "jaccard", "ln of equals")
LEGEND = (
    "utility: the qualified among the chosen; jaccard: how far the others choose the same people; "
    "ln of equals: the logarithm of how many choices would serve as many of the qualified"
)


def title(each: AllocationFacts) -> str:
    """Return `Who gets it: 40 of 300 on people`."""
    return f"Who gets it: {each.k} of {each.people} on {each.data}"


def gist(each: AllocationFacts) -> str:
    """Return how many of the qualified nobody chooses."""
    return f"{each.unchosen} of {each.qualified} qualified are chosen by no survivor"


def notes(each: AllocationFacts) -> Iterator[str]:
    """Yield what a reader must know beside the table, a sentence each."""
    yield (
        f"qualified are {each.qualified} of {each.people}, those of class {each.by}; each survivor "
        f"chooses the {each.k} that it is surest of"
    )
    yield (
        f"{each.unchosen} of the qualified are chosen by no survivor; choosing independently would "
        f"leave {brief(each.unchosen_expected, percent=False)} "
        f"(standard deviation {brief(each.unchosen_sd, percent=False)})"
    )
    yield f"{each.ever} people are chosen by some survivor, {each.always} by all"
    if known(each.jaccard):
        yield f"two survivors choose {brief(each.jaccard)}% of the same people on average (jaccard)"
    if each.without:
        yield f"nobody is ever chosen of {', '.join(each.without)}"
    if each.copies:
        yield f"{each.copies} survivors that answer as another are counted once"
    if each.ties:
        yield each.ties


def rates(each: AllocationFacts) -> list[tuple[str, int, int, int]]:
    """Return each group with its size, and who of the survivors chooses least and most of it."""
    found = []
    for group, size in each.groups.items():
        own = [one.rates[group] for one in each.survivors]
        found.append((group, size, own.index(min(own)), own.index(max(own))))
    return found
