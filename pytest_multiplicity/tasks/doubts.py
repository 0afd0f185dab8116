"""What looks odd in the answers of models, before they are read."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.tasks.task import Task

SUMS_TO_1 = 1e-3  # how far rows of half precision are from it


def about_targets(task: Task, targets: Tensor, name: str) -> str | None:
    """Return what makes targets look odd: there is only one of them."""
    if not task.has_targets or len(targets) < 2 or not bool((targets == targets[:1]).all()):
        return None
    return (
        f"all {len(targets)} targets of {name!r} are {task.shown(targets[0])}: whoever always says "
        "that is right"
    )


def about_logits(given: Tensor, name: str, *, network: bool = False) -> str | None:
    """Return what makes answers about all samples look odd; None where nothing does.

    Raises MeasurementError where they are probabilities, for which no logits can be taken. The
    one logit of a `network` that learned little may lie in [0, 1], too: that is said only.
    """
    if len(given) < 2 or given.ndim > 2 or not given.is_floating_point():
        return None
    rows = given.reshape(len(given), -1)
    if bool((rows == rows[:1]).all()):
        return f"answers about {name!r} are the same for every sample"
    if rows.min() < 0 or rows.max() > 1:
        return None
    hard = bool(((rows == 0) | (rows == 1)).all())
    if rows.shape[1] == 1:
        return _about_one(rows, name, hard=hard, sure=not network)
    if float((rows.double().sum(1) - 1).abs().max()) > SUMS_TO_1:
        return None
    if hard:
        return (
            f"answers about {name!r} are 0 and 1 alone: they are taken for logits, and if they "
            "are labels they had better be ints, one for each sample"
        )
    most = np.e / (np.e + rows.shape[1] - 1)
    raise MeasurementError(
        f"answers about {name!r} are probabilities: rows lie in [0, 1] and sum to 1. Taken for "
        f"logits they would bend every probability to at most {most:.2f}: return their "
        "logarithm (predict_log_proba, torch.log(p)), the fitted estimator itself, or logits "
        "from before the last softmax"
    )


def _about_one(rows: Tensor, name: str, *, hard: bool, sure: bool) -> str | None:
    if sure and not hard and rows.min() < 0.5 < rows.max():
        raise MeasurementError(
            f"answers about {name!r} are probabilities: one number for each sample, all in "
            "[0, 1]. Taken for one logit they would all mean the second class: return "
            "torch.logit(p), the fitted estimator itself, or the logit from before the last "
            "sigmoid (as two columns, 0 and z, if these are logits after all)"
        )
    what = "0 and 1 alone" if hard else "all in [0, 1]"
    return (
        f"answers about {name!r} are {what}: they are taken for one logit, which above 0 means "
        "the second class; labels had better be ints, and probabilities logits"
    )


def about_positions(given: Tensor, targets: Tensor, name: str) -> str | None:
    """Return what makes logits `[n, C, ...]` about targets `[n, ...]` look odd.

    Raises MeasurementError where they are probabilities of classes at every position.
    """
    if given.ndim != targets.ndim + 1 or given.shape[1] < 2 or not given.is_floating_point():
        return None
    sums = (given.double().sum(1) - 1).abs().max()
    if given.min() >= 0 and given.max() <= 1 and float(sums) <= SUMS_TO_1:
        raise MeasurementError(
            f"answers about {name!r} are probabilities: those of the classes sum to 1 at every "
            "position. Taken for logits they would bend each: return their logarithm "
            "(torch.log(p)), or logits from before the last softmax"
        )
    if given.movedim(1, -1).shape != given.shape:
        return None
    shape = ", ".join(map(str, given.shape[1:]))
    return (
        f"answers about {name!r} of shape [batch, {shape}] fit two readings: they are taken for "
        "logits with the classes first; return .movedim(-1, 1) of them where the classes are last"
    )
