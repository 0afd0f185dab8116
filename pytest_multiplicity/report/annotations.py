"""GitHub annotations: failed gates at the gate's line, as workflow commands on standard output.

The commands' escapes: https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
"""

from __future__ import annotations

from pytest_multiplicity.findings import GateReport, RunReport
from pytest_multiplicity.report.text import inert

LINES = 12
"""Lines of a message that are shown."""


def render(run: RunReport) -> str:
    """Return a line for each failed gate; nothing when none failed."""
    failed = [gate for gate in run.gates if gate.outcome == "failed"]
    return "".join(f"{_command(gate)}\n" for gate in failed)


def _command(gate: GateReport) -> str:
    place = {"file": gate.path, "line": gate.line, "title": f"gate {inert(gate.name)} failed"}
    known = [f"{key}={_property(str(value))}" for key, value in place.items() if value is not None]
    message = "\n".join(inert(line, 300) for line in gate.message.splitlines()[:LINES])
    return f"::error {','.join(known)}::{_data(message or 'the gate failed')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
