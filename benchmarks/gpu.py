"""Training, evaluation and attacks on one GPU, against loops as people write them there.

python -m benchmarks.gpu [--profile trace.json] [--json out.json] [--small]

One command, under ten minutes. The loops are bf16, channels last, on data that lie on the GPU; one
is compiled. They run a few candidates, and are scaled to all. The study that is extrapolated is 35
ResNet-18, 20 epochs of 50,000 samples each. `--small` is for trying it out on a simulated GPU.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pytest_multiplicity as pm
from benchmarks import common
from benchmarks.common import LR, MOMENTUM, Case
from pytest_multiplicity.compute import Arithmetic, Machine, Shape, machine_class, of_training
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.given import frozen
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import Chain
from pytest_multiplicity.store import LocalStore
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.fused_training import train_fused
from pytest_multiplicity.training.jobs import Job, initial_module
from pytest_multiplicity.training.plain import train_plain
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.seeds import Seeds

GPU = torch.device("cuda", 0)
STUDY = {"candidates": 35, "epochs": 20, "samples": 50_000}
GOALS = "goals on an H100: CNN 15, ResNet-18 1.5 times the plain loop, the study in 10 minutes"


def resnet18() -> nn.Module:
    """ResNet-18 as it is used on CIFAR-10: without the first pooling."""
    from torchvision.models import resnet18 as build

    module = build(num_classes=10)
    module.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    module.maxpool = nn.Identity()
    return module


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    cnn: Case
    resnet: Case
    compared: int = 2  # candidates of a plain loop
    product: int = 8192  # rows of the matrices by which the peak is found
    compiles: bool = True
    steps: int = 10  # of an attack


def sizes(small: bool) -> Size:
    pictures = partial(common.pictures, 10_000)
    cnn = Case("cnn + bn, digits", common.cnn, common.digits, 64, 20, 64, "bf16")
    resnet = Case("resnet-18, 32x32", resnet18, pictures, 15, 1, 128, "bf16")
    if not small:
        return Size(cnn, resnet)
    few = partial(common.pictures, 64)
    return Size(
        replace(cnn, count=4, epochs=1),
        replace(resnet, model=common.resnet, data=few, count=2, batch_size=32),
        compared=1,
        product=64,
        compiles=False,
        steps=2,
    )


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that work takes, that of the GPU included."""
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def peak(rows: int) -> float:
    """Return the operations a second of bf16 matrix products."""
    x = torch.rand(rows, rows, device=GPU, dtype=torch.bfloat16)
    times = 20
    timed(lambda: x @ x)
    return 2 * rows**3 * times / timed(lambda: [x @ x for _ in range(times)])


