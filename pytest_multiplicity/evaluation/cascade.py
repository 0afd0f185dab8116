"""Who is behind in several respects at once: gaps of groups to the rest, under interventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.cascaded import cascade_facts
from pytest_multiplicity.evaluation.leakage import GATE, TRAINING
from pytest_multiplicity.evaluation.membership import called, privacy
from pytest_multiplicity.statistics import clusters, combined, doubt

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.ensemble import Ensemble
    from pytest_multiplicity.evaluation.survivors import Survivors
    from pytest_multiplicity.inference import Under

CONFIDENCE = 0.95
SEVERAL = 2
"""Respects in which a group is behind that is named."""
AS_IT_IS = "as it is"
PRIVACY = "membership privacy"
Share = tuple[float, float, float]
"""A value, and the limits of its interval."""
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Grouped:
    """The groups of a data set: `[n]` codes, -1 for nobody's, and names."""

    codes: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def parts(self, group: int, rows: npt.NDArray[np.int64]) -> tuple[Bools, Bools]:
        """Return who of some rows is in a group, and who is in another."""
        codes = self.codes[rows]
        return codes == group, (codes != group) & (codes >= 0)


def cascade(
    candidate_or_survivors: Candidate | Ensemble | Survivors,
    data: Data,
    groups: str | Sequence[str],
    under: Under | Sequence[Under] = None,
    *,
    members: Data | None = None,
    minimum: int = 20,
) -> pd.DataFrame:
    """Return how far each group is behind the rest, as it is and under each intervention.

    Disparities come together: who is served worse may also be less robust and less private (Farnadi
    et al., Cracking the Code of Cascading Disparity, 2024). A row per `group` and respect, `under`;
    of survivors per `candidate` as well.

    Columns: `samples` of the group; its `score`, the accuracy, and that of the `rest`; the `gap`,
    score minus rest, with the `low` and `high` of an interval; and `behind`, whether all of it is
    below 0. All intervals of the frame hold together, with 95% confidence: each is Newcombe's at
    level 1 - 5% / rows. With `members` there is a row for membership privacy, too: one minus the
    balanced accuracy of an attack on the group alone (see `Candidate.privacy`), whose interval
    takes the attack's threshold as given.

    `attrs`: `behind`, groups that are behind in two respects or more, with these, whoever of the
    candidates is asked; `behind_for_some`, the same of at least one of them.

    Args:
        candidate_or_survivors: whom to measure.
        data: on which samples.
        groups: an attribute, or several, whose values are groups; a missing value is in none.
        under: an intervention, or several in a list, each by itself.
        members: what the candidates were trained on, with the same attributes.
        minimum: groups with fewer samples are an error, which names them.

    Raises:
        DataError: no such attribute, fewer than two groups, a group that is too small.
        MeasurementError: the outcome of a sample isn't known, as of the worst group.
    """
    from pytest_multiplicity.data import attributes_named
    from pytest_multiplicity.inference import ask

    asked, several = _asked(candidate_or_survivors)
    by = list(attributes_named(groups, "groups"))
    for each in (data,) if members is None else (data, members):
        ask(each, None)  # which says where it is no data set
    respects = _respects(under)
    known = _groups(data, by, minimum, data)
    inside = None if members is None else _groups(members, by, minimum, data)
    level = len(asked) * len(known.names) * (len(respects) + (members is not None))
    confidence = 1 - (1 - CONFIDENCE) / level
    rows: list[dict[str, Any]] = []
    for each in asked:
        for name, intervention in respects.items():
            rows += _accuracies(each, data, known, name, intervention, confidence)
        if members is not None and inside is not None:
            rows += _privacies(each, data, members, known, inside, confidence)
    ids, titles = [each.id for each in asked], [*respects, PRIVACY]
    rows.sort(
        key=lambda row: (
            ids.index(row["candidate"]),
            known.names.index(row["group"]),
            titles.index(row["under"]),
        )
    )
    frame = pd.DataFrame(rows if several else [{**row, "candidate": None} for row in rows])
    index = ["candidate", "group", "under"][not several :]
    found = frame.set_index(index).drop(columns=[] if several else ["candidate"])
    behind, for_some = _named(rows, known.names, ids)
    told = {"data": data.name, "groups": by, "behind": behind, "behind_for_some": for_some}
    found.attrs.update(told)
    population = asked[0]._population
    if population.role == GATE:  # a spec asks it of every candidate by itself
        key = f"{ids} on {data.name} by {by}: {titles}"
        population.beside.cascades[key] = cascade_facts(told, rows)
    return found


def _asked(whom: Any) -> tuple[list[Any], bool]:
    """Return the candidates, and whether they are several."""
    from pytest_multiplicity.evaluation.ensemble import Ensemble

    one = Candidate | Ensemble
    if isinstance(whom, one):
        return [whom], False
    if isinstance(whom, str) or not (
        isinstance(whom, Sequence) and all(isinstance(each, one) for each in whom)
    ):
        raise MeasurementError(f"cascade of {whom!r}: give a candidate, or the survivors")
    if not len(whom):
        raise MeasurementError("cascade of 0 survivors: gate len(survivors) first")
    return list(whom), True


def _respects(under: Any) -> dict[str, Any]:
    """Return interventions by their names, none at all first."""
    from pytest_multiplicity.interventions import chain

    given = list(under) if isinstance(under, list | tuple) else [under]
    found: dict[str, Any] = {AS_IT_IS: None}
    for each in given:
        name = chain(each).name
        if name in found:
            raise MeasurementError(f"cascade: {name} stands twice in under=: once is enough")
        if name:
            found[name] = each
    return found


