"""What is set around us neither breaks nor changes what is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_multiplicity.compute import as_new
from pytest_multiplicity.compute.ambient import inside


@contextmanager
def setting(change: Callable[[Any], Any], value: Any, before: Any) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(before)


AMBIENT: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu"),
    "default dtype": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "device as a context": lambda: torch.device("meta"),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "precision": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
    "errors of numpy": lambda: np.errstate(all="raise"),
}


def look() -> dict[str, Any]:
    weight = torch.ones(3, 3, requires_grad=True)
    return {
        "product": str((weight @ weight).detach().dtype),
        "gradient": (weight @ weight).requires_grad,
        "device": str(torch.zeros(1).device),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "numpy": np.geterr(),
    }


@pytest.mark.parametrize("name", AMBIENT)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_is_put_aside_and_back(name: str) -> None:
    with as_new():
        expected = look()
    with AMBIENT[name]():
        around = look() if name != "precision" else None
        with as_new():
            found = look()
        assert look() == around or name == "precision"
    assert found | {"precision": ""} == expected | {"precision": ""}


def test_folder_is_put_aside_even_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    with inside(tmp_path):
        assert Path.cwd() == tmp_path
    assert Path.cwd() == gone
    gone.rmdir()
    with inside(tmp_path):
        assert Path.cwd() == tmp_path
    with nullcontext(), inside(tmp_path):
        assert Path.cwd() == tmp_path


def test_trains_and_evaluates_alike_under_all_of_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
        import pytest
        import torch
        from torch import nn

        import pytest_multiplicity as pm

        x = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))

        @pytest.fixture(scope="session")
        def d():
            return pm.Data(x, (x[:, 0] * 3).long().clamp(0, 2), name="d")

        def net():
            torch.load("weights.pt")
            return nn.Linear(4, 3)

        @pm.family(seeds=2)
        def candidate(config, d):
            return pm.Recipe(model=net, data=d, epochs=2)

        @pytest.fixture(autouse=True)
        def ambient(request, tmp_path, monkeypatch):
            if not request.config.getoption("--tb") == "line":
                yield
                return
            monkeypatch.chdir(tmp_path)
            torch.set_default_dtype(torch.float64)
            torch.use_deterministic_algorithms(True)
            with torch.inference_mode(), torch.autocast("cpu"), torch.device("meta"):
                yield
            torch.set_default_dtype(torch.float32)
            torch.use_deterministic_algorithms(False)
    """)
    pytester.makepyfile("""
        import pathlib
        import torch

        HERE = pathlib.Path(__file__).parent

        def test_a(candidate, d):
            logits = candidate.logits(d).numpy().tobytes().hex()
            with (HERE / f"{candidate.id}.txt").open("a") as file:
                print(logits, file=file)
            assert candidate.accuracy(d) > 0
    """)
    torch.save({}, pytester.path / "weights.pt")
    for more in (["--tb=line"], ["--tb=short", "--multiplicity-store=other"]):
        pytester.runpytest("-p", "no:randomly", *more).assert_outcomes(passed=2)
    for seed in range(2):
        one, other = (pytester.path / f"default-seed{seed}.txt").read_text().split()
        assert one == other
