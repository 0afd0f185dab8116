"""Training families: the engine against the plain loop and against one-thread processes.

python -m benchmarks.train [--only mlp] [--repeats 3] [--contended] [--agreement] [--json out.json]

Figures are medians of ratios that were measured side by side. "whole" counts everything, also
starting processes and probing; "steady" is the rate once training runs. The plain loop runs a few
candidates at torch's default number of threads (OMP_NUM_THREADS), and is scaled to all.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from benchmarks import common
from benchmarks.common import Case
from pytest_multiplicity.compute.cores import available_cores
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.compute.workers import Workers
from pytest_multiplicity.data import Data
from pytest_multiplicity.store import LocalStore
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.jobs import Job, Trained
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.seeds import Seeds

CASES = [
    Case("mlp, digits, K=64", common.mlp, common.digits, 64, 60, 64),
    Case("cnn + bn, digits, K=64", common.cnn, common.digits, 64, 20, 64),
    Case("resnet, 32x32, K=8", common.resnet, common.pictures, 8, 20, 128),
    Case("resnet, 32x32, K=8, bf16", common.resnet, common.pictures, 8, 20, 128, "bf16"),
    Case("mlp, digits, K=1", common.mlp, common.digits, 1, 60, 64),
    Case("cnn + bn, digits, K=1", common.cnn, common.digits, 1, 10, 64),
    Case("resnet, 32x32, K=1", common.resnet, common.pictures, 1, 4, 128),
]
SAMPLED = 2  # candidates that the plain loop trains; the others would take as long


class Clock:
    """A progress that knows the rate of steps between its first and its last move."""

    def __init__(self) -> None:
        self.moves: list[tuple[float, int]] = []

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Clock]:
        yield self

    def advance(self, steps: int = 1) -> None:
        done = self.moves[-1][1] if self.moves else 0
        self.moves.append((time.perf_counter(), done + steps))

    def rate(self) -> float:
        (begun, first), (ended, last) = self.moves[0], self.moves[-1]
        return (last - first) / (ended - begun) if ended > begun else float("nan")


def jobs_of(case: Case, data: Data, count: int) -> list[Job]:
    recipe = Recipe(
        case.model,
        data,
        epochs=case.epochs,
        batch_size=case.batch_size,
        lr=common.LR,
        precision=case.precision,
    )
    return [Job(f"seed{i}", f"{i:032x}", recipe, Seeds(i, i, i, i)) for i in range(count)]


def engine(case: Case, data: Data, store: LocalStore) -> tuple[float, float, str]:
    """Seconds in all, candidate-steps a second once it runs, and the plan."""
    clock, plans = Clock(), []
    start = time.perf_counter()
    jobs = jobs_of(case, data, case.count)
    cpu = torch.device("cpu")
    for _ in train(jobs, Machine(cpu, store, clock), on_plan=plans.extend):
        pass
    return time.perf_counter() - start, clock.rate(), common.describe(plans)


def measure(case: Case, repeats: int) -> dict[str, Any]:
    data = case.data()
    steps = case.epochs * -(-len(data) // case.batch_size)
    sampled = min(SAMPLED, case.count)
    rows = []
    with Workers(available_cores()) as workers, tempfile.TemporaryDirectory() as folder:
        peak = common.peak_gflops(workers)
        store = LocalStore(Path(folder))
        for repeat in range(repeats):
            plain = common.seconds(
                lambda: [
                    common.plain_loop(case, data, seed, case.epochs) for seed in range(sampled)
                ]
            )
            plain *= case.count / sampled
            rival = common.seconds(partial(_rival, case, data, workers))
            whole, rate, plan = engine(case, data, store)
            steady = steps * case.count / rate
            rows.append((plain / whole, plain / steady, rival / steady, rival / whole, rate))
            ours = f"engine {whole:.1f} s ({steady:.1f} s steady)"
            rivals = f"plain {plain:.1f} s, one-thread processes {rival:.1f} s"
            print(f"  {case.name} {repeat}: {rivals}, {ours}")
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    return {
        "case": case.name,
        "plan": plan,
        "x plain, whole": medians[0],
        "x plain, steady": medians[1],
        "x processes, steady": medians[2],
        "x processes, whole": medians[3],
        "share of peak": medians[4] * case.flops() / (peak * 1e9),
        **{f"MiB {name}": value for name, value in common.memory().items()},
    }


def _rival(case: Case, data: Data, workers: Workers) -> None:
    """One-thread processes that are there already: their start is not counted against them."""
    loops = [partial(common.plain_loop, case, data, i, case.epochs) for i in range(case.count)]
    common.in_workers(loops, workers)


def contended(case: Case) -> dict[str, Any]:
    """The engine's rate beside another job of four threads, as a share of its rate alone."""
    data = case.data()
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        _, alone, _ = engine(case, data, store)
        with common.other_job():
            _, beside, plan = engine(case, data, store)
    return {"case": case.name, "plan": plan, "share of its own speed": beside / alone}


def agreement(case: Case) -> dict[str, Any]:
    """Held-out accuracies of 20 seeds by the engine and by the plain loop: do they differ?"""
    train_on, held_out = case.data().split(0.5)
    inputs, targets = held_out.inputs, held_out.targets

    def accuracy(module: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((module.eval()(inputs).argmax(1) == targets).double().mean())

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder, Workers(available_cores()) as workers:
        store, clock, cpu = LocalStore(Path(folder)), Clock(), torch.device("cpu")
        jobs = jobs_of(case, train_on, 20)
        for _, result in train(jobs, Machine(cpu, store, clock)):
            assert isinstance(result, Trained)
            module = case.model()
            module.load_state_dict(result.state)
            ours.append(accuracy(module))
        loops = [partial(common.plain_loop, case, train_on, i, case.epochs) for i in range(20)]
        theirs += [accuracy(module) for module in common.in_workers(loops, workers)]
    test = stats.ks_2samp(ours, theirs)
    means = statistics.mean(ours), statistics.mean(theirs)
    return {"case": case.name, "engine": means[0], "plain": means[1], "KS p": float(test.pvalue)}


def main() -> None:
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--contended", action="store_true", help="beside a job of four threads")
    parser.add_argument("--agreement", action="store_true", help="distributions over 20 seeds")
    chosen = parser.parse_args()
    cases = [case for case in CASES if chosen.only in case.name]
    if chosen.contended:
        rows = [contended(case) for case in cases]
    elif chosen.agreement:
        rows = [agreement(case) for case in cases if "K=64" in case.name]
    else:
        rows = [measure(case, chosen.repeats) for case in cases]
    common.report("train", rows, chosen.json)


if __name__ == "__main__":
    main()
