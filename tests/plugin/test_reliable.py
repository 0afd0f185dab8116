from __future__ import annotations

from textwrap import dedent

import pytest

# Three configurations with eight recorded seeds each: all pass, none, half.
FAMILY = """
    import pandas as pd
    import pytest_multiplicity as pm

    rows = [
        {"lr": lr, "seed": seed, "accuracy": high if seed < passing else 0.1}
        for lr, passing, high in ((0.1, 8, 0.9), (0.01, 0, 0.9), (0.001, 4, 0.9))
        for seed in range(8)
    ]
    candidate = pm.recorded(pd.DataFrame(rows), default={"lr": 0.1}, unit="fraction")
"""
SPEC = "def test_accuracy(candidate):\n    assert candidate.score('accuracy') >= 0.5\n"


def test_the_table_of_configurations_is_in_every_report(project):
    made = project(SPEC, family=FAMILY)
    result, report = made.report(
        "-v", "--multiplicity-markdown=run.md", "--multiplicity-html=run.html"
    )
    first, second, third = report["families"][0]["configurations"]
    assert first["config"] == {"lr": 0.1}
    assert [(c["seeds"], c["passed"]) for c in (first, second, third)] == [(8, 8), (8, 0), (8, 4)]
    assert (first["low"], first["high"]) == (pytest.approx(0.6306, abs=1e-4), 1)
    assert first["rejected_by"] == {}
    assert third["rejected_by"] == {"test_accuracy": 4}
    assert second["reliable"] == {"0.8": False, "0.5": None}
    result.stdout.fnmatch_lines(
        [
            "configuration*seeds*passed*95% interval*reliable at*",
            "default*8*8*63.06?100.00*undecided*",
            "lr0.01 (test_accuracy 8)*8*0*0.00?36.94*not 80%*",
        ]
    )
    assert "| <code>lr0&#46;01</code> | 8 | **0** |" in (made.pytester.path / "run.md").read_text()
    assert "test_accuracy 4" in (made.pytester.path / "run.html").read_text()


def test_gates_ask_who_is_reliable_and_what_another_seed_could_bring(project):
    gates = """
        def test_half(survivors):
            assert survivors.reliable(at_least=0.3) == [{"lr": 0.1}]

        def test_most(survivors):
            assert survivors.reliable()

        def test_enough(survivors):
            table = survivors.enough()
            assert list(table.index) == ["default", "lr0.01", "lr0.001"]
            assert table.loc["default", "seeds"] == 8
            assert round(table.loc["default", "beaten_by"], 2) == 0.31
            assert table.loc["default", "next"] == 1 / 9
    """
    result = project(SPEC + "\n" + dedent(gates), family=FAMILY).run()
    result.assert_outcomes(passed=14, failed=1)
    told = (
        "E*assert ?? (at 0.8: 0 reliable, 1 not, 2 undecided; 26 seeds that all pass decide: seeds*"
    )
    result.stdout.fnmatch_lines([told])


def test_one_seed_says_nothing_of_further_ones(project):
    gate = "def test_gate(survivors):\n    survivors.reliable()\n"
    result = project(SPEC + gate, family=FAMILY.replace("range(8)", "range(1)")).run()
    result.stdout.fnmatch_lines(["*no configuration has two seeds that were judged*seeds=25*"])
    assert "95% interval" not in result.stdout.str()


def test_where_nothing_is_enforced_nothing_is_said_of_seeds(project):
    spec = "import pytest\n\n@pytest.mark.unforeseen\n" + SPEC
    gate = "\ndef test_gate(survivors):\n    survivors.reliable()\n"
    result, report = project(spec + gate, family=FAMILY).report("--multiplicity-seeds=auto")
    result.stdout.fnmatch_lines(["*no specification of these candidates is enforced*"])
    assert "95% interval" not in result.stdout.str()
    assert report["families"][0]["configurations"] == []
