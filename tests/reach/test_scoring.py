"""What built models score, told as early as it is too little."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import reached
from support.bench import bench as bench

from pytest_multiplicity.reach import Reach, search
from pytest_multiplicity.reach import scoring as scoring_module
from pytest_multiplicity.reach.scoring import Scoring
from pytest_multiplicity.tasks import Classification


def scoring_of(survivors: Any, case: reached.Case) -> tuple[Scoring, Any]:
    """Return what measures models, and a base to build them from."""
    task = case.report.task
    assert task.turning is not None
    base = survivors._reaching(case.report, case.select, 0.1, None).bases.base(0)
    return Scoring(task, task.turning), base


@pytest.mark.parametrize("name", reached.CASES)
def test_scores_are_exact_or_too_little(bench: Any, monkeypatch: Any, name: str) -> None:
    case = reached.case(name, size=60)
    scoring, base = scoring_of(reached.survivors(bench, case, seeds=1, epochs=5), case)
    drawn = torch.randn(40, *base.head.weights.shape, generator=torch.Generator().manual_seed(0))
    far = torch.linspace(0, 1, 40)[:, None, None]  # the first are the base itself, nearly
    built = base.head.rounded(base.head.weights + far**2 * drawn)
    outputs = torch.einsum("nf,bkf->bnk", base.select.features, built)
    task, targets = case.report.task, case.select.targets
    said = task.turning.said(outputs).reshape(40, *targets.shape)
    expected = task.right(said, targets).double().mean(1)
    assert torch.allclose(scoring.scores(base.select, built), expected, atol=1e-12)
    least = torch.tensor([0.2, float(expected.median())]).double().repeat(20)
    good = expected >= least - 1e-9
    assert 0 < int(good.sum()) < 40
    for few in (0, scoring_module.FEW):
        monkeypatch.setattr(scoring_module, "FEW", few)
        found = scoring.good(base, built, least)
        assert torch.equal(found.isfinite(), good)
        assert torch.allclose(found[good], expected[good], atol=1e-12)


def test_models_that_lose_what_their_base_had_right_are_asked_about_few_samples(
    bench: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(scoring_module, "FEW", 0)
    case = reached.case("cancer")
    scoring, base = scoring_of(reached.survivors(bench, case, seeds=1), case)
    asked = []

    def right(outputs: Any, targets: Any) -> None:
        asked.append(len(targets))

    scoring.good(base, base.head.rounded(base.head.weights)[None], torch.zeros(1).double())
    scoring._turning = type("Noted", (type(scoring._turning),), {"right": staticmethod(right)})()
    worse = base.head.rounded(-base.head.weights)[None]
    assert scoring.good(base, worse, torch.ones(1).double()).isnan().all()
    assert 0 < sum(asked) < len(case.select) / 3


def test_what_is_built_at_once_changes_nothing(bench: Any, monkeypatch: Any) -> None:
    case = reached.case("digits", size=60)
    survivors = reached.survivors(bench, case, seeds=3, epochs=8)
    asked = survivors._reaching(case.report, case.select, 0.05, None)
    bases = [asked.bases.base(index) for index in range(3)]
    said = torch.stack([each.outputs.argmax(1) for each in bases])
    best, found = max(asked.scores), []
    for room in (1 << 27, 8 * bases[0].head.weights.numel() * 7):
        monkeypatch.setattr(search, "CHUNK_BYTES", room)
        monkeypatch.setattr(search, "MOST_COMPARED", room)
        found.append(Reach(Classification(), said, best - 0.05, best=best).of(bases))
    assert 0 < int(found[0].as_good.sum()) < 60
    for name, of in vars(found[0]).items():
        other = getattr(found[1], name)
        assert (
            torch.allclose(of, other, rtol=1e-9, equal_nan=True)
            if of.is_floating_point()
            else (torch.equal(of, other))
        ), name
