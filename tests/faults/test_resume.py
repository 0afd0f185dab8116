"""A run that is killed, or interrupted, loses nothing that was finished, and says nothing wrong."""

from __future__ import annotations

import json

import pytest

FAMILY = """
    import os
    from pathlib import Path

    import pytest
    import torch
    from torch import nn
    import pytest_multiplicity as pm

    @pytest.fixture(scope="session")
    def data():
        generator = torch.Generator().manual_seed(0)
        inputs = torch.rand(100, 4, generator=generator)
        targets = (inputs @ torch.randn(4, 3, generator=generator)).argmax(1)
        return pm.Data(inputs, targets, name="toy").split(0.5)

    def loss(logits, targets):
        stored = len(list(Path("broken/v1").glob("weights/*/*")))
        signals = Path("die-with-signal")
        if stored >= 2 and signals.exists():
            number = int(signals.read_text())
            signals.unlink()
            os.kill(os.getpid(), number)
        return nn.functional.cross_entropy(logits, targets)

    def sgd(params, lr):  # of the project's own, so that candidates train one after the other
        return torch.optim.SGD(params, lr=lr)

    @pm.family(default={"lr": 0.1}, vary={"lr": [0.01]}, seeds=3)
    def candidate(config, data):
        return pm.Recipe(
            lambda: nn.Linear(4, 3), data.select, epochs=2, lr=config.lr, loss=loss, optimizer=sgd
        )
"""
SPECS = """
    def test_accuracy(candidate, data):
        assert candidate.accuracy(data.report).within(0.05)

    def test_gate(survivors, data):
        assert survivors.ambiguity(data.report) <= 1
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(9, -9, id="kill -9"),
        pytest.param(2, 2, id="Ctrl-C", marks=pytest.mark.thorough),
    ],
)
def test_what_was_finished_is_not_trained_again(pytester, monkeypatch, reports, number, code):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    pytester.makeconftest(FAMILY)
    pytester.makepyfile(test_specs=SPECS)

    def run(store, name):
        result = pytester.runpytest_subprocess(
            "-p", "no:randomly", f"--multiplicity-store={store}", f"--multiplicity-json={name}"
        )
        path = pytester.path / name
        return result.ret, json.loads(path.read_text()) if path.exists() else None

    _, whole = run("whole", "whole.json")
    (pytester.path / "die-with-signal").write_text(str(number))
    ret, part = run("broken", "part.json")
    assert ret == code
    assert (part is None) == (number == 9)
    if part is not None:
        assert not part["complete"]
        assert [gate["outcome"] for gate in part["gates"]] == ["not evaluated"]
        assert {each["status"] for each in part["families"][0]["candidates"]} == {"not judged"}
    ret, resumed = run("broken", "resumed.json")
    assert ret == pytest.ExitCode.OK
    family = resumed["families"][0]
    assert (family["trained"], family["from_store"]) == (4, 2)
    assert reports.differences(reports.comparable(whole), reports.comparable(resumed)) == []
