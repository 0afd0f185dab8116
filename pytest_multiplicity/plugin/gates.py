"""Gates: ordinary tests on the survivors, run after every spec, on complete verdicts only."""

from __future__ import annotations

import pytest

from pytest_multiplicity.findings import GateRecord
from pytest_multiplicity.plugin import compat, lastfailed
from pytest_multiplicity.plugin.completeness import partial
from pytest_multiplicity.plugin.options import Partial
from pytest_multiplicity.plugin.state import STATE

NOT_EVALUATED = "not evaluated: "


def order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the gates last, and after these who is told of verdicts.

    Under pytest-xdist workers have none of them and the controller only these.
    """
    state = config.stash[STATE]
    last = state.after_specs
    if not last:
        return
    gates = [item for item in items if item.nodeid in state.gate_families]
    selected = {item.nodeid for item in gates}
    state.selected_gates = [nodeid for nodeid in state.gate_families if nodeid in selected]
    others = [item for item in items if item.nodeid not in last]
    told = [item for item in items if item.nodeid in state.readers]
    state.selected_readers = [item.nodeid for item in told]
    items[:] = others if state.worker else [*others, *gates, *told]


def setup(item: pytest.Item) -> None:
    """Skip a gate whose family's matrix is incomplete, or fail it, as the ini says."""
    state = item.config.stash[STATE]
    if item.nodeid not in state.gate_families:
        return
    family = state.families.get(state.gate_families[item.nodeid])
    reason = partial(state, family)
    if reason is None or item.nodeid in state.early_gates:
        return
    if state.options.partial is Partial.FAIL:
        pytest.fail(f"partial run: {reason} (multiplicity_partial = fail)", pytrace=False)
    _keep_in_last_failed(item)
    pytest.skip(f"{NOT_EVALUATED}{reason}")


def _keep_in_last_failed(item: pytest.Item) -> None:
    """Keep for `--lf` a gate that failed before and isn't evaluated now: it has not passed.

    pytest forgets a test that is skipped; what is remembered here is put back at the end.
    """
    failed = compat.last_failed(item.config)
    own = [key for key in failed if str(key) == item.nodeid]  # a text, since pytest 9 an object
    item.config.stash[STATE].unsettled += own


def remember_unsettled(config: pytest.Config) -> None:
    """Have `--lf` know the gates that failed, also before where they weren't evaluated now."""
    state, failed = config.stash[STATE], compat.last_failed(config)
    failed.update(dict.fromkeys(state.unsettled, True))
    for key, (family, spec, candidate) in state.brought.items():
        record = state.ledger.pairs.get((family, spec), {}).get(candidate)
        if record is None or record.verdict != "failed":
            failed.pop(key, None)
    if not state.worker:
        lastfailed.remember(config, state.after_specs)


def record(report: pytest.TestReport) -> GateRecord | None:
    """Return what became of a gate, as far as this phase decides it."""
    where = {"path": report.location[0], "line": (report.location[1] or 0) + 1}
    if report.failed:
        message = report.longreprtext
        crash = compat.crash_of(report.longrepr)
        if crash is not None:
            message, where["line"] = crash.message, crash.lineno
        return GateRecord(report.nodeid, "failed", message, **where)  # type: ignore[arg-type]
    if report.skipped:
        longrepr = report.longrepr
        text = str(longrepr[2]) if isinstance(longrepr, tuple) else report.longreprtext
        text = text.removeprefix("Skipped: ").removeprefix(NOT_EVALUATED)
        return GateRecord(report.nodeid, "not evaluated", text, **where)  # type: ignore[arg-type]
    if report.when == "call":
        return GateRecord(report.nodeid, "passed", **where)  # type: ignore[arg-type]
    return None
