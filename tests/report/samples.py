"""Runs to render: the paper's recorded scores, a hostile one, a large one. No stages."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_multiplicity.evaluation import AllocationOf, CascadeOf, Contested
from pytest_multiplicity.findings import (
    Agreement,
    AllocationFacts,
    CandidateReport,
    CascadeFacts,
    ComparisonReport,
    ConfigurationReport,
    Conflict,
    Conflicts,
    ExtremeFacts,
    FamilyReport,
    GateReport,
    Individual,
    IndividualsReport,
    PeopleOf,
    Pick,
    Predictive,
    ReachedFacts,
    RegionReport,
    RunReport,
    SheetPair,
    SheetReport,
    SpecReport,
    Table,
    Thumbnail,
    Valued,
)

SCORES = Path(__file__).parents[2] / "specs" / "paper" / "utkface_scores.csv"
DEFAULT = {
    "learning_rate": "0.1",
    "batch_size": "128",
    "augmentation": "Rand",
    "optimizer": "SGD",
    "architecture": "R18",
}
METRICS = {
    "accuracy": "accuracy on UTKFace",
    "group_asian": "accuracy on UTKFace under Group(\"race == 'Asian'\")",
    "ood_fairface": "accuracy on FairFace",
    "output_noise_5": "accuracy on UTKFace under OutputNoise(5)",
    "pgd_0.005": "accuracy on UTKFace under PGD(0.005)",
    "group_age_59_116": 'accuracy on UTKFace under Group("age >= 59")',
    "ood_celeba": "accuracy on CelebA",
    "input_noise_1": "accuracy on UTKFace under InputNoise(1)",
    "pgd_0.01": "accuracy on UTKFace under PGD(0.01)",
}
UNFORESEEN = ("group_age_59_116", "ood_celeba", "input_noise_1", "pgd_0.01")
ENFORCED = {
    "test_minority": (
        "group_asian",
        "Fairness: accuracy on the smallest group, among the top 75%.",
    ),
    "test_shift": ("ood_fairface", "Robustness: accuracy on another data set of faces."),
    "test_private": ("output_noise_5", "Privacy: accuracy when the logits are noisy."),
    "test_attack": ("pgd_0.005", "Security: accuracy under an attack of 0.005."),
}
DEFINITION = (
    "The share of samples whose predicted class is the target. Delta over all: the largest score "
    "minus the smallest, both of unrounded scores."
)
Row = dict[str, Any]


def paper_rows() -> list[Row]:
    """The paper's 45 models: axes as text, scores as fractions."""
    with SCORES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = {"seed": int, **dict.fromkeys(DEFAULT, str), **dict.fromkeys(METRICS, _fraction)}
    return [{name: read(row[name]) for name, read in kept.items()} for row in rows]


def _fraction(text: str) -> float:
    return float(text) / 100


