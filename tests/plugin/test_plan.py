"""``--multiplicity-plan``: says what would be trained, and trains nothing."""

from __future__ import annotations

import pytest

FAMILY = """
    import pytest
    import torch
    import pytest_multiplicity as pm

    @pytest.fixture(scope="session")
    def points():
        generator = torch.Generator().manual_seed(0)
        inputs = torch.rand(40, 2, generator=generator)
        return pm.Data(inputs, (inputs[:, 0] > 0.5).long(), name="points")

    @pm.family(default={"lr": 0.1}, vary={"lr": [0.01]}, seeds=2)
    def candidate(config, points):
        return pm.Recipe(lambda: torch.nn.Linear(2, 2), points, epochs=2, lr=config.lr)
"""
SPECS = """
    def test_accuracy(candidate, points):
        assert candidate.accuracy(points) >= 0

    def test_gate(survivors):
        assert 0
"""


@pytest.mark.parametrize("again", [False, True])
def test_a_plan_trains_nothing(project, again):
    made = project(SPECS, FAMILY)
    if again:
        made.run("-k", "accuracy")
    result = made.run("--multiplicity-plan")
    assert result.ret == pytest.ExitCode.OK
    missing = 0 if again else 4
    result.stdout.fnmatch_lines([f"candidate: 4 candidates, {missing} to train*"])
    weights = made.pytester.path / ".multiplicity" / "v1" / "weights"
    assert len(list(weights.rglob("*.safetensors"))) == 4 - missing


def test_what_two_families_share_is_planned_once(project):
    twice = FAMILY.replace("def candidate(", "def network(").replace("@pm", "star = pm")
    twice += """
    candidate, again = star(network), star(network)
"""
    specs = SPECS.split("def test_gate")[0]
    specs += specs.replace("test_accuracy", "test_again").replace("candidate", "again")
    result = project(specs, twice).run("--multiplicity-plan")
    result.stdout.fnmatch_lines(["candidate: 4 candidates, 4 to train in about *"])
    result.stdout.fnmatch_lines(["again: 4 candidates, 0 to train"])


def test_recorded_families_have_nothing_to_train(project):
    result = project().run("--multiplicity-plan")
    result.stdout.fnmatch_lines(["candidate: 6 recorded candidates, nothing to train"])


def test_the_summary_tells_how_candidates_were_trained(project):
    result, report = project(SPECS, FAMILY).report("-v")
    (family,) = report["families"]
    assert sum(family["ways"].values()) == 4
    assert family["notes"] == []
    result.stdout.fnmatch_lines(["trained 4 *"])


def test_its_lines_are_as_wide_as_the_terminal(project, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    narrow = project(SPECS, FAMILY).run("--multiplicity-plan").outlines
    monkeypatch.setenv("COLUMNS", "300")
    wide = project(SPECS, FAMILY).run("--multiplicity-plan").outlines
    begun = [next(i for i, line in enumerate(each) if "candidates, 4 to train" in line)
             for each in (narrow, wide)]  # fmt: skip
    told = [each[i:-1] for each, i in zip((narrow, wide), begun, strict=True)]
    assert len(told[1]) == 2
    assert len(told[0]) > 2
    assert max(map(len, told[0])) < 60 < max(map(len, told[1]))
    assert all(line.startswith("    ") for line in told[0][2:])
    assert " ".join(" ".join(told[0]).split()) == " ".join(" ".join(told[1]).split())


@pytest.mark.usefixtures("few_exchanges")
def test_a_plan_says_how_many_samples_would_decide(trained, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    specs = """
        def test_accuracy(candidate, points):
            assert candidate.accuracy(points.test) >= 0.9

        def test_best(candidate, points):
            assert candidate.accuracy(points.test).within(0.01)

        def test_size(candidate, points):
            assert candidate.measure(size, points.test, name="size") > 0.01

        def size(logits, targets):
            return float(logits.abs().mean())

        def test_auroc(candidate, points):
            assert candidate.measure("auroc", points.test) >= 0.01
    """
    made = trained(specs)
    made.run("--multiplicity-plan").stdout.fnmatch_lines(
        [
            "samples that decide beyond doubt, with 80% power, of 4 candidates:",
            "  test_accuracy: >= 0.9: * at 1 point, * at 2 points, * at 5 points",
            "  test_best: within(0.01): * at 1 point*where 10.0% of samples*assumed: no pilot yet)",
            "  test_size: > 0.01: * at 1 point*",
        ]
    )
    made.run()
    result = made.run("--multiplicity-plan")
    result.stdout.fnmatch_lines(
        ["  test_best: within(0.01): * at 1 point*where * of samples tell*apart, as of 40)"]
    )
    result.stdout.no_fnmatch_line("  test_size: *")  # by now it is known to be no share of samples
    result.stdout.no_fnmatch_line("  test_auroc: *")
