"""A second run does again only what changed."""

from __future__ import annotations

import random

import numpy as np
import torch

SPECS = """
    import pytest_multiplicity as pm

    def test_accuracy(candidate, points):
        assert candidate.accuracy(points.test) >= 0.4

    def test_young(candidate, points):
        assert candidate.accuracy(points.test.where("age < 20")) >= 0.4

    def test_attack(candidate, points):
        assert candidate.accuracy(points.test, under=pm.PGD(0.05)) >= 0.1

    def test_gate(survivors, points):
        assert survivors.ambiguity(points.test) <= 1
"""


def test_the_second_run_trains_and_infers_nothing(trained):
    made = trained(SPECS)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    result, work = made.work()
    result.assert_outcomes(passed=13)
    result.stdout.fnmatch_lines(["*4 candidates: 4 trained, 0 from the store*"])
    assert (work["trained"], work["stored"], work["inferred"]) == (4, 0, 8)
    result, work = made.work()
    result.assert_outcomes(passed=13)
    result.stdout.fnmatch_lines(["*4 candidates: 0 trained, 4 from the store*"])
    assert (work["trained"], work["stored"], work["inferred"]) == (0, 4, 0)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert states[2] == random.getstate()


def test_changing_a_spec_never_retrains(trained):
    made = trained(SPECS)
    made.run()
    made.pytester.makepyfile(test_specs=SPECS.replace("0.05", "0.06").replace("0.4", "0.3"))
    result, work = made.work()
    assert result.ret == 0
    assert (work["trained"], work["inferred"]) == (0, 4)  # the new attack on each


def test_changing_an_option_trains_its_candidates_alone(trained):
    made = trained(SPECS)
    made.run()
    result, work = trained(SPECS, ('"lr": [0.05]', '"lr": [0.02]')).work()
    assert (work["trained"], work["stored"]) == (2, 2)
    result.stdout.fnmatch_lines(["*4 candidates: 2 trained, 2 from the store*"])


def test_changing_a_helper_in_another_file_retrains(trained):
    made = trained(
        SPECS,
        ("def net():", "import helper\n\n    def net():"),
        ("nn.Linear(4, 2))", "helper.last())"),
    )
    helper = "from torch import nn\n\ndef last():\n    return nn.Linear(4, {})\n"
    made.pytester.makepyfile(helper=helper.format(2))
    assert made.work()[1]["trained"] == 4
    made.pytester.makepyfile(helper="# only a comment\n" + helper.format(2))
    assert made.work()[1]["trained"] == 0
    made.pytester.makepyfile(helper=helper.format(3))
    assert made.work()[1]["trained"] == 4


def test_two_families_in_one_run(trained):
    other = """@pm.family(seeds=3)
    def other(config, points):
        torch.manual_seed(config.seed)
        return net()

    @pm.family(default"""
    made = trained(
        SPECS
        + """
    def test_other(other, points):
        assert other.accuracy(points.test) >= 0

    import pytest
    pytestmark = pytest.mark.family("candidate")
    """,
        ("@pm.family(default", other),
    )
    result, report = made.report()
    result.assert_outcomes(passed=16)
    assert [len(family["candidates"]) for family in report["families"]] == [4, 3]
    assert [family["name"] for family in report["families"]] == ["candidate", "other"]