def delta(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else None


def expected_delta(scores: Sequence[float], m: int) -> float | None:
    """The mean range of m scores out of all, by the formula for order statistics."""
    ordered, total = sorted(scores), math.comb(len(scores), m)
    if not m:
        return None
    high = sum(x * math.comb(i, m - 1) for i, x in enumerate(ordered)) / total
    low = sum(x * math.comb(i, m - 1) for i, x in enumerate(reversed(ordered))) / total
    return high - low


def star_sheet(
    rows: Sequence[Row],
    score: Callable[[Row], float | None],
    default: Mapping[str, Any],
    axes: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    **known: Any,
) -> SheetReport:
    cells = {(tuple(row[axis] for axis in axes), row["seed"]): score(row) for row in rows}

    def table(axis: str) -> Table:
        def cell(option: Any, seed: int) -> float | None:
            config = {**default, axis: option}
            return cells.get((tuple(config[name] for name in axes), seed))

        scores = [[cell(option, seed) for option in axes[axis]] for seed in seeds]
        return Table(
            options=tuple(axes[axis]),
            seeds=tuple(seeds),
            scores=scores,
            delta_by_seed=[delta(row) for row in scores],
            delta_by_option=[delta(column) for column in zip(*scores, strict=True)],
        )

    values = [value for value in cells.values() if value is not None]
    return SheetReport(
        count=len(values),
        delta_all=delta(values),
        low=min(values, default=None),
        high=max(values, default=None),
        tables={axis: table(axis) for axis in axes},
        **known,
    )


def paper_run(*, complete: bool = True) -> RunReport:
    """The paper's section 4: four trustworthy metrics at k = 75%, distinct models."""
    rows = paper_rows()
    axes = {axis: tuple(dict.fromkeys(row[axis] for row in rows)) for axis in DEFAULT}
    seeds = tuple(dict.fromkeys(row["seed"] for row in rows))
    bars = {metric: _bar(rows, metric, 0.75) for metric, _ in ENFORCED.values()}
    rejected = [
        [spec for spec, (metric, _) in ENFORCED.items() if row[metric] < bars[metric]]
        for row in rows
    ]
    candidates = [
        CandidateReport(
            id=_candidate_id(row),
            seed=row["seed"],
            config={axis: row[axis] for axis in DEFAULT},
            status="rejected" if names else "survivor",
            rejected_by=names,
            reasons={
                name: f"{row[ENFORCED[name][0]]:.4f} >= {bars[ENFORCED[name][0]]:.4f}"
                for name in names
            },
            scores={METRICS[metric]: row[metric] for metric in METRICS},
        )
        for row, names in zip(rows, rejected, strict=True)
    ]
    alive = [not names for names in rejected]
    family = FamilyReport(
        name="candidate",
        design="star",
        default=DEFAULT,
        axes=axes,
        seeds=seeds,
        candidates=candidates,
        specs=[
            *(_enforced(name, rejected) for name in ENFORCED),
            *(_measured(metric) for metric in UNFORESEEN),
        ],
        sheets=[_pair(rows, alive, metric, axes, seeds) for metric in METRICS],
        predictive=[
            Predictive(
                metric="ambiguity",
                data="FairFace",
                before=0.2117,
                after=0.0825,
                expected_after=0.1581,
                definition="The share of samples on which any two candidates differ.",
            ),
            Predictive(
                metric="rashomon capacity",
                data="FairFace",
                before=1.0712,
                after=1.031,
                expected_after=None,
                definition="2^C, C the capacity in bits, to a gap of 1e-3 bits; their mean.",
                percent=False,
            ),
        ],
        pick=_best(rows, candidates, "accuracy", METRICS["accuracy"]),
        stored=45,
        from_store=45,
        notes=["recorded scores: nothing was trained"],
    )
    return RunReport(
        complete=complete,
        partial_reason=None if complete else "34 of 72 pairs",
        device="cpu",
        families=[family],
        gates=_gates(complete),
        versions={"pytest-multiplicity": "0.1.0", "torch": "2.9.0", "python": "3.11.9"},
        settings={"multiplicity_seeds": None, "multiplicity_store": ".multiplicity"},
        warnings=["test_group_age_59_116 measures on samples that also selected the survivors"],
    )


def _best(
    rows: Sequence[Row],
    candidates: Sequence[CandidateReport],
    metric: str,
    name: str = "",
) -> Pick:
    """The survivor that is best by a metric, and by how much."""
    scores = {
        each.id: row[metric]
        for row, each in zip(rows, candidates, strict=True)
        if each.status == "survivor"
    }
    first, second, *_ = sorted(scores, key=lambda id: -scores[id])
    return Pick(first, name or metric, scores[first] - scores[second], second)


def _gates(complete: bool) -> list[GateReport]:
    where = {"path": "specs/paper/test_gates.py", "family": "candidate"}
    if not complete:
        name = "test_somebody_ships"
        message = "not every pair was judged: 34 of 72 pairs"
        node = f"{where['path']}::{name}"
        return [
            GateReport(name=name, nodeid=node, outcome="not evaluated", message=message, **where)
        ]
    return [
        GateReport(
            name="test_somebody_ships",
            nodeid="specs/paper/test_gates.py::test_somebody_ships",
            outcome="passed",
            line=4,
            **where,
        ),
        GateReport(
            name="test_choice_is_not_arbitrary",
            nodeid="specs/paper/test_gates.py::test_choice_is_not_arbitrary",
            outcome="failed",
            message="assert 0.0825 <= 0.05\n +  where 0.0825 = ambiguity(FairFace)",
            line=9,
            **where,
        ),
    ]


def _bar(rows: Sequence[Row], metric: str, share: float) -> float:
    ordered = sorted((row[metric] for row in rows), reverse=True)
    return float(ordered[math.ceil(share * len(ordered)) - 1])


def _candidate_id(row: Row) -> str:
    changed = [f"{axis}{row[axis]}" for axis in DEFAULT if row[axis] != DEFAULT[axis]]
    return f"{'-'.join(changed) or 'default'}-seed{row['seed']}"


def _enforced(name: str, rejected: Sequence[Sequence[str]]) -> SpecReport:
    metric, text = ENFORCED[name]
    count = sum(name in names for names in rejected)
    alone = sum(list(names) == [name] for names in rejected)
    return SpecReport(
        name=name,
        nodeid=f"specs/paper/test_selection.py::{name}",
        kind="enforced",
        text=text,
        judged=len(rejected),
        kept=len(rejected) - count,
        rejected=count,
        only_here=alone,
        redundant=bool(count) and not alone,
        metrics=[METRICS[metric]],
    )


def _measured(metric: str) -> SpecReport:
    return SpecReport(
        name=f"test_{metric.replace('.', '_')}",
        nodeid=f"specs/paper/test_unforeseen.py::test_{metric.replace('.', '_')}",
        kind="unforeseen",
        text="Measured before and after selection; nobody selected on it.",
        judged=45,
        kept=45,
        would_reject=7 if metric == "pgd_0.01" else 0,
        metrics=[METRICS[metric]],
    )


def _pair(
    rows: Sequence[Row],
    alive: Sequence[bool],
    metric: str,
    axes: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
) -> SheetPair:
    survivors = [row for row, lives in zip(rows, alive, strict=True) if lives]
    scores = [row[metric] for row in rows]

    def sheet(part: Sequence[Row], **known: Any) -> SheetReport:
        return star_sheet(part, lambda row: row[metric], DEFAULT, axes, seeds, **known)

    noisy = metric in ("accuracy", "group_asian")
    return SheetPair(
        metric=METRICS[metric],
        before=sheet(
            rows,
            noise_floor=0.0113 if noisy else 0.0102,
            noise_95=0.014,
            p_value=0.31 if noisy else 0.0004,
            real_share=0.1 if noisy else 0.83,
        ),
        after=sheet(survivors, expected_delta_all=expected_delta(scores, len(survivors))),
        kind="unforeseen" if metric in UNFORESEEN else "enforced",
        definition=DEFINITION,
        sources="81% seed, mostly the test set; no axis stands out",
        optimistic=metric not in UNFORESEEN and metric != "accuracy",
    )


HOSTILE = (
    "<script>alert(1)</script>",
    "](http://evil.example) [bold red]x[/] `` | \x1b[31m\x1b]0;title\x07\r\n\n# h",
    "\u202eright-to-left\u202c שלום עליכם",
    "a" * 10_000,
    "</script><!--<img src=x onerror=alert(1)>-->&amp;$x^{2}$\ud800\u2028",
)


def hostile_run(evil: Sequence[str] = HOSTILE) -> RunReport:
    """Every string of the model is one of the hostile ones."""

    def bad(i: int) -> str:
        return f"{evil[i % len(evil)]}{i}"

    metrics = [bad(i) for i in range(len(evil))]
    specs = [bad(i + 20) for i in range(len(evil))]
    axes = {bad(40): tuple(bad(i) for i in range(41, 41 + len(evil)))}
    default = {axis: options[0] for axis, options in axes.items()}
    rows: list[Row] = [
        {"seed": seed, axis: option, **dict.fromkeys(metrics, 0.9 + seed / 100 + i / 50)}
        for axis, options in axes.items()
        for i, option in enumerate(options)
        for seed in range(2)
    ]

    def sheet(metric: str, part: Sequence[Row]) -> SheetReport:
        return star_sheet(part, lambda row: row[metric], default, axes, (0, 1), p_value=0.3)

    candidates = [
        CandidateReport(
            id=f"{bad(i + 60)}-seed{row['seed']}",
            seed=row["seed"],
            config={axis: row[axis] for axis in axes},
            status="rejected" if i % 2 else "survivor",
            rejected_by=specs if i % 2 else (),
            reasons={spec: bad(i) for spec in specs} if i % 2 else {},
            diverged=bad(3) if i == 1 else None,
            scores={metric: row[metric] for metric in metrics},
            history=[{"epoch": epoch, bad(2): 1 / (epoch + 1)} for epoch in range(3)],
        )
        for i, row in enumerate(rows)
    ]
    ids = [each.id for each in candidates if each.status == "survivor"]
    family = FamilyReport(
        name=bad(0),
        design="star",
        default=default,
        axes=axes,
        seeds=(0, 1),
        candidates=candidates,
        specs=[
            SpecReport(
                name=name,
                nodeid=bad(1),
                kind=kind,
                text=bad(2),
                judged=10,
                kept=5,
                rejected=5,
                redundant=True,
                conflicts_with=specs,
                metrics=metrics,
                would_reject=3,
            )
            for name, kind in zip(specs, ["enforced", "unforeseen"] * len(specs), strict=False)
        ],
        sheets=[
            SheetPair(
                metric=m,
                before=sheet(m, rows),
                after=sheet(m, rows[::2]),
                definition=bad(1),
                sources=bad(3),
                optimistic=True,
            )
            for m in metrics
        ],
        predictive=[
            Predictive(metric=bad(i), data=bad(i), before=0.2, after=0.1, definition=bad(i))
            for i in range(len(evil))
        ],
        configurations=[
            ConfigurationReport(
                name=bad(i),
                config=default,
                seeds=4,
                passed=2,
                low=0.1,
                high=0.9,
                added=2,
                rejected_by={bad(i): 2, bad(i + 1): 1},
                reliable={"0.8": None, "0.5": False},
            )
            for i in range(len(evil))
        ],
        reachable=[reached_facts(bad(i), bad(i + 1)) for i in range(len(evil))],
        extremes=[extreme_facts(bad(i), bad(i + 1)) for i in range(len(evil))],
        allocations=[allocation_facts(bad(i), bad(i + 1)) for i in range(len(evil))],
        cascades=[cascade_facts(bad(i), bad(i + 1)) for i in range(len(evil))],
        comparisons=[comparison_of(bad(i), bad(i + 1), len(rows)) for i in range(len(evil))],
        regions=[region_of(bad(i)) for i in range(len(evil))],
        pick=Pick(ids[0], bad(1), 0.0123, bad(2)),
        individuals=[individuals_of(bad(i), bad(i + 1)) for i in range(len(evil))],
        notes=[bad(i) for i in range(len(evil))],
        agreement=Agreement(data=bad(0), ids=ids, values=[[0.9] * len(ids) for _ in ids]),
        conflicts=[
            Conflicts(
                data=bad(i),
                total=1,
                rows=[
                    Conflict(row=3, target=bad(1), votes={bad(2): ids}, attributes={bad(3): bad(4)})
                ],
            )
            for i in range(len(evil))
        ],
    )
    return RunReport(
        complete=False,
        partial_reason=bad(1),
        device=bad(2),
        families=[family],
        gates=[
            GateReport(name=bad(i), nodeid=bad(i), family=bad(0), outcome="failed", message=bad(i))
            for i in range(len(evil))
        ],
        versions={bad(3): bad(4)},
        settings={bad(1): bad(0)},
        warnings=[bad(i) for i in range(len(evil))],
    )


def reached_facts(name: str, other: str) -> ReachedFacts:
    """Return what a gate asked of models that nobody trained."""
    return ReachedFacts(
        data=name,
        select=other,
        within=0.01,
        how=name,
        specs=True,
        loss=other,
        by=name,
        samples=12,
        arbitrary=0.139,
        share=0.75,
        as_good=0.419,
        cost=0.0041,
        best=0.9671,
        fresh=(0.938, 0.955, math.nan),
        fresh_base=0.968,
        curve=((0.0, 0.419), (0.005, 0.6), (0.01, 0.75)),
        contested=[
            Contested(row=i, said=name, to=other, cost=i / 1e4, score=0.96, fresh=0.95, base=name)
            for i in range(9)
        ],
    )


def allocation_facts(name: str, other: str) -> AllocationFacts:
    """Return what a gate asked of who gets what only some can have."""
    one = AllocationOf(
        id=name, qualified=3, utility=0.75, tied=2, jaccard=math.nan, log_equal=12.3456,
        rates={name: 0.125, other: 0.5},
    )  # fmt: skip
    return AllocationFacts(
        data=name, k=4, by=other, people=12, qualified=6, copies=1, jaccard=0.5, ever=7, always=2,
        unchosen=3, unchosen_expected=1.2345, unchosen_sd=0.5, groups={name: 8, other: 4},
        without=[name], ties=other, survivors=[one, replace(one, rates={name: 0.3, other: 0.1})],
    )  # fmt: skip


def cascade_facts(name: str, other: str) -> CascadeFacts:
    """Return what a gate asked of groups that are behind."""
    rows = [
        CascadeOf(
            candidate=candidate, group=group, under=under, samples=30, score=0.7, rest=0.8,
            gap=gap, low=gap - 0.1, high=gap + 0.1, behind=gap < -0.1,
        )
        for candidate, gap in ((name, -0.2), (other, 0.05))
        for group in (name, other)
        for under in ("as it is", other)
    ]  # fmt: skip
    return CascadeFacts(
        data=name, groups=[other], behind={}, behind_for_some={name: ["as it is"]}, rows=rows
    )


def comparison_of(name: str, other: str, count: int) -> ComparisonReport:
    """Return a family beside what runs today."""
    values = [Valued(value=0.031, low=0.02, high=0.044)] * count
    return ComparisonReport(
        incumbent=name, data=other, flips=values, churn=values, gain=values, trust=[0.9] * count,
        flips_per_error=[0.5] * count, flips_floor=0.036, churn_floor=None,
    )  # fmt: skip


def region_of(name: str) -> RegionReport:
    """Return where survivors disagree more often."""
    return RegionReport(
        what=name, data=name, found_on=name, query=name, inside=0.31, elsewhere=0.05, samples=40,
        of=400, p_value=0.001,
    )  # fmt: skip


def extreme_facts(name: str, other: str) -> ExtremeFacts:
    """Return what a gate asked of the worst of these models."""
    return ExtremeFacts(
        id=name,
        end="worst",
        of=other,
        against=name,
        data=name,
        select=other,
        within=0.01,
        percent=True,
        value=0.31,
        survivors=(0.0, math.nan),
        score=0.96,
        best=0.97,
        fresh=0.95,
        fresh_base=0.968,
        base=other,
    )


def individuals_of(name: str, other: str) -> IndividualsReport:
    """Return what is told of the samples of a data set."""
    each = Individual(
        sample=0,
        id=name,
        target=other,
        answer=name,
        conflict=0.25,
        consistency=0.5,
        turned_by=other,
        reachable_to=name,
        reachable_cost=math.nan,
        rejecting=0.75,
        rejected_by_pick=True,
    )
    people = PeopleOf(
        attribute=name,
        group=other,
        samples=1,
        contested=1.0,
        conflict=0.25,
        consistency=0.5,
        quantiles=[0.5] * 7,
        rejected_by_everybody=0.0,
        rejected_by_pick_only=None,
    )
    return IndividualsReport(
        data=name,
        survivors=4,
        pick=other,
        picked_by=name,
        against=other,
        positive=name,
        turned={other: 0.5},
        people=[people] * 20,
        most=[each],
        everybody=[each],
    )


def large_run(candidates: int = 200, specs: int = 20) -> RunReport:
    """A family of many candidates and specs, with curves, agreement and pictures."""
    random_ = random.Random(0)
    seeds = tuple(range(10))
    axes = {"width": tuple(range(16, 16 + candidates // len(seeds)))}
    default = {"width": 16}
    metrics = [f"accuracy on test under PGD({i / 1000})" for i in range(specs)]
    names = [f"test_attack[{i}]" for i in range(specs)]
    rows = [
        {"seed": seed, "width": width, **{m: 0.8 + random_.random() / 10 for m in metrics}}
        for width in axes["width"]
        for seed in seeds
    ]
    rejected = [[name for name in names if random_.random() < 0.05] for _ in rows]
    members = [
        CandidateReport(
            id=f"width{row['width']}-seed{row['seed']}",
            seed=row["seed"],
            config={"width": row["width"]},
            status="rejected" if gone else "survivor",
            rejected_by=gone,
            reasons=dict.fromkeys(gone, "0.8123 >= 0.8500"),
            scores={metric: row[metric] for metric in metrics},
            history=[
                {"epoch": e, "loss": 2 / (e + 1) + random_.random() / 10, "accuracy": e / 30}
                for e in range(30)
            ],
        )
        for row, gone in zip(rows, rejected, strict=True)
    ]
    alive = [row for row, gone in zip(rows, rejected, strict=True) if not gone]
    ids = [each.id for each in members if each.status == "survivor"]
    pixels = bytes(random_.randrange(256) for _ in range(32 * 32 * 3))

    def sheet(metric: str, part: Sequence[Row]) -> SheetReport:
        return star_sheet(part, lambda row: row[metric], default, axes, seeds, p_value=0.01)

    family = FamilyReport(
        name="candidate",
        design="star",
        default=default,
        axes=axes,
        seeds=seeds,
        candidates=members,
        specs=[
            SpecReport(
                name=name,
                nodeid=f"specs/test_attack.py::{name}",
                kind="enforced",
                judged=candidates,
                rejected=sum(name in gone for gone in rejected),
                kept=sum(name not in gone for gone in rejected),
                only_here=sum(gone == [name] for gone in rejected),
                metrics=[metric],
            )
            for name, metric in zip(names, metrics, strict=True)
        ],
        sheets=[SheetPair(metric=m, before=sheet(m, rows), after=sheet(m, alive)) for m in metrics],
        trained=candidates,
        pick=_best(alive, [each for each in members if each.status == "survivor"], metrics[0]),
        agreement=Agreement(
            data="test",
            ids=ids,
            values=[[1.0 if a == b else 0.8 + 0.2 * random_.random() for a in ids] for b in ids],
        ),
        conflicts=[
            Conflicts(
                data="test",
                total=500,
                rows=[
                    Conflict(
                        row=i,
                        target=str(i % 10),
                        votes={"3": ids[: len(ids) // 2], "8": ids[len(ids) // 2 :]},
                        attributes={"ink": "0.25"},
                        thumbnail=Thumbnail(width=32, height=32, pixels=pixels),
                    )
                    for i in range(200)
                ],
            )
        ],
    )
    gate = GateReport(
        name="test_somebody_ships",
        nodeid="specs/test_attack.py::test_somebody_ships",
        family="candidate",
        outcome="passed",
    )
    return RunReport(complete=True, device="cpu", families=[family], gates=[gate])
