"""One run, as every report sees it: frozen, and made of plain builtins only.

The JSON report (schema `pytest-multiplicity/1`) is this model written out; terminal, markdown and
HTML are other views of the same object, so that no two reports of a run can disagree.

Conventions. Scores, deltas and shares are fractions, not percent. `None` is what can't be known;
`nan` and infinities are treated as `None`. Options and configuration values are plain builtins
(str, int, float, bool, None, or tuples of them): whoever builds the model names functions and
classes by strings. Strings may hold anything, hostile or not: each renderer makes them inert.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

from pytest_multiplicity.evaluation import AllocationFacts as AllocationFacts
from pytest_multiplicity.evaluation import CascadeFacts as CascadeFacts
from pytest_multiplicity.evaluation import ExtremeFacts as ExtremeFacts
from pytest_multiplicity.evaluation import ReachedFacts as ReachedFacts
from pytest_multiplicity.findings.beside import ComparisonReport, GapReport, RegionReport
from pytest_multiplicity.findings.lasting import ConfigurationReport
from pytest_multiplicity.findings.people import IndividualsReport, Pick
from pytest_multiplicity.findings.pictured import Agreement, Conflicts
from pytest_multiplicity.findings.profiled import ProfileReport

SCHEMA = "pytest-multiplicity/1"

NOISE_LEVEL = 0.05
"""A delta is marked as within test-set noise when its p-value lies above this."""

Status = Literal["survivor", "rejected", "failed", "not judged"]
Kind = Literal["enforced", "unforeseen"]
GateOutcome = Literal["passed", "failed", "not evaluated"]


@dataclass(frozen=True, kw_only=True)
class CandidateReport:
    """One model of the family: a configuration and a seed, and what became of it."""

    id: str
    """As in the test ids: `lr0.05-seed3`. Unique in its family."""
    seed: int
    config: Mapping[str, Any]
    """One option for every axis, the seed not among them."""
    run: str | int | None = None
    """The run of a tracker that it is; None where it is none."""
    status: Status
    rejected_by: Sequence[str] = ()
    """Names of enforced specs that rejected it, in funnel order; `training` if it diverged."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Spec name -> why, in short: `0.93 >= 0.95`. Also of unforeseen specs that would reject."""
    undecided: Sequence[str] = ()
    """Names of the specs whose verdict the data did not decide."""
    screened: Sequence[str] = ()
    """Names of the specs that didn't judge it, since another one had rejected it."""
    failed_in: Sequence[str] = ()
    """Names of the specs that gave no verdict on it: an error, or a skip."""
    diverged: str | None = None
    """`diverged at epoch 3: loss is nan`, or None."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Metric -> score, for every metric in the family's sheets."""
    history: Sequence[Mapping[str, float]] = ()
    """The training curve, a row per epoch: `{"epoch": 1, "loss": 0.7, ...}`. Empty: unknown."""


@dataclass(frozen=True, kw_only=True)
class SpecReport:
    """One specification, and how many candidates it kept. The family's specs stand in funnel order.

    `judged = kept + rejected`; a candidate whose verdict the data did not decide is counted in
    `undecided` and in whichever of the two the ini option put it.
    """

    name: str
    """`test_shift[2]`: unique in its family."""
    nodeid: str
    """The test's node id without the candidate: `specs/test_a.py::test_shift[2]`."""
    kind: Kind
    text: str = ""
    """The docstring: what the spec says in a sentence or two."""
    judged: int = 0
    kept: int = 0
    rejected: int = 0
    """For an unforeseen spec 0: see `would_reject`."""
    undecided: int | None = 0
    """None where it is withheld, as `would_reject` is."""
    failed: int = 0
    """Pairs that ended in an error or a skip: no verdict."""
    screened: int = 0
    """Candidates that it didn't judge, since another spec had rejected them."""
    only_here: int | None = 0
    """Candidates rejected by this spec and no other; None where others didn't judge them all."""
    would_reject: int | None = 0
    """For an unforeseen spec: how many candidates it would have rejected if enforced; None where
    it asked data of which a ladder tells nothing."""
    redundant: bool = False
    """It rejects somebody, and everybody it rejects is rejected by another spec too."""
    conflicts_with: Sequence[str] = ()
    """Specs that, together with this one, leave nobody, though each alone leaves somebody."""
    metrics: Sequence[str] = ()
    """Names of the metrics it measured."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The scores along one axis: a row per seed, a column per option, the default option first."""

    options: Sequence[Any]
    seeds: Sequence[int]
    scores: Sequence[Sequence[float | None]]
    """`[seed][option]`; None for a candidate that is not in the sheet."""
    delta_by_seed: Sequence[float | None]
    """Max minus min across options: one per row."""
    delta_by_option: Sequence[float | None]
    """Max minus min across seeds: one per column."""


@dataclass(frozen=True, kw_only=True)
class SheetReport:
    """A multiplicity sheet: one metric of one set of candidates."""

    count: int
    """How many candidates have a score in it."""
    delta_all: float | None
    low: float | None = None
    """The smallest score: `high - low == delta_all`."""
    high: float | None = None
    noise_floor: float | None = None
    """The delta-all that equally good candidates would show from the finite test set alone."""
    noise_95: float | None = None
    """The 95% point of the same."""
    floor_at_most: bool = False
    """The floor is an upper bound from the number of samples alone (recorded scores)."""
    p_value: float | None = None
    real_share: float | None = None
    """The share of the variance between candidates that test-set noise does not explain."""
    expected_delta_all: float | None = None
    """After selection: what as many candidates taken at random would show, on average."""
    expected_low: float | None = None
    """Likewise the expected smallest score."""
    expected_high: float | None = None
    tables: Mapping[str, Table] = field(default_factory=dict)
    """Axis -> table, the same axes before and after selection. Empty where the design has none."""

    @property
    def within_noise(self) -> bool:
        """Whether the delta could come from the finite test set alone."""
        return known(self.p_value) and self.p_value > NOISE_LEVEL


