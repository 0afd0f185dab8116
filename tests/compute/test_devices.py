"""What is known of GPUs, as far as it can be seen without one; tests/device has simulated ones."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from pytest_multiplicity.compute.devices import (
    free_gpu_bytes,
    out_of_memory,
    precision,
    preserved_rng,
    seed_step,
    steps_at_once,
)

GPU = torch.device("cuda", 1)


def settings() -> list[Any]:
    backends: Any = torch.backends
    newer = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    older = (backends.cuda.matmul, backends.cudnn)
    return [
        *(each.fp32_precision == "tf32" for each in newer),
        *(each.allow_tf32 for each in older),
    ]


@pytest.mark.parametrize("asked", ["float32", "tf32", "bf16"])
def test_tf32_is_used_where_it_is_asked_for_and_nowhere_else(asked: str) -> None:
    before = settings()
    with precision(asked, GPU):
        # by every name that torch has: the compiler reads the older ones, and fails where they
        # disagree with the newer
        assert settings() == [asked == "tf32"] * 5
        assert torch.get_float32_matmul_precision() == ("high" if asked == "tf32" else "highest")
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
        with precision("float32", GPU):
            assert settings() == [False] * 5
        assert settings() == [asked == "tf32"] * 5
    assert settings() == before


def test_flags_that_disagree_already_are_left_as_they_are() -> None:
    conv: Any = torch.backends.cudnn.conv
    before = conv.fp32_precision
    conv.fp32_precision = "ieee"  # now the older name can't be read
    try:
        with precision("tf32", GPU):
            assert conv.fp32_precision == "tf32"
        assert conv.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.allow_tf32 = before == "tf32"
        conv.fp32_precision = before


def test_older_names_that_torch_warns_of_fail_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = type(torch.backends.cuda.matmul)
    set_to = matmul.__setattr__

    def warning(self: Any, name: str, value: object) -> None:
        warnings.warn("use the new settings", UserWarning, stacklevel=2)
        set_to(self, name, value)

    monkeypatch.setattr(matmul, "__setattr__", warning)
    with precision("tf32", GPU):
        assert settings() == [True] * 5


@pytest.mark.parametrize(
    ("is_it", "message"),
    [
        (True, "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        (True, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        (True, "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        (True, "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        (True, "HIP out of memory. Tried to allocate 2.00 GiB"),
        (True, "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        (False, "CUDA error: device-side assert triggered"),
        (False, "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    ],
)
def test_want_of_memory_is_known_by_whoever_meets_it(is_it: bool, message: str) -> None:
    assert out_of_memory(RuntimeError(message)) == is_it


def test_what_torch_keeps_for_later_use_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"mem_get_info": (100, 1000), "memory_reserved": 700, "memory_allocated": 300}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_gpu_bytes(GPU) == 100 + 700 - 300


def test_random_states_are_kept_without_asking_devices_that_nobody_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    for name in ("get_rng_state", "get_rng_state_all", "_lazy_init"):
        monkeypatch.setattr(torch.cuda, name, lambda *arguments: pytest.fail("it asked"))
    torch.manual_seed(0)
    with preserved_rng():  # `fork_rng` would warn here, and look at both
        first = torch.rand(1)
    assert torch.equal(torch.rand(1), first)


def test_a_step_seeds_the_device_that_it_computes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    generators = tuple(torch.Generator() for _ in range(3))
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    before = [each.initial_seed() for each in generators]
    seed_step(77, GPU)
    assert [each.initial_seed() for each in generators] == [before[0], 77, before[2]]
    seed_step(78, torch.device("cuda"))
    assert [each.initial_seed() for each in generators] == [78, 77, before[2]]


@pytest.mark.parametrize(
    ("module", "device", "do"),
    [
        (nn.Linear(2, 3), "cuda:1", True),
        (nn.Linear(2, 3), "cpu", False),
        (nn.Embedding(4, 2, sparse=True), "cuda", False),
        (nn.Linear(2, 3, dtype=torch.complex64), "cuda", False),
    ],
    ids=["gpu", "cpu", "sparse", "complex"],
)
def test_who_steps_in_one_launch(module: nn.Module, device: str, do: bool) -> None:
    assert steps_at_once(module, torch.device(device)) is do
