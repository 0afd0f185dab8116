"""Trainings that go wrong, and what is then said of the candidate, the run and the report."""

from __future__ import annotations

import pytest

SPECS = """
    import pytest
    import pytest_multiplicity as pm

    def test_accuracy(candidate, points):
        assert candidate.accuracy(points.test) >= 0.01

    @pytest.mark.unforeseen
    def test_attack(candidate, points):
        assert candidate.accuracy(points.test, under=pm.PGD(0.05)) >= 0.0

    def test_gate(survivors):
        assert [each.id for each in survivors] == ["default-seed0", "default-seed1"]
"""


def test_a_diverging_candidate_is_rejected_by_name(trained):
    made = trained(
        SPECS, ("[0.05]", "[1e25]"), ("nn.Linear(4, 2)", "nn.Linear(4, 4), nn.Linear(4, 2)")
    )
    result, report = made.report("-rx")
    assert result.ret == 0
    (family,) = report["families"]
    by_id = {each["id"]: each for each in family["candidates"]}
    assert by_id["default-seed0"]["status"] == "survivor"
    for name in ("lr1e+25-seed0", "lr1e+25-seed1"):
        assert by_id[name]["status"] == "rejected"
        assert by_id[name]["rejected_by"] == ["training"]
    specs = {spec["name"]: spec for spec in family["specs"]}
    assert (specs["test_accuracy"]["kept"], specs["test_accuracy"]["rejected"]) == (2, 0)
    assert report["complete"] is True
    assert report["gates"][0]["outcome"] == "passed"
    sheet = family["sheets"][0]["before"]
    assert sheet["count"] == 2
    assert sheet["tables"]["lr"]["scores"][0][1] is None
    result.stdout.fnmatch_lines(["REJECTED training[[]lr1e+25-seed0[]] diverged at epoch *: *"])
    again = made.run("-v")
    again.stdout.fnmatch_lines(["*4 candidates: 0 trained, 4 from the store*"])
    again.stdout.fnmatch_lines(["*test_accuracy[[]lr1e+25-seed1[]] REJECTED*"])
    again.stdout.fnmatch_lines(["*test_attack[[]lr1e+25-seed1[]] REJECTED*"])


def test_a_failing_optimizer_is_an_error_found_once(trained):
    made = trained(
        SPECS,
        ("lr=config.lr)", "lr=config.lr, optimizer=broken)"),
        ("def net():", BROKEN + "\n    def net():"),
    )
    result, report = made.report()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes.get("rejected", 0)) == (8, 0)
    text = result.stdout.str()
    assert text.count("no such optimizer; calls: 1") == 1  # no other pair tries, or tells, again
    assert text.count("in the factory") == 1  # the traceback is shown once
    assert text.count("\ntraining candidate failed, see test_specs.py::") == 7
    assert {each["status"] for each in report["families"][0]["candidates"]} == {"failed"}
    assert report["gates"][0]["outcome"] == "not evaluated"


BROKEN = """
    calls = []

    def broken(params, lr):
        calls.append(lr)
        raise RuntimeError(f"no such optimizer; calls: {len(calls)}")  # in the factory
"""


@pytest.mark.parametrize(
    "body",
    [
        "candidate.accuracy(points.test, under=pm.Corrupt(refuses))",
        "candidate.measure(refuses, points.test)",
        "candidate.accuracy(points.test, under=pm.Attack(refuses))",
    ],
)
def test_an_assertion_in_the_depths_is_an_error(trained, body):
    specs = f"""
    import pytest_multiplicity as pm

    def refuses(batch, *rest):
        assert not "here", "a depth"

    def test_spec(candidate, points):
        assert {body} >= 0
    """
    result = trained(specs).run("-k", "seed0")
    result.assert_outcomes(failed=2, deselected=2)
    result.stdout.fnmatch_lines(["*EvaluationError: an assertion failed inside*a depth*"])


def test_an_assertion_in_a_model_is_an_error(trained):
    forward = """class Refusing(nn.Module):
        def forward(self, batch):
            assert batch.ndim == 5, "no film"

    def net():
        return Refusing()

    def unused():"""
    made = trained(
        "def test_spec(candidate, points):\n    assert candidate.accuracy(points.test) >= 0\n",
        ("def net():", forward),
        (
            "return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)",
            "return net()",
        ),
    )
    result = made.run()
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["*EvaluationError: an assertion failed inside*no film*"])


def test_sources_of_randomness_are_axes(trained):
    specs = """
    def test_accuracy(candidate, points):
        assert candidate.accuracy(points.test) >= 0
    """
    axes = (
        '{"seed.init": 0, "seed.order": 0}, vary={"seed.init": [1, 2], "seed.order": [1]}, seeds=1'
    )
    made = trained(
        specs, ('{"lr": 0.1}, vary={"lr": [0.05]}, seeds=2', axes), ("lr=config.lr", "lr=0.1")
    )
    _, report = made.report()
    (family,) = report["families"]
    assert family["axes"] == {"seed.init": [0, 1, 2], "seed.order": [0, 1]}
    assert [each["id"] for each in family["candidates"]] == [
        "default-seed0",
        "seed.init1-seed0",
        "seed.init2-seed0",
        "seed.order1-seed0",
    ]
    assert set(family["sheets"][0]["before"]["tables"]) == {"seed.init", "seed.order"}


def test_a_fixture_may_measure(trained):
    specs = """
    import pytest

    @pytest.fixture
    def score(candidate, points):
        return candidate.accuracy(points.test)

    def test_fixture(candidate, score):
        assert score >= 0

    def test_both(candidate, points, score):
        assert candidate.accuracy(points.test.where("age < 20")) >= 0

    def test_neither(candidate):
        assert candidate.id
    """
    made = trained(
        specs, ("[0.05]", "[1e25]"), ("nn.Linear(4, 2)", "nn.Linear(4, 4), nn.Linear(4, 2)")
    )
    result, report = made.report()
    assert result.parseoutcomes() == {"passed": 4, "failed": 4, "rejected": 4}
    family = report["families"][0]
    assert [spec["metrics"] for spec in family["specs"]] == [
        ["accuracy on test"],
        ["accuracy on test", "accuracy on test where age < 20"],
        [],
    ]
    diverged = [each for each in family["candidates"] if each["status"] == "rejected"]
    assert [each["rejected_by"] for each in diverged] == [["training"], ["training"]]


@pytest.mark.parametrize(("told", "check"), [("check", True), ("trust", False)])
def test_independence_is_checked_unless_it_is_trusted(trained, monkeypatch, told, check):
    from pytest_multiplicity.training import engine

    seen = []
    train = engine.train_early

    def watched(jobs, machine, **options):
        seen.append(machine.check)
        return train(jobs, machine, **options)

    monkeypatch.setattr(engine, "train_early", watched)
    made = trained(SPECS)
    made.pytester.inline_run("-o", f"multiplicity_independence={told}", "-p", "no:randomly")
    assert seen == [check]
