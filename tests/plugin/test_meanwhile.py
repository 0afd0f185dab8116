"""Candidates are judged as soon as they are trained, while others are: what comes when, counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pytest_multiplicity.compute import workers
from pytest_multiplicity.findings import Ledger
from pytest_multiplicity.inference import weights
from pytest_multiplicity.training import chunks, plan

ONE_BY_ONE = (
    "lr=config.lr)",
    "lr=config.lr, optimizer=lambda params, lr: torch.optim.SGD(params, lr))",
)
SPECS = """
    import pytest
    import pytest_multiplicity as pm

    def test_accuracy(candidate, points):
        assert candidate.accuracy(points.test) >= 0.01
        assert candidate.config.lr == 0.1
        assert candidate.accuracy(points.test, under=pm.PGD(0.05)) >= 0.0

    @pytest.mark.unforeseen
    def test_consistency(candidate, points):
        candidate.consistency(points.test, under=pm.InputNoise(0.1))

    def test_gate(survivors, points):
        assert len(survivors) == 2
"""
BOOM = """
    def test_boom(candidate):
        raise RuntimeError
"""
TRAINED, JUDGED = "trained", "judged"
IDS = ["default-seed0", "default-seed1", "lr0.05-seed0", "lr0.05-seed1"]


@dataclass
class Events:
    """What was trained and what was judged, in order."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def of(self, what: str) -> list[str]:
        """Return whom it happened to."""
        return [name for kind, name in self.seen if kind == what]


@pytest.fixture
def events(monkeypatch):
    """What happens in inner runs, in which every training is long enough to judge meanwhile."""
    noted, keep, enter = Events(), weights.Weights._keep, Ledger.enter

    def keeping(own, index, outcome):
        noted.seen.append((TRAINED, own._made.design.ids[index]))
        keep(own, index, outcome)

    def entering(own, record, process=""):
        noted.seen.append((JUDGED, f"{IDS[record.candidate]} {record.spec.partition('::')[2]}"))
        enter(own, record, process)

    monkeypatch.setattr(weights.Weights, "_keep", keeping)
    monkeypatch.setattr(Ledger, "enter", entering)
    monkeypatch.setattr(chunks, "WORKERS_SECONDS", -1.0)
    return noted


def told(report):
    """What a report says of the family, however its candidates came to be there."""
    (family,) = report["families"]
    came = ("trained", "stored", "from_store")
    return {name: value for name, value in family.items() if name not in came}


def test_a_candidate_is_judged_before_the_next_is_trained(trained, events):
    made = trained(SPECS, ONE_BY_ONE)
    result, report = made.report()
    assert result.ret == 0
    for place, one in enumerate(IDS):
        judged = [(JUDGED, f"{one} {spec}") for spec in ("test_accuracy", "test_consistency")]
        assert events.seen[3 * place : 3 * place + 3] == [(TRAINED, one), *judged]
    assert len(events.seen) == 12
    assert report["families"][0]["trained"] == 4
    counts = {
        sheet["metric"]: sheet["before"]["count"] for sheet in report["families"][0]["sheets"]
    }
    assert counts["accuracy on test under PGD(0.05)"] == 4  # though two were not asked for it
    events.seen.clear()
    _, second = made.report()  # where all are there from the start
    assert events.of(TRAINED) == []
    assert told(second) == told(report)


def test_comparisons_within_the_family_wait_for_everybody(trained, events):
    specs = SPECS.replace(">= 0.01", ".within(1.0)")
    made = trained(specs, ONE_BY_ONE)
    made.run()
    assert [kind for kind, _ in events.seen[:5]] == [TRAINED] * 4 + [JUDGED]


def test_the_one_that_is_asked_for_comes_first(trained, events):
    made = trained(SPECS, ONE_BY_ONE)
    made.run("-k", "lr0.05-seed1")
    assert events.seen[:2] == [(TRAINED, "lr0.05-seed1"), (JUDGED, "lr0.05-seed1 test_accuracy")]
    assert len(events.of(TRAINED)) == 4  # the sheets are those of the family


def test_what_is_trained_when_a_run_stops_is_kept(trained, events):
    made = trained(SPECS + BOOM, ONE_BY_ONE)
    _, report = made.report("-x")
    assert events.of(TRAINED) == ["default-seed0"]
    assert (report["complete"], report["families"][0]["trained"]) == (False, 1)
    events.seen.clear()
    made.run("--deselect", "test_specs.py::test_boom")
    assert len(events.of(TRAINED)) == 3


BROKEN = """
    def step(params, lr):
        if lr < 0.1:
            raise RuntimeError("no such optimizer")
        return torch.optim.SGD(params, lr)

    def net():"""


def test_who_is_trained_is_judged_where_others_cannot_be(trained, events):
    made = trained(
        SPECS, ("lr=config.lr)", "lr=config.lr, optimizer=step)"), ("    def net():", BROKEN)
    )
    result = made.run()
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["measured"], outcomes["failed"]) == (2, 2, 4)
    assert "errors" not in outcomes  # at the end it is not told once more
    assert result.stdout.str().count("Error: no such optimizer") == 1
    assert events.of(TRAINED) == IDS[:2]


def test_worker_processes_go_on_and_end_with_the_run(trained, events, monkeypatch):
    started, start = [], workers._Process.__init__

    def noted(own, place, common):
        start(own, place, common)
        started.append(own.connection)

    monkeypatch.setattr(workers._Process, "__init__", noted)
    monkeypatch.setattr("pytest_multiplicity.compute.machine.available_cores", lambda: 2)
    monkeypatch.setattr(plan, "WORKERS_SECONDS", -1.0)
    monkeypatch.setattr(chunks, "WORKERS_SECONDS", 1e9)
    made = trained(SPECS + BOOM, ONE_BY_ONE)
    made.run("-x")
    begun = [(TRAINED, IDS[0]), (JUDGED, f"{IDS[0]} test_accuracy")]  # here, while one starts
    assert events.seen[:2] == begun
    assert len(started) == 2  # the other one between two tests
    _, report = made.report("--deselect", "test_specs.py::test_boom")
    assert sorted(events.of(TRAINED)) == IDS  # nobody twice
    assert all(each.closed for each in started)
    (family,) = report["families"]
    assert family["sheets"][0]["before"]["count"] == 4