@contextmanager
def measured(row: dict[str, Any]):
    """Note the peak of memory, and how often the host waited, as torch itself tells."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
    row["waits"] = sum("synchronizing" in str(each.message) for each in caught)
    row["GiB"] = torch.cuda.max_memory_allocated() / (1 << 30)


def loop(case: Case, data: Any, seeds: int, *, compiled: bool = False) -> float:
    """Return the seconds of a plain loop for so many candidates; compiling is not counted."""
    inputs, targets = data.inputs.to(GPU), data.targets.to(GPU)
    module: nn.Module = case.model().to(GPU, memory_format=torch.channels_last)
    model: Any = torch.compile(module, mode="reduce-overhead") if compiled else module
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=MOMENTUM)

    def epoch() -> None:
        for rows in torch.randperm(len(data), device=GPU).split(case.batch_size):
            batch = inputs[rows].contiguous(memory_format=torch.channels_last)
            with torch.autocast("cuda", torch.bfloat16):
                loss = F.cross_entropy(model(batch), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    epoch()  # both sizes of a batch
    return timed(lambda: [epoch() for _ in range(seeds * case.epochs)])


def jobs_of(case: Case, data: Any) -> list[Job]:
    recipe = Recipe(
        case.model,
        data,
        epochs=case.epochs,
        batch_size=case.batch_size,
        lr=LR,
        precision=case.precision,
    )
    return [Job(f"seed{i}", f"{i:064x}", recipe, Seeds(i, i, i, i)) for i in range(case.count)]


class Quiet:
    """A progress that shows nothing."""

    @contextmanager
    def task(self, description: str, total: int):
        yield self

    def advance(self, steps: int = 1) -> None:
        pass


def together(case: Case, size: Size, best: float) -> dict[str, Any]:
    """Train a family of small networks by the engine: as many as possible side by side."""
    data, row = case.data(), {"case": f"train {case.name}, K={case.count}"}
    with tempfile.TemporaryDirectory() as folder, measured(row):
        machine = Machine(GPU, LocalStore(Path(folder)), Quiet(), cores=1)
        jobs = jobs_of(case, data)
        done: list[Any] = []
        seconds = timed(lambda: done.extend(train(jobs, machine)))
    row["way"] = done[0][1].way
    return compared(row, case, size, seconds, case.count, best)


def by_itself(case: Case, size: Size, best: float) -> dict[str, Any]:
    """Train large networks one by one, in the arithmetic that the study would have."""
    data = case.data()
    shape = Shape.of(case.model(), data.take(torch.arange(2)))
    steps = STUDY["epochs"] * -(-STUDY["samples"] // case.batch_size)
    arithmetic = of_training(
        shape,
        batch_size=case.batch_size,
        steps=steps,
        alike=STUDY["candidates"],
        declared=STUDY["candidates"],
        machine=machine_class(GPU),
        precision="bf16",
    )
    if not size.compiles:
        arithmetic = Arithmetic(channels_last=arithmetic.channels_last)
    source, jobs = feed(data, GPU), jobs_of(case, data)
    row: dict[str, Any] = {"case": f"train {case.name}, K={case.count}", "way": str(arithmetic)}
    first = timed(lambda: train_plain(jobs[0], source, GPU, arithmetic=arithmetic))
    with measured(row):
        seconds = timed(
            lambda: [train_plain(job, source, GPU, arithmetic=arithmetic) for job in jobs[1:]]
        )
    each = seconds / (case.count - 1)
    study = each / (case.epochs * len(data)) * STUDY["epochs"] * STUDY["samples"]
    row["study, minutes"] = STUDY["candidates"] * study / 60
    row["first, s"] = first
    return compared(row, case, size, seconds, case.count - 1, best)


def launched(work: Callable[[], object]) -> int:
    """Return how many kernels and graphs the host launches."""
    with torch.profiler.profile() as profile:
        work()
    return sum(each.count for each in profile.key_averages() if "Launch" in each.key)


def as_graphs(case: Case) -> list[dict[str, Any]]:
    """Measure steps recorded as graphs, and the same steps launched operation by operation."""
    data, rows = case.data(), []
    source, jobs = feed(data, GPU), jobs_of(case, data)[:16]
    modules = [initial_module(job.recipe, job.seeds) for job in jobs]

    def work(fused: bool, recorded: bool) -> object:
        arithmetic = Arithmetic(fused, channels_last=True, recorded=recorded)
        if fused:
            return train_fused(jobs, modules, source, GPU, arithmetic)
        return train_plain(jobs[0], source, GPU, arithmetic=arithmetic)

    for fused in (False, True):
        row: dict[str, Any] = {"case": f"steps of {case.name}, K={len(jobs) if fused else 1}"}
        row["launches"], row["one by one"] = (
            launched(partial(work, fused, r)) for r in (True, False)
        )
        with measured(row):
            row["s"] = timed(partial(work, fused, True))
        row["x one by one"] = timed(partial(work, fused, False)) / row["s"]
        rows.append(row)
    return rows


def compared(
    row: dict[str, Any], case: Case, size: Size, seconds: float, count: int, best: float
) -> dict[str, Any]:
    """Add the ratios to the loops, and the share of the peak."""
    data = case.data()
    scale = count / size.compared
    row |= {"s": seconds, "x loop": loop(case, data, size.compared) * scale / seconds}
    if size.compiles:
        ours = loop(case, data, size.compared, compiled=True) * scale
        row["x compiled loop"] = ours / seconds
    operations = case.flops() / min(case.batch_size, len(data)) * len(data) * case.epochs * count
    row["share of peak"] = operations / seconds / best
    return row


def models(case: Case) -> list[nn.Module]:
    return [frozen(case.model(), GPU) for _ in range(case.count)]


@torch.no_grad()
def plain_answers(family: Sequence[nn.Module], data: Any) -> list[Tensor]:
    batches = data.inputs.split(256)
    return [torch.cat([model(b.to(GPU)) for b in batches]).cpu() for model in family]


def plain_attacks(family: Sequence[nn.Module], data: Any, steps: int, eps: float) -> None:
    for model in family:
        for inputs, targets in zip(data.inputs.split(256), data.targets.split(256), strict=True):
            clean, wanted = inputs.to(GPU), targets.to(GPU)
            moved = clean.clone()
            for _ in range(steps):
                moved.requires_grad_()
                (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), wanted), moved)
                moved = moved.detach() + 2.5 * eps / steps * slope.sign()
                moved = moved.clamp(clean - eps, clean + eps).clamp(0, 1)
            model(moved).argmax(1).cpu()


def evaluated(case: Case, steps: int) -> list[dict[str, Any]]:
    """Measure answers and attacks: the first question, which finds the form, is not counted."""
    data, family = case.data(), models(case)
    attack = pm.PGD(8 / 255, steps=steps)
    rivals: dict[str, tuple[Chain, Callable[[], object]]] = {
        "answers": (Chain(), lambda: plain_answers(family, data)),
        "PGD": (Chain((attack,)), lambda: plain_attacks(family, data, steps, attack.eps)),
    }
    rows = []
    for name, (under, rival) in rivals.items():
        infer = Infer(GPU, Counts(), Forms(GPU, lambda structure: case.count))
        ask = partial(infer, family, data, under, lambda steps: None)
        row: dict[str, Any] = {"case": f"{name} of {case.name}, K={case.count}"}
        ask()
        row["way"] = "; ".join(map(str, infer.forms.used))
        with measured(row):
            row["s"] = timed(ask)
        rival()
        row["x loop"] = timed(rival) / row["s"]
        rows.append(row)
    return rows


def profiled(size: Size, path: Path) -> None:
    """Write a trace of a small training, and print where its time went."""
    case = replace(size.cnn, epochs=2, count=min(16, size.cnn.count))
    data = case.data()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(GPU, LocalStore(Path(folder)), Quiet(), cores=1)
        with torch.profiler.profile() as profile:
            list(train(jobs_of(case, data), machine))
    profile.export_chrome_trace(str(path))
    print(profile.key_averages().table(sort_by="cpu_time_total", row_limit=20))


def main() -> None:
    parser = common.options(__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a minute's worth, to try it out")
    parser.add_argument("--profile", type=Path, help="write a trace there, for a trace viewer")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu measures a GPU, and torch sees none here.")
    size = sizes(chosen.small)
    best = peak(size.product)
    print(f"{torch.cuda.get_device_name(GPU)}: {best / 1e12:.3g} TFLOP/s of bf16 products; {GOALS}")
    rows = [together(size.cnn, size, best), by_itself(size.resnet, size, best)]
    rows += as_graphs(size.cnn)
    for case in (size.cnn, size.resnet):
        rows += evaluated(case, size.steps)
    common.report("gpu", [row for row in rows if chosen.only in row["case"]], chosen.json)
    if chosen.profile:
        profiled(size, chosen.profile)


if __name__ == "__main__":
    main()
