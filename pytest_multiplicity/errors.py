"""Every error the package raises on purpose. Each message states the value and the remedy.

MultiplicityError
├── DefinitionError      a family is defined wrongly (also a ValueError)
├── DataError            inputs, targets, attributes or bounds don't fit (also a ValueError)
├── InterventionError    an intervention or a composition makes no sense (also a ValueError)
├── RecipeError          a recipe can't be trained as written (also a ValueError)
├── ScoresError          a table of scores can't be a sheet (also a ValueError)
├── MeasurementError     a spec asked for a score that can't be had
├── CandidateDiverged    the candidate's training diverged: a rejection, not a failure
├── CandidateSkipped     the candidate's function skipped it: neither judged nor failed
├── EvaluationError      something failed while candidates were trained or evaluated
└── StoreError           the store can't be read or written
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

ATTEMPT = "multiplicity_attempt"  # the attribute of an error
STOPPED = (KeyboardInterrupt, SystemExit, GeneratorExit)
CUT_OFF = (
    "the first test that needs it does it for the whole family, and no other tries again: give "
    "that test more time"
)


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


class CandidateSkipped(MultiplicityError):  # noqa: N818 - no verdict on a candidate
    """The candidate has no model, since its function called `pytest.skip`."""


class EvaluationError(MultiplicityError):
    """Training or evaluation failed outside the spec's own body."""


class StoreError(MultiplicityError):
    """The store can't be read or written."""


class Attempt:
    """Something that is tried once, for everybody: who asks again after a failure gets the same.

    The failure tells of its attempt, so that a report can show it once and refer to it from then
    on: `failed_attempt`.

    Args:
        what: is tried.
        again: after an error, too: only what a test's time limit cuts off isn't tried again.
    """

    def __init__(self, what: str, *, again: bool = False) -> None:
        self.what, self._again = what, again
        self.shown: str | None = None  # where the failure was reported
        self._failure: BaseException | None = None
        self._trace: TracebackType | None = None

    def __enter__(self) -> Attempt:
        if self._failure is not None:
            raise self._failure.with_traceback(self._trace)  # which would grow each time
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if error is None or isinstance(error, (STOPPED, Exception) if self._again else STOPPED):
            return
        if not isinstance(error, Exception):  # a test's time is over, as pytest-timeout says it
            error.add_note(f"while {self.what}: {CUT_OFF}")
        self._failure, self._trace = error, error.__traceback__
        vars(error)[ATTEMPT] = self


def failed_attempt(error: BaseException) -> Attempt | None:
    """Return the attempt that ended with an error, or None where there was no such."""
    return vars(error).get(ATTEMPT)


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn an AssertionError raised inside into an EvaluationError, which fails the test.

    What fails inside the plugin's own work is never a verdict of a spec. Also a decorator.
    """
    try:
        yield
    except AssertionError as error:
        raise EvaluationError(f"an assertion failed inside {what}: {error}") from error
