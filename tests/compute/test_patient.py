"""The bar of work that goes on while something else is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_multiplicity.compute import Bar, Patient


class Noted:
    """What was shown: each bar with the steps that it was moved by."""

    def __init__(self) -> None:
        self.bars: list[list[int]] = []
        self.open = False

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Bar]:
        """Show a bar."""
        assert (description, total, self.open) == ("training", 10, False)
        self.bars.append([])
        self.open = True
        yield self
        self.open = False

    def advance(self, steps: int = 1) -> None:
        """Note a move."""
        self.bars[-1].append(steps)


def test_a_bar_is_there_while_somebody_waits_and_knows_all_that_was_done() -> None:
    noted, waits = Noted(), True
    with Patient(noted, "training", 10, lambda: waits) as shown:
        shown.advance(2)
        shown.advance(1)
        shown.hide()
        assert (sum(noted.bars[0]), noted.open) == (3, False)
        waits = False
        shown.advance(4)
        shown.hide()
        assert len(noted.bars) == 1
        waits = True
        shown.advance(-1)  # a worker was lost, and its work with it
        assert noted.bars[1] == [6]
    assert not noted.open
