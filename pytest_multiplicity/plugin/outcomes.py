"""Outcomes of specs: kept, rejected, undecided, measured."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import pytest

from pytest_multiplicity.errors import CandidateDiverged, CandidateSkipped, MeasurementError
from pytest_multiplicity.findings import PairRecord
from pytest_multiplicity.plugin import compat, gates, given, parts, screening
from pytest_multiplicity.plugin.collection import Pair, judged
from pytest_multiplicity.plugin.options import Check, Undecided
from pytest_multiplicity.plugin.recorder import Recorder, news_of
from pytest_multiplicity.plugin.state import STATE
from pytest_multiplicity.report import inert

MAX_REASON = 2000
WITHHELD = "the assertion failed; what it measured is withheld (multiplicity_ladder = on)"
_BEFORE: tuple[parts.Phase, ...] = ("setup", "call")  # phases that the report of a call speaks of

Status = tuple[str, str, "str | tuple[str, dict[str, bool]]"]
STATUS: dict[str, Status] = {
    "rejected": ("rejected", "r", ("REJECTED", {"yellow": True})),
    "undecided": ("undecided", "u", ("UNDECIDED", {"yellow": True})),
    "measured": ("measured", "m", ("MEASURED", {"cyan": True})),
    "not needed": ("not needed", "n", ("NOT NEEDED", {"cyan": True})),
    "screened": ("screened", "-", ("SCREENED", {"cyan": True})),
    "part": ("", "", ""),  # of a spec: counted with it
}


def judging(item: pytest.Item) -> AbstractContextManager[None]:
    """Around the call of an item: record what a spec measures."""
    pair = judged(item)
    planning = item.config.stash[STATE].options.plan
    return nullcontext() if pair is None or planning else _judging(item, pair)


@contextmanager
def _judging(item: pytest.Item, pair: Pair) -> Iterator[None]:
    state = item.config.stash[STATE]
    population, _ = pair.place
    if population is None:  # the spec overrides the family's fixture with a value of its own
        yield
        return
    recorder = parts.of(item).recorder = Recorder(
        population,
        policy=state.options.undecided.value,
        role="unforeseen" if pair.spec.unforeseen else "enforced",
    )
    with recorder:
        try:
            with given.prepared(item, pair, recorder):
                yield
        except CandidateSkipped as skipped:
            pytest.skip(str(skipped))
        if not recorder.measured:
            raise MeasurementError(
                f"{pair.spec.name} measured nothing: a spec asks its candidate for a score, such "
                "as candidate.accuracy(data), itself or by a fixture of its own (scope function); "
                "how far predictions stay the same is candidate.consistency(data, under=...)"
            )


def converted(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have pytest convert a call, and show a rejection by its message: a traceback costs 4 ms.

    What an item has of its own for that it has no longer than needed, and only where it is needed:
    pytest keeps all items to the end, and one with an attribute that others lack takes 0.6 KB more.
    """
    excinfo = call.excinfo
    rejected = excinfo is not None and call.when == "call" and _rejects(excinfo.value)
    if not rejected or parts.of(item).recorder is None:
        return (yield)
    item.repr_failure = _message  # type: ignore[method-assign, assignment]
    try:
        return (yield)
    finally:
        del item.repr_failure