@dataclass(frozen=True, kw_only=True)
class SheetPair:
    """One metric before and after selection. Pairs stand in the order they were first measured."""

    metric: str
    """`accuracy on test under PGD(0.005)`."""
    before: SheetReport
    after: SheetReport
    kind: Kind = "enforced"
    """`unforeseen` when no enforced spec measured it."""
    definition: str = ""
    """The formula in words: inclusive or not, against what, on which data."""
    sources: str = ""
    """Where it comes from: `81% seed, mostly the test set; no axis stands out`."""
    optimistic: bool = False
    """Its data also selected the survivors: `after` is optimistic."""
    screened: int = 0
    """Candidates that it wasn't measured for, since specs had rejected them: what all of them would
    show `before` is then unknown."""
    percent: bool = True
    """Scores are fractions shown as percent. False: shown as they are (a loss, an error)."""
    unit: str = "percent"
    """What scores and deltas are in as they are shown: a number, the unit of the target, ..."""
    higher_is_better: bool = True
    data: str | None = None
    """The data set, without `under`, the interventions if any."""
    under: str = ""
    gap: GapReport | None = None
    """Of a gap between groups: the groups, intervals, and the gap that chance alone makes."""


@dataclass(frozen=True, kw_only=True)
class Predictive:
    """One predictive-multiplicity metric (a number for the family), before and after selection."""

    metric: str
    """`ambiguity`, `discrepancy`, `disagreement`, ..."""
    data: str
    """The data set, and the intervention if any: `test`, `test under PGD(0.01)`."""
    before: float | None
    after: float | None
    expected_after: float | None = None
    """What as many candidates taken at random would show."""
    definition: str = ""
    optimistic: bool = False
    percent: bool = True
    """False for what is not a share: a capacity, a variance."""


@dataclass(frozen=True, kw_only=True)
class FamilyReport:
    """One family: its design, its candidates, and everything measured on them."""

    name: str
    design: str
    """`star`, `grid`, `explicit`."""
    default: Mapping[str, Any]
    """The default option of every axis, also of those that don't vary."""
    axes: Mapping[str, Sequence[Any]]
    """Axes that vary -> options, the default first."""
    seeds: Sequence[int]
    candidates: Sequence[CandidateReport] = ()
    """In definition order."""
    specs: Sequence[SpecReport] = ()
    """In definition order: the funnel."""
    sheets: Sequence[SheetPair] = ()
    predictive: Sequence[Predictive] = ()
    configurations: Sequence[ConfigurationReport] = ()
    """In the order of the design."""
    reachable: Sequence[ReachedFacts] = ()
    """What gates asked of models that nobody trained."""
    extremes: Sequence[ExtremeFacts] = ()
    allocations: Sequence[AllocationFacts] = ()
    """Who gets what only some can have, as gates asked."""
    cascades: Sequence[CascadeFacts] = ()
    """Who is behind in several respects, as gates asked."""
    """The worst and the best of these that gates asked for."""
    trained: int = 0
    ways: Mapping[str, int] = field(default_factory=dict)
    """How they were trained -> how many: `fused in workers`."""
    stored: int = 0
    """`trained + stored` may be less than the candidates: loaded, recorded or never built."""
    from_store: int = 0  # `stored`, by its former name
    looks: Mapping[str, int] = field(default_factory=dict)
    """Data set -> how often it was looked at, this run included."""
    optimism: Mapping[str, float | None] = field(default_factory=dict)
    """Data set -> by how much an accuracy on it may be too good, for who knows gates alone."""
    ladder: Mapping[str, float | None] = field(default_factory=dict)
    """Data set that reports -> the best accuracy announced so far, where all else is withheld."""
    notes: Sequence[str] = ()
    """Sentences for the header: looks at the data, copies, what was screened."""
    agreement: Agreement | None = None
    conflicts: Sequence[Conflicts] = ()
    comparisons: Sequence[ComparisonReport] = ()
    """With each incumbent, on each data set."""
    regions: Sequence[RegionReport] = ()
    """Where survivors disagree or flip, the clearest first."""
    pick: Pick | None = None
    """None where nobody survives."""
    individuals: Sequence[IndividualsReport] = ()
    """Where they were asked for, of each data set."""

    @property
    def survivors(self) -> tuple[CandidateReport, ...]:
        """The candidates that no enforced spec rejected, in definition order."""
        return tuple(each for each in self.candidates if each.status == "survivor")


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """A test on the survivors."""

    name: str
    nodeid: str
    family: str | None
    outcome: GateOutcome
    message: str = ""
    """Why it failed, or why it was not evaluated."""
    path: str | None = None
    """Relative to the root, with `line` (from 1): where annotations point."""
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything one run has to say."""

    complete: bool
    device: str
    """`cpu`, `cuda`, ...; `none` when nothing ran on one."""
    families: Sequence[FamilyReport]
    """In definition order."""
    gates: Sequence[GateReport] = ()
    partial_reason: str | None = None
    """`34 of 72 pairs`; None when complete."""
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    lost: Sequence[str] = ()
    """Parts that could not be made, each with why: warnings too, and the run fails."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The plugin's options as they took effect, for the page's "exact configuration"."""
    profile: ProfileReport | None = None
    """Where the time went, where that was asked for: never part of the JSON report."""
    schema: str = SCHEMA


def known(value: float | None) -> TypeGuard[float]:
    """Return whether the value is a finite number."""
    return value is not None and math.isfinite(value)
