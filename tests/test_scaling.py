"""The page on scale says what the model of the cost says, and the model is of the right shape."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        return importlib.import_module("benchmarks.cost")


def test_the_page_has_the_tables_of_the_model(model):
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    for table in model.tables().split("\n\n"):
        assert table.strip() in page


def test_measured_seconds_stand_beside_what_the_model_predicts_now(model):
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) MLPs \| ([\d.]+) s \| ([\d.]+) s \|", page, re.MULTILINE)
    assert len(rows) >= 2
    for count, measured, predicted in rows:
        cost = model.cost(model.DIGITS, model.machines()[0], int(count))
        in_all = 4 * cost.computing + cost.judging  # processor time of four cores
        assert float(predicted) == pytest.approx(in_all, abs=0.06)
        assert 0.5 < float(measured) / in_all < 2


def test_costs_grow_with_the_family_and_fall_with_the_machine(model):
    laptop, gpu, cluster = model.machines()
    for study in (model.DIGITS, model.RESNET):
        ten, thousand = (model.cost(study, gpu, count) for count in (10, 1000))
        assert thousand.computing == pytest.approx(100 * ten.computing)
        assert thousand.storage == 100 * ten.storage
        assert thousand.dollars == pytest.approx(100 * ten.dollars)
        seconds = [model.cost(study, each, 1000).computing for each in (laptop, gpu, cluster)]
        assert seconds == sorted(seconds, reverse=True)
    assert model.cost(model.RESNET, cluster, 1).computing > seconds[1] / 1000


def test_the_operations_are_those_that_torch_counts(model):
    from benchmarks import common  # beside the model

    case = common.Case("MLP", common.mlp, common.digits, 1, 1, 64)
    counted = case.flops() / 64  # the first layer needs no gradient of its input
    forward = model.DIGITS.forward
    assert 2.4 * forward < counted <= 3 * forward
    parameters = sum(p.numel() for p in common.mlp().parameters())
    assert parameters == model.DIGITS.parameters
