"""Evaluating families clean and under ten interventions: the engine against the plain loop.

python -m benchmarks.evaluate [--only mlp] [--repeats 5] [--json out.json]

The plain loop takes one model after the other and makes the intervened inputs again for each: at
torch's default number of threads ("x plain"), and with one ("x one thread"). "first" is the
engine's first run, which checks forms and stacks; the other figures are of those after it. The
share of the peak is against float32 matrix products with all threads.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import pytest_multiplicity as pm
from benchmarks import common
from benchmarks.common import Case
from pytest_multiplicity.compute.devices import threads
from pytest_multiplicity.data import Data
from pytest_multiplicity.inference import Counts
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.given import frozen
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import Chain, chain

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


def engine(
    infer: Infer, family: Sequence[nn.Module], data: Data, chains: Sequence[Chain]
) -> list[list[Tensor]]:
    return [infer(family, data, under, lambda steps: None) for under in chains]


def inferring(case: Case) -> Infer:
    return Infer(CPU, Counts(), Forms(CPU, lambda structure: case.count))


def measure(case: Case, repeats: int) -> dict[str, Any]:
    data, family, chains = case.data(), models(case), interventions()
    infer = inferring(case)
    begun = time.perf_counter()
    found = engine(infer, family, data, chains)
    first = time.perf_counter() - begun
    difference = _difference(found, plain(family, data, chains))
    rows = []
    for _ in range(repeats):
        ours = common.seconds(lambda: engine(infer, family, data, chains))
        default = common.seconds(lambda: plain(family, data, chains))
        with threads(1):
            alone = common.seconds(lambda: plain(family, data, chains))
        rate = _flops(case, data, chains) / ours / 1e9
        rows.append((default / ours, alone / ours, default / first, rate))
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    return {
        "case": case.name,
        "form": "; ".join(map(str, infer.forms.used)),
        "x plain": medians[0],
        "x one thread": medians[1],
        "x plain, first": medians[2],
        "share of peak": medians[3] / common.matmuls(),  # at the end: its threads linger
        "largest difference": difference,
        **{f"MiB {name}": value for name, value in common.memory().items()},
    }


def _flops(case: Case, data: Data, chains: Sequence[Chain]) -> int:
    return case.count * case.flops_of_a_sample() * len(data) * sum(c.passes for c in chains)


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
