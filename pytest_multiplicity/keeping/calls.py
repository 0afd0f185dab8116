"""One call of an author's function: what it is given, what it gives back. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from pytest_multiplicity.design import Config
    from pytest_multiplicity.keeping.packing import Packed

KEPT = "kept"  # the kind of entries of the store
PARTS = 1000  # steps of a bar for each call
COMMON = ("pytest_multiplicity.keeping", "sklearn")  # what many families' functions need


@dataclass(frozen=True)
class Call:
    """A candidate that its author's function trains.

    `key` is what the store knows it by, `folder` where the function may leave what it needs to go
    on after an interruption.
    """

    id: str
    key: str
    config: Config
    folder: Path


@dataclass(frozen=True, eq=False)
class Given:
    """What all calls of a family have in common: the function, and its fixtures by name.

    `takes_run`: it has a parameter named `run`.
    """

    function: Callable[..., Any]
    fixtures: Mapping[str, Any]
    takes_run: bool = False


@dataclass(frozen=True)
class Returned:
    """What a call gave: the model, packed, what it logged, and how long it took."""

    packed: Packed
    seconds: float
    logged: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A call that ended in `pytest.skip`."""

    reason: str


@dataclass(frozen=True)
class Broken:
    """A call that raised: what, and the function's own part of the traceback."""

    what: str
    trace: str


@dataclass(frozen=True)
class Run:
    """What a function's parameter `run` has: its seed and device, a folder, progress and a log."""

    seed: int
    device: torch.device
    _folder: Path
    _advance: Callable[[int], None]
    _logged: dict[str, list[float]] = field(default_factory=dict)
    _done: list[int] = field(default_factory=lambda: [0])

    @property
    def folder(self) -> Path:
        """A folder of this candidate, which is kept across an interruption, and gone in the end."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def progress(self, done: float, total: float) -> None:
        """Say how far it is: so many of so many steps, epochs, trees."""
        if not total > 0 or not 0 <= done <= total:
            raise ValueError(
                f"run.progress({done!r}, {total!r}): give what is done, and the total above it"
            )
        parts = int(PARTS * done / total)
        self._advance(max(0, parts - self._done[0]))
        self._done[0] = max(parts, self._done[0])

    def log(self, name: str, value: float) -> None:
        """Keep a number with the model, in the order of the calls: a loss, a score."""
        self._logged.setdefault(str(name), []).append(float(value))
        self._advance(0)
