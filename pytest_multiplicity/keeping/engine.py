"""Calling a family's function for the candidates that aren't kept yet, in worker processes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from pytest_multiplicity.compute import (
    Crashed,
    Done,
    Failed,
    Machine,
    Outcome,
    Shared,
    Stalled,
    StalledError,
    UnsharableError,
    WorkerPool,
    named,
    project_code_by_value,
)
from pytest_multiplicity.errors import DefinitionError, EvaluationError, MultiplicityError
from pytest_multiplicity.keeping.calls import COMMON, PARTS, Broken, Call, Given, Returned, Skipped
from pytest_multiplicity.keeping.packing import culprit
from pytest_multiplicity.keeping.work import task

Result = tuple[Call, Returned | Skipped]
ATTEMPTS = 2  # of a call whose process dies


def train(calls: Sequence[Call], given: Given, machine: Machine, family: str) -> Iterator[Result]:
    """Call the function for each candidate, and yield what it gives as soon as it is there.

    Raises:
        EvaluationError: the function failed for some, or their processes died; it names them.
        StalledError: it makes no progress for some, which it names.
        DefinitionError: it can't be sent to a process, or returned what can't be kept.

    All others have been trained by then.
    """
    if not calls:
        return
    failed: list[tuple[Call, Exception]] = []
    stalled: list[Call] = []
    with WorkerPool(machine, one_a_device=True, common=COMMON) as pool:
        bar = machine.progress.task(f"training {family}", PARTS * len(calls))
        with bar as shown:
            for call, outcome in _performed(calls, given, pool, machine, shown.advance):
                match outcome:
                    case Done(Broken(what, trace)):
                        failed.append((call, EvaluationError(what)))
                        failed[-1][1].add_note(trace)
                    case Done(value):
                        yield call, value
                    case Stalled():
                        stalled.append(call)
                    case Failed(UnsharableError() as error):
                        raise DefinitionError(_unsharable(given, family, error)) from error
                    case Failed(error):
                        failed.append((call, error))
                    case Crashed(why):
                        died = f"its process died {ATTEMPTS} times ({why}): give it more memory"
                        failed.append((call, EvaluationError(died)))
    hung = StalledError(f"training {named(_ids(stalled))}", machine.patience, stalled)
    if failed:
        error = _failure(sorted(failed, key=lambda each: calls.index(each[0])))
        if stalled:
            error.add_note(str(hung))
        raise error
    if stalled:
        raise hung


def _ids(calls: Sequence[Call]) -> list[str]:
    return [call.id for call in calls]


def _performed(
    calls: Sequence[Call],
    given: Given,
    pool: WorkerPool,
    machine: Machine,
    advance: Callable[[int], None],
) -> Iterator[tuple[Call, Outcome]]:
    """Yield what became of each call; one whose process dies has a second try."""
    there = machine.device
    if machine.cluster is not None or len(pool.gpus) > 1:
        there = torch.device(there.type)  # the only one a process sees, whatever its number
    waiting, crashes = deque(calls), Counter[str]()
    make = partial(task, Shared(given), device=there)
    for call, outcome in pool.workers.perform(waiting, make, advance=advance):
        if isinstance(outcome, Crashed):
            crashes[call.id] += 1
            if crashes[call.id] < ATTEMPTS:
                waiting.append(call)
                continue
        yield call, outcome


def _failure(failed: Sequence[tuple[Call, Exception]]) -> Exception:
    """Return the error of the first that failed, which names all."""
    call, error = failed[0]
    also = f" ({named(_ids([each for each, _ in failed[1:]]))} failed, too)" if failed[1:] else ""
    ours = isinstance(error, MultiplicityError)
    kind = DefinitionError if isinstance(error, DefinitionError) else EvaluationError
    reason = str(error) if ours else f"{type(error).__name__}: {error}"
    told = kind(f"training {call.id}: {reason}{also}")
    for note in () if kind is DefinitionError else getattr(error, "__notes__", ()):
        told.add_note(note)
    return told


def _unsharable(given: Given, family: str, error: Exception) -> str:
    """Say what can't be sent to a worker: a fixture, or what the function captures."""
    with project_code_by_value():
        parts = {name: culprit(value, name) for name, value in given.fixtures.items()}
        part = culprit(given.function, given.function.__name__)
    for name, found in parts.items():
        if found is not None:
            return (
                f"family {family!r}: its fixture {name!r} can't be sent to the process that trains:"
                f" {found} can't be pickled; have the fixture return what is trained on"
            )
    return (
        f"family {family!r}: its function can't be sent to the process that trains: "
        f"{part or error} can't be pickled; make it inside the function"
    )
