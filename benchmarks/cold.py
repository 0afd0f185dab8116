"""A cold run of `specs/digits` to a script of one's own that trains and measures as much.

python -m benchmarks.cold [--repeats 3] [--json out.json]

The script is one process: it trains the study's networks one after the other by the plain loop, and
measures each where the study's specifications do, with as many distortions as their searches look
at. It judges, compares and reports nothing. It runs at torch's default number of threads, and with
one, which no other job slows down. Seconds by the clock, imports included; three runs in turn.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import common

STUDY = Path(__file__).parents[1] / "specs" / "digits"
IMPORTS = "import pandas, sklearn.datasets, torch, torchvision.transforms.v2"
SCRIPT = "from benchmarks.cold import script; print(script())"


@dataclass(frozen=True)
class Network:
    """A configuration that the study trains, and how many seeds of it."""

    seeds: int
    lr: float = 0.1
    batch_size: int = 32
    optimizer: str = "sgd"
    width: int = 16
    epochs: int = 10


CANDIDATES = [
    *(Network(5), Network(5, lr=0.05), Network(5, lr=0.01), Network(5, batch_size=64)),
    *(Network(5, batch_size=128), Network(5, lr=0.01, optimizer="adam"), Network(5, width=32)),
]
SOURCES = [Network(11)]
MONTHLY = [Network(9), Network(9, lr=0.01), Network(9, width=32)]
PRODUCTION = [Network(1, epochs=12)]
NETWORKS = sum(each.seeds for each in (*CANDIDATES, *SOURCES, *MONTHLY, *PRODUCTION))


def script() -> int:
    """Do what the study does by hand; return how many networks were trained."""
    import torch
    from torchvision.transforms import v2

    spec = importlib.util.spec_from_file_location("digits_study", STUDY / "conftest.py")
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    digits = study.digits.__wrapped__()
    noise = torch.Generator().manual_seed(0)

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=noise))

    def noisy(inputs: Any, scale: float) -> Any:
        return (inputs + scale * torch.randn(inputs.shape, generator=noise)).clamp(0, 1)

    def distorted(inputs: Any, angle: float = 0.0, scale: float = 1.0, shear: float = 0.0) -> Any:
        bilinear = v2.InterpolationMode.BILINEAR
        return v2.functional.affine(inputs, angle, [0, 0], scale, [shear, 0], bilinear)

    def seen() -> Iterator[Any]:  # what a candidate is asked about, but for attacks
        inputs = digits.select.inputs
        yield inputs
        yield from (v2.functional.rotate(inputs, draw(-15, 15)) for _ in range(15))
        yield from (distorted(inputs, angle=angle) for angle in (-10, 10))
        yield from (distorted(inputs, scale=scale) for scale in (0.93, 1.07))
        yield from (distorted(inputs, shear=shear) for shear in (-8, 8))
        for _ in range(20):
            yield distorted(inputs, draw(-10, 10), draw(0.93, 1.07), draw(-8, 8))
        yield digits.report.inputs
        yield noisy(digits.report.inputs, 0.1)

    families = {
        "candidate": _trained(study, digits.train, CANDIDATES),
        "source": _trained(study, digits.train, SOURCES),
        "monthly": _trained(study, digits.train, MONTHLY),
        "production": _trained(study, digits.train, PRODUCTION),
    }
    for module in families["candidate"]:
        for inputs in seen():
            _answers(module, inputs)
        _attacked(module, digits.select, 0.05)
        _attacked(module, digits.report, 0.1)
    for module in families["source"]:
        _answers(module, digits.report.inputs)
        _attacked(module, digits.report, 0.1)
    for module in (*families["monthly"], *families["production"]):
        for data in (digits.select, digits.report):
            _answers(module, data.inputs)
    return sum(map(len, families.values()))


def _trained(study: Any, data: Any, networks: Sequence[Network]) -> list[Any]:
    import torch
    from torch.nn import functional as F

    made = []
    for network in networks:
        for seed in range(network.seeds):
            torch.manual_seed(seed)
            module = study.small_cnn(network.width)
            if network.optimizer == "adam":
                optimizer = torch.optim.Adam(module.parameters(), lr=network.lr)
            else:
                optimizer = torch.optim.SGD(module.parameters(), lr=network.lr, momentum=0.9)
            steps = network.epochs * -(-len(data) // network.batch_size)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for _ in range(network.epochs):
                for rows in torch.randperm(len(data)).split(network.batch_size):
                    loss = F.cross_entropy(module(data.inputs[rows]), data.targets[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
            made.append(module.eval())
    return made


def _answers(module: Any, inputs: Any) -> Any:
    import torch

    with torch.no_grad():
        return torch.cat([module(batch) for batch in inputs.split(256)]).argmax(1)


def _attacked(module: Any, data: Any, eps: float, steps: int = 10) -> Any:
    import torch
    from torch.nn import functional as F

    fooled = []
    for rows in torch.arange(len(data)).split(256):
        clean, targets = data.inputs[rows], data.targets[rows]
        inputs = clean.clone()
        for _ in range(steps):
            inputs.requires_grad_()
            F.cross_entropy(module(inputs), targets).backward()
            moved = inputs.detach() + 2.5 * eps / steps * inputs.grad.sign()
            inputs = (clean + (moved - clean).clamp(-eps, eps)).clamp(0, 1).detach()
        fooled.append(module(inputs).argmax(1) != targets)
    return torch.cat(fooled)


def once(folder: Path, repeat: int) -> tuple[common.Spent, ...]:
    """Return what the study, the script and the script with one thread took, in turn."""
    store = ["--multiplicity-store", str(folder / f"store{repeat}")]
    given = ["-q", "-p", "no:cacheprovider", *store, str(STUDY)]
    study = common.pytest_run(given, folder / "bytecode")
    if " passed" not in study.said or " failed" in study.said or " error" in study.said:
        raise RuntimeError(study.said)
    scripts = []
    for first in ("", "import torch; torch.set_num_threads(1); "):
        spent = common.command([sys.executable, "-c", first + SCRIPT], folder / "bytecode")
        if not spent.said.endswith(f"{NETWORKS}"):
            raise RuntimeError(spent.said)
        scripts.append(spent)
    return study, *scripts


def main() -> None:
    chosen = common.options(__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as name:
        for first in (["-m", "pytest", "-q", "--co", str(STUDY)], ["-c", IMPORTS]):
            common.command([sys.executable, *first], Path(name, "bytecode"))  # which users have
        turns = [once(Path(name), repeat) for repeat in range(chosen.repeats)]
    ours, default, alone = ([each[way] for each in turns] for way in range(3))
    rows = [
        {
            "script": threads,
            "networks": NETWORKS,
            "script s": statistics.median(each.seconds for each in script),
            "pytest s": statistics.median(each.seconds for each in ours),
            "x script": statistics.median(
                theirs.seconds / each.seconds for theirs, each in zip(script, ours, strict=True)
            ),
            "script, processor s": statistics.median(each.processor for each in script),
            "pytest, processor s": statistics.median(each.processor for each in ours),
            "load": round(os.getloadavg()[0], 1),
        }
        for threads, script in (("default threads", default), ("one thread", alone))
    ]
    common.report("cold specs/digits, to a script of one's own", rows, chosen.json)


if __name__ == "__main__":
    main()
