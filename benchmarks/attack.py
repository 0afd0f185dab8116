"""PGD with ten steps on families: the engine against a plain loop, and torchattacks where it is.

python -m benchmarks.attack [--only mlp] [--repeats 5] [--json out.json]

The plain loop attacks one model after the other, all samples in all steps, by ``backward``: models
as they were trained, so that weights get gradients, too ("x plain"); with ``requires_grad_(False)``
for all weights before ("x frozen"); and that with one thread. torchattacks is no dependency:
``pip install torchattacks``.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pytest_multiplicity as pm
from benchmarks import common, evaluate
from benchmarks.common import Case
from pytest_multiplicity.compute.devices import threads
from pytest_multiplicity.data import Data
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import chain

EPS, STEPS = 0.02, 10
STEP_SIZE = 2.5 * EPS / STEPS
ROWS = 512
CASES = [
    Case("mlp, K=64", common.mlp, common.digits, 64, 15, 64),
    Case("cnn + bn, K=16", common.cnn, common.digits, 16, 5, 64),
    Case("resnet, K=4", common.resnet, lambda: common.pictures(128), 4, 2, 64),
]
Attack = Callable[[Sequence[nn.Module], Data], list[float]]


def trained(case: Case) -> list[nn.Module]:
    data = case.data()
    loops = [common.plain_loop(case, data, seed, case.epochs) for seed in range(case.count)]
    return [evaluate.frozen(module, evaluate.CPU) for module in loops]


def plain(family: Sequence[nn.Module], data: Data) -> list[float]:
    """Robust accuracies by the loop everybody writes: the last iterate counts."""
    robust = []
    for module in family:
        right = []
        for rows in torch.arange(len(data)).split(evaluate.BATCH):
            clean, targets = data.take(rows), data.targets[rows]
            inputs = clean.clone()
            for _ in range(STEPS):
                inputs.requires_grad_()
                F.cross_entropy(module(inputs), targets).backward()
                moved = inputs.detach() + STEP_SIZE * inputs.grad.sign()
                inputs = clean + (moved - clean).clamp(-EPS, EPS)
                inputs = inputs.clamp(0, 1).detach()
            right.append(module(inputs).argmax(1) == targets)
        robust.append(float(torch.cat(right).double().mean()))
    return robust


def engine(infer: Infer, family: Sequence[nn.Module], data: Data) -> list[float]:
    under = chain(pm.PGD(EPS, steps=STEPS, step_size=STEP_SIZE))
    (found,) = evaluate.engine(infer, family, data, [under])
    return _accuracies(found, data.targets)


def as_trained(family: Sequence[nn.Module], data: Data) -> list[float]:
    """What the loop does where nobody thought of freezing."""
    for module in family:
        module.requires_grad_()
    try:
        return plain(family, data)
    finally:
        for module in family:
            module.requires_grad_(False)
            module.zero_grad()


def one_thread(family: Sequence[nn.Module], data: Data) -> list[float]:
    with threads(1):
        return plain(family, data)


def torchattacks_loop(family: Sequence[nn.Module], data: Data) -> list[float]:
    import torchattacks

    found = []
    for module in family:
        attack = torchattacks.PGD(module, EPS, STEP_SIZE, STEPS, random_start=False)
        rows = torch.arange(len(data)).split(evaluate.BATCH)
        adversarial = [attack(data.take(r), data.targets[r]) for r in rows]
        with torch.no_grad():
            found.append(torch.cat([module(inputs) for inputs in adversarial]))
    return _accuracies(found, data.targets)


def _accuracies(logits: Sequence[Tensor], targets: Tensor) -> list[float]:
    return [float((z.argmax(1) == targets).double().mean()) for z in logits]


def measure(case: Case, repeats: int) -> dict[str, Any]:
    whole, family = case.data(), trained(case)
    rows = torch.arange(min(ROWS, len(whole)))
    data = Data(whole.take(rows), whole.targets[rows], name=whole.name)
    ways: dict[str, Attack] = {"plain": as_trained, "frozen": plain, "one thread": one_thread}
    if importlib.util.find_spec("torchattacks"):
        ways["torchattacks"] = torchattacks_loop
    robust = {name: statistics.mean(way(family, data)) for name, way in ways.items()}
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    infer = evaluate.inferring(case)
    robust["engine"] = statistics.mean(engine(infer, family, data))
    for _ in range(repeats):
        ours = common.seconds(lambda: engine(infer, family, data))
        for name, row in ratios.items():
            row.append(common.seconds(lambda name=name: ways[name](family, data)) / ours)
    return {
        "case": case.name,
        "form": "; ".join(map(str, infer.forms.used)),
        **{f"x {name}": statistics.median(row) for name, row in ratios.items()},
        **{f"robust, {name}": value for name, value in robust.items()},
        **{f"MiB {name}": value for name, value in common.memory().items()},
    }


def main() -> None:
    chosen = common.options(__doc__.splitlines()[0]).parse_args()
    cases = [case for case in CASES if chosen.only in case.name]
    common.report("attack", [measure(case, chosen.repeats) for case in cases], chosen.json)


if __name__ == "__main__":
    main()