def _message(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    return str(excinfo.value)


def judge(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> pytest.TestReport:
    """Convert a spec's report; called around pytest's own conversion, so user marks come first."""
    if parts.is_one(item, call):
        return _part(item, call, report)
    if report.when == "teardown":
        _forget_unheard(item)
    if item.nodeid in item.config.stash[STATE].gate_families:
        return _gate(item, call, report)
    pair = judged(item)
    screened = report.when == "setup" and screening.DECIDED in item.stash
    if pair is not None and screened:
        return _screened(report, pair)
    if report.when == "teardown":
        parts.fail(report, parts.of(item).during("teardown"))
    if pair is None or (report.when != "call" and not report.failed):
        _let_go(item, report)
        return report
    state = item.config.stash[STATE]
    record = _record(item, pair, call, report)
    if report.when == "call" or record.training:
        _apply(report, pair, record)
    if record.objected and call.excinfo is not None and not report.failed:
        compat.let_go_of_frames(item, call.excinfo)
    if record.objected and report.passed:
        call.excinfo = None  # no failure: nothing for a debugger to stop at
    if state.options.screen and not pair.added:
        screening.of(state).end(pair, record)
    report.multiplicity = {"pair": record.to_wire()}  # type: ignore[attr-defined]
    return report


def _measured(item: pytest.Item, pair: Pair) -> dict[str, Any]:
    """Return what a record holds of what was measured, which the item's properties tell, too."""
    state, recorder = item.config.stash[STATE], parts.of(item).recorder
    key = pair.family.key
    if recorder is None:
        return {}
    told = state.options.ladder is Check.OFF or not pair.spec.unforeseen
    for name, metric in recorder.metrics.items() if told else ():
        item.user_properties.append((inert(name), float(metric.scores[pair.place[1]])))
    names = tuple(recorder.metrics)
    return {
        "metrics": state.named.setdefault(names, names),  # a spec's pairs have one in common
        "relative": recorder.relative,
        "news": None if pair.added else news_of(recorder.population, recorder.metrics, key, state),
    }


def _gate(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> pytest.TestReport:
    failed = parts.of(item).during(*(("teardown",) if report.when == "teardown" else _BEFORE))
    if report.when != "setup":
        parts.fail(report, failed)
    on_a_ladder = item.config.stash[STATE].options.ladder is Check.ON
    if on_a_ladder and call.excinfo is not None and _rejects(call.excinfo.value):
        report.longrepr, report.sections = WITHHELD, []
    if (gate := gates.record(report)) is not None:
        if failed and gate.outcome == "failed":
            message = "; ".join([*map(_said, failed), gate.message])
            gate = replace(gate, message=message[:MAX_REASON])
        report.multiplicity = {"gate": asdict(gate)}  # type: ignore[attr-defined]
    return report


def _part(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> pytest.TestReport:
    """Convert the report of a subtest, whose spec is judged at its end."""
    parts.note(item, call, report)
    pair, error = judged(item), call.excinfo and call.excinfo.value
    body = parts.of(item).phase == "call"
    if pair is None or not (report.failed and body and error is not None and _rejects(error)):
        return report
    report.multiplicity_category = "part"  # type: ignore[attr-defined]
    if pair.spec.unforeseen:
        report.outcome, report.longrepr = "passed", None
        call.excinfo = None
    else:
        compat.reject(report, f"rejected: {inert(_said(error), MAX_REASON)}")
    return report


def _screened(report: pytest.TestReport, pair: Pair) -> pytest.TestReport:
    record = PairRecord(pair.family.key, pair.spec.nodeid, pair.candidate, "screened")
    report.multiplicity_category = "screened"  # type: ignore[attr-defined]
    report.multiplicity = {"pair": record.to_wire()}  # type: ignore[attr-defined]
    return report


def _let_go(item: pytest.Item, report: pytest.TestReport) -> None:
    """Drop what was needed until an item was taken down: pytest keeps all items to the end."""
    if report.when == "teardown":
        parts.forget(item)


def _forget_unheard(item: pytest.Item) -> None:
    """Forget what fixtures measured for this item: it is not another's."""
    for family in item.config.stash[STATE].families:
        for population in (family.population, *(each.population for each in family.rounds)):
            if population is not None:
                population.unheard.clear()


def _record(
    item: pytest.Item, pair: Pair, call: pytest.CallInfo[None], report: pytest.TestReport
) -> PairRecord:
    """Return the verdict, from what was raised."""
    state, recorder = item.config.stash[STATE], parts.of(item).recorder
    doubts = [] if recorder is None else list(dict.fromkeys(recorder.undecided))
    measured = _measured(item, pair)

    def made(**found: Any) -> PairRecord:
        told = {**measured, **found, "added": pair.added}
        return PairRecord(pair.family.key, pair.spec.nodeid, pair.candidate, **told)

    errors = _errors(item, call, report)
    if compat.marked_xfail(report):  # the user's own mark: this spec rejects nobody
        return made(verdict="kept", objected=bool(errors))
    if report.when == "call" and report.passed and not errors:
        return made(verdict="kept", undecided=bool(doubts), reason="; ".join(doubts))
    diverged = any(isinstance(each, CandidateDiverged) for each in errors)
    body = report.when == "call" and not parts.of(item).during("setup")
    if errors and (diverged or (body and all(map(_rejects, errors)))):
        # an undecided comparison holds where undecided pairs are kept: another one has failed
        undecided = bool(doubts) and state.options.undecided is Undecided.REJECT
        said = [given.reason(item, each) or str(each) for each in errors]
        reason = "; ".join(doubts if undecided else filter(None, said))
        return made(
            verdict="kept" if pair.spec.unforeseen and not diverged else "rejected",
            reason=(reason or "AssertionError")[:MAX_REASON],
            objected=True,
            undecided=undecided,
            training=diverged,
        )
    parts.fail(report, errors)
    return made(verdict="failed")


def _errors(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> list[BaseException]:
    """Return what a phase of a spec raised, in its parts too, as far as they count with it."""
    own = [] if call.excinfo is None else [call.excinfo.value]
    found = parts.of(item).during(*_BEFORE) if report.when == "call" else []
    return [*found, *own]


def _apply(report: pytest.TestReport, pair: Pair, record: PairRecord) -> None:
    """Make the report say what the verdict is, in terms that other plugins know."""
    if compat.marked_xfail(report) or record.verdict == "failed":
        return
    report.multiplicity_category = _category(pair, record)  # type: ignore[attr-defined]
    if record.verdict == "rejected":
        reason = inert(record.reason.splitlines()[0], MAX_REASON)
        compat.reject(report, f"rejected: {reason}")
    elif record.objected:
        report.outcome, report.longrepr = "passed", None


def _category(pair: Pair, record: PairRecord) -> str:
    """Return the key in `STATUS`, or nothing for a spec that simply passed."""
    if pair.spec.unforeseen and not record.training:
        return "measured"
    if record.undecided:
        return "undecided"
    return "rejected" if record.verdict == "rejected" else ""


def status(report: pytest.CollectReport | pytest.TestReport) -> Status | None:
    """Category, letter and word of a report that a spec made."""
    return STATUS.get(getattr(report, "multiplicity_category", ""))


def _rejects(error: BaseException) -> bool:
    """Return whether it is an assertion of the spec's own body, or of every example of a search."""
    if isinstance(error, BaseExceptionGroup):
        flaky = any(type(e).__name__.startswith("Flaky") for e in _tree(error))
        return not flaky and all(isinstance(leaf, AssertionError) for leaf in _leaves(error))
    return isinstance(error, AssertionError)


def _said(error: BaseException) -> str:
    """Return an error's first line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _tree(error: BaseException) -> Iterator[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _tree(inner)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    return (each for each in _tree(error) if not isinstance(each, BaseExceptionGroup))
