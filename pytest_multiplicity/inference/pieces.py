"""Units and the models that they compute, batch by batch, of which the next is begun ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor

from pytest_multiplicity.compute import StalledError, numpy_threads
from pytest_multiplicity.inference.at_once import AtOnce
from pytest_multiplicity.inference.executors import Unit
from pytest_multiplicity.inference.form import Batch

T = TypeVar("T")


@dataclass(frozen=True)
class Piece:
    """A unit, the positions of its models, and whether it computes beside others."""

    positions: tuple[int, ...]
    unit: Unit
    beside: bool

    @property
    def twin(self) -> Piece:
        """Another one of the same models, to compute at the same time."""
        return replace(self, unit=self.unit.twin())

    def smaller(self) -> Iterator[Piece]:
        """Yield pieces that need less memory, to be computed one after the other."""
        positions = self.positions
        for unit in self.unit.smaller():
            yield Piece(positions[: unit.count], unit, self.beside)
            positions = positions[unit.count :]


@dataclass(frozen=True)
class Due:
    """A piece and a batch that it computes; what it gives, once that was begun.

    None is given where it took too much memory.
    """

    piece: Piece
    batch: Batch
    found: Future[Tensor | None] | None = None


class Columns:
    """The pieces that compute a batch, once for each batch that is computed at once."""

    def __init__(self, columns: Sequence[Sequence[Piece]]) -> None:
        self._columns = [[*column] for column in columns]
        self._parts: WeakKeyDictionary[Piece, list[Piece]] = WeakKeyDictionary()
        self._last: WeakKeyDictionary[Unit, Future[Tensor | None]] = WeakKeyDictionary()

    @property
    def apart(self) -> bool:
        """Whether all pieces compute beside others, and none in turn."""
        return all(piece.beside for column in self._columns for piece in column)

    def __len__(self) -> int:
        return len(self._columns)

    def pairs(self, batches: Sequence[Batch]) -> list[Due]:
        """Return who computes what, of as many batches as there are columns at the most."""
        pairs = zip(self._columns, batches, strict=False)
        return [Due(piece, batch) for column, batch in pairs for piece in column]

    def begin(self, beside: AtOnce, pair: Due, compute: Callable[[], Tensor | None]) -> Due:
        """Have a pair computed once its unit is done with what it computes already."""
        unit = pair.piece.unit
        found = self._last[unit] = beside.begin(compute, after=self._last.get(unit))
        return replace(pair, found=found)

    def divide(self, piece: Piece) -> list[Piece]:
        """Return smaller pieces that compute instead of one, from now on."""
        if piece not in self._parts:  # it may have begun with another batch meanwhile
            self._parts[piece] = list(piece.smaller())
            (column,) = (each for each in self._columns if piece in each)
            column[column.index(piece) : column.index(piece) + 1] = self._parts[piece]
        return self._parts[piece]

    def one_thread_each(self) -> AbstractContextManager[object]:
        """Have those beside others multiply by one thread each also where numpy does it."""
        some = any(piece.beside for column in self._columns for piece in column)
        return numpy_threads(1) if some else nullcontext()


def one_ahead(begun: Iterator[T]) -> Iterator[T]:
    """Yield each once the next has been begun, too; an error comes after those before it."""
    failed: Exception | None = None
    now = next(begun, None)
    while now is not None:
        ahead = None
        try:
            ahead = next(begun, None)
        except StalledError:
            raise
        except Exception as error:
            failed = error
        yield now
        if failed is not None:
            raise failed
        now = ahead
