"""How long a score's way is from a spec's call to its number, in frames and files of ours.

Counts, for a tiny family's `accuracy`, the package's frames on the stack when torch begins its
first product, and the files these are in; and all that is entered until then, also beside the way:
checks, fingerprints, the store. Once as a cold run computes it, once as a run whose store has it
(where no product begins: the deepest stack, but for fingerprints), and once as it is asked again.

    python -m benchmarks.path_of_a_score [--frames]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pytest_multiplicity as pm
from tests.support.bench import Bench

PACKAGE = Path(pm.__file__).parent
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "mv", "dot")


@dataclass
class Way:
    """What was entered on the way to a number, until it was there or a product began."""

    entered: dict[str, None] = field(default_factory=dict)
    stack: list[str] = field(default_factory=list)
    changes: int = 0
    _last: str = ""
    _done: bool = False

    def enter(self, frame: FrameType, event: str, argument: object) -> None:
        """Note a call of a function of the package, with those that led to it."""
        if self._done or event != "call" or not ours(frame):
            return
        name = shown(frame)
        self.entered.setdefault(name, None)
        self.changes += name != self._last
        self._last = name
        stack = list(frames(frame))
        if len(stack) > len(self.stack) and not any(map(recursive, stack)):
            self.stack = stack

    def stop(self, frame: FrameType) -> None:
        """A product begins: what comes now computes."""
        if not self._done:
            self._done, self.stack = True, list(frames(frame))

    @property
    def files(self) -> set[str]:
        """The files on the way."""
        return {each.partition(":")[0] for each in self.stack}


class UntilProduct(TorchDispatchMode):
    """Ends a way when torch begins its first product."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self._way = way

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in PRODUCTS:
            self._way.stop(sys._getframe())
        return func(*args, **(kwargs or {}))


def ours(frame: FrameType) -> bool:
    """Return whether it runs a function of the package: no module's body, no comprehension."""
    code = frame.f_code
    return Path(code.co_filename).is_relative_to(PACKAGE) and not code.co_name.startswith("<")


def recursive(shown: str) -> bool:
    """Return whether a frame is of a fingerprint, which is as deep as what it is taken of."""
    return shown.startswith(("store/encoding", "store/fingerprint"))


def shown(frame: FrameType) -> str:
    """Return the file, as from the package."""
    return Path(frame.f_code.co_filename).relative_to(PACKAGE).as_posix()


def frames(frame: FrameType | None) -> Iterator[str]:
    """Return the package's frames below one, innermost first."""
    while frame is not None:
        if ours(frame):
            yield f"{shown(frame)}:{frame.f_code.co_qualname}"
        frame = frame.f_back


@contextmanager
def watched() -> Iterator[Way]:
    """Inside, count."""
    way = Way()
    with UntilProduct(way):
        sys.setprofile(way.enter)
        try:
            yield way
        finally:
            sys.setprofile(None)


def count(ask: Callable[[], float]) -> Way:
    """Return the way of one question to its number."""
    with watched() as way:
        ask()
    return way


def ways(root: Path) -> dict[str, Way]:
    """Return the ways of a cold run, of one that finds all stored, and of a second question."""
    counted = {}
    for kind in ("fresh", "stored"):
        bench = Bench(root)
        candidate = bench.family().candidates[0]
        with bench.store:
            candidate.module  # noqa: B018 - trains: the way to a number begins with a model
            counted[kind] = count(lambda: candidate.accuracy(bench.test))  # noqa: B023
            counted["again"] = count(lambda: candidate.accuracy(bench.test))  # noqa: B023
    return counted


def main() -> None:
    """Print a line for each way; with `--frames` the deepest stack and the files, too."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for kind, way in ways(Path(folder)).items():
            print(
                f"{kind}: {len(way.stack)} frames deep in {len(way.files)} files; entered "
                f"{len(way.entered)} files with {way.changes} changes between them"
            )
            if "--frames" in sys.argv:
                print("  the way:", *reversed(way.stack), sep="\n    ")
                print("  entered:", *way.entered, sep="\n    ")


if __name__ == "__main__":
    main()
