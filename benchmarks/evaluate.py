"""Evaluating families clean and under ten interventions: the engine against the plain loop.

python -m benchmarks.evaluate [--only mlp] [--repeats 5] [--json out.json]

The plain loop takes one model after the other at torch's default number of threads and makes the
intervened inputs again for each. "fused" is `training.fused.stack` over inputs that are made once.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import pytest_multiplicity as pm
from benchmarks import common
from benchmarks.common import Case
from pytest_multiplicity.data import Data
from pytest_multiplicity.evaluation.inference import Infer, frozen
from pytest_multiplicity.evaluation.work import Work
from pytest_multiplicity.interventions import Chain, chain
from pytest_multiplicity.training.fused import stack

CPU = torch.device("cpu")
BATCH = 256
CASES = [
    Case("mlp, K=64", common.mlp, common.digits, 64, 1, BATCH),
    Case("cnn + bn, K=16", common.cnn, common.digits, 16, 1, BATCH),
    Case("resnet, K=4", common.resnet, common.pictures, 4, 1, BATCH),
]


def interventions() -> list[Chain]:
    steps = [pm.InputNoise(scale) for scale in (0.02, 0.05, 0.1)]
    steps += [pm.Corrupt(v2.functional.rotate, angle=angle) for angle in (-15, -5, 5, 15)]
    steps += [pm.Corrupt(v2.functional.gaussian_blur, kernel_size=size) for size in (3, 5)]
    steps += [pm.Corrupt(v2.functional.adjust_brightness, brightness_factor=0.8)]
    return [chain(None), *map(chain, steps)]


def models(case: Case) -> list[nn.Module]:
    made = []
    for seed in range(case.count):
        torch.manual_seed(seed)
        made.append(frozen(case.model(), CPU))
    return made


def batches(data: Data, under: Chain) -> list[Tensor]:
    inputs = []
    for rows in torch.arange(len(data)).split(BATCH):
        batch = data.take(rows)
        for step in under.inputs:
            batch = step.apply(batch, rows, data)
        inputs.append(batch)
    return inputs


@torch.no_grad()
def plain(family: Sequence[nn.Module], data: Data, chains: Sequence[Chain]) -> list[list[Tensor]]:
    return [
        [torch.cat([module(batch) for batch in batches(data, under)]) for module in family]
        for under in chains
    ]


def engine(family: Sequence[nn.Module], data: Data, chains: Sequence[Chain]) -> list[list[Tensor]]:
    infer = Infer(CPU, Work())
    return [infer(family, data, under, lambda steps: None) for under in chains]


@torch.no_grad()
def fused(family: Sequence[nn.Module], data: Data, chains: Sequence[Chain]) -> list[list[Tensor]]:
    together = stack(family)
    return [
        list(torch.cat([together.shared(batch) for batch in batches(data, under)], 1))
        for under in chains
    ]


def measure(case: Case, repeats: int) -> dict[str, Any]:
    data, family, chains = case.data(), models(case), interventions()
    ways = {"plain": plain, "engine": engine, "fused": fused}
    found = {name: way(family, data, chains) for name, way in ways.items()}
    rows = []
    for _ in range(repeats):
        spent = {n: common.seconds(lambda w=w: w(family, data, chains)) for n, w in ways.items()}
        rows.append((spent["plain"] / spent["engine"], spent["plain"] / spent["fused"]))
    ours, together = (statistics.median(column) for column in zip(*rows, strict=True))
    return {
        "case": case.name,
        "x plain, engine": ours,
        "x plain, fused": together,
        "largest difference": max(
            _difference(found["plain"], found[n]) for n in ("engine", "fused")
        ),
        **{f"MiB {name}": value for name, value in common.memory().items()},
    }


def _difference(one: list[list[Tensor]], other: list[list[Tensor]]) -> float:
    pairs = [
        (a, b) for row, line in zip(one, other, strict=True) for a, b in zip(row, line, strict=True)
    ]
    return max(float((a - b).abs().max()) for a, b in pairs)


def main() -> None:
    chosen = common.options(__doc__.splitlines()[0]).parse_args()
    cases = [case for case in CASES if chosen.only in case.name]
    common.report("evaluate", [measure(case, chosen.repeats) for case in cases], chosen.json)


if __name__ == "__main__":
    main()
