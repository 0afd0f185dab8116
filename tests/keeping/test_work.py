"""What a worker does with a call, whatever the function does; without a process of its own."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from pytest_multiplicity.compute import Reporter, Shared
from pytest_multiplicity.design import Config
from pytest_multiplicity.keeping import Call, Given, Returned, Skipped
from pytest_multiplicity.keeping import work as working
from pytest_multiplicity.keeping.calls import PARTS, Broken
from pytest_multiplicity.keeping.output import MOST


class Told:
    """Takes the place of a connection."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def send_bytes(self, data: bytes, /) -> None:
        self.messages.append(pickle.loads(data))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Call a function as a worker would; the result, and what it reported."""
    monkeypatch.setattr(working, "_alone", lambda: None)  # this process is no worker

    def perform(function: Callable[..., Any], *, run: bool = False, seed: int = 3) -> Any:
        told = Told()
        given = Shared(Given(function, {}, takes_run=run))
        one = Call("default-seed3", "ab" * 32, Config({"width": 2}, seed), tmp_path / "folder")
        result = working.task(given, one, torch.device("cpu"))(Reporter(told, 0.0))
        perform.told = told.messages  # type: ignore[attr-defined]
        return result

    return perform


def module() -> nn.Module:
    return nn.Linear(2, 2)


def test_global_generators_are_seeded_with_the_candidates_seed(call):
    def draw(config: Any) -> nn.Module:
        drawn = [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002
        model = nn.Linear(3, 1)
        model.weight.data = torch.tensor([drawn])
        return model

    first, again, other = (call(draw, seed=seed).packed.tensors["weight"] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not (first == other).any()


def test_one_thread_for_everybody(call):
    seen: list[Any] = []

    def look(config: Any) -> nn.Module:
        torch.set_num_threads(7)
        jobs = joblib.Parallel(n_jobs=4, prefer="threads")(
            joblib.delayed(os.getpid)() for _ in "ab"
        )
        seen.extend([set(jobs), joblib.effective_n_jobs(4)])
        return module()

    before = torch.get_num_threads()
    call(look)
    assert seen == [{os.getpid()}, 1]
    torch.set_num_threads(before)


def test_run_tells_and_takes(call, tmp_path):
    def train(config: Any, run: Any) -> nn.Module:
        assert (run.seed, run.device) == (3, torch.device("cpu"))
        (run.folder / "state").write_text("1")
        for step in range(4):
            run.progress(step + 1, 8)
            run.log("loss", 1 / (step + 1))
        return module()

    gave = call(train, run=True)
    assert gave.logged == {"loss": [1.0, 0.5, 1 / 3, 0.25]}
    assert (tmp_path / "folder" / "state").read_text() == "1"
    steps = [value for kind, value in call.told if kind == "steps"]
    assert sum(steps) == PARTS
    assert len(steps) >= 4


@pytest.mark.parametrize(("done", "total"), [(2, 1), (-1, 1), (0, 0), (1, -1)])
def test_progress_that_makes_no_sense_is_refused(call, done, total):
    def train(config: Any, run: Any) -> nn.Module:
        run.progress(done, total)
        return module()

    assert "give what is done, and the total above it" in call(train, run=True).what


def exits(config: Any) -> None:
    sys.exit(3)


def skips(config: Any) -> None:
    pytest.skip("no GPU")


def fails(config: Any) -> None:
    raise ValueError("no convergence")


def asks(config: Any) -> None:
    input("name? ")


def fails_the_test(config: Any) -> None:
    pytest.fail("no")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (exits, r"it called sys.exit\(3\): return the model"),
        (fails, r"ValueError: no convergence"),
        (asks, r"it asks for input, and nobody can answer"),
        (fails_the_test, r"Failed: no"),
    ],
)
def test_what_ends_a_function_is_told(call, monkeypatch, function, told):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    result = call(function)
    assert isinstance(result, Broken)
    assert re.search(told, result.what)
    assert function.__name__ in result.trace
    assert "_perform" not in result.trace


def test_a_skip_is_no_failure(call):
    assert call(skips) == Skipped("no GPU")


def test_a_copy_of_the_process_ends_where_the_function_does(call):
    def forks(config: Any) -> nn.Module:
        os.fork()
        return module()

    assert isinstance(call(forks), Returned)


def test_megabytes_of_output_are_bounded(call, capfd):
    def prints(config: Any) -> nn.Module:
        for _ in range(3000):
            os.write(1, b"x" * 1000)
        os.write(2, b"e" * 10)
        return module()

    call(prints)
    out, err = capfd.readouterr()
    assert MOST <= len(out) < MOST + 100
    assert out.endswith("[what else it prints is left out]\n")
    assert err == "e" * 10


def test_a_function_may_leave_the_folder_and_close_its_output(call, tmp_path):
    def leaves(config: Any) -> Any:
        os.chdir(tmp_path)
        return LogisticRegression().fit([[0.0], [1.0]], [0, 1])

    before = Path.cwd()
    assert call(leaves).packed.kind == "estimator"
    assert Path.cwd() == before
