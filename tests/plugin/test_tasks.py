"""A family for each task, from training to every report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FAMILIES = """
    import numpy as np
    import pandas as pd
    import pytest
    import torch
    from torch import nn

    import pytest_multiplicity as pm
    from pytest_multiplicity.evaluation import measure

    measure.NOISE_CALLS = 1  # in workers, too

    def inputs(n, seed):
        return torch.rand(n, 4, generator=torch.Generator().manual_seed(seed))

    def part(of, seed, name, **more):
        x = inputs(40, seed)
        return pm.Data(x, of(x), pd.DataFrame({"row": range(40)}), name=name, **more)

    def named(x):
        return ["high" if each else "low" for each in x[:, 0] > 0.5]

    def value(x):
        return x.sum(1) * 10

    def labels(x):
        return (x[:, :3] > 0.5).long()

    def mask(x):
        found = (x[:, :3] > 0.5).long() + (x[:, 1:] > 0.5).long()
        found[0, 0] = -100
        return found

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(4, 9)

        def forward(self, x):
            return self.line(x).reshape(-1, 3, 3)

    def family(of, net, **more):
        name = of.__name__
        train, test = part(of, 1, f"{name}-train", **more), part(of, 2, f"{name}-test", **more)

        def recipe(config):
            return pm.Recipe(net, train, epochs=3, batch_size=20, lr=config.lr, optimizer="adam")

        made = pm.family(default={"lr": 0.05}, vary={"lr": [0.01]}, seeds=2)(recipe)
        return made, test

    class Flat(nn.Sequential):
        def forward(self, x):
            return super().forward(x).squeeze(1)

    names, names_test = family(named, lambda: nn.Linear(4, 1))
    values, values_test = family(value, lambda: Flat(nn.Linear(4, 1)), tolerance=2)
    several, several_test = family(labels, lambda: nn.Linear(4, 3))
    masks, masks_test = family(mask, Tagger)

    @pm.family(default={"lr": 1}, seeds=2)
    def unknown(config):
        return lambda x: x @ torch.rand(4, 3, generator=torch.Generator().manual_seed(config.seed))

    blank = pm.Data(inputs(40, 3), None, name="blank")

    def pytest_configure(config):
        pytest.tests = {"names": names_test, "values": values_test, "several": several_test,
                        "masks": masks_test, "blank": blank}
"""
SPECS = """
    import numpy as np
    import pytest
    import pytest_multiplicity as pm

    tests = pytest.tests

    def dim(x):
        return x * 0.9

    def same(candidate, name):
        data, under = tests[name], pm.Corrupt(dim)
        one, other = candidate.predictions(data), candidate.predictions(data, under=under)
        apart = (one - other).abs() > 2 if name == "values" else one != other
        if name == "several":
            apart = apart.any(1)
        if name == "masks":
            apart = apart[data.targets != -100]
        share = candidate.consistency(data, under=under)
        assert abs(share - (1 - apart.double().mean())) < 1e-6

    def test_names(names):
        score = names.accuracy(tests["names"])
        assert score >= 0.0
        names.accuracy(tests["names"].where("row < 20"), under=pm.OutputNoise(1))
        names.accuracy(tests["names"], under=pm.PGD(0.01))
        names.accuracy(tests["names"], under=pm.Corrupt(dim))
        same(names, "names")
        assert 0 <= names.measure("auroc", tests["names"]) <= 1

    def test_values(values):
        score = values.accuracy(tests["values"])
        assert score.within(1.0)
        low, high = score.interval()
        assert low <= score <= high
        loose = values.accuracy(tests["values"], tolerance=1000)
        assert loose == 1.0 and "within 1000 on value-test" in loose.metric.name
        values.measure("mae", tests["values"])
        values.accuracy(tests["values"].where("row < 20"), under=pm.Corrupt(dim))
        same(values, "values")
        assert values.predictions(tests["values"]).is_floating_point()
        assert values.accuracy(tests["values"]).beyond_doubt >= 0.0

    def test_several(several):
        assert several.accuracy(tests["several"]) >= 0
        several.accuracy(tests["several"].where("row < 20"), under=pm.Corrupt(dim))
        same(several, "several")
        assert 0 <= several.measure("f1", tests["several"]) <= 1

    def test_masks(masks):
        score = masks.accuracy(tests["masks"])
        assert score >= 0 and score.design_effect > 0
        assert score.beyond_doubt.within(1)
        assert score.beyond_doubt >= 0.0
        masks.accuracy(tests["masks"].where("row < 20"), under=pm.Corrupt(dim))
        same(masks, "masks")
        assert 0 <= masks.measure("iou", tests["masks"]) <= 1

    def test_blank(unknown):
        unknown.consistency(tests["blank"], under=pm.InputNoise(0.1))

    @pytest.mark.family("names")
    def test_names_gate(survivors):
        data = tests["names"]
        found = survivors.conflicts(data)
        assert set(found["target"]) <= {"low", "high"}
        assert len(survivors.viable_prediction_range(data, label="high")) == 40
        assert survivors.ensemble().accuracy(data) >= 0

    @pytest.mark.family("values")
    def test_values_gate(survivors):
        data = tests["values"]
        said = np.stack([each.predictions(data) for each in survivors])
        apart = (said.max(0) - said.min(0) > 2)
        assert survivors.ambiguity(data) == apart.mean()
        assert survivors.conflicts(data).index.tolist() == np.flatnonzero(apart).tolist()
        limits = survivors.viable_prediction_range(data)
        assert np.allclose(limits["high"] - limits["low"], said.max(0) - said.min(0))
        assert survivors.ensemble().predictions(data).shape == (40,)
        survivors.discrepancy(data, baseline=survivors[0])
        with pytest.raises(Exception, match="need logits of classes"):
            survivors.rashomon_capacity(data)

    @pytest.mark.family("several")
    def test_several_gate(survivors):
        data = tests["several"]
        by = survivors.ambiguity_by_label(data)
        assert by.max() <= survivors.ambiguity(data) <= by.sum()
        assert len(survivors.rashomon_capacity(data)) == 40
        survivors.conflicts(data), survivors.score_variance(data, label=1)
        assert survivors.ensemble().accuracy(data) >= 0

    @pytest.mark.family("masks")
    def test_masks_gate(survivors):
        data = tests["masks"]
        said = np.stack([each.predictions(data) for each in survivors])
        counted = data.targets.numpy() != -100
        assert survivors.ambiguity(data) == (said != said[0]).any(0)[counted].mean()
        assert len(survivors.self_consistency(data)) == 40
        assert len(survivors.viable_prediction_range(data)) == 40
        assert (survivors.conflicts(data)["divided"] > 0).all()
        assert survivors.ensemble().accuracy(data) >= 0

    @pytest.mark.family("unknown")
    def test_blank_gate(survivors):
        data = tests["blank"]
        assert 0 <= survivors.ambiguity(data) <= 1
        with pytest.raises(Exception, match="accuracy needs targets"):
            survivors[0].accuracy(data)
        survivors.conflicts(data)