def _groups(data: Data, by: Sequence[str], minimum: int, like: Data) -> Grouped:
    """Return the groups of a data set, which must be those of another, too."""
    from pytest_multiplicity.data import check_groups, grouped

    codes, names = grouped(data.attributes, by, data.name)
    wanted = names if data is like else grouped(like.attributes, by, like.name)[1]
    if unknown := [name for name in names if name not in wanted]:
        raise DataError(
            f"{data.name!r} has groups by {', '.join(by)} that {like.name!r} lacks: "
            f"{', '.join(unknown[:5])}"
        )
    places = np.array([wanted.index(name) for name in names] + [-1])
    codes = places[codes]
    counts = np.array([(codes == group).sum() for group in range(len(wanted))])
    check_groups(counts, wanted, minimum, "samples", f"groups by {', '.join(by)} of {data.name}")
    return Grouped(codes, wanted)


def _accuracies(
    each: Any, data: Data, known: Grouped, name: str, under: Any, confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield a row per group: its accuracy beside that of the rest."""
    score = each.accuracy(data, under)
    asked = each._population.ask(data, under)
    outcomes, counted = score.metric.outcomes, score.metric.counted
    if outcomes is None or len(outcomes) != len(asked.rows):
        raise MeasurementError(
            f"cascade: {score.metric.name} has no outcome for every sample (an ensemble that "
            "abstains, the worst of several groups, a search): ask without these"
        )
    own = outcomes[:, score.index].astype(np.float64)
    for group, title in enumerate(known.names):
        parts = known.parts(group, asked.positions.numpy())
        if not all(part.any() for part in parts):
            raise DataError(f"cascade: nobody of the group {title!r}, or nobody else, is in "
                            f"{asked.name}: leave that intervention out")  # fmt: skip
        shares = [_share(own, counted, part, confidence) for part in parts]
        yield _row(each, title, name, int(parts[0].sum()), shares, combined([1, -1], shares))


def _share(
    outcomes: npt.NDArray[np.float64],
    counted: npt.NDArray[Any] | None,
    part: Bools,
    confidence: float,
) -> Share:
    """Return the share of a part's units that are right."""
    own = outcomes[part]
    if counted is None:
        share = min(1.0, float(own.mean()))
        return share, *doubt.wilson(share, len(own), confidence)
    own = own / (counted[part].mean() / counted.mean())
    return float(own.mean()), *clusters.interval(own, counted[part], confidence)


def _privacies(
    each: Any, data: Data, members: Data, known: Grouped, inside: Grouped, confidence: float
) -> Iterator[dict[str, Any]]:
    """Yield a row per group: how well its members hide among its non-members."""
    population = each._population
    role, population.role = population.role, TRAINING  # they were: that is no leak
    try:
        within = _sureness(each, members)
    finally:
        population.role = role
    sure = np.concatenate([within, _sureness(each, data)])
    trained = np.repeat([True, False], [len(within), len(sure) - len(within)])
    both = Grouped(np.concatenate([inside.codes, known.codes]), known.names)
    for group, title in enumerate(known.names):
        parts = both.parts(group, np.arange(len(sure)))
        found = [privacy(sure[part], trained[part]) for part in parts]
        rates = [
            _rate(*each, confidence) for part in parts for each in _caught(sure, trained, part)
        ]
        centre, low, high = combined([-0.5, -0.5, 0.5, 0.5], rates)
        gap = found[0] - found[1]
        shares = [(value, value, value) for value in found]
        limits = gap, gap + low - centre, gap + high - centre
        yield _row(each, title, PRIVACY, int((known.codes == group).sum()), shares, limits)


def _caught(sure: Any, trained: Bools, part: Bools) -> list[tuple[int, int]]:
    """Return how many members are called so, and how many others aren't, of how many each."""
    told, truth = called(sure[part], trained[part]), trained[part]
    return [
        (int(told[truth].sum()), int(truth.sum())),
        (int((~told[~truth]).sum()), int((~truth).sum())),
    ]


def _rate(hits: int, count: int, confidence: float) -> Share:
    return hits / count, *doubt.wilson(hits / count, count, confidence)


def _sureness(each: Any, data: Data) -> npt.NDArray[np.float64]:
    answers = each.logits(data)
    data.task.check_answers(answers, data.targets, data.name)
    return data.task.sureness(answers.numpy(), data.targets.numpy())


def _row(
    each: Any, group: str, under: str, samples: int, shares: Sequence[Share], limits: Share
) -> dict[str, Any]:
    gap, low, high = limits
    return {
        "candidate": each.id,
        "group": group,
        "under": under,
        "samples": samples,
        "score": shares[0][0],
        "rest": shares[1][0],
        "gap": gap,
        "low": max(-1.0, low),
        "high": min(1.0, high),
        "behind": high < 0,
    }


def _named(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], ids: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the groups that are behind in several respects: for everybody, and for somebody."""
    everybody, somebody = {}, {}
    for name in names:
        by_id = [
            [row["under"] for row in rows if row["candidate"] == id and row["group"] == name
             and row["behind"]]
            for id in ids
        ]  # fmt: skip
        always = [under for under in by_id[0] if all(under in each for each in by_id)]
        if len(always) >= SEVERAL:
            everybody[name] = always
        several = [each for each in by_id if len(each) >= SEVERAL]
        if several:
            somebody[name] = list(dict.fromkeys(under for each in several for under in each))
    return everybody, somebody
