"""How much memory there is, and how what is freed is used again."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pytest_multiplicity.compute.devices import free_gpu_bytes, is_gpu

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
KEPT = 1 << 30  # bytes: what is smaller is kept when freed, and used again
USUAL = {M_TRIM_THRESHOLD: 1 << 26, M_MMAP_THRESHOLD: 1 << 25}  # where glibc's own adapting ends
UNUSED = 1 << 25  # bytes that were freed, and are worth giving back
UNKNOWN = 4 << 30  # where a system tells nothing, as Windows without further libraries


def free_bytes(
    device: torch.device,
    proc: Path = Path("/proc/meminfo"),
    cgroup: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Return the bytes that are free on a device; on a CPU within the container's limit."""
    if is_gpu(device):
        return free_gpu_bytes(device)
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    machine = _available(proc)
    return machine if limit is None or used is None else min(machine, max(0, limit - used))


def _available(proc: Path) -> int:
    """Count memory that the system would give up as free; half of all where it doesn't say."""
    try:
        lines = dict(line.split(":", 1) for line in proc.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError):
        if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
            return UNKNOWN
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


@contextmanager
def keeping_pages() -> Iterator[None]:
    """Have what tensors free used again, not given back to the system, while in here.

    By default glibc's allocator returns freed pieces of some hundred KiB and more, and getting new
    pages can cost ten times what a step computes with them. Other allocators are left as they are.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    for parameter, value in USUAL.items():
        if not libc.mallopt(parameter, KEPT):  # refused before 2.35, where this is the most
            libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in USUAL.items():
            libc.mallopt(parameter, value)


class _Used(ctypes.Structure):
    """glibc's `struct mallinfo2`: bytes in its heaps, those that are freed among them."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def give_back() -> None:
    """Give back to the system what was freed and isn't used again, where that is much.

    What is measured of many candidates is freed in pieces between others that stay, which glibc
    keeps. Other allocators are left as they are, and so is glibc before 2.33.
    """
    libc = _glibc()
    if libc is None or not hasattr(libc, "mallinfo2"):
        return
    libc.mallinfo2.restype = _Used
    if libc.mallinfo2().fordblks > UNUSED:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
