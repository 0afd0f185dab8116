"""How much is reachable that nobody trained, how surely, and how fast it is found.

    python -m benchmarks.reachable trials [--splits 10] [--only wine]
    python -m benchmarks.reachable large                  10,000 samples x 512 features x 10 classes

`trials` prints, over splits, the ambiguity of ten retrained seeds; the share that is reachable; the
same for models at least as good as the best; on fresh data the accuracy of the built models beside
the base's; and which share of the time of the ten retrainings it takes. "one" is the definition of
STATISTICS.md: from one of the ten alone, turned to its runner-up class, without polish. "all" is
that of `survivors.reachable`: all ten are survivors, with three runners-up each, and an answer
counts that none of the ten gives.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn import datasets
from torch import Tensor, nn

import pytest_multiplicity as pm
from benchmarks.common import options, report
from pytest_multiplicity.reach import Base, Found, OnData, Reach, head_of
from pytest_multiplicity.tasks import Classification, Ways
from pytest_multiplicity.tasks.turning import TurnClasses

SEEDS, WITHIN = 10, 0.01
LOSS = Classification().losses["cross_entropy"]
Floats = npt.NDArray[np.float64]


class Trial(NamedTuple):
    """A data set, a network, and what STATISTICS.md has of it: reachable, at least as good."""

    name: str
    data: str
    network: str
    split: int
    known: tuple[float, ...]


TRIALS = (
    Trial("digits, MLP, 600 trained on", "digits", "mlp", 0, (0.876, 0.401)),
    Trial("digits, MLP", "digits", "mlp", 1, (0.783, 0.154)),
    Trial("digits, CNN", "digits", "cnn", 2, (0.998, 0.778)),
    Trial("breast cancer, MLP", "breast_cancer", "mlp", 0, (0.298,)),
    Trial("breast cancer, MLP, again", "breast_cancer", "mlp", 1, (0.157,)),
    Trial("wine, MLP", "wine", "mlp", 0, (0.733,)),
)


class RunnerUp(TurnClasses):
    """Turns a sample to its runner-up class only."""

    def ways(self, outputs: Tensor, said: Tensor) -> Ways:
        """Return the first way."""
        found = super().ways(outputs, said)
        return Ways(found.directions, found.which[:, :1], found.amounts[:, :1])


class ToRunnerUp(Classification):
    """The task of the trials' own definition."""

    @property
    def turning(self) -> TurnClasses:
        """Turns to the runner-up."""
        return RunnerUp()


def parts(trial: Trial, split: int) -> list[pm.Data]:
    """Return training, selecting and reporting data, as the scripts of the trials drew them."""
    raw = getattr(datasets, f"load_{trial.data}")()
    scaled = (raw.data - raw.data.mean(0)) / (raw.data.std(0) + 1e-9)
    inputs = torch.tensor(raw.data / 16 if trial.data == "digits" else scaled, dtype=torch.float32)
    order = np.random.RandomState(split).permutation(len(inputs))
    n = len(inputs) // 3
    ends = [(0, n), (n, 2 * n), (2 * n, len(inputs))]
    if trial.name.endswith("600 trained on"):  # of the first script
        ends = [(0, 600), (600, 1198), (1198, len(inputs))]
    return [
        pm.Data(inputs[order[a:b]], raw.target[order[a:b]], name=name, bounds=None)
        for (a, b), name in zip(ends, ("train", "select", "report"), strict=True)
    ]


def network(kind: str, features: int, classes: int) -> nn.Sequential:
    """Return an untrained network."""
    if kind == "mlp":
        return nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, classes))
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)),
        *(nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, classes)),
    )


def trained(kind: str, data: pm.Data, seed: int) -> nn.Module:
    """Train by a plain loop, as the scripts of the trials did."""
    torch.manual_seed(seed)
    inputs, targets = data.inputs, data.targets
    model = network(kind, inputs.shape[1], int(targets.max()) + 1)
    rate, epochs = (1e-2, 60) if kind == "mlp" else (3e-3, 15)
    optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=1e-4)
    for _ in range(epochs):
        drawn = torch.randperm(len(inputs))
        for start in range(0, len(inputs), 64):
            rows = drawn[start : start + 64]
            if len(rows) > 1:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
                optimizer.step()
    return model.eval().requires_grad_(False)


def base_of(model: nn.Module, train: pm.Data, select: pm.Data, report: pm.Data) -> Base:
    """Return a model to build on, with the trials' loss: damping, and no decay."""
    head = head_of(model, report, "base")
    seen = [OnData(head.features(each), each.targets) for each in (report, select, train)]
    return Base("base", head, seen[0], seen[1], seen[2], LOSS.of_batch, LOSS.of_lanes)


