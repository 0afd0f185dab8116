"""A family on a Ray cluster of four one-core nodes of this machine, beside the local engine.

python -m benchmarks.ray [--repeats N] [--json PATH] [--only speed|reports]

It needs the extra ``ray``. ``speed``: candidate-steps a second, between the first progress and the
last, of 30 digits networks by both engines in turn. ``reports``: pytest on such a family by the
local engine, on the cluster, and on the cluster with a node killed in mid-run: are the reports and
all weights the same?
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks import common
from benchmarks.train import Clock
from pytest_multiplicity.compute import Machine
from pytest_multiplicity.compute.pools import Cluster
from pytest_multiplicity.compute.ray.connection import RayCluster
from pytest_multiplicity.store import LocalStore
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.seeds import Seeds

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
NODES, EPOCHS = 4, 60
LRS, SEEDS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002), 5
OWN = {"settings"}  # of a report, what is the run's own: the options it was given
CONFTEST = f"""
    import pytest_multiplicity as pm
    from benchmarks.common import cnn, digits

    import pytest


    @pytest.fixture(scope="session")
    def data():
        return digits().split(0.5)


    @pm.family(default={{"lr": {LRS[0]}}}, vary={{"lr": {list(LRS[1:])}}}, seeds={SEEDS})
    def candidate(config, data):
        return pm.Recipe(cnn, data.select, epochs=60, batch_size=32, lr=config.lr)
"""
SPECS = """
    import pytest_multiplicity as pm


    def test_accuracy(candidate, data):
        assert candidate.accuracy(data.report).within(0.02)


    def test_noise(candidate, data):
        assert candidate.accuracy(data.report, under=pm.InputNoise(0.1)).in_top(0.75)


    def test_gate(survivors, data):
        assert survivors.ambiguity(data.report) <= 0.5
"""


@dataclass
class Machines:
    """Nodes of one core each; the first is where programs connect."""

    nodes: Any

    @property
    def address(self) -> str:
        return str(self.nodes.address)

    def kill_one(self) -> None:
        """Pull the plug of the last one."""
        self.nodes.remove_node(list(self.nodes.worker_nodes)[-1], allow_graceful=False)


@contextmanager
def machines(count: int = NODES) -> Iterator[Machines]:
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(count - 1):
        nodes.add_node(num_cpus=1)
    try:
        yield Machines(nodes)
    finally:
        nodes.shutdown()


def jobs() -> list[Job]:
    data = common.digits().split(0.5).select
    recipes = [Recipe(common.cnn, data, epochs=EPOCHS, batch_size=32, lr=lr) for lr in LRS]
    pairs = [(recipe, seed) for recipe in recipes for seed in range(SEEDS)]
    return [
        Job(f"lr{recipe.lr:g}-seed{seed}", f"{i:032x}", recipe, Seeds(seed, seed, seed, seed))
        for i, (recipe, seed) in enumerate(pairs)
    ]


def rate(store: LocalStore, cluster: Cluster | None) -> tuple[float, str]:
    """Candidate-steps a second once it runs, and the plan."""
    clock, plans = Clock(), []
    machine = Machine(CPU, store, clock, cores=NODES, cluster=cluster)
    for _ in train(jobs(), machine, on_plan=plans.extend):
        pass
    return clock.rate(), common.describe(plans)


def speed(repeats: int) -> dict[str, Any]:
    rows = []
    with machines() as nodes, tempfile.TemporaryDirectory() as folder:
        store, cluster = LocalStore(Path(folder)), RayCluster(nodes.address, 1)
        try:
            for repeat in range(repeats):
                (local, plan), (far, _) = rate(store, None), rate(store, cluster)
                load = os.getloadavg()[0]
                print(f"  {repeat}: local {local:.0f}, Ray {far:.0f} steps/s (load {load:.1f})")
                rows.append((local, far, far / local))
        finally:
            cluster.close()
    local, far, ratio = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"plan": plan, "local steps/s": local, "Ray steps/s": far, "Ray/local": ratio}


@dataclass
class Run:
    """pytest on the family, with a store of its own that knows how it is trained."""

    folder: Path
    name: str
    address: str | None = None

    @property
    def store(self) -> Path:
        return self.folder / self.name

    def start(self, plans: Path | None) -> subprocess.Popen[str]:
        if plans is not None:
            results = shutil.ignore_patterns("weights", "logits", "scores", "checkpoints")
            shutil.copytree(plans, self.store, ignore=results)
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        settings = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
        engine = "local" if self.address is None else "ray"
        if self.address is not None:
            settings["RAY_ADDRESS"] = self.address
        options = [f"--multiplicity-{name}" for name in self._options(engine)]
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
            cwd=self.folder,
            env=os.environ | settings,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def _options(self, engine: str) -> list[str]:
        report = self.folder / f"{self.name}.json"
        return [f"engine={engine}", f"store={self.store}", f"json={report}", "device=cpu"]

    def weights(self) -> dict[str, dict[str, bytes]]:
        """The bits of every trained candidate's tensors, by file."""
        return {
            path.name: {name: value.numpy().tobytes() for name, value in load_file(path).items()}
            for path in self.store.glob("*/weights/**/*.safetensors")
        }

    def report(self) -> dict[str, Any]:
        document = json.loads((self.folder / f"{self.name}.json").read_text())
        return {name: value for name, value in document.items() if name not in OWN}


def finish(run: Run, process: subprocess.Popen[str], begun: float) -> float:
    said, _ = process.communicate()
    print(f"  {run.name}: exit status {process.returncode}, {time.perf_counter() - begun:.1f} s")
    if process.returncode:
        print(said)
    return time.perf_counter() - begun


def reports() -> list[dict[str, Any]]:
    rows = []
    with machines() as nodes, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "conftest.py").write_text(_dedented(CONFTEST))
        (folder / "test_specs.py").write_text(_dedented(SPECS))
        local = Run(folder, "local")
        begun = time.perf_counter()
        seconds = finish(local, local.start(None), begun)
        rows.append({"run": "local", "seconds": seconds})
        for title, killed in (("Ray", False), ("Ray, a node killed", True)):
            run = Run(folder, title.split(",")[0] + "-killed" * killed, nodes.address)
            begun = time.perf_counter()
            process = run.start(local.store)
            if killed:
                _wait_for_the_first(run, process)
                print(f"  killing a node: {len(run.weights())} candidates are trained by now")
                nodes.kill_one()
            seconds = finish(run, process, begun)
            same = run.weights() == local.weights(), run.report() == local.report()
            rows.append(
                {"run": title, "seconds": seconds, "same weights": same[0], "same report": same[1]}
            )
    return rows


def _wait_for_the_first(run: Run, process: subprocess.Popen[str]) -> None:
    """Until some candidates are trained, and others are in training."""
    while process.poll() is None and not run.weights():
        time.sleep(0.05)


def _dedented(text: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in text.splitlines()) + "\n"


def main() -> None:
    parser = common.options(__doc__.splitlines()[0])
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if given.only in ("", "speed"):
        rows.append(speed(given.repeats))
        common.report("Ray, speed", rows, None)
    if given.only in ("", "reports"):
        found = reports()
        common.report("Ray, reports", found, None)
        rows += found
    if given.json:
        common.report("Ray", rows, given.json)


if __name__ == "__main__":
    main()
