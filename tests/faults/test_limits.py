"""A run has limits: of time without progress, of the store's size."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest
import torch

from pytest_multiplicity.compute.stall import StalledError, watched
from pytest_multiplicity.store import LocalStore

FAMILY = """
    import time
    import pytest
    import torch
    from torch import nn
    import pytest_multiplicity as pm

    class Hangs(nn.Linear):
        def forward(self, inputs):
            time.sleep({sleep})
            return super().forward(inputs)

    @pytest.fixture(scope="session")
    def data():
        return pm.Data(torch.rand(20, 4), torch.arange(20) % 3, name="toy")

    @pm.family(default={{"lr": 0.1}}, seeds=2)
    def candidate(config, data):
        return pm.Recipe(lambda: Hangs(4, 3), data, epochs=1, lr=config.lr)
"""
SPEC = """
    def test_accuracy(candidate, data):
        candidate.accuracy(data)
"""


def run(pytester: pytest.Pytester, sleep: float, ini: str) -> pytest.RunResult:
    pytester.makeconftest(FAMILY.format(sleep=sleep))
    pytester.makepyfile(test_specs=SPEC)
    pytester.makeini(f"[pytest]\n{ini}\n")
    return pytester.runpytest_inprocess("-p", "no:randomly", "--multiplicity-store=store")


def test_a_candidate_that_hangs_is_given_up(pytester):
    result = run(pytester, 100, "multiplicity_timeout = 0.5")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = "training default-seed0, default-seed1: no progress in 0.5 s, so it was given up"
    result.stdout.fnmatch_lines([f"*{said}*"])
    result.assert_outcomes(failed=2)


def test_work_that_goes_on_is_not_given_up():
    steps = []
    with watched("work", 0.2, steps.append) as advance:
        for _ in range(5):
            time.sleep(0.1)
            advance(1)
    assert len(steps) == 5


def test_work_that_waits_is_interrupted():
    with (
        pytest.raises(StalledError, match=r"waiting: no progress in 0\.1 s"),
        watched("waiting", 0.1, lambda steps: None),
    ):
        threading.Event().wait(100)


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("multiplicity_timeout = soon", "ERROR: *'soon' is no number of seconds*"),
        ("multiplicity_store_size = much", "ERROR: *'much' is no size*"),
    ],
)
def test_a_limit_that_is_none_is_refused(pytester, ini, message):
    result = run(pytester, 0, ini)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("fsync", errno.ENOSPC, "No space left on device; free some space"),
        ("flock", errno.ENOLCK, "has no working file locks, without which processes would train"),
    ],
)
def test_a_disk_that_is_full_or_has_no_locks_ends_in_one_sentence(
    pytester, monkeypatch, name, number, said
):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr({"fsync": os, "flock": fcntl}[name], name, refuse)
    result = run(pytester, 0, "")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    told = result.stdout.str()
    assert said in " ".join(told.split())
    assert "INTERNALERROR" not in told
    assert "Traceback" not in told


def test_the_store_is_kept_to_its_size(pytester):
    with LocalStore(Path(pytester.path / "store")) as store:
        store.put("weights", "abcd", {"x": torch.zeros(1000)})
    result = run(pytester, 0, "multiplicity_store_size = 1 KB")
    assert result.ret == pytest.ExitCode.OK
    with LocalStore(Path(pytester.path / "store")) as store:
        assert not store.has("weights", "abcd")
        assert store.entries("weights"), "what the run used stays"
