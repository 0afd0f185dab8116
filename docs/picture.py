"""Make docs/summary.svg, the README's picture, from what pytest really prints.

    python docs/picture.py

It is the summary of specs/digits as it stands on the terminal, cold or from the store.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH = 96
COMMAND = ["pytest", "specs/digits", "--color=yes"]


def printed() -> list[Text]:
    """Return the lines of the summary, with their colours."""
    environment = os.environ | {"COLUMNS": str(WIDTH), "COLORTERM": "truecolor"}
    done = subprocess.run(
        [sys.executable, "-m", *COMMAND, "-p", "no:randomly"],
        cwd=HERE.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [Text.from_ansi(line) for line in done.stdout.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.plain.startswith("candidate "))
    end = next(i for i in range(start, len(lines)) if lines[i].plain.startswith("===="))
    return lines[start:end]


def main() -> None:
    """Write the picture."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115
    for line in printed():
        console.print(line, no_wrap=True, overflow="crop")
    svg = console.export_svg(title="pytest specs/digits")
    (HERE / "summary.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
