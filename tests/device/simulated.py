"""Makes torch believe in GPUs, where PYTHONPATH has this folder (see sitecustomize.py).

They are two, or as many of them as CUDA_VISIBLE_DEVICES names. What they compute is right; they
count launches, copies and waits (`counts`), know their memory, and run out of it when told to.
Graphs are recorded and replayed (see simulated_graphs.py). There is no cuDNN and no compiler for
them, nothing runs beside the host, and times mean nothing.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

SITE = Path(sysconfig.get_path("purelib"))
OUT_OF_MEMORY = "CUDA out of memory (simulated)"
LIBRARY = SITE / "_simulated_device.so"


def _loaded() -> ModuleType:
    """Load the device behind torch's libraries and before torch: it registers itself with them."""
    for name in ("c10", "torch_cpu", "torch", "shm", "torch_python"):
        ctypes.CDLL(str(SITE / "torch" / "lib" / f"lib{name}.so"), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(LIBRARY), mode=ctypes.RTLD_GLOBAL)
    import torch  # noqa: F401

    spec = importlib.util.spec_from_file_location("_simulated_device", LIBRARY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


device: Any = _loaded()

import simulated_graphs  # noqa: E402
import torch  # noqa: E402

initialized = False


def visible() -> int:
    """Return how many devices this process sees."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return int(device.DEVICES)
    return min(int(device.DEVICES), len([name for name in names.split(",") if name.strip()]))


COUNT = visible()


def counts() -> dict[str, int]:
    """Return how often what happened since the counts were set to 0.

    "launch", "upload", "download", "wait" (the host waits for the device), "item", "allocation",
    "recorded" and "replay" (of graphs), and operations by their names.
    """
    return dict(device.counts())


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Count what happens inside."""
    found: dict[str, int] = {}
    device.reset_counts()
    yield found
    found.update(counts())


@contextmanager
def limited(nbytes: int) -> Iterator[None]:
    """Give each device so much memory."""
    before = device.limit()
    device.set_limit(nbytes)
    try:
        yield
    finally:
        device.set_limit(before)


@contextmanager
def failing(allocation: int, message: str = OUT_OF_MEMORY) -> Iterator[None]:
    """Have one allocation fail, counted from 1."""
    device.fail_at(allocation, message)
    try:
        yield
    finally:
        device.fail_at(-1, OUT_OF_MEMORY)


def _index(given: Any = None) -> int:
    if given is None:
        return int(device.current())
    if isinstance(given, int):
        return given if given >= 0 else int(device.current())
    index = torch.device(given).index
    return int(device.current()) if index is None else index


def _initialize() -> None:
    global initialized
    initialized = True


def _exchanged(index: int) -> int:
    before = int(device.current())
    if index >= 0:
        device.set_current(index)
    return before


def _waited(given: Any = None) -> None:
    device.wait(_index(given))


def _debugged(mode: int | str) -> None:
    names = ("default", "warn", "error")
    device.set_sync_debug_mode(names.index(mode) if isinstance(mode, str) else mode)


def _stats(given: Any = None) -> None:
    device.reset_peak(_index(given))


def _free(given: Any = None) -> tuple[int, int]:
    """Return what the driver says: what the allocator keeps is not free."""
    return max(0, device.limit() - device.reserved(_index(given))), device.limit()


def _restored(storage: Any, location: str) -> Any:
    """Put a storage of a file back on the device from which it was saved."""
    if not location.startswith("cuda"):
        return None
    index = torch.device(location).index or 0
    if index >= COUNT:
        raise RuntimeError(
            f"Attempting to deserialize object on CUDA device {index} but "
            f"torch.cuda.device_count() is {COUNT}"
        )
    own = storage if isinstance(storage, torch.UntypedStorage) else storage._untyped_storage
    there = torch.empty(own.nbytes(), dtype=torch.uint8, device=f"cuda:{index}")
    there.copy_(torch.empty(0, dtype=torch.uint8).set_(own))
    return there.untyped_storage()


def _dropped(inputs: torch.Tensor, p: float, train: bool | None) -> tuple[torch.Tensor, Any]:
    """Do native dropout, whose mask is, as on a GPU, another one than `bernoulli_` draws."""
    if train is False or p == 0:
        return inputs.clone(), torch.ones_like(inputs, dtype=torch.bool)
    mask = torch.rand_like(inputs) >= p
    return inputs * mask / (1 - p), mask


def _install() -> list[torch.library.Library]:
    """Put the device where torch looks for CUDA; returns libraries, which live as long as held."""
    cuda: Any = torch.cuda
    told: dict[str, Any] = {
        "_lazy_init": _initialize,
        "is_initialized": lambda: initialized,
        "is_available": lambda: COUNT > 0,
        "device_count": lambda: COUNT,
        "current_device": lambda: int(device.current()),
        "set_device": lambda given: device.set_current(_index(given)),
        "synchronize": _waited,
        "mem_get_info": _free,
        "memory_allocated": lambda given=None: device.used(_index(given)),
        "memory_reserved": lambda given=None: device.reserved(_index(given)),
        "max_memory_allocated": lambda given=None: device.peak(_index(given)),
        "reset_peak_memory_stats": _stats,
        "empty_cache": device.empty_cache,
        "get_sync_debug_mode": device.sync_debug_mode,
        "set_sync_debug_mode": _debugged,
        "get_device_name": lambda given=None: "NVIDIA simulated",
        "get_device_capability": lambda given=None: (9, 0),
        "is_bf16_supported": lambda *arguments, **options: True,
        "_exchange_device": _exchanged,
        "_maybe_exchange_device": _exchanged,
        "default_generators": tuple(device.generator(i) for i in range(COUNT)),
    }
    for name, value in told.items():
        setattr(cuda, name, value)
    simulated_graphs.install(device, _index)
    numbers: Any = sys.modules["torch.cuda.random"]
    numbers._lazy_init, numbers._lazy_call = _initialize, lambda call, **options: call()
    numbers.current_device = told["current_device"]
    numbers.device_count, numbers.is_initialized = told["device_count"], told["is_initialized"]
    accelerator: Any = torch.accelerator
    accelerator.is_available, accelerator.device_count = told["is_available"], told["device_count"]
    accelerator.current_accelerator = lambda check_available=False: (
        torch.device("cuda") if COUNT else None
    )
    torch.serialization.register_package(5, lambda storage: None, _restored)
    _read_back()
    own = torch.library.Library("aten", "IMPL")
    own.impl("native_dropout", _dropped, "CUDA")
    # torchvision's own operators don't load beside a build for CPUs; its import asks for these
    vision = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        vision.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return [own, vision]


def _read_back() -> None:
    """Have storages on the device be copied there, and to the CPU, as copies and files ask for."""
    copy, plain = torch.UntypedStorage.clone, torch.UntypedStorage.cpu

    def whole(storage: Any) -> torch.Tensor:
        start = torch.empty(0, dtype=torch.uint8, device=storage.device)
        return start.set_(storage, 0, (storage.nbytes(),), (1,))

    def clone(storage: Any) -> Any:
        on_device = storage.device.type == "cuda"
        return whole(storage).clone().untyped_storage() if on_device else copy(storage)

    def cpu(storage: Any) -> Any:
        on_device = storage.device.type == "cuda"
        return whole(storage).cpu().untyped_storage() if on_device else plain(storage)

    storages: Any = torch.UntypedStorage
    storages.clone, storages.cpu = clone, cpu


LIBRARIES = _install()
