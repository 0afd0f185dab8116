"""The configurations: how many of their seeds pass, what rejects the others, what is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pytest_multiplicity.evaluation import ConfigurationTrial
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.model import ConfigurationReport
from pytest_multiplicity.findings.plain import plain_config
from pytest_multiplicity.findings.verdicts import TRAINING
from pytest_multiplicity.statistics import Decision, reliability

SHARES = (0.8, 0.5)
"""What is said of every configuration; the second is decided early."""
DECIDED = {Decision.KEEP: True, Decision.REJECT: False, Decision.UNDECIDED: None}
JUDGED = {"survivor": True, "rejected": False}


def trials(family: FamilyFindings) -> list[ConfigurationTrial]:
    """Return what became of the seeds of every configuration, in the order of the design."""
    design = family.seen.design
    return [
        ConfigurationTrial(
            name=name,
            config={a: o for a, o in vars(design.configs[of[0]]).items() if a != "seed"},
            passed=tuple(
                JUDGED[status] for index in of if (status := family.statuses[index]) in JUDGED
            ),
        )
        for name, of in design.configurations.items()
    ]


def reports(family: FamilyFindings) -> list[ConfigurationReport]:
    """Return the table of configurations."""
    found = trials(family)
    return [_report(trial, len(found), Counter(_rejecting(family, trial.name))) for trial in found]


def _report(
    trial: ConfigurationTrial, configurations: int, rejecting: Counter[str]
) -> ConfigurationReport:
    count, right = len(trial.passed), sum(trial.passed)
    low, high = reliability.share_interval(right, count) if count else (None, None)
    several = count > 1
    return ConfigurationReport(
        name=trial.name,
        config=plain_config(trial.config),
        seeds=count,
        passed=right,
        low=low,
        high=high,
        rejected_by=dict(rejecting.most_common()),
        reliable={f"{share:g}": DECIDED[trial.decision(share, configurations)] for share in SHARES}
        if several
        else {},
    )


def _rejecting(family: FamilyFindings, name: str) -> Iterator[str]:
    """Yield what rejected seeds of a configuration, once for each."""
    for index in family.seen.design.configurations[name]:
        if index in family.training.diverged:
            yield TRAINING
            continue
        for spec, record in family.of(index).items():
            if record.verdict == "rejected":
                yield family.names[spec]
