"""The gates, last: whether what remains is good enough."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_multiplicity.findings import GateOutcome, GateReport
from pytest_multiplicity.report import facts
from pytest_multiplicity.report.terminal.page import BAD, BOLD, CARE, DIM, GOOD, Page, fitting

_SHOWN: dict[GateOutcome, tuple[str, str, str]] = {
    "passed": ("✓ passed", "passed", GOOD),
    "failed": ("✗ FAILED", "FAILED", BAD),
    "not evaluated": ("– not evaluated", "not evaluated", CARE),  # noqa: RUF001
}


def block(page: Page, gates: Sequence[GateReport], *, brief: bool = False) -> list[RenderableType]:
    """Return those that just passed, then a line for each of the others, with its message.

    `brief`: as many of those that passed as one line holds, beside the title if all did.
    """
    if not gates:
        return []
    title = Text.assemble(("gates", BOLD), (f"  {facts.tally(gates)}", DIM))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    silent = [gate for gate in gates if gate.outcome == "passed" and not gate.message]
    if brief and len(silent) == len(gates):
        names = fitting([page.name(gate.name) for gate in silent], page.width - title.cell_len - 2)
        return [Text.assemble(title, (f"  {names}", GOOD))]
    if silent:
        sign, plain, style = _SHOWN["passed"]
        passed = [page.name(gate.name) for gate in silent]
        room = page.width - 2 - len(page.glyph(sign, plain)) - 2
        said = fitting(passed, room) if brief else ", ".join(passed)
        grid.add_row(Text("  " + page.glyph(sign, plain), style), Text(said))
    for gate in gates:
        if gate in silent:
            continue
        sign, plain, style = _SHOWN[gate.outcome]
        text = Text(page.name(gate.name))
        if gate.message:
            text.append("\n" + page.lines(gate.message), DIM if gate.outcome != "failed" else "")
        grid.add_row(Text("  " + page.glyph(sign, plain), style), text)
    return [Group(title, grid)]