"""
OUTPUTS = ["html", "markdown", "export", "lock"]


def run(pytester: pytest.Pytester, *more: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    reports = [f"--multiplicity-{kind}=out.{kind}" for kind in OUTPUTS]
    result = pytester.runpytest("--multiplicity-json=out.json", *reports, "-rA", *more)
    return result, json.loads(Path("out.json").read_text())


@pytest.mark.usefixtures("few_exchanges")
def test_every_task_goes_all_the_way(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(FAMILIES)
    pytester.makepyfile(test_tasks=SPECS)
    result, told = run(pytester, "--multiplicity-update-lock")
    assert result.ret == 0, result.stdout.str()
    families = {each["name"]: each for each in told["families"]}
    assert {each["outcome"] for each in told["gates"]} == {"passed"}
    on = {name: {row["metric"] for row in each["predictive"]} for name, each in families.items()}
    usual = {"ambiguity", "discrepancy", "disagreement"}
    assert usual | {"rashomon_capacity", "viable_prediction_range"} <= on["names"]
    assert usual | {"viable_prediction_range", "score_variance"} <= on["values"]
    assert "rashomon_capacity" not in on["values"]
    assert usual | {"ambiguity of 0", "ambiguity of 2", "rashomon_capacity"} <= on["several"]
    assert usual | {"rashomon_capacity"} <= on["masks"]
    assert usual | {"rashomon_capacity"} <= on["unknown"]
    page = Path("out.html").read_text()
    assert "values differ that are more than 2 apart" in page
    assert "in the unit of the target" in page
    assert "subset accuracy" in page
    assert "design effect" in page

    again, warm = run(pytester)
    assert again.ret == 0, again.stdout.str()
    assert warm["families"][0]["predictive"] == told["families"][0]["predictive"]

    result, spread = run(pytester, "-n2")  # workers say the same
    assert result.ret == 0, result.stdout.str()
    for one, other in zip(told["families"], spread["families"], strict=True):
        assert one["predictive"] == other["predictive"]
        assert one["sheets"] == other["sheets"]


LACKING = """
    import numpy as np
    import pytest
    import torch
    import pytest_multiplicity as pm

    data = pm.Data(torch.rand(6, 2), [0.5, 1, 2, 3, 4, 5], name="plain")

    @pm.family(default={"lr": 1}, seeds=2)
    def candidate(config):
        return lambda x: x.sum(1, keepdim=True)

    def test_measured(candidate):
        assert candidate.measure("mae", data) >= 0

    def test_accuracy(candidate):
        candidate.accuracy(data)

    def test_noise(candidate):
        candidate.accuracy(data, under=pm.OutputNoise(1), tolerance=1)

    def test_attack(candidate):
        candidate.accuracy(data, under=pm.PGD(0.1), tolerance=1)

    def test_shape(candidate):
        wrong = pm.Data(torch.rand(6, 2), torch.rand(6, 3), name="wide")
        candidate.measure("mae", wrong)

"""
GATE = (
    LACKING[: LACKING.index("    def test_accuracy")]
    + """
    def test_gate(survivors):
        assert (survivors.viable_prediction_range(data)["low"] >= 0).all()
        survivors.ambiguity(data)
"""
)


def test_what_values_lack_is_said_with_a_remedy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LACKING)
    result = pytester.runpytest("--multiplicity-json=out.json")
    text = result.stdout.str()
    assert "accuracy of values needs a tolerance: say pm.Data(..., tolerance=...)" in text
    for name in ("OutputNoise(1)", "PGD(0.1)"):
        assert (
            f"{name} acts on the logits of one class for each sample, and 'plain' is for reg"
            in text
        )
    assert "whose targets have shape (6, 3): return values [batch, 3]" in text


def test_values_without_a_tolerance_have_a_range_and_no_ambiguity(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(GATE)
    result = pytester.runpytest()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines("*disagreement of values needs a tolerance*")


ONE_CLASS = """
    import torch
    import pytest_multiplicity as pm

    data = pm.Data(torch.rand(6, 2), ["only"] * 6, name="plain")

    @pm.family(default={"lr": 1}, seeds=2)
    def candidate(config):
        return lambda x: x - 2

    def test_accuracy(candidate):
        assert candidate.accuracy(data) >= 0
"""


def test_targets_of_one_class_are_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ONE_CLASS)
    result = pytester.runpytest()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines("*all 6 targets of 'plain' are only: whoever always says*")
