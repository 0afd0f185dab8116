"""Samples that select and report, or were trained on, are told of once, with their number."""

from __future__ import annotations

import pytest

FAMILY = """
    import pytest
    import torch
    import pytest_multiplicity as pm

    def data(rows, name):
        inputs = torch.linspace(0, 1, 40).reshape(20, 2)[rows]
        return pm.Data(inputs, torch.arange(20)[rows] % 2, name=name)

    @pytest.fixture(scope="session")
    def select():
        return data(slice(0, 10), "select")

    @pytest.fixture(scope="session")
    def report():
        return data(slice(10, 20), "report")

    @pytest.fixture(scope="session")
    def overlap():
        return data(slice(7, 17), "overlap")

    @pm.family(default={"tilt": 0.5}, vary={"tilt": [0.2]}, seeds=1)
    def candidate(config):
        model = torch.nn.Linear(2, 2)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0, 0.0], [config.tilt, 1.0]]))
            model.bias.zero_()
        return model
"""

SELECTS = """
    import pytest

    def test_selects(candidate, select):
        assert candidate.accuracy(select) >= 0
"""


def warnings_of(project, specs, *args):
    made = project(SELECTS + specs, FAMILY)
    return made.report(*args)


def test_disjoint_data_is_fine(project):
    _, report = warnings_of(
        project,
        """
    @pytest.mark.unforeseen
    def test_reports(candidate, report):
        candidate.accuracy(report)
        """,
    )
    assert report["warnings"] == []


def test_an_unforeseen_spec_on_samples_that_selected(project):
    _, report = warnings_of(
        project,
        """
    @pytest.mark.unforeseen
    def test_reports(candidate, overlap):
        candidate.accuracy(overlap)
        """,
    )
    (warning,) = report["warnings"]
    assert "'overlap' reports on samples that selected ('select'; 3 of the 10" in warning


def test_a_gate_on_samples_that_selected(project):
    specs = """
    def test_gate(survivors, select):
        assert survivors.ambiguity(select) <= 1
    """
    result, report = warnings_of(project, specs)
    (warning,) = report["warnings"]
    assert "'select' reports on samples that selected" in warning
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*warning: 'select' reports on samples*"])


def test_it_can_be_an_error(project):
    specs = """
    def test_gate(survivors, select):
        assert survivors.ambiguity(select) <= 1
    """
    result, report = warnings_of(project, specs, "-o", "multiplicity_same_data=error")
    assert report["gates"][0]["outcome"] == "failed"
    assert "multiplicity_same_data = error" in report["gates"][0]["message"]
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_what_was_trained_on_is_told_of(project):
    family = (
        FAMILY
        + """
    @pm.family(default={"lr": 0.1}, seeds=1)
    def trained(config, overlap):
        return pm.Recipe(lambda: torch.nn.Linear(2, 2), overlap, epochs=1, batch_size=4)
    """
    )
    specs = "def test_it(trained, select):\n    assert trained.accuracy(select) >= 0\n"
    _, report = project(specs, family).report()
    (warning,) = report["warnings"]
    assert warning.startswith("3 of the 10 samples of 'select' were trained on ('overlap')")


def test_what_another_family_was_trained_on_says_nothing(project):
    family = (
        FAMILY
        + """
    def recipe(config, data):
        return pm.Recipe(lambda: torch.nn.Linear(2, 2), data, epochs=1, batch_size=4)

    @pm.family(default={"lr": 0.1}, seeds=1)
    def first(config, select):
        return recipe(config, select)

    @pm.family(default={"lr": 0.1}, seeds=1)
    def second(config, report):
        return recipe(config, report)
    """
    )
    crossed = """
    def test_first(first, report):
        assert first.accuracy(report) >= 0

    def test_second(second, select):
        assert second.accuracy(select) >= 0
    """
    _, told = project(crossed, family).report()
    assert told["warnings"] == []
    own = (
        crossed
        + """
    def test_own(second, report):
        assert second.accuracy(report) >= 0
    """
    )
    _, told = project(own, family).report()
    assert [each[:54] for each in told["warnings"]] == [
        "10 of the 10 samples of 'report' were trained on ('rep"
    ]


def test_gates_report_the_ambiguity_of_the_data_they_look_at(project):
    specs = """
    def test_gate(survivors, report):
        assert survivors.ambiguity(report) <= 1
    """
    _, report = warnings_of(project, specs)
    family = report["families"][0]
    numbers = {(each["metric"], each["data"]): each for each in family["predictive"]}
    assert ("ambiguity", "select") in numbers
    asked = numbers["ambiguity", "report"]
    assert asked["optimistic"] is False
    assert asked["before"] == asked["after"] == asked["expected_after"]
    assert [each["data"] for each in family["conflicts"]] == ["select", "report"]


def test_probabilities_are_summed_up_before_and_after(project):
    specs = """
    def test_tilt(candidate, select):
        score = candidate.accuracy(select)
        assert score >= 0 and candidate.config.tilt == 0.2
    """
    _, report = warnings_of(project, specs)
    numbers = {each["metric"]: each for each in report["families"][0]["predictive"]}
    capacity = numbers["rashomon_capacity"]
    assert 1 < capacity["before"] < 2
    assert capacity["after"] == pytest.approx(1, abs=1e-6)
    assert numbers["viable_prediction_range"]["before"] > 0
    assert numbers["viable_prediction_range"]["after"] == 0
    assert numbers["score_variance"]["before"] > 0
    assert numbers["score_variance"]["after"] is None
