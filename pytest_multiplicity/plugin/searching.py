"""What a search over examples found: metrics named for all examples alike, the worst of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Metric

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")
STAR = "*"

Place = tuple[str, int]
"""The name with {} for every number, and how many such names the example had before."""


@dataclass
class _Numbers:
    """The numbers in a name, example after example."""

    first: list[str]
    starred: list[bool]
    drawn: list[bool]

    def saw(self, numbers: list[str], drawn: list[bool]) -> None:
        """Take out of the name a number that is not the same, or is drawn each time."""
        differs = [a != b for a, b in zip(self.first, numbers, strict=True)]
        self.starred = [a or b for a, b in zip(self.starred, differs, strict=True)]
        self.drawn = [a and b for a, b in zip(self.drawn, drawn, strict=True)]

    @property
    def shown(self) -> list[str]:
        """As they stand in the name for all examples."""
        each = zip(self.first, self.starred, self.drawn, strict=True)
        return [STAR if starred or drawn else number for number, starred, drawn in each]


@dataclass
class Names:
    """The names of one spec's metrics: shared by its candidates, so that all say the same.

    A number reads `*` where it differed between examples, or was what was drawn in all of them.
    Anything else that was drawn (an intervention, a text) reads `*` as a whole.
    """

    known: dict[Place, _Numbers] = field(default_factory=dict)

    def add(self, name: str, drawn: Mapping[str, Any], earlier: list[str]) -> Place:
        """Take note of an example's metric; `earlier` ones of the same example are apart."""
        texts = _texts(drawn)
        numbers = NUMBER.findall(_without(name, texts))
        template = _template(name, texts)
        alike = dict.fromkeys(each for each in earlier if _template(each, texts) == template)
        place = template, list({**alike, name: None}).index(name)
        is_drawn = [number in texts for number in numbers]
        known = self.known.setdefault(place, _Numbers(numbers, [False] * len(numbers), is_drawn))
        known.saw(numbers, is_drawn)
        return place

    def name(self, place: Place) -> str:
        """`worst accuracy on test under Corrupt(rotate, angle=*)`."""
        return "worst " + place[0].format(*self.known[place].shown)


@dataclass
class Search:
    """The worst that the examples of one pair found, metric by metric.

    All candidates see the same examples until one of them fails. What hypothesis tries from then on
    makes that failure smaller, and is the candidate's own: nothing of it is said of others.

    Args:
        names: those of the spec.
        index: the candidate's position.
        alone: is called once an example has failed.
    """

    names: Names
    index: int
    alone: Callable[[], None]
    worst: dict[Place, Metric] = field(default_factory=dict)
    drawn: Mapping[str, Any] | None = None
    seen: list[str] = field(default_factory=list)
    failed: bool = False

    def start(self, drawn: Mapping[str, Any]) -> None:
        """Begin the next example."""
        self.drawn, self.seen = drawn, []

    def fail(self) -> None:
        """Take note that an example has failed."""
        self.failed = True
        self.alone()

    def add(self, metric: Metric) -> None:
        """Keep what the example measures."""
        if self.failed:
            metric = metric.only(self.index)
        place = self.names.add(metric.name, self.drawn or {}, self.seen)
        self.seen.append(metric.name)
        self.worst[place] = metric.worse_of(self.worst.get(place, metric))

    @property
    def metrics(self) -> dict[str, Metric]:
        """The worst of each, by name."""
        found: dict[str, Metric] = {}
        for place, metric in self.worst.items():
            name = self.names.name(place)
            found[name] = replace(metric, name=name).worse_of(found.get(name, metric))
        return found


def _texts(drawn: Mapping[str, Any]) -> set[str]:
    """Return what was drawn, as names show it."""
    from pytest_multiplicity.interventions import shown

    plain = {value for value in drawn.values() if isinstance(value, str) and value}
    return {shown(value) for value in drawn.values()} | plain


def _without(name: str, texts: set[str]) -> str:
    """Return the name with a star for every text that is no number."""
    for text in sorted(texts, key=len, reverse=True):
        if not NUMBER.fullmatch(text):
            name = re.sub(rf"(?<!\w){re.escape(text)}(?!\w)", STAR, name)
    return name


def _template(name: str, texts: set[str]) -> str:
    braced = _without(name, texts).replace("{", "{{").replace("}", "}}")
    return NUMBER.sub("{}", braced)
