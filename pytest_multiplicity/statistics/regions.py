"""Where something happens more often: regions of attributes, found here and tested elsewhere.

A tree of depth 2 on the attributes is fitted to what happened on the samples that selected; those
of its leaves where it happens more often than elsewhere are tested on other samples, each against
all others, with Holm's correction over the leaves. What isn't confirmed there is no region.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.statistics.attribution import holm
from pytest_multiplicity.statistics.kept import kept

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Columns = Mapping[str, npt.NDArray[Any]]
"""Attributes `[n]` by name: numbers, or texts."""

DEPTH = 2
SMALLEST = 20
"""Samples of a leaf, on both data sets."""
SMALLEST_SHARE = 0.02
THRESHOLDS = 15
"""Quantiles at which a number may be split."""
MOST_VALUES = 20
"""Different texts of an attribute: one with more names samples rather than groups."""
CLEAR = 2.0
"""Standard errors that the two sides of a split differ by, at least."""
LEVEL = 0.05
DRAWS = 4000
"""Permutations that test what is more than yes or no."""


@dataclass(frozen=True)
class Condition:
    """One side of a split: `age >= 60`, `device == 'B'`."""

    column: str
    sign: str
    value: Any

    def __str__(self) -> str:
        plain = self.column.isidentifier() and not keyword.iskeyword(self.column)
        name = self.column if plain else f"`{self.column}`"
        shown = f"{self.value:.6g}" if isinstance(self.value, float) else repr(self.value)
        return f"{name} {self.sign} {shown}"

    def holds(self, columns: Columns) -> Bools:
        """Return where it does: `[n]`; nowhere a number is missing."""
        values = columns[self.column]
        if self.sign == ">=":
            return np.asarray(values >= self.value)
        if self.sign == "<":
            return np.asarray(values < self.value)
        return np.asarray((values == self.value) == (self.sign == "=="))


@dataclass(frozen=True)
class Region:
    """A region that other samples confirm."""

    query: str
    """Its conditions, which pandas and `pm.Group` understand."""
    inside: float
    elsewhere: float
    samples: int
    """Of the testing data, inside."""
    of: int
    p_value: float
    """After Holm's correction."""


@kept(Region, many=True)
def confirmed(
    found_on: Floats, columns: Columns, tested_on: Floats, others: Columns
) -> list[Region]:
    """Return regions where something happens more often, the clearest first.

    Args:
        found_on: what happened `[n]`, from 0 to 1, on the data that selected.
        columns: their attributes.
        tested_on: what happened `[m]` on other data.
        others: their attributes; columns of one name only are looked at.
    """
    shared = {name: values for name, values in columns.items() if name in others}
    leaves = [each for each in _leaves(found_on, shared) if each]
    inside = [(leaf, _within(leaf, others, len(tested_on))) for leaf in leaves]
    inside = [(leaf, rows) for leaf, rows in inside if SMALLEST <= rows.sum() < len(rows)]
    values = [_p_value(tested_on, rows) for _, rows in inside]
    found = [
        Region(
            query=" and ".join(map(str, _plainly(leaf))),
            inside=float(tested_on[rows].mean()),
            elsewhere=float(tested_on[~rows].mean()),
            samples=int(rows.sum()),
            of=len(rows),
            p_value=p,
        )
        for (leaf, rows), p in zip(inside, holm(values), strict=True)
        if p <= LEVEL
    ]
    return sorted(found, key=lambda region: region.p_value)


def _leaves(happened: Floats, columns: Columns) -> Iterator[tuple[Condition, ...]]:
    """Yield the leaves in which it happens more often than outside of them."""
    everybody = np.ones(len(happened), dtype=bool)
    for leaf, rows in _grow((), everybody, happened, columns):
        if leaf and not rows.all() and happened[rows].mean() > happened[~rows].mean():
            yield leaf


def _grow(
    leaf: tuple[Condition, ...], rows: Bools, happened: Floats, columns: Columns
) -> Iterator[tuple[tuple[Condition, ...], Bools]]:
    split = _best(rows, happened, columns) if len(leaf) < DEPTH else None
    if split is None:
        yield leaf, rows
        return
    for side in split:
        yield from _grow((*leaf, side), rows & side.holds(columns), happened, columns)


def _best(rows: Bools, happened: Floats, columns: Columns) -> tuple[Condition, Condition] | None:
    """Return the split that explains most of the variance; None where none is clear."""
    smallest = max(SMALLEST, int(SMALLEST_SHARE * len(happened)))
    best, gain = None, 0.0
    own = happened[rows]
    for split in _splits(rows, columns):
        left = split[0].holds(columns)[rows]
        right = split[1].holds(columns)[rows]
        if min(left.sum(), right.sum()) < smallest:
            continue
        a, b = own[left], own[right]
        apart = abs(float(a.mean() - b.mean()))
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        explained = len(a) * len(b) / (len(a) + len(b)) * apart**2
        if apart > CLEAR * error and explained > gain:
            best, gain = split, explained
    return best


def _splits(rows: Bools, columns: Columns) -> Iterator[tuple[Condition, Condition]]:
    for name, values in columns.items():
        own = values[rows]
        if values.dtype.kind in "fiu":
            known = own[~np.isnan(own.astype(np.float64))]
            if not len(known):
                continue
            steps = np.linspace(0, 1, THRESHOLDS + 2)[1:-1]
            for cut in np.unique(np.quantile(known, steps, method="higher")).tolist():
                if cut > known.min():
                    yield Condition(name, ">=", cut), Condition(name, "<", cut)
            continue
        kinds = list(dict.fromkeys(own.tolist()))
        if len(kinds) == 2 and all(isinstance(kind, bool) for kind in kinds):
            yield Condition(name, "==", kinds[0]), Condition(name, "==", kinds[1])  # not `!= False`
        elif 1 < len(kinds) <= MOST_VALUES:
            for kind in kinds[: 1 if len(kinds) == 2 else None]:
                yield Condition(name, "==", kind), Condition(name, "!=", kind)


def _plainly(leaf: Sequence[Condition]) -> list[Condition]:
    """Return the conditions without those that a narrower one of the same number implies."""
    last = {(each.column, each.sign): each for each in leaf if each.sign in (">=", "<")}
    return [each for each in leaf if last.get((each.column, each.sign), each) is each]


def _within(leaf: Sequence[Condition], columns: Columns, count: int) -> Bools:
    rows = np.ones(count, dtype=bool)
    for condition in leaf:
        rows &= condition.holds(columns)
    return rows


def _p_value(happened: Floats, rows: Bools) -> float:
    """Return how often chance alone makes it happen so much more often inside: one-sided.

    Fisher's exact test of yes and no; of anything else a permutation test of the means.
    """
    if ((happened == 0) | (happened == 1)).all():
        hits = int(happened[rows].sum())
        every = len(happened), int(happened.sum()), int(rows.sum())
        from scipy import stats  # most of a second, for runs that need it

        return float(stats.hypergeom.sf(hits - 1, *every))
    rng, inside = np.random.default_rng(0), int(rows.sum())
    observed = happened[rows].sum()
    drawn = np.array([rng.choice(happened, inside, replace=False).sum() for _ in range(DRAWS)])
    return float((1 + np.count_nonzero(drawn >= observed - 1e-9)) / (DRAWS + 1))
