"""Which survivor would ship, as far as a report can say."""

from __future__ import annotations

import numpy as np

from pytest_multiplicity.evaluation import Metric
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
            return Pick(family.seen.design.ids[best], metric.name)
    return Pick(family.seen.design.ids[int(survivors[0])], None)


def _is_accuracy(metric: Metric) -> bool:
    return metric.predictions is not None and metric.outcomes is not None and not metric.under