def accuracy(base: Base, on: OnData) -> float:
    """Return the base's own accuracy."""
    said = (on.features.double() @ base.head.weights.T).argmax(1)
    return float((said == on.targets).double().mean())


def summary(found: Found) -> dict[str, float]:
    """Return what is reachable, and by models at least as good as the best."""
    there = found.base >= 0
    fresh = found.fresh[there]
    return {
        "reachable": float(there.double().mean()),
        "as good": float(found.as_good.double().mean()),
        "fresh": float(fresh.mean()) if len(fresh) else float("nan"),
        "fresh least": float(fresh.min()) if len(fresh) else float("nan"),
    }


def measured(trial: Trial, split: int) -> dict[str, float]:
    """Return one split's figures: from one base, and as the contract has it, of the same models."""
    data = parts(trial, split)
    begun = time.process_time()
    models = [trained(trial.network, data[0], seed) for seed in range(SEEDS)]
    retraining = time.process_time() - begun
    said = torch.stack([model(data[2].inputs).argmax(1) for model in models])
    figures = {"ambiguity": float((said != said[0]).any(0).double().mean())}
    for contract in (False, True):
        begun = time.process_time()
        bases = [base_of(model, *data) for model in (models if contract else models[:1])]
        scores = [accuracy(base, base.select) for base in bases]
        task = Classification() if contract else ToRunnerUp()
        theirs, best = (said if contract else said[:1]), max(scores)
        found = Reach(task, theirs, best - WITHIN, polish=contract, best=best).of(bases)
        seconds = time.process_time() - begun
        base = bases[int(np.argmax(scores))]
        own = {**summary(found), "base fresh": accuracy(base, base.data)}
        own["of retraining"] = seconds / retraining
        figures |= {f"{name}, {'all' if contract else 'one'}": own[name] for name in own}
    return figures


def trials(splits: int, only: str) -> list[dict[str, Any]]:
    """Return the trials, a row for each figure: of the split of STATISTICS.md, and over splits."""
    rows = []
    for trial in TRIALS:
        if only not in trial.name:
            continue
        each = []
        for split in [trial.split, *range(100, 100 + splits - 1)]:
            each.append(measured(trial, split))
            print(trial.name, split, each[-1], file=sys.stderr, flush=True)
        known = dict(zip(("reachable, one", "as good, one"), trial.known, strict=False))
        for name in each[0]:
            values = np.array([figures[name] for figures in each])
            row = {"trial": trial.name, "figure": name, "known": known.get(name, "")}
            row["first"] = f"{values[0]:.3f}"
            if splits > 1:
                row["mean"], row["deviation"] = f"{values.mean():.3f}", f"{values.std(ddof=1):.3f}"
            rows.append(row)
    return rows


def large(samples: int = 10_000, width: int = 512, classes: int = 10) -> dict[str, Any]:
    """Return time and memory of as many samples as are asked about, selected and trained on."""
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    centres = torch.randn(classes, width, generator=draw)

    def data(name: str) -> pm.Data:
        targets = torch.randint(classes, (samples,), generator=draw)
        noise = 4.5 * torch.randn(samples, width, generator=draw)
        return pm.Data(centres[targets] + noise, targets, name=name, bounds=None)

    given = [data(name) for name in ("train", "select", "report")]
    model = nn.Sequential(nn.Flatten(), nn.Linear(width, classes))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(given[0].inputs), given[0].targets).backward()
        optimizer.step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    begun = time.perf_counter()
    base = base_of(model.requires_grad_(False), *given)
    said = base.outputs.argmax(1)[None]
    score = accuracy(base, base.select)
    reach = Reach(Classification(), said, score - WITHIN)
    cpu = time.process_time()
    found = reach.of([base])
    return {
        "samples": samples,
        "seconds": time.perf_counter() - begun,
        "of all cores": time.process_time() - cpu,
        "GiB at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "GiB before": before,
        "by": "; ".join(reach.by),
        "score": score,
        **summary(found),
        "as good": float((found.score >= score - 1e-9).double().mean()),  # of those for a point
    }


def main() -> None:
    """Print what was asked for."""
    parser = options(__doc__)
    parser.add_argument("what", choices=["trials", "large"])
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--samples", type=int, default=10_000)
    given = parser.parse_args()
    ways: dict[str, Callable[[], Any]] = {
        "trials": lambda: trials(given.splits, given.only),
        "large": lambda: [large(given.samples)],
    }
    report(f"reachable: {given.what}", ways[given.what](), given.json)


if __name__ == "__main__":
    main()
