"""Parts of a report that could not be made: each costs itself alone, and is said."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Made = TypeVar("Made")


def why(error: Exception) -> str:
    """Return an error in a line, with where it was raised: `ScoresError: an infinite score ...`."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said} ({Path(last.filename).name}:{last.lineno})"


def tried(part: str, make: Callable[[], Made], lost: list[str]) -> list[Made]:
    """Return a part of the report, alone in a list; nothing where it can't be made: `lost` says so.

    Whatever fails, which is a fault of ours or of a user's function, must not cost the verdicts.
    """
    try:
        return [make()]
    except Exception as error:
        lost.append(f"{part} could not be made: {why(error)}")
        return []
