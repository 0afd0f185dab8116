"""Which survivor would ship, as far as a report can say."""

from __future__ import annotations

import numpy as np

from pytest_multiplicity.evaluation import Metric
from pytest_multiplicity.findings.copies import once
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.people import Pick


def pick(family: FamilyFindings) -> Pick | None:
    """Return the survivor that is best by the first accuracy that selected, of equals the first.

    Where no plain accuracy selected, by the first metric that did. None where nobody survives.
    """
    survivors = np.flatnonzero(family.survivors)
    if not len(survivors):
        return None
    selecting = [each for name, each in family.metrics.items() if name in family.selecting]
    for metric in sorted(selecting, key=lambda each: not _is_accuracy(each)):
        scores = metric.scores[survivors] * (1 if metric.higher_is_better else -1)
        if not np.isnan(scores).any():
            best = int(survivors[int(np.argmax(scores))])
            return _pick(family, metric, best)
    return Pick(family.seen.design.ids[int(survivors[0])], None)


def _pick(family: FamilyFindings, metric: Metric, best: int) -> Pick:
    """Return the pick with its margin: how far the next survivor that is no copy is behind."""
    others = once(family.firsts(metric), family.survivors)
    others[best] = False
    ids, places = family.seen.design.ids, np.flatnonzero(others)
    if not len(places):
        return Pick(ids[best], metric.name)
    sign = 1 if metric.higher_is_better else -1
    behind = int(places[int(np.argmax(sign * metric.scores[places]))])
    margin = sign * float(metric.scores[best] - metric.scores[behind])
    return Pick(ids[best], metric.name, margin, ids[behind])


def _is_accuracy(metric: Metric) -> bool:
    return metric.predictions is not None and metric.outcomes is not None and not metric.under
