"""Where the multiplicity of one metric comes from: the axes, the seed, and the test set behind it.

The paper's mean deltas can't be compared: two, three and five equal normals
range over 1.13, 1.69 and 2.33 standard deviations, so the seed nearly always wins. Variance shares
can, with an F test for every axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.noise import real_share
from pytest_multiplicity.statistics.sheet import Sheet
from pytest_multiplicity.statistics.tables import (
    ABSENT,
    option_positions,
    seed_positions,
    table_cells,
)

Floats = npt.NDArray[np.float64]

LEVEL = 0.05
MOSTLY_NOISE = 0.5
INTERACTIONS = "interactions"


@dataclass(frozen=True)
class Contribution:
    """What one axis, or the interactions of a grid, contribute to the variance of the scores."""

    name: str
    share: float
    """Of the variance, in [0, 1]."""
    p_value: float
    """Of its F test against the variance within configurations, after Holm's correction."""

    @property
    def stands_out(self) -> bool:
        """Whether it differs from nothing at the 5% level."""
        return self.p_value < LEVEL


@dataclass(frozen=True)
class Sources:
    """The shares of everything that varies; they sum to 1, or to 0 when all scores are equal."""

    shares: tuple[Contribution, ...]
    """One per axis, and the interactions where the design is a grid."""
    seed: float
    """The seed's share."""
    seed_note: str
    """`mostly the test set`, `which the test set alone could give`, or empty."""

    @property
    def summary(self) -> str:
        """One line: `81% seed, mostly the test set; no axis stands out`."""
        if not self.seed and not any(each.share for each in self.shares):
            return "nothing varies: all scores are equal"
        named = sorted((s for s in self.shares if s.stands_out), key=lambda s: -s.share)
        seed = f"{self.seed:.0%} seed" + (f", {self.seed_note}" if self.seed_note else "")
        if self.shares and not named:
            return f"{seed}; no axis stands out"
        return ", ".join([*(f"{each.share:.0%} {each.name}" for each in named), seed])


def sources(sheet: Sheet) -> Sources:
    """Variance shares of the axes and of the seed, with their tests.

    Star design: the options of one axis at a time, the others at their default, assuming that axes
    don't interact; candidates may be missing. Grid: balanced analysis of variance, the interactions
    of the axes with each other as one share; nobody may be missing.

    `s2_seed` is the pooled variance within configurations (ddof 1). The variance (ddof 0) between
    m option means of S seeds each holds `(m - 1) / m * s2_seed / S` of it, which is taken off.

    Raises ScoresError where shares can't be told apart: explicit designs, fewer than two seeds, a
    grid with holes.
    """
    cells = _by_configuration(sheet)
    within = _pooled_variance(cells)
    effects = list(_EFFECTS_OF[sheet.design.kind](sheet, cells)) if sheet.design.axes else []
    variances = [effect.unbiased(within) for effect in effects]
    total = within + sum(variances)
    scale = 1 / total if total > 0 else 0.0
    p_values = holm([effect.p_value(within, _freedom(cells)) for effect in effects])
    return Sources(
        shares=tuple(
            Contribution(effect.name, variance * scale, p_value)
            for effect, variance, p_value in zip(effects, variances, p_values, strict=True)
        ),
        seed=within * scale,
        seed_note=_seed_note(sheet, within),
    )


@dataclass(frozen=True)
class _Effect:
    """A variance between means, before the seeds' part is taken off."""

    name: str
    variance: float  # ddof 0, between the means
    freedom: int
    means: int  # how many there are
    seeds: float  # per mean

    def unbiased(self, within: float) -> float:
        return max(0.0, self.variance - self.freedom / self.means * within / self.seeds)

    def p_value(self, within: float, freedom: int) -> float:
        if within == 0:
            return 1.0 if self.variance == 0 else 0.0
        f = self.seeds * self.means * self.variance / self.freedom / within
        return float(special.fdtrc(self.freedom, freedom, f))


