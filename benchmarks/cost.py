"""What families cost in time, money, memory and storage: a small model, and what it is checked by.

python -m benchmarks.cost                    the tables of docs/scaling.md
python -m benchmarks.cost --price 2.2        the same at another price of an H100 hour
python -m benchmarks.cost --measure 8 32     train and judge families of these sizes here
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import common

SIZES = (10, 1_000, 100_000)

# --- what is computed


@dataclass(frozen=True)
class Study:
    """One candidate's training and measurements, in floating-point operations and bytes."""

    name: str
    forward: float
    """Operations of a sample's way through the model; backwards takes twice as many."""
    trained_on: int
    epochs: int
    measured_on: int
    passes: int
    """Of all specs together, counted as screening does: clean 1, noise 1, PGD 1 + 2 a step."""
    specs: int
    parameters: int
    classes: int = 10
    data_sets: int = 3
    """Under which logits are kept: data and interventions."""

    @property
    def training(self) -> float:
        """Operations, forwards and backwards."""
        return 3 * self.forward * self.trained_on * self.epochs

    @property
    def measuring(self) -> float:
        """Operations; an attack's gradients count as passes."""
        return self.forward * self.measured_on * self.passes

    @property
    def stored(self) -> int:
        """Bytes: weights, and logits and predictions of every sample."""
        return 4 * self.parameters + self.data_sets * self.measured_on * 4 * (self.classes + 1)


# The MLP of benchmarks.common on the 1,797 digits: 17,024 multiplications and additions a sample.
DIGITS = Study("digits, MLP", 2 * 17_024, 1_797, 20, 1_797, 23, 3, 17_226)
# The paper's appendix: 1.2e17 operations for 35 candidates, of which 3.4e15 are one's training.
RESNET = Study("CIFAR-10, ResNet-18", 1.1e9, 50_000, 20, 10_000, 46, 10, 11_173_962, data_sets=6)


@dataclass(frozen=True)
class Machine:
    """What computes: operations a second that small and large networks reach, and what it costs."""

    name: str
    units: int
    """Cores of a CPU, or GPUs."""
    small: float
    """Operations a second and unit of networks below a million operations a sample."""
    large: float
    dollars: float
    """A unit and hour."""
    shared: float = 1.0
    """How much of it is left when units work side by side."""

    def seconds(self, study: Study, count: int) -> float:
        """Training and measuring so many candidates."""
        rate = self.small if study.forward < SMALL else self.large
        units = min(self.units, count)
        return count * (study.training + study.measuring) / (rate * units * self.shared)


SMALL = 1e6
PRICE = 3.0  # dollars of an H100 hour, on demand: 2.5 to 3.5 (mercatus-ai.com, May 2026)


def machines(price: float = PRICE) -> tuple[Machine, ...]:
    """A laptop of four cores, as measured here; an H100 and a cluster of them, as assumed.

    Cores: measured (``--measure``, and ``benchmarks.train`` for the ResNet's kind: 60% of 77
    GFLOP/s). H100: a third of 790 TFLOP/s in bf16 for the ResNet, as much of the peak as the
    fastest single-model loops reach (airbench, 37%); small networks leave a GPU idle, 1%.
    """
    return (
        Machine("laptop, 4 cores", 4, CORE, 46e9, 0.0),
        Machine("one H100", 1, 8e12, 260e12, price),
        Machine("64 H100", 64, 8e12, 260e12, price, shared=0.7),
    )


# --- what judging takes, whatever the model

CORE = 19e9
"""Operations a second of the digits' MLP on one core, training and measuring together."""
START = 10.0
"""Seconds of processor time: importing torch, here and in workers, planning, the summary."""
PAIR = 1.2e-3
"""Seconds of processor time to run one candidate through one spec."""
BASE_BYTES = 850e6
PAIR_BYTES = 9.6e3


@dataclass(frozen=True)
class Cost:
    """What a family of some size costs on a machine."""

    computing: float
    judging: float
    dollars: float
    memory: float
    storage: float

    @property
    def seconds(self) -> float:
        """Computing, then judging and reporting in one process."""
        return self.computing + self.judging


