"""What all reports say of single samples, worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_multiplicity.findings import IndividualsReport, PeopleOf, known
from pytest_multiplicity.report.text import plural

GROUPS = ("who", "samples", "contested", "conflict", "consistency", "rejected by all", "by pick")
MOST = ("sample", "target", "answer", "conflict", "consistency", "turned by", "loss it takes")
GROUP_KEYS = (
    "samples", "contested", "conflict", "consistency", "rejected_by_everybody",
    "rejected_by_pick_only",
)  # fmt: skip
MOST_KEYS = ("", "", "conflict", "consistency", "", "reachable_cost")
"""What these columns but the first are called in the JSON report; "" for texts."""
LEGEND = (
    "contested: survivors differ; conflict: the share of survivors that answer otherwise; "
    "consistency: the share of pairs that agree; by pick: by no other survivor"
)
SHOWN = 12


def share(value: float | None) -> str:
    """Return `41.9%`; nothing where it isn't known."""
    return f"{100 * value:.1f}%" if known(value) else ""


def title(report: IndividualsReport) -> str:
    """Return `individuals on people`."""
    return f"individuals on {report.data}"


def notes(report: IndividualsReport) -> Iterator[str]:
    """Yield what a reader must know beside the tables, a sentence each."""
    by = f", best by {report.picked_by}" if report.picked_by else ""
    yield f"{plural(report.survivors, 'distinct survivor')}; the pick is {report.pick}{by}"
    everybody = report.people[0]
    if known(everybody.conflict):
        yield f"conflict is with {report.against}"
    if not known(everybody.consistency):
        yield "one survivor alone contests nothing: nobody is there to differ from"
    if report.turned:
        axes = sorted(report.turned.items(), key=lambda each: -each[1])
        told = ", ".join(f"{axis} {share(value)}" for axis, value in axes[:5])
        yield f"pairs that differ in one axis alone and disagree: {told}"
    if report.positive is not None:
        yield f"rejected: not {report.positive}"
    yield LEGEND


def groups(report: IndividualsReport, most: int = SHOWN) -> Sequence[tuple[str, ...]]:
    """Return the table of groups, all samples first, in the columns of `GROUPS`."""
    return [_group(each) for each in report.people[: most + 1]]


def _group(each: PeopleOf) -> tuple[str, ...]:
    return (
        "all" if each.attribute is None else f"{each.attribute} {each.group}",
        f"{each.samples:,}",
        share(each.contested),
        share(each.conflict),
        share(each.consistency),
        share(each.rejected_by_everybody),
        share(each.rejected_by_pick_only),
    )


def named(report: IndividualsReport) -> bool:
    """Return whether samples have names."""
    return any(each.id is not None for each in report.most)


def rows(report: IndividualsReport, most: int) -> Sequence[tuple[str, ...]]:
    """Return the most contested samples, in the columns of `MOST`."""
    return [
        (
            str(each.sample) if each.id is None else each.id,
            each.target,
            each.answer,
            share(each.conflict),
            share(each.consistency),
            each.turned_by or "",
            f"{each.reachable_cost:.3g}" if known(each.reachable_cost) else "",
        )
        for each in report.most[:most]
    ]
