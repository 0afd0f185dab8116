"""A spec that compares a candidate with itself: no measure, and what to write instead."""

from __future__ import annotations

import json

import pytest
from support.recorded_suite import run

SUITE = """
import pytest, torch, pytest_multiplicity as pm
from torch import nn

X, y = torch.rand(200, 4), torch.randint(0, 2, (200,))

@pytest.fixture(scope="session")
def clean():
    return pm.Data(X, y, name="clean")

@pytest.fixture(scope="session")
def shifted():
    return pm.Data((X + .1).clamp(0, 1), y, name="shifted")

@pm.family(seeds=3)
def candidate(config):
    torch.manual_seed(config.seed)
    return nn.Linear(4, 2)

def test_spec(candidate, clean, shifted):
    was = candidate.predictions(clean)
    def same(logits, targets):
        return float((logits.argmax(1) == was).float().mean())
    {body}
"""
SAYS_SO = [
    "assert candidate.measure(same, shifted) >= .8",
    "assert candidate.measure(same, shifted, name=f'same {candidate.id}') >= .8",
]


@pytest.mark.parametrize("body", SAYS_SO)
def test_a_measure_that_captures_a_candidate_s_answers_says_what_to_use(pytester, body):
    pytester.makepyfile(test_all=SUITE.replace("{body}", body))
    result, _ = run(pytester)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "use candidate.consistency(data, under=" in " ".join(result.stdout.str().split())


def test_consistency_says_it(pytester):
    body = "assert candidate.consistency(clean, under=pm.Corrupt(torch.add, other=0.1)) >= 0.5"
    pytester.makepyfile(test_all=SUITE.replace("{body}", body))
    result, report = run(pytester, "--multiplicity-html=page.html")
    assert result.ret == pytest.ExitCode.OK
    (family,) = report["families"]
    (pair,) = family["sheets"]
    assert pair["metric"] == "consistency on clean under Corrupt(add, other=0.1)"
    assert pair["unit"] == "percent"
    assert pair["before"]["noise_floor"] is not None
    assert pair["definition"].startswith("share of the samples whose prediction is the same under")
    assert json.dumps(report)
