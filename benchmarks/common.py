"""What the engine's benchmarks share: data, models, the loops users would write, tables, JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pytest_multiplicity.compute.cores import available_cores
from pytest_multiplicity.compute.worker import Work
from pytest_multiplicity.compute.workers import Done, Workers
from pytest_multiplicity.data import Data
from pytest_multiplicity.training.plan import Plan

LR, MOMENTUM = 0.05, 0.9


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    )


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def resnet() -> nn.Module:
    """ResNet-8: 78,000 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def digits() -> Data:
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return Data(inputs, torch.tensor(targets), name="digits")


def pictures(count: int = 512) -> Data:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(count, 3, 32, 32, generator=generator)
    return Data(inputs, torch.arange(count) % 10, name="pictures")


@dataclass(frozen=True)
class Case:
    """One line of a table."""

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[], Data]
    count: int
    epochs: int
    batch_size: int
    precision: str = "float32"

    def flops(self) -> int:
        """Floating-point operations of one candidate's step."""
        data = self.data()
        inputs = data.take(torch.arange(min(self.batch_size, len(data))))
        with FlopCounterMode(display=False) as counter:
            self.model()(inputs).sum().backward()
        return counter.get_total_flops()

    def flops_of_a_sample(self) -> int:
        """Floating-point operations of one forward pass of one sample."""
        model = self.model().eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(self.data().take(torch.arange(1)))
        return counter.get_total_flops()


def plain_loop(case: Case, data: Data, seed: int, epochs: int) -> nn.Module:
    """What a user would write."""
    torch.manual_seed(seed)
    module = case.model()
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=MOMENTUM)
    inputs, targets = data.inputs, data.targets
    steps = epochs * -(-len(data) // case.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(data)).split(case.batch_size):
            with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bf16"):
                loss = F.cross_entropy(module(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return module


def describe(plans: Sequence[Plan]) -> str:
    """Sum plans up in a line: "20 fused, 4 at once in workers; 5 plain (custom optimizer)"."""
    counts: Counter[Plan] = Counter()
    for plan in plans:
        alike = replace(plan, group=replace(plan.group, jobs=(), signature=""), seconds=0, bytes=0)
        counts[alike] += len(plan.group.jobs)
    return "; ".join(str(n) + str(plan).removeprefix("0") for plan, n in counts.items())


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_workers(functions: Sequence[Callable[[], Any]], workers: Workers) -> list[Any]:
    """The honest rival: the same loops, a process for each core, one thread each."""
    waiting = deque(range(len(functions)))

    def make(position: int) -> Work:
        return partial(_ignoring, functions[position])

    results = dict(workers.perform(waiting, make))
    return [result.value for _, result in sorted(results.items()) if isinstance(result, Done)]


def _ignoring(function: Callable[[], Any], reporter: object) -> Any:
    return function()


def matmuls() -> float:
    """GFLOP/s of float32 matrix products, with the threads that there are.

    By torch or by numpy: on some processors one of them reaches half of what the other does.
    """
    x = torch.rand(1024, 1024)
    rivals = (lambda: x @ x, lambda: x.numpy() @ x.numpy())
    best = min(statistics.median(seconds(product) for _ in range(10)) for product in rivals)
    return 2 * 1024**3 / best / 1e9


def peak_gflops(workers: Workers) -> float:
    """What one-thread processes on all cores reach together."""
    return float(sum(in_workers([matmuls] * workers.count, workers)))


@contextmanager
def other_job(threads: int = 4) -> Iterator[None]:
    """Something else that keeps so many threads busy."""
    code = f"import torch; torch.set_num_threads({threads}); x = torch.rand(64, 64, 8, 8)\n"
    code += "layer = torch.nn.Conv2d(64, 64, 3)\nwhile True: layer(x).sum().backward()"
    process = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(4)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def memory() -> dict[str, int]:
    """Peak MiB of this process and of the largest that it started."""
    who = {"here": resource.RUSAGE_SELF, "largest worker": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(value).ru_maxrss >> 10 for name, value in who.items()}


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds, seconds of processor time, and what it printed."""

    seconds: float
    processor: float
    mebibytes: float
    said: str


# a process inherits its parent's peak from before it began: only its own status tells it apart
PYTEST = """
import sys, pytest
code = pytest.main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def pytest_run(arguments: Sequence[str], bytecode: Path, profile: Path | None = None) -> Spent:
    """Run pytest in a process of its own."""
    if profile is not None:
        begin = [sys.executable, "-m", "cProfile", "-o", str(profile), "-m", "pytest"]
        return command([*begin, *arguments], bytecode)
    spent = command([sys.executable, "-c", PYTEST, *arguments], bytecode)
    said, _, peak = spent.said.rpartition("\n")
    return replace(spent, said=said.strip(), mebibytes=int(peak) / 1024)


def command(arguments: Sequence[str], bytecode: Path) -> Spent:
    """Run a command as users would: Python keeps bytecode (there), and buffers what it prints."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    spent, after = time.perf_counter() - start, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])  # of children
    return Spent(spent, processor, 0.0, (done.stderr + done.stdout).strip())


def options(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=3, help="paired repetitions")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--json", type=Path, help="write all figures there")
    return parser


def report(title: str, rows: Sequence[dict[str, Any]], path: Path | None) -> None:
    """Print a table, and write JSON."""
    machine = {
        "cores": available_cores(),
        "cpu": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "load before": round(os.getloadavg()[2], 1),
    }
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *[[_cell(row.get(name, "")) for name in names] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    print(f"{title}  {machine}")
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    if path:
        path.write_text(json.dumps({"title": title, "machine": machine, "rows": rows}, indent=1))


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
