"""From records of verdicts to the rows of the model: what became of candidates, and by which spec.

Whom a spec kept or rejected counts where the spec itself judged: a candidate whose training
diverged is rejected by name, and by no spec.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_multiplicity.design import run_of
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.model import CandidateReport, SpecReport
from pytest_multiplicity.findings.plain import plain_config

TRAINING = "training"


@dataclass(frozen=True)
class Rejections:
    """What the enforced specs did together, worked out once for all rows of the funnel."""

    of: Mapping[str, set[int]]
    """Node id -> whom it rejected."""
    times: Mapping[int, int]
    """How many specs rejected a candidate."""
    unknown: set[int]
    """Whom not all of them judged."""


def candidates(family: FamilyFindings) -> list[CandidateReport]:
    """Return what became of each candidate."""
    return [_candidate(family, index) for index in family.everyone]


def _candidate(family: FamilyFindings, index: int) -> CandidateReport:
    config = dict(vars(family.seen.design.configs[index]))
    seed = config.pop("seed")
    records = {family.names[spec]: record for spec, record in family.of(index).items()}
    training = family.training
    rejected = [name for name, r in records.items() if r.verdict == "rejected" and not r.training]
    return CandidateReport(
        id=family.seen.design.ids[index],
        seed=seed,
        config=plain_config(config),
        run=run_of(family.seen.design.configs[index]),
        status=family.statuses[index],
        rejected_by=[TRAINING] if index in training.diverged else rejected,
        reasons={name: record.reason for name, record in records.items() if record.reason},
        undecided=[name for name, record in records.items() if record.undecided],
        failed_in=[name for name, record in records.items() if record.verdict == "failed"],
        screened=[name for name, record in records.items() if record.verdict == "screened"],
        diverged=training.diverged.get(index),
        scores={name: metric.score(index) for name, metric in family.metrics.items()},
        history=training.history.get(index, ()),
    )


def specs(family: FamilyFindings) -> list[SpecReport]:
    """Return the funnel: what each spec did to the candidates, in the order of the specs."""
    enforced = [nodeid for nodeid, spec in family.specs.items() if not spec.unforeseen]
    rejected = {nodeid: _objected_to(family, nodeid) for nodeid in enforced}
    rejections = Rejections(
        rejected,
        Counter(index for each in rejected.values() for index in each),
        set().union(*(_screened(family, nodeid) for nodeid in enforced)),
    )
    return [_spec(family, nodeid, rejections) for nodeid in family.specs]


def _objected_to(family: FamilyFindings, nodeid: str) -> set[int]:
    """Whom a spec rejected, or would have."""
    unforeseen = family.specs[nodeid].unforeseen
    return {
        i
        for i, record in family.records(nodeid).items()
        if record.decided and (record.verdict == "rejected" or (unforeseen and record.objected))
    }


def _spec(family: FamilyFindings, nodeid: str, rejections: Rejections) -> SpecReport:
    spec, records = family.specs[nodeid], family.records(nodeid).values()
    judged = sum(record.decided for record in records)
    rejected = _objected_to(family, nodeid)
    enforced = not spec.unforeseen
    only_here = _only_here(nodeid, rejections)
    return SpecReport(
        name=family.names[nodeid],
        nodeid=nodeid,
        kind="enforced" if enforced else "unforeseen",
        text=spec.text,
        judged=judged,
        kept=judged - len(rejected) if enforced else judged,
        rejected=len(rejected) if enforced else 0,
        undecided=sum(record.undecided and record.decided for record in records),
        failed=sum(record.verdict == "failed" for record in records),
        screened=len(_screened(family, nodeid)),
        only_here=only_here,
        would_reject=0 if enforced else len(rejected),
        redundant=enforced and bool(rejected) and only_here == 0,
        conflicts_with=[family.names[other] for other in _conflicting(family, nodeid, rejections)],
        metrics=family.measured_by(nodeid),
    )


def _screened(family: FamilyFindings, nodeid: str) -> set[int]:
    """Whom a spec didn't judge, since another had rejected them."""
    records = family.records(nodeid).items()
    screened = {index for index, record in records if record.verdict == "screened"}
    return screened - family.training.diverged.keys()


def _only_here(nodeid: str, rejections: Rejections) -> int | None:
    """Return how many this spec rejects and no other; None where others didn't judge them all."""
    alone = {index for index in rejections.of.get(nodeid, ()) if rejections.times[index] == 1}
    return None if alone & rejections.unknown else len(alone)


def _conflicting(family: FamilyFindings, nodeid: str, rejections: Rejections) -> list[str]:
    """Enforced specs that leave nobody together with this one, though each leaves somebody."""
    everyone = set(family.everyone)
    own = rejections.of.get(nodeid, everyone)
    return [
        other
        for other, rejected in rejections.of.items()
        if other != nodeid and own != everyone != rejected and own | rejected == everyone
    ]
