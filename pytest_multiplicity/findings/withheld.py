"""Reports that withhold what was measured on reporting data: `multiplicity_ladder = on`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.model import CandidateReport, FamilyReport, SpecReport


def withheld(report: FamilyReport, family: FamilyFindings) -> FamilyReport:
    """Return a report without what the ladder doesn't tell; the same where there is no ladder."""
    ladder = family.seen.ladder
    if not ladder:
        return report
    metrics = {name for name, metric in family.metrics.items() if _on(ladder, metric.data)}
    unforeseen = {spec.name for spec in report.specs if spec.kind == "unforeseen"}
    agreement, pick = report.agreement, report.pick
    if pick is not None and pick.by in metrics:
        pick = replace(pick, margin=None, next=None)
    return replace(
        report,
        candidates=[_candidate(each, metrics, unforeseen) for each in report.candidates],
        specs=[_spec(each, metrics) for each in report.specs],
        sheets=[pair for pair in report.sheets if pair.metric not in metrics],
        predictive=[row for row in report.predictive if not _on(ladder, row.data)],
        conflicts=[each for each in report.conflicts if not _on(ladder, each.data)],
        agreement=None if agreement and _on(ladder, agreement.data) else agreement,
        pick=pick,
        reachable=[each for each in report.reachable if not _on(ladder, each.data)],
        extremes=[each for each in report.extremes if not _on(ladder, each.data)],
        allocations=[each for each in report.allocations if not _on(ladder, each.data)],
        cascades=[each for each in report.cascades if not _on(ladder, each.data)],
        comparisons=[each for each in report.comparisons if not _on(ladder, each.data)],
        regions=[each for each in report.regions if not _on(ladder, each.data)],
        individuals=[each for each in report.individuals if not _on(ladder, each.data)],
        ladder={data: rung.accuracy for data, rung in ladder.items()},
        notes=[*report.notes, *notes(family)],
    )


def notes(family: FamilyFindings) -> list[str]:
    """Return what the ladder tells, a sentence for each data set."""
    told = []
    for data, rung in family.seen.ladder.items():
        best = "nothing was announced so far"
        if rung.accuracy is not None:
            new = f"new: {rung.candidate}" if rung.candidate else "nothing new"
            best = f"the best accuracy announced is {rung.accuracy:.4f} ({new})"
        told.append(f"ladder: on {data} {best}; all else that was measured there is withheld")
    return told


def _candidate(
    candidate: CandidateReport, metrics: Collection[str], specs: Collection[str]
) -> CandidateReport:
    return replace(
        candidate,
        scores={name: s for name, s in candidate.scores.items() if name not in metrics},
        reasons={name: text for name, text in candidate.reasons.items() if name not in specs},
        undecided=[name for name in candidate.undecided if name not in specs],
    )


def _spec(spec: SpecReport, metrics: Collection[str]) -> SpecReport:
    """Return a spec without how many it would reject, which tells of data that it asked."""
    if spec.kind == "enforced" or not set(spec.metrics) & set(metrics):
        return spec
    return replace(spec, would_reject=None, undecided=None)


def is_withheld(family: FamilyFindings, data: str) -> bool:
    """Return whether nothing is told of a data set."""
    return _on(family.seen.ladder, data)


def _on(ladder: Collection[str], where: str | None) -> bool:
    """Return whether `report`, `report where age < 30 under PGD(0.01)` is on data of the ladder."""
    data = (where or "").partition(" under ")[0]
    return data in ladder or data.partition(" where ")[0] in ladder
