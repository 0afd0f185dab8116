"""Functions of the user's own, called in worker processes: for candidates that train themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.training.cores import available_cores
from pytest_multiplicity.training.worker import Reporter, Work
from pytest_multiplicity.training.workers import Crashed, Done, Failed, Workers

T = TypeVar("T")


def call_elsewhere(
    functions: Sequence[Callable[[], T]], *, cores: int | None = None
) -> Iterator[tuple[int, T]]:
    """Call functions in processes of one thread each; give (position, result) as they end.

    Functions travel with what they captured (tensors are shared, not copied), their results travel
    back, so both must be picklable.

    Raises:
        UnsharableError: a function can't be sent.
        EvaluationError: a process died over a function twice.
        Exception: what a function raised.
    """
    attempts = [0] * len(functions)
    waiting = deque(range(len(functions)))
    with Workers(cores or available_cores()) as workers:

        def make(position: int) -> Work:
            attempts[position] += 1
            return partial(_call, functions[position])

        for position, outcome in workers.perform(waiting, make):
            match outcome:
                case Done(value):
                    yield position, value
                case Failed(error):
                    raise error
                case Crashed(why) if attempts[position] > 1:
                    raise EvaluationError(
                        f"a worker process died twice over {functions[position]!r} "
                        f"({why}): is there enough memory?"
                    )
                case Crashed():
                    waiting.append(position)


def _call(function: Callable[[], T], reporter: Reporter) -> T:
    return function()
