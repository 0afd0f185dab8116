"""What a model answered about the rows that are asked about, after what is done to the output."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pytest_multiplicity.inference import Asked, Reader

Floats = npt.NDArray[np.float64]


def answer_of(read: Reader, index: int, asked: Asked) -> Tensor:
    """One candidate's logits on the rows asked about, after what is done to the output."""
    return with_outputs(on_rows(read(index), asked), asked)


def on_rows(answers: Tensor, asked: Asked) -> Tensor:
    """Return answers `[n, ...]` about the rows asked about, of those about `source`.

    Indexing gives the same, but has all threads take part, and wait for each other, in however
    little: a millisecond a candidate where something else uses the machine.
    """
    return answers.index_select(0, asked.rows)


def with_outputs(logits: Tensor, asked: Asked) -> Tensor:
    """Return answers after the steps on the output."""
    for step in asked.under.outputs:
        logits = step.apply(logits, asked.source.rows[asked.rows], asked.source)
    return logits


def sureness_of(read: Reader, index: int, asked: Asked) -> Floats:
    """Return how sure one candidate is of each target."""
    logits = answer_of(read, index, asked)
    task = asked.data.task
    task.check_answers(logits, asked.data.targets, asked.data.name)
    return task.sureness(logits.numpy(), asked.targets.numpy())


def expected_correct(asked: Asked, logits: Tensor) -> Tensor | None:
    """Return the chance `[n]` that each prediction is right, where one output step can tell."""
    step = asked.under.outputs[0]
    step.check_answers(logits, asked.task)
    asked.task.check_answers(logits, asked.data.targets, asked.data.name)
    return step.expected_correct(logits, asked.targets)
