"""The numbers of a card: each with what asks for it, and where in the JSON report it stands.

What asks is the technical documentation of Annex IV of the EU's AI Act (Regulation 2024/1689). A
card says which of its points a run has numbers for, and no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_multiplicity.findings import FamilyReport, RunReport, SheetPair, known

ALWAYS = {
    "verdicts": "run the whole suite: every specification on every candidate",
    "survivors": "a card is about a model that meets what was required, and nobody does",
    "score": "have an enforced specification measure a score, as in candidate.accuracy(data)",
    "spread": "have an enforced specification measure a score, as in candidate.accuracy(data)",
    "ambiguity": "measure whole data, as in a gate on survivors.ambiguity(data)",
}
"""What every card must have, and how to come by it."""
REMEDIES = ALWAYS | {
    "gaps": "measure one, as in candidate.gap(data, by='sex')",
    "flips": "compare with what runs today, as in candidate.flips(production, data)",
    "reachable": "have a gate ask survivors.reachable(data, select)",
    "individuals": "say --multiplicity-individuals PATH and multiplicity_individuals_groups",
    "looks": "have a gate look at data, and keep a lock (--multiplicity-lock)",
}
GENERAL, TESTS, GROUPS, EFFECTS, CHANGES = (
    "2 (b) design choices",
    "2 (g) testing: metrics of accuracy and robustness",
    "2 (g), 3 accuracy for groups of persons, discriminatory impacts",
    "3 foreseeable unintended outcomes",
    "6 changes through the lifecycle",
)
PEOPLE = {
    "contested": "on whom survivors differ",
    "rejected_by_everybody": "whom every survivor rejects",
}
UNFILLED = (
    "1: the intended purpose, the provider, how the system is placed on the market and used",
    "2 (a): the steps of development, and what was taken from others",
    "2 (b): why these choices were made, and on which assumptions",
    "2 (c): the architecture of the whole system around the model",
    "2 (d): where the data come from, how they were collected, labelled and cleaned",
    "2 (e), 3: human oversight",
    "2 (f): changes that were determined in advance",
    "2 (g): test reports dated and signed by who is responsible",
    "2 (h): measures of cybersecurity",
    "3: risks to health, safety and fundamental rights, and what inputs must be like",
    "4: why these metrics are appropriate for this system",
    "5: the risk management system (Article 9)",
    "7: standards that were applied",
    "8: the EU declaration of conformity (Article 47)",
    "9: monitoring after it is placed on the market (Article 72)",
)
"""What no tool can fill."""


@dataclass(frozen=True)
class CardNumber:
    """One number on a card."""

    need: str
    """A key of `REMEDIES`."""
    point: str
    """Of Annex IV."""
    what: str
    value: float | None
    pointer: str
    """Where it stands in the JSON report (RFC 6901); of a count, the list that is counted."""
    percent: bool = True
    count: bool = False
    file: str = ""
    """The test file that asked for it; "" for what every run has."""


def numbers(run: RunReport) -> list[CardNumber]:
    """Return every number of a card, family by family."""
    return [
        each
        for index, family in enumerate(run.families)
        for each in _family(f"/families/{index}", family)
    ]


def missing(run: RunReport, needs: Sequence[str]) -> list[str]:
    """Return what a card must have and the run has not, each with its remedy."""
    wanted = [*ALWAYS, *needs]
    if not run.complete:
        return [f"all verdicts ({run.partial_reason}): {REMEDIES['verdicts']}"]
    lacking = []
    for index, family in enumerate(run.families):
        found = {
            each.need
            for each in _family(f"/families/{index}", family)
            if known(each.value) and not (each.count and each.value == 0)
        }
        lacking += [
            f"{need} of {family.name}: {REMEDIES[need]}" for need in wanted if need not in found
        ]
    return lacking if run.families else ["a family"]


def _family(at: str, family: FamilyReport) -> Iterator[CardNumber]:
    judged = [each for each in family.candidates if each.status in ("survivor", "rejected")]
    yield CardNumber(
        "verdicts", GENERAL, "candidates that were judged", len(judged), f"{at}/candidates",
        count=True,
    )  # fmt: skip
    yield CardNumber(
        "survivors", TESTS, "candidates that meet every enforced specification",
        len(family.survivors), f"{at}/candidates", count=True,
    )  # fmt: skip
    if family.pick is None:
        return
    place = next(i for i, each in enumerate(family.candidates) if each.id == family.pick.id)
    for index, pair in enumerate(family.sheets):
        yield from _sheet(at, family, place, index, pair)
    for index, each in enumerate(family.predictive):
        if each.metric == "ambiguity":
            yield CardNumber(
                "ambiguity", EFFECTS, f"samples on which survivors differ, on {each.data}",
                each.after, f"{at}/predictive/{index}/after",
            )  # fmt: skip
    yield from _beside(at, family, place)


def _sheet(
    at: str, family: FamilyReport, place: int, index: int, pair: SheetPair
) -> Iterator[CardNumber]:
    need, point = ("gaps", GROUPS) if pair.gap is not None else ("score", TESTS)
    spread = "gaps" if pair.gap is not None else "spread"
    scores = f"{at}/candidates/{place}/scores/{escaped(pair.metric)}"
    value = family.candidates[place].scores.get(pair.metric)
    after, file = f"{at}/sheets/{index}/after/delta_all", _file(family, pair.metric)
    yield CardNumber(need, point, f"{pair.metric}, of the pick", value, scores, pair.percent,
                     file=file)  # fmt: skip
    yield CardNumber(spread, point, f"{pair.metric}, range of the survivors", pair.after.delta_all,
                     after, pair.percent, file=file)  # fmt: skip


def _beside(at: str, family: FamilyReport, place: int) -> Iterator[CardNumber]:
    for index, reached in enumerate(family.reachable):
        what = f"samples of {reached.data} that a model as good would answer otherwise"
        where = f"{at}/reachable/{index}/share"
        yield CardNumber("reachable", EFFECTS, what, reached.share, where)
    for index, compared in enumerate(family.comparisons):
        for kind in ("flips", "churn"):
            values = getattr(compared, kind)
            valued = values[place] if values else None
            if valued is not None:
                what = f"{kind} of the pick against {compared.incumbent} on {compared.data}"
                where = f"{at}/comparisons/{index}/{kind}/{place}/value"
                yield CardNumber("flips", CHANGES, what, valued.value, where)
    for index, report in enumerate(family.individuals):
        for row, people in enumerate(report.people):
            who = report.data if people.group is None else f"{people.attribute} {people.group}"
            for name, words in PEOPLE.items():
                value = getattr(people, name)
                if known(value):
                    where = f"{at}/individuals/{index}/people/{row}/{name}"
                    yield CardNumber("individuals", GROUPS, f"{who}: {words}", value, where)
    for data, count in family.looks.items():
        yield CardNumber("looks", TESTS, f"times that {data} was looked at", count,
                         f"{at}/looks/{escaped(data)}", percent=False)  # fmt: skip


def _file(family: FamilyReport, metric: str) -> str:
    """Return the test files whose specs measured a metric."""
    files = [each.nodeid.partition("::")[0] for each in family.specs if metric in each.metrics]
    return ", ".join(dict.fromkeys(files))


def escaped(key: str) -> str:
    """Return a key as it stands in a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