def cost(study: Study, machine: Machine, count: int) -> Cost:
    """Of one run from an empty store."""
    computing, judging = machine.seconds(study, count), START + PAIR * count * study.specs
    return Cost(
        computing=computing,
        judging=judging,
        dollars=machine.dollars * min(machine.units, count) * computing / 3600,
        memory=BASE_BYTES + PAIR_BYTES * count * study.specs + 8 * count * study.measured_on,
        storage=count * study.stored,
    )


# --- as tables


def tables(price: float = PRICE) -> str:
    """The page's tables, in markdown."""
    return "\n".join(_table(study, machines(price)) for study in (DIGITS, RESNET))


def _table(study: Study, on: Sequence[Machine]) -> str:
    heading = f"| {study.name} | " + " | ".join(machine.name for machine in on)
    lines = [
        f"{heading} | start, judging | memory | storage |",
        "|:--" + "|--:" * (len(on) + 3) + "|",
    ]
    lines += [f"| {' | '.join(_row(study, on, count))} |" for count in SIZES]
    return "\n".join(lines) + "\n"


def _row(study: Study, on: Sequence[Machine], count: int) -> Iterator[str]:
    costs = [cost(study, machine, count) for machine in on]
    yield f"{count:,}"
    for each in costs:
        money = f", {_money(each.dollars)}" if each.dollars else ""
        yield _duration(each.computing) + money
    yield _duration(costs[0].judging)
    yield _bytes(costs[0].memory)
    yield _bytes(costs[0].storage)


def _duration(seconds: float) -> str:
    for size, unit in ((365 * 86_400, "years"), (86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.2g} s"


def _money(dollars: float) -> str:
    return f"${dollars:,.0f}" if dollars >= 1 else f"{100 * dollars:.2g} ct"


def _bytes(size: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.2g} {name}" if size < 100 * unit else f"{size / unit:.0f} {name}"
    return f"{size / 1e3:.0f} kB"


# --- what it is checked by

FAMILY = """
import pytest
import torch
from benchmarks import common
import pytest_multiplicity as pm

torch.set_num_threads(1)

@pytest.fixture(scope="session")
def digits():
    return common.digits()

@pm.family(seeds={count})
def candidate(config, digits):
    return pm.Recipe(common.mlp, digits, epochs={epochs}, batch_size=64, lr=0.05)
"""
SPECS = """
import pytest_multiplicity as pm

def test_accuracy(candidate, digits):
    assert candidate.accuracy(digits) >= 0.5

def test_noise(candidate, digits):
    assert candidate.accuracy(digits, under=pm.InputNoise(0.05)) >= 0.5

def test_attack(candidate, digits):
    assert candidate.accuracy(digits, under=pm.PGD(0.03)) >= 0.0
"""


def measure(count: int) -> dict[str, object]:
    """Train, measure, judge and report so many MLPs, from an empty store; beside the prediction."""
    with tempfile.TemporaryDirectory() as name:
        folder, bytecode = Path(name, "project"), Path(name, "bytecode")
        folder.mkdir()
        (folder / "conftest.py").write_text(FAMILY.format(count=count, epochs=DIGITS.epochs))
        (folder / "test_specs.py").write_text(SPECS)
        quiet = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder)]
        common.pytest_run([*quiet, str(folder), "-k", "nothing"], bytecode)
        spent = common.pytest_run([*quiet, str(folder)], bytecode)
        print(f"  {spent.said.splitlines()[-1]}")
        kept = (folder / ".multiplicity").rglob("*.safetensors")
        stored = sum(each.stat().st_size for each in kept)
    predicted = cost(DIGITS, machines()[0], count)
    return {
        "candidates": count,
        "processor s": spent.processor,
        "predicted s": 4 * predicted.computing + predicted.judging,
        "stored": _bytes(stored),
        "predicted stored": _bytes(predicted.storage),
        "MiB": spent.mebibytes,
    }


def main() -> None:
    """Print the tables, or measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--price", type=float, default=PRICE, help="dollars of an H100 hour")
    parser.add_argument("--measure", type=int, nargs="*", default=[], metavar="CANDIDATES")
    parser.add_argument("--json", type=Path, help="write all figures there")
    chosen = parser.parse_args()
    if not chosen.measure:
        print(tables(chosen.price))
        return
    common.report("cost", [measure(count) for count in chosen.measure], chosen.json)


if __name__ == "__main__":
    main()
