"""What each way to reach samples finds, and what it takes, on five data sets.

    python -m benchmarks.reachable_ways [--images cifar10-images.tar.xz] [--only digits]
        [--ways weights] [--rows 60]

Five seeds of a small network each, a third of up to 1,200 samples to train, to select and to report
on. Ways are those of `survivors.reachable(..., how=)`; within a point. CIFAR-10 is a tar of images,
`test/CLASS/NNNN.jpg`, of which the first are taken; without it that row is left out. `--rows` asks
about so many samples alone, where a way takes long; all of the others select and train.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn import datasets
from torch import nn

import pytest_multiplicity as pm
from benchmarks.common import options, report
from pytest_multiplicity.compute import Machine
from pytest_multiplicity.design import Built
from pytest_multiplicity.evaluation import Leakage, ModelPopulation
from pytest_multiplicity.inference import Models
from pytest_multiplicity.store import LocalStore
from specs.credit import applicants
from specs.reviews import texts

WAYS = ("last layer", "dropout", "path", "weights")
SEEDS, MOST, WITHIN = 5, 1200, 0.01
Parts = list[pm.Data]


class Quiet:
    """No progress is shown."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Quiet]:
        """Show nothing."""
        yield self

    def advance(self, steps: int = 1) -> None:
        """Show nothing."""


def split(inputs: Any, targets: Any, **settings: Any) -> Parts:
    """Return training, selecting and reporting data."""
    order = np.random.default_rng(0).permutation(len(inputs))[:MOST]
    names = ("train", "select", "report")
    given = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
    return [
        pm.Data(given[rows], targets[rows], name=name, bounds=None, **settings)
        for rows, name in zip(np.array_split(order, 3), names, strict=True)
    ]


def scaled(values: Any) -> Any:
    """Return columns of mean 0 and deviation 1."""
    return (values - values.mean(0)) / (values.std(0) + 1e-9)


def digits() -> Parts:
    raw = datasets.load_digits()
    return split(raw.data / 16, raw.target)


def credit() -> Parts:
    frame, risk, _ = applicants.read()
    coded = pd.get_dummies(frame, dummy_na=True).fillna(0).to_numpy(dtype=float)
    return split(scaled(coded), pd.factorize(risk, sort=True)[0])


def reviews() -> Parts:
    drawn = pd.DataFrame(texts.write(MOST))
    bags = np.zeros((len(drawn), 512))
    for row, text in enumerate(drawn["text"]):
        for word in text.lower().split():
            bags[row, zlib.crc32(word.encode()) % 512] += 1
    return split(bags, pd.factorize(drawn["opinion"], sort=True)[0])


def diabetes() -> Parts:
    raw = datasets.load_diabetes()
    values = scaled(raw.target).astype("float32")
    return split(scaled(raw.data), values, tolerance=0.8)


def images(path: Path) -> Parts:
    from torchvision.io import decode_image

    found: dict[str, list[Any]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            folders = member.name.split("/")
            if member.isfile() and folders[0] == "test" and len(found.get(folders[1], [])) < 120:
                content = io.BytesIO(tar.extractfile(member).read())  # type: ignore[union-attr]
                picture = decode_image(torch.frombuffer(content.getbuffer(), dtype=torch.uint8))
                found.setdefault(folders[1], []).append(picture)
    pictures = torch.stack([each for name in sorted(found) for each in found[name]]) / 255
    labels = np.concatenate([[i] * len(found[name]) for i, name in enumerate(sorted(found))])
    return split(pictures, labels)


def network(data: pm.Data) -> nn.Module:
    outputs = 1 if data.task.name == "regression" else int(data.targets.max()) + 1
    if len(data.shape) == 1:
        return nn.Sequential(nn.Linear(data.shape[0], 32), nn.ReLU(), nn.Linear(32, outputs))
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, outputs)),
    )


def measured(
    name: str, parts: Parts, ways: Sequence[str], rows: int | None
) -> Iterator[dict[str, Any]]:
    """Yield a row for each way."""
    train, select, whole = parts
    settings = {"tolerance": 0.8} if whole.task.name == "regression" else {}
    asked = pm.Data(
        whole.inputs[:rows], whole.targets[:rows], name=whole.name, bounds=None, **settings
    )

    def recipe(config: Any) -> pm.Recipe:
        return pm.Recipe(
            lambda: network(train), train, epochs=20, batch_size=32, optimizer="adam", lr=0.005
        )

    with tempfile.TemporaryDirectory() as folder, LocalStore(Path(folder)) as store:
        definition = Built(recipe, {"net": "small"}, {}, SEEDS, "star", None)
        design = definition.design(None)
        made = [recipe(config) for config in design.configs]
        machine = Machine(torch.device("cpu"), store, Quiet())
        models = Models(name, definition, design, made, machine=machine, run_id="run")
        population = ModelPopulation(models, {}, Leakage(store, print))
        survivors = pm.Survivors(population, range(SEEDS))
        ambiguity = survivors.ambiguity(asked)
        for how in ways:
            begun = time.process_time()
            frame = survivors.reachable(asked, select, WITHIN, how=how)
            there = frame[frame.reachable]
            yield {
                "data": name,
                "how": how,
                "samples": len(asked),
                "arbitrary": ambiguity,
                "reachable": frame.reachable.mean(),
                "median loss": there.cost.median(),
                "fresh": there.fresh.mean(),
                "seconds": time.process_time() - begun,
                "by": frame.attrs["solved by"],
            }


def main() -> None:
    """Print a table."""
    parser = options(__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--rows", type=int)
    given = parser.parse_args()
    sets: dict[str, Callable[[], Parts]] = {
        each.__name__: each for each in (digits, credit, reviews, diabetes)
    }
    if given.images:
        sets["CIFAR-10"] = lambda: images(given.images)
    chosen = {name: make for name, make in sets.items() if given.only in name}
    found = (measured(name, make(), given.ways, given.rows) for name, make in chosen.items())
    rows = [row for each in found for row in each]
    report("ways to reach samples", rows, given.json)


if __name__ == "__main__":
    main()
