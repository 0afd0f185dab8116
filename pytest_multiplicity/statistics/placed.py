"""Column sums of rows of zeros and ones, as permuting each row would give them.

A permuted row has its ones in any columns, each choice as likely as another, so nothing has to be
moved. Of many rows it is counted how many have a one in the next column (`columns_of_counts`). Of
few, bits are drawn each for itself, and then single ones set or deleted until the row has as many
as it should (`placed_sums`): all of that treats all columns alike, so each choice comes of it as
often as another, and the bits are but a start that is nearly right.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int32]

_AT_ONCE = 1 << 22  # bytes of bits, one in a byte: what caches hold, and calls are worth making for
_WORD = 8  # bytes that are added up at once
_MOST = 255  # zeros and ones whose sum a byte holds
_BELOW = 2.0  # standard deviations that the start has too few: setting is cheaper than deleting


def permuted_sums(
    ones: npt.NDArray[np.integer], columns: int, draws: int, rng: np.random.Generator
) -> npt.NDArray[np.integer]:
    """Return column sums `[draws, columns]` of rows with `ones` `[rows]` ones each."""
    if not fewer_counts(len(ones), columns):
        return placed_sums(ones, columns, draws, rng)
    levels = np.bincount(ones, minlength=columns + 1)
    return np.stack([*columns_of_counts(levels, draws, rng)], axis=1)


def fewer_counts(rows: int, columns: int) -> bool:
    """Return whether counts take less than places: they grow with columns squared."""
    return rows > 4 * columns and 4 * rows**2 > columns**3


def columns_of_counts(
    levels: npt.NDArray[np.integer], permutations: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.integer]]:
    """Yield column sums `[permutations]`, column by column, drawn exactly without touching a row.

    `levels[s]` rows have s ones. Of the rows with s ones left in k columns, a binomial number with
    probability s / k puts a one into the next column.
    """
    left = np.tile(levels, (permutations, 1))
    for k in range(len(levels) - 1, 0, -1):
        left = left[:, : k + 1]
        ones = rng.binomial(left, np.arange(k + 1) / k)
        yield ones.sum(axis=1)
        left = left - ones
        left[:, :-1] += ones[:, 1:]


def placed_sums(
    ones: npt.NDArray[np.integer], columns: int, draws: int, rng: np.random.Generator
) -> Counts:
    """Return column sums `[draws, columns]` of rows with `ones` `[rows]` ones each.

    In each draw and row every choice of columns is equally likely, and independent of all others.
    """
    total = np.zeros((draws, columns), dtype=np.int32)
    many = 2 * ones > columns
    for each in _placed(ones[~many], columns, draws, rng):
        total += each
    for zeros in _placed(columns - ones[many], columns, draws, rng):
        total -= zeros
    total += np.int32(np.count_nonzero(many))
    return total


def _placed(
    ones: npt.NDArray[np.integer], columns: int, draws: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield column sums `[draws, columns]` of a few rows each, with at most half of them ones."""
    words = -(-columns // _WORD)
    step = min(_MOST, max(1, _AT_ONCE // (draws * words * _WORD)))
    ones = np.sort(ones)  # so that rows with next to none are together, and need no start
    for first in range(0, len(ones), step):
        few = ones[first : first + step]
        bits = _start(few, columns, (len(few), draws, words), rng)
        _mend(bits.reshape(-1, words * _WORD), np.repeat(few, draws), columns, rng)
        yield bits.sum(axis=0, dtype=np.uint8)[:, :columns]


def _start(
    few: npt.NDArray[np.integer],
    columns: int,
    size: tuple[int, int, int],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Return bits, each one with the same chance in its row: `[rows, draws, columns and more]`."""
    spread = np.sqrt(few * (1 - few / columns))
    chance = 256 * np.maximum(few - _BELOW * spread, 0) / columns
    below = chance.astype(np.uint8)[:, None, None]
    rows, draws, words = size
    if not below.any():
        return np.zeros((rows, draws, words * _WORD), dtype=np.uint8)
    drawn = rng.integers(0, 1 << 64, size=size, dtype=np.uint64).view(np.uint8)
    bits = (drawn < below).view(np.uint8)
    bits[..., columns:] = 0
    return bits


def _mend(
    bits: npt.NDArray[np.uint8],
    wanted: npt.NDArray[np.integer],
    columns: int,
    rng: np.random.Generator,
) -> None:
    """Set or delete ones in columns drawn at random until each row has those that are `wanted`.

    As many columns are drawn as ones are missing, or too many: one that is drawn twice, or is as
    it should be, changes nothing, so that no row is ever overdone.
    """
    flat, width = bits.reshape(-1), bits.shape[1]
    rows, missing = np.arange(len(bits)), wanted - _ones_of(bits)
    while len(rows := rows[missing != 0]):
        missing = missing[missing != 0]
        times = np.abs(missing)
        places = np.repeat(rows * width, times)
        places += rng.integers(0, columns, size=len(places), dtype=np.uint32)
        flat[places] = np.repeat(missing > 0, times)
        missing = wanted[rows] - _ones_of(bits[rows])


def _ones_of(bits: npt.NDArray[np.uint8]) -> Counts:
    """Return how many ones rows have, `[rows]`; as words, as many bytes are added up at once."""
    words = bits.view(np.uint64)
    sums = np.add.reduceat(words, np.arange(0, words.shape[1], _MOST), axis=1)
    counts: Counts = sums.view(np.uint8).sum(axis=1, dtype=np.int32)
    return counts
