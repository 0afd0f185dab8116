"""The engine ray, through pytest: the report that the local engine gives, or an error at once."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

# Eight candidates that go to workers though they train in a moment, and of whose evaluation two of
# four batches do, too; always the same way, which timings would decide otherwise.
FAMILY = """
    import os
    import time
    from dataclasses import replace

    import pytest
    import torch
    from torch import nn

    import pytest_multiplicity as pm
    from pytest_multiplicity.inference import on_cluster
    from pytest_multiplicity.training import plan

    plan.WORKERS_SECONDS = -1.0
    on_cluster.PAYS = 0.0

    def draw(n, name, seed):
        rng = torch.Generator().manual_seed(seed)
        targets = torch.arange(n) % 2
        inputs = (torch.rand(n, 1, 2, 2, generator=rng) + targets[:, None, None, None]) / 2
        return pm.Data(inputs, targets, name=name)

    @pytest.fixture(scope="session")
    def test_data():
        return draw(1000, "test", 2)

    @pytest.fixture(scope="session")
    def train_data():
        return draw(60, "train", 1)

    class Slow:
        "Trains as long as there is a file of this name, in other processes than this one."

        def __init__(self, path):
            self.path = path
            os.environ.setdefault("STUDY", str(os.getpid()))  # no state: keys would know it

        def __call__(self, batch):
            here = os.environ.get("STUDY") == str(os.getpid())
            while self.path and not here and os.path.exists(self.path):
                time.sleep(0.05)
            return batch

    @pm.family(default={"lr": 0.1}, vary={"lr": [0.05]}, seeds=4)
    def candidate(config, train_data):
        wait = Slow(os.environ.get("WAIT_FOR", ""))
        net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        return pm.Recipe(net, train_data, epochs=2, batch_size=16, lr=config.lr, augment=wait)
"""
SPECS = """
    import pytest_multiplicity as pm

    def test_accuracy(candidate, test_data):
        assert candidate.accuracy(test_data).within(0.5)

    def test_attack(candidate, test_data):
        candidate.accuracy(test_data, under=pm.PGD(0.01))
        assert candidate.accuracy(test_data).in_top(0.75)

    def test_gate(survivors):
        assert len(survivors) >= 1
