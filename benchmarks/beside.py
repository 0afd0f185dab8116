"""200 candidates beside three incumbents on 10,000 samples, with groups and intervals: how long?

    python -m benchmarks.beside [--candidates 200] [--samples 10000]

Everything but the answers themselves, which are there as in a warm run: flips, churn and gain of
every candidate against every incumbent, on the whole data set and on two groups; their intervals
and the records that reports are made of; `not_worse_than`; gaps between groups with intervals and
floors. Goal: under 5 s and 1 GB on two cores.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.compute import Machine
from pytest_multiplicity.design import Built, Standing
from pytest_multiplicity.evaluation import Incumbent, Leakage, ModelPopulation
from pytest_multiplicity.inference import Models
from pytest_multiplicity.store import LocalStore

CLASSES = 10


class Quiet:
    """Shows no progress."""

    def task(self, description: str, total: int) -> Any:
        return self

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        pass


def labels(samples: int, seed: int) -> torch.Tensor:
    """Labels that are right about nine in ten, errors on common samples."""
    rng, hard = np.random.default_rng(seed), np.random.default_rng(0).random(samples)
    truth = np.arange(samples) % CLASSES
    wrong = hard + rng.normal(0, 0.15, samples) > 0.97
    return torch.tensor(np.where(wrong, (truth + 1 + seed % 3) % CLASSES, truth))


def says(answers: torch.Tensor) -> Any:
    """A model that looks its answers up by the row number it gets."""

    def model(batch: torch.Tensor) -> torch.Tensor:
        return answers[batch[:, 0].long()]

    model.fingerprint = f"says {hash(answers.numpy().tobytes())}"  # type: ignore[attr-defined]
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--samples", type=int, default=10_000)
    given = parser.parse_args()
    torch.set_num_threads(2)
    rng, n = np.random.default_rng(1), given.samples
    frame = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "age": rng.integers(0, 4, n)})
    inputs = torch.arange(n, dtype=torch.float32)[:, None]
    data = pm.Data(inputs, torch.arange(n) % CLASSES, frame, name="test")
    definition = Built(
        lambda config: says(labels(n, config.seed + 1)), {"width": 1}, {}, given.candidates, "star"
    )
    with tempfile.TemporaryDirectory() as folder, LocalStore(Path(folder)) as store:
        machine = Machine(torch.device("cpu"), store, Quiet())
        design = definition.design(None)
        made = [definition.function(config) for config in design.configs]
        models = Models("candidate", definition, design, made, machine=machine, run_id="run")
        family = ModelPopulation(models, {}, Leakage(store, print))
        incumbents = [_incumbent(f"incumbent{i}", n, -7 - i, machine) for i in range(3)]
        candidate = family.candidates[0]
        candidate.accuracy(data)  # the answers are there, as in a warm run
        for each in incumbents:
            each.accuracy(data)
        begun = time.process_time()
        _everything(family, incumbents, data)
        seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{given.candidates} candidates x {n:,} samples x 3 incumbents: {seconds:.1f} s of CPU, "
          f"{peak:.2f} GB at most in all (goal: 5 s, 1 GB)")  # fmt: skip


def _incumbent(name: str, samples: int, seed: int, machine: Machine) -> Incumbent:
    def production() -> Any:
        return says(labels(samples, abs(seed)))

    production.__name__ = name
    definition = Standing.of(production)
    models = Models(
        name, definition, definition.design(), [production()], machine=machine, run_id="run"
    )
    return Incumbent(name, models)


def _everything(family: ModelPopulation, incumbents: list[Incumbent], data: pm.Data) -> None:
    begun = time.process_time()
    for incumbent in incumbents:
        for under in (None, pm.Group("sex == 'f'"), pm.Group("age == 3")):
            for candidate in family.candidates:
                for score in (
                    candidate.flips(incumbent, data, under),
                    candidate.churn(incumbent, data, under),
                    candidate.gain(incumbent, data, under),
                ):
                    score.interval()
            score.metric.record()
    print(f"  flips, churn, gain with intervals: {time.process_time() - begun:.1f} s")
    begun = time.process_time()
    for candidate in family.candidates:
        for incumbent in incumbents:
            bool(candidate.accuracy(data).not_worse_than(incumbent, by=0.005))
    print(f"  not worse than: {time.process_time() - begun:.1f} s")
    begun = time.process_time()
    for by in ("sex", ["sex", "age"]):
        for candidate in family.candidates:
            score = candidate.gap(data, by=by)
            score.interval()
        score.metric.record()
    print(f"  gaps with intervals and floors: {time.process_time() - begun:.1f} s")


if __name__ == "__main__":
    main()