def _star_effects(sheet: Sheet, cells: Floats) -> Iterator[_Effect]:
    for axis in sheet.design.axes:
        at = table_cells(sheet.design, axis)
        columns = np.where(at == ABSENT, np.nan, sheet.scores[at]).T  # [options, seeds]
        columns = columns[_present(columns) > 0]
        if len(columns) > 1:
            means = _row_means(columns)
            seeds = len(means) / float((1 / _present(columns)).sum())  # harmonic mean
            yield _Effect(axis, float(means.var()), len(means) - 1, len(means), seeds)


def _grid_effects(sheet: Sheet, cells: Floats) -> Iterator[_Effect]:
    if np.isnan(cells).any():
        raise ScoresError("the grid has holes: shares of the variance need every candidate")
    configurations, seeds = cells.shape
    left = float(cells.mean(axis=1).var())
    freedom = configurations - 1
    for axis, options in sheet.design.axes.items():
        positions = option_positions(sheet.design, axis)
        means = np.array([sheet.scores[positions == o].mean() for o in range(len(options))])
        effect = _Effect(axis, float(means.var()), len(means) - 1, configurations, seeds)
        left, freedom = left - effect.variance, freedom - effect.freedom
        yield effect
    if freedom > 0:
        yield _Effect(INTERACTIONS, max(0.0, left), freedom, configurations, seeds)


def _explicit_effects(sheet: Sheet, cells: Floats) -> Iterator[_Effect]:
    raise ScoresError("a list of configurations has no shares: they need a star or a grid design")


_EFFECTS_OF = {"star": _star_effects, "grid": _grid_effects, "explicit": _explicit_effects}


def _configurations(sheet: Sheet) -> npt.NDArray[np.intp]:
    """Return the number of every candidate's configuration: [K]."""
    design = sheet.design
    if not design.axes:
        return np.zeros(len(design.configs), dtype=np.intp)
    options = np.stack([option_positions(design, axis) for axis in design.axes], axis=1)
    return np.unique(options, axis=0, return_inverse=True)[1].reshape(-1)


def _by_configuration(sheet: Sheet) -> Floats:
    """Scores as [configurations, seeds], nan where there is none."""
    rows = _configurations(sheet)
    cells = np.full((int(rows.max()) + 1, len(sheet.design.seeds)), np.nan)
    cells[rows, seed_positions(sheet.design)] = sheet.scores
    return cells


def _pooled_variance(cells: Floats) -> float:
    """Variance within configurations, ddof 1 in each."""
    if _freedom(cells) < 1:
        raise ScoresError("one seed per configuration: the seed's share needs two seeds or more")
    used = cells[_present(cells) > 0]
    squares = (used - _row_means(used)[:, None]) ** 2
    return float(np.nansum(squares)) / _freedom(cells)


def _freedom(cells: Floats) -> int:
    return int(np.maximum(_present(cells) - 1, 0).sum())


def _present(cells: Floats) -> npt.NDArray[np.intp]:
    present: npt.NDArray[np.intp] = np.count_nonzero(~np.isnan(cells), axis=1)
    return present


def _row_means(cells: Floats) -> Floats:
    means: Floats = np.nansum(cells, axis=1) / _present(cells)
    return means


def holm(p_values: list[float]) -> list[float]:
    """Return p-values after Holm's correction: p times the number of those not yet rejected."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def _seed_note(sheet: Sheet, within: float) -> str:
    """Return what the test set has to do with the variance within configurations."""
    if within == 0:
        return ""
    if sheet.outcomes is not None:
        columns = np.flatnonzero(sheet.present)
        real = real_share(sheet.outcomes[:, columns], _configurations(sheet)[columns])
        return "mostly the test set" if real < MOSTLY_NOISE else ""
    if sheet.samples is None:
        return ""
    unit = 100.0 if sheet.unit == "percent" else 1.0
    mean = float(np.nanmean(sheet.scores)) / unit
    at_most = mean * (1 - mean) / sheet.samples  # for candidates that err independently
    return "which the test set alone could give" if within / unit**2 <= at_most else ""