"""
RAY = "--multiplicity-engine=ray"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray isn't installed")


@pytest.fixture
def study(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pytester.makeini("[pytest]\nfilterwarnings = error")
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_specs=SPECS)
    return pytester


@pytest.fixture
def run(study: pytest.Pytester) -> Callable[..., tuple[pytest.RunResult, dict[str, Any]]]:
    """Run with a store of its own, and give what was said and reported."""

    def runs(name: str, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        paths = f"--multiplicity-store={name}", f"--multiplicity-json={name}.json"
        result = study.runpytest_subprocess("-p", "no:randomly", *paths, *options)
        document = json.loads((study.path / f"{name}.json").read_text())
        return result, {key: value for key, value in document.items() if key != "settings"}

    return runs


def stored(folder: Path, kind: str) -> dict[str, dict[str, bytes]]:
    """The bits of tensors, by file: the order of what a file says beside is left to chance."""
    return {
        path.name: {name: value.numpy().tobytes() for name, value in load_file(path).items()}
        for path in folder.glob(f"*/{kind}/**/*.safetensors")
    }


@needs_ray
def test_the_report_and_the_weights_are_those_of_the_local_engine(
    study: pytest.Pytester, run: Callable[..., Any]
) -> None:
    local, expected = run("local")
    far, report = run("far", RAY)
    assert (local.ret, far.ret) == (0, 0)
    assert report == expected
    for kind in ("weights", "logits"):
        assert stored(study.path / "far", kind) == stored(study.path / "local", kind) != {}
    for result in (local, far):  # and not a word of Ray's
        assert not result.stderr.lines
        assert "ray" not in result.stdout.str().lower().replace("engine=ray", "")


@needs_ray
def test_workers_of_xdist_share_a_cluster(run: Callable[..., Any]) -> None:
    pytest.importorskip("xdist")
    _, expected = run("local")
    far, report = run("far", RAY, "-n", "2")
    assert far.ret == 0
    assert report == expected


# What runs today is trained, too; its comparisons are those of the local engine.
BESIDE = """
    @pm.incumbent
    def production(train_data):
        net = lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        return pm.Recipe(net, train_data, epochs=1, batch_size=16)

    @pm.family("""
FLIPS = """
    def test_flips(candidate, production, test_data):
        assert candidate.flips(production, test_data) <= 0.9
        assert candidate.accuracy(test_data).not_worse_than(production, by=0.9)
"""
# Which seeds pass is told by their numbers: of the default all, of the other none.
KEPT = """
    import numpy as np
    import pytest
    import pytest_multiplicity as pm
    from sklearn.dummy import DummyClassifier

    @pytest.fixture(scope="session")
    def points():
        return pm.Data(np.zeros((8, 1)), np.array([0] * 7 + [1]), name="points")

    @pm.incumbent
    def production(points):
        return DummyClassifier(strategy="constant", constant=1).fit(points.inputs, points.targets)

    @pm.family(default={"says": 0}, vary={"says": [1]}, seeds=3, keep=True)
    def candidate(config, points):
        model = DummyClassifier(strategy="constant", constant=config.says)
        return model.fit(points.inputs, points.targets)
"""
AUTO = """
    def test_accuracy(candidate, production, points):
        assert candidate.accuracy(points) >= 0.5
        assert candidate.churn(production, points) <= 1

    def test_gate(survivors):
        assert survivors.reliable(0.5) == [{"says": 0}]
"""


@needs_ray
def test_comparisons_with_an_incumbent_are_those_of_the_local_engine(
    study: pytest.Pytester, run: Callable[..., Any]
) -> None:
    study.makeconftest(FAMILY.replace("    @pm.family(", BESIDE.strip("\n"), 1))
    study.makepyfile(test_specs=FLIPS)
    local, expected = run("local")
    assert local.ret == 0, local.stdout.str()[-3000:]
    assert expected["families"][0]["comparisons"]
    for name, *options in (("far",), ("shared", "-n2")):
        far, report = run(name, RAY, *options)
        assert far.ret == 0, far.stdout.str()[-3000:]
        assert report == expected


@needs_ray
def test_seeds_are_added_and_kept_on_a_cluster(
    study: pytest.Pytester, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")
    study.makeini("[pytest]\nmultiplicity_most_seeds = 16\nmultiplicity_reliable = 0.5\n")
    study.makeconftest(KEPT)
    study.makepyfile(test_specs=AUTO)
    told, ids = [], []
    auto = "--multiplicity-seeds=auto", "-v"
    for name, *options in (("local",), ("far", RAY), ("far", RAY), ("shared", RAY, "-n2")):
        result, report = run(name, *auto, *options)
        assert result.ret == 0, result.stdout.str()[-3000:]
        (family,) = report["families"]
        assert [each["reliable"]["0.5"] for each in family["configurations"]] == [True, False]
        told.append([family[k] for k in ("candidates", "sheets", "comparisons", "configurations")])
        ids.append(set(re.findall(r"test_accuracy\[([^\]]+)\]", result.stdout.str())))
    assert told[1:] == told[:1] * 3
    assert ids[1:] == ids[:1] * 3
    assert {"default-seed3", "says1-seed8"} <= ids[0]
    (note,) = [each for each in family["notes"] if "seeds added" in each]
    assert note.startswith("seeds added to decide: ")


@needs_ray
def test_what_is_in_the_store_needs_no_cluster(run: Callable[..., Any]) -> None:
    run("kept")
    again, _ = run("kept", RAY)
    assert again.ret == 0
    assert again.duration < 60


@needs_ray
def test_an_interruption_leaves_nothing_behind(
    study: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = study.path / "wait"
    wait.touch()
    monkeypatch.setenv("WAIT_FOR", str(wait))
    # A group of its own, as a terminal would interrupt; Ray's processes belong to it.
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", RAY],
        cwd=study.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (working := _named("ray::multiplicity", process.pid)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        assert working
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        wait.unlink()
        process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in said
    while _named("ray", process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _named(name: str, session: int) -> list[int]:
    """Processes of a session whose command line has a name in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            status = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if name in line and "pytest" not in line and int(status[3]) == session and status[0] != "Z":
            found.append(int(folder.name))
    return found


@needs_ray
def test_an_address_where_nothing_answers_is_a_usage_error(
    study: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    result = study.runpytest_subprocess(RAY)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = f"*no Ray cluster answers at RAY_ADDRESS=127.0.0.1:{port} (*): start it, or unset*"
    result.stderr.fnmatch_lines([said])
    assert len(result.stderr.lines) <= 3


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_ray_that_is_not_installed_is_a_usage_error(study: pytest.Pytester) -> None:
    result = study.runpytest_subprocess(RAY)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*needs Ray: pip install 'pytest-multiplicity?ray?'*"])


def test_the_local_engine_does_not_import_ray(study: pytest.Pytester) -> None:
    study.makepyfile(test_none="import sys\ndef test_none():\n    assert 'ray' not in sys.modules")
    result = study.runpytest_subprocess("-p", "no:randomly", "test_specs.py", "test_none.py")
    assert result.ret == 0
