"""Who forgets the seed is seeded; candidates that answer alike count once, and are told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from support.bench import bench
from support.recorded_suite import run, verdicts

import pytest_multiplicity as pm

__all__ = ["bench"]

FAMILY = """
import random

import numpy as np
import pytest
import torch
from torch import nn
import pytest_multiplicity as pm

@pytest.fixture(scope="session")
def d():
    inputs = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    return pm.Data(inputs, (inputs[:, 0] > 0.5).long(), name="d")

@pm.family(default={{"idle": 0}}, vary={{"idle": [1]}}, seeds=3)
def candidate(config):
    {body}

def test_spec(candidate, d):
    assert candidate.accuracy(d) >= 0

def test_gate(survivors, d):
    assert len(survivors) == 6
"""
BODIES = {
    "torch": "return nn.Linear(4, 2)",
    "numpy": "w = torch.from_numpy(np.random.rand(4, 2).astype('f')); return lambda x: x @ w",
    "random": "w = [[random.random() for _ in 'ab'] for _ in range(4)]\n"
    "    return lambda x: x @ torch.tensor(w)",
}
SAME = {
    "a module": "torch.manual_seed(0); return nn.Linear(4, 2)",
    "a callable": "w = torch.ones(4, 2) * torch.tensor([1.0, -1.0]); return lambda x: x @ w - 0.5",
}


def report_of(pytester, body):
    pytester.makepyfile(test_all=FAMILY.format(body=body))
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK
    assert set(verdicts(report).values()) == {"survivor", "passed"}  # ids and statuses keep all
    (family,) = report["families"]
    return family, " ".join(result.stdout.str().split())


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_who_draws_from_the_global_generators_gets_the_seed_s_numbers(pytester, body):
    first, _ = report_of(pytester, body)
    scores = [list(each["scores"].values()) for each in first["candidates"]]
    torch.manual_seed(torch.seed())
    again, _ = report_of(pytester, body)
    assert [list(each["scores"].values()) for each in again["candidates"]] == scores
    assert scores[:3] == scores[3:]  # of the same seeds, under an option without effect
    (note,) = [each for each in first["notes"] if each.startswith("copies")]
    assert note.startswith("copies: 6 candidates, 3 distinct on d; equal answers count")


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_copies_are_told_and_count_once(pytester, body):
    family, said = report_of(pytester, body)
    assert "6 candidates, 1 distinct on d; equal answers count once" in " ".join(family["notes"])
    assert "draw from config.seed, or say seeds=1" in said
    (sheet,) = family["sheets"]
    assert (sheet["before"]["count"], sheet["before"]["delta_all"]) == (6, 0.0)
    assert (sheet["before"]["noise_floor"], sheet["before"]["p_value"]) == (0.0, 1.0)


def test_of_copies_one_counts_for_chance_and_floors(pytester):
    torch_seed = "torch.manual_seed(config.seed // 2); return nn.Linear(4, 2)"
    twice, _ = report_of(pytester, torch_seed)  # seeds 0, 0, 1 under two options: two models
    expected, _ = report_of(pytester, torch_seed.replace("// 2", "% 2"))
    numbers = {each["metric"]: each for each in twice["predictive"]}
    ambiguity, disagreement = numbers["ambiguity"], numbers["disagreement"]
    assert ambiguity["before"] == disagreement["before"] == disagreement["expected_after"]
    assert ambiguity["expected_after"] == ambiguity["after"]
    for key in ("noise_floor", "p_value", "expected_delta_all"):
        assert twice["sheets"][0]["after"][key] == expected["sheets"][0]["after"][key]
    assert "the seed has no effect" not in " ".join(twice["notes"])


def test_equal_predictions_are_no_copies(pytester):
    family, _ = report_of(
        pytester,
        "w = torch.tensor([[0.0, 1 + config.seed]] * 4) + config.idle; return lambda x: x @ w",
    )
    assert not [each for each in family["notes"] if each.startswith("copies")]


def test_survivors_count_copies_once_and_keep_them_all(bench):
    def made(config):
        torch.manual_seed(config.seed)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))

    def copied(config):
        return made(SimpleNamespace(seed=config.seed // 3 if config.seed < 6 else config.seed))

    several = bench.family(copied, vary={}, seeds=9)  # 0, 0, 0, 1, 1, 1, 6, 7, 8
    few = bench.family(made, vary={}, design=[{"lr": 0.1, "seed": s} for s in (0, 1, 6, 7, 8)])
    some, others = pm.Survivors(several, range(9)), pm.Survivors(few, range(5))
    assert len(some) == 9
    assert some.disagreement(bench.test) == others.disagreement(bench.test) > 0
    for name in ("self_consistency", "rashomon_capacity", "score_variance"):
        left, right = (getattr(each, name)(bench.test) for each in (some, others))
        assert (left == right).all()
    assert some[1:7].expected_spread(bench.test) == pytest.approx(
        pm.Survivors(few, range(3)).expected_spread(bench.test)
    )
    assert some[:3].disagreement(bench.test) == 0
    assert [*some.conflicts(bench.test)][-9:] == [each.id for each in some]
