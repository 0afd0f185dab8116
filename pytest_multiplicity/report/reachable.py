"""What all reports say of models that nobody trained, worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_multiplicity.findings import ExtremeFacts, ReachedFacts, known
from pytest_multiplicity.report.text import DASH, interval, number

HEADINGS = ("sample", "said", "turned to", "loss it takes", "score", "on fresh data", "built from")
LEGEND = (
    "arbitrary: survivors differ; reachable: a model as good that nobody trained was built and "
    "measured, and answers otherwise. Each model is aimed at one sample"
)
EXTREMES = (
    "a model as good",
    "has",
    "survivors have",
    "score",
    "on fresh data",
    "built from",
)
EXTREMES_LEGEND = (
    "nobody trained these: each was built from a survivor's last layer, by steps towards what is "
    "asked that keep its score, and was measured. They are found, so worse and better ones may be "
    "there. Each is aimed at the data that it is about: measure it on others, too"
)
THREE = ("arbitrary", "share", "as_good")
"""What the three numbers are called in the JSON report."""
SHOWN = 8
"""Samples listed before the rest is only counted."""


def share(value: float | None) -> str:
    """Return `41.9%`."""
    return f"{100 * value:.1f}%" if known(value) else "?"


def three(reached: ReachedFacts) -> tuple[tuple[str, str], ...]:
    """Return the three numbers that stand beside each other, with their words."""
    return (
        (share(reached.arbitrary), "arbitrary"),
        (share(reached.share), f"reachable within {100 * reached.within:g} points"),
        (share(reached.as_good), "by a model that scores no less than the best survivor"),
    )


def notes(reached: ReachedFacts) -> Iterator[str]:
    """Yield what a reader must know beside the three numbers, a sentence each."""
    if known(reached.cost):
        yield f"turning a sample takes a median of {reached.cost:.3g} of loss ({reached.loss})"
    if reached.fresh is not None:
        low, mean, high = map(share, reached.fresh)
        yield (
            f"on {reached.data} these models score {mean} on average ({low} to {high}), the best "
            f"survivor {share(reached.fresh_base)}; on {reached.select} it scores "
            f"{share(reached.best)}"
        )
    if reached.how != "last layer":
        yield f"models by {reached.how}"
    if reached.specs:
        yield "every model was kept by every enforced specification"
    yield f"solved by {reached.by}"


def title(reached: ReachedFacts) -> str:
    """Return `reachable on report, as good on select`."""
    return f"reachable on {reached.data}, as good on {reached.select}"


def rows(reached: ReachedFacts, most: int = SHOWN) -> Sequence[tuple[str, ...]]:
    """Return the most contested samples, in the columns of `HEADINGS`."""
    return [
        (
            str(each.row),
            each.said,
            each.to,
            f"{each.cost:.3g}",
            share(each.score),
            share(each.fresh),
            each.base,
        )
        for each in reached.contested[:most]
    ]


def curve(reached: ReachedFacts) -> str:
    """Return how the share grows with the budget: `0: 41.9%, 0.5: 80.1%, 1: 99.2%`."""
    chosen = reached.curve[:: max(1, len(reached.curve) // 5)]
    return ", ".join(f"{100 * within:.2g}: {share(value)}" for within, value in chosen)


def of_extreme(extreme: ExtremeFacts) -> str:
    """Return `worst churn against a on report, as good on select within 1 points`, and by specs."""
    against = "" if extreme.against is None else f" against {extreme.against}"
    return (
        f"{extreme.end} {extreme.of}{against} on {extreme.data}, as good on {extreme.select} "
        f"within {100 * extreme.within:g} points" + ", kept by all specifications" * extreme.specs
    )


def extremes(found: Sequence[ExtremeFacts], dash: str = DASH) -> Sequence[tuple[str, ...]]:
    """Return the worst and the best models as good, in the columns of `EXTREMES`."""
    return [
        (
            of_extreme(each),
            number(each.value, percent=each.percent, unknown=dash),
            interval(*each.survivors, percent=each.percent, dash=dash) or dash,
            f"{share(each.score)} (best survivor {share(each.best)})",
            f"{share(each.fresh)} ({share(each.fresh_base)})",
            each.base,
        )
        for each in found
    ]
