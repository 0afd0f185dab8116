"""The configurations: how many of their seeds pass, what rejects the others, what is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile

from pytest_multiplicity.evaluation import ConfigurationTrial
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.lasting import ConfigurationReport
from pytest_multiplicity.findings.plain import plain_config
from pytest_multiplicity.findings.verdicts import TRAINING
from pytest_multiplicity.statistics import Decision, paired, reliability

SHARES = (0.8, 0.5)
"""What is said of every configuration; the second is decided early."""
DECIDED = {Decision.KEEP: True, Decision.REJECT: False, Decision.UNDECIDED: None}
JUDGED = {"survivor": True, "rejected": False}


def trials(family: FamilyFindings) -> list[ConfigurationTrial]:
    """Return what became of the seeds of every configuration, in the order of the design."""
    design, added = family.seen.design, _added(family)
    fresh = family.seen.further is not None and family.relative
    return [
        ConfigurationTrial(
            name=name,
            config={a: o for a, o in vars(design.configs[of[0]]).items() if a != "seed"},
            passed=(
                *(JUDGED[s] for index in of if (s := family.statuses[index]) in JUDGED),
                *added.get(name, ()),
            ),
            added=len(added.get(name, ())),
            fresh=fresh,
            enforced=bool(family.enforced),
        )
        for name, of in design.configurations.items()
    ]


def _added(family: FamilyFindings) -> dict[str, list[bool]]:
    """Return whether the added seeds of each configuration pass, in turn, as far as is known."""
    if family.seen.further is None:
        return {}
    found: dict[str, list[bool]] = {}
    for name, positions in family.seen.further.design.configurations.items():
        known = [family.passed(index) for index in positions]
        found[name] = [bool(each) for each in takewhile(lambda each: each is not None, known)]
    return found


def note(family: FamilyFindings) -> list[str]:
    """Return what the added seeds cost, and what they bought."""
    further = family.seen.further
    if further is None or not family.enforced:
        return []
    found = trials(family)
    decisions = [each.decision(further.at_least, len(found)) for each in found]
    decided = len(found) - decisions.count(Decision.UNDECIDED)
    spent = sum(each.added for each in found)
    made = f" ({further.trained} trained, {further.stored} from the store)"
    said = [
        f"seeds added to decide: {spent} of {len(further.design.ids)} at most"
        + made * bool(further.trained + further.stored),
        f"at {further.at_least:.0%} {decided} of {len(found)} configurations are decided, "
        f"{decisions.count(Decision.KEEP)} of them reliable",
    ]
    if family.relative:
        said.append("only added seeds count, since specifications compare within the family")
    return ["; ".join(said)]


def reports(family: FamilyFindings) -> list[ConfigurationReport]:
    """Return the table of configurations; none where every seed passes, since nothing rejects."""
    if not family.enforced:
        return []
    found, anytime = trials(family), family.seen.further is not None
    return [
        _report(each, len(found), Counter(_rejecting(family, each.name)), anytime=anytime)
        for each in found
    ]


def _report(
    trial: ConfigurationTrial, configurations: int, rejecting: Counter[str], *, anytime: bool
) -> ConfigurationReport:
    count, right = len(trial.passed), sum(trial.passed)
    low, high = _interval(trial, anytime=anytime)
    several = count > 1
    return ConfigurationReport(
        name=trial.name,
        config=plain_config(trial.config),
        seeds=count,
        passed=right,
        added=trial.added,
        low=low,
        high=high,
        rejected_by=dict(rejecting.most_common()),
        reliable={f"{share:g}": DECIDED[trial.decision(share, configurations)] for share in SHARES}
        if several
        else {},
    )


def _interval(trial: ConfigurationTrial, *, anytime: bool) -> tuple[float | None, float | None]:
    """Return what the seeds leave open, also where more were added until it was decided."""
    if not trial.counted:
        return None, None
    if anytime:
        return reliability.anytime_interval(trial.counted)
    return paired.clopper_pearson(sum(trial.counted), len(trial.counted), 0.95)


def _rejecting(family: FamilyFindings, name: str) -> Iterator[str]:
    """Yield what rejected seeds of a configuration, once for each."""
    for index in family.seen.design.configurations[name]:
        if index in family.training.diverged:
            yield TRAINING
            continue
        for spec, record in family.of(index).items():
            if record.verdict == "rejected":
                yield family.names[spec]
    if family.seen.further is not None:
        for index in family.seen.further.design.configurations[name]:
            yield from _objections(family, index)


def _objections(family: FamilyFindings, index: int) -> set[str]:
    """Return what rejected an added candidate."""
    found = {spec: family.ledger.added.get((family.seen.key, spec), {}) for spec in family.specs}
    rejected = {
        spec: records[index]
        for spec, records in found.items()
        if index in records and records[index].verdict == "rejected"
    }
    return {TRAINING if each.training else family.names[spec] for spec, each in rejected.items()}
