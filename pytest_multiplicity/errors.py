"""Every error the package raises on purpose. Each message states the value and the remedy.

MultiplicityError
├── DefinitionError      a family is defined wrongly (also a ValueError)
├── DataError            inputs, targets, attributes or bounds don't fit (also a ValueError)
├── InterventionError    an intervention or a composition makes no sense (also a ValueError)
├── RecipeError          a recipe can't be trained as written (also a ValueError)
├── ScoresError          a table of scores can't be a sheet (also a ValueError)
├── MeasurementError     a spec asked for a score that can't be had
├── CandidateDiverged    the candidate's training diverged: a rejection, not a failure
├── EvaluationError      something failed while candidates were trained or evaluated
└── StoreError           the store can't be read or written
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MultiplicityError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""


class DefinitionError(MultiplicityError, ValueError):
    """A family is defined wrongly: its axes, options, seeds, design or function."""


class DataError(MultiplicityError, ValueError):
    """A data set is inconsistent: lengths, labels, attributes, bounds, queries."""


class InterventionError(MultiplicityError, ValueError):
    """An intervention's parameters, or a composition of interventions, make no sense."""


class RecipeError(MultiplicityError, ValueError):
    """A recipe can't be trained as written."""


class ScoresError(MultiplicityError, ValueError):
    """A table of scores can't be read as a sheet: holes, duplicates, text, nan."""


class MeasurementError(MultiplicityError):
    """A score can't be had: nan, an unknown metric, no module where one is needed."""


class CandidateDiverged(MultiplicityError):  # noqa: N818 - a verdict on a candidate
    """The candidate has no model, since its training diverged: it is rejected by name."""


class EvaluationError(MultiplicityError):
    """Training or evaluation failed outside the spec's own body."""


class StoreError(MultiplicityError):
    """The store can't be read or written."""


def once_more(what: str, failure: Exception) -> Exception:
    """What to raise where something failed before and isn't tried again.

    An error of ours as it is, without the traceback that would grow each time; of any other, which
    was shown whole the first time, the message.
    """
    if isinstance(failure, MultiplicityError):
        return failure.with_traceback(None)
    return EvaluationError(
        f"{what} failed, as the first error of this run shows: {type(failure).__name__}: {failure}"
    )


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn an AssertionError raised inside into an EvaluationError, which fails the test.

    What fails inside the plugin's own work is never a verdict of a spec. Also a decorator.
    """
    try:
        yield
    except AssertionError as error:
        raise EvaluationError(f"an assertion failed inside {what}: {error}") from error
