"""The ledger of looks: how often results on a data set could be followed by a change.

A data set is known by a sketch of its samples, the smallest of their hashes: two of which half are
shared are one, whatever their names. A look is known by the questions that were asked; asking them
again of the same candidates adds none. All functions are pure.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.errors import StoreError

SKETCH = 256
"""Hashes by which a data set is known."""


@dataclass(frozen=True)
class Looked:
    """The looks at one data set.

    `answers` counts what gates answered in all of them; `seen` holds the questions that were asked.
    """

    sketch: tuple[int, ...]
    name: str
    samples: int
    looks: int = 0
    answers: int = 0
    seen: frozenset[str] = frozenset()

    def adds(self, questions: Iterable[str]) -> bool:
        """Return whether asking these is another look."""
        return not self.seen.issuperset(questions)

    def after(self, questions: Iterable[str], answers: int) -> Looked:
        """Return it after a run that asked these, and whose gates gave so many answers."""
        if not self.adds(questions):
            return self
        return replace(
            self,
            looks=self.looks + 1,
            answers=self.answers + answers,
            seen=self.seen.union(questions),
        )

    def together(self, other: Looked) -> Looked:
        """Return what two ledgers know of one data set: the larger counts."""
        return replace(
            self,
            samples=max(self.samples, other.samples),
            looks=max(self.looks, other.looks),
            answers=max(self.answers, other.answers),
            seen=self.seen | other.seen,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        packed = np.array(self.sketch, dtype="<u8").tobytes()
        return {
            "data": self.name,
            "samples": self.samples,
            "looks": self.looks,
            "answers": self.answers,
            "sketch": base64.b64encode(packed).decode("ascii"),
            "seen": sorted(self.seen),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Looked:
        """Return what `to_json` wrote. Raises StoreError for anything else."""
        try:
            packed = base64.b64decode(found["sketch"], validate=True)
            return cls(
                sketch=tuple(np.frombuffer(packed, dtype="<u8").tolist()),
                name=str(found["data"]),
                samples=int(found["samples"]),
                looks=int(found["looks"]),
                answers=int(found["answers"]),
                seen=frozenset(map(str, found["seen"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"no ledger of looks: {error!r}") from None


def sketch_of(digests: npt.NDArray[np.uint64]) -> tuple[int, ...]:
    """Return the smallest hashes of the samples `[n]`."""
    return tuple(np.unique(digests)[:SKETCH].tolist())


def find(known: Sequence[Looked], sketch: Sequence[int]) -> Looked | None:
    """Return what is known of these samples, under any name: of several the most alike."""
    own = set(sketch)
    shared = {id(each): len(own.intersection(each.sketch)) for each in known}
    alike = [each for each in known if 2 * shared[id(each)] >= min(len(own), len(each.sketch)) > 0]
    return max(alike, key=lambda each: shared[id(each)], default=None)


def entered(known: Sequence[Looked], looked: Looked) -> list[Looked]:
    """Return a ledger with an entry in the place of the one on the same samples."""
    before = find(known, looked.sketch)
    if before is None:
        return [*known, looked]
    return [looked if each is before else each for each in known]


def merged(one: Sequence[Looked], other: Sequence[Looked]) -> list[Looked]:
    """Return two ledgers as one."""
    found = list(one)
    for each in other:
        before = find(found, each.sketch)
        found = entered(found, each if before is None else before.together(each))
    return found
