"""What allocators are told."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from pytest_multiplicity.compute import memory
from pytest_multiplicity.compute.memory import KEPT, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, USUAL


class Allocator:
    """Takes settings as glibc does: before 2.35 mapped pieces of more than 32 MB at least."""

    def __init__(self, *, old: bool) -> None:
        self.old = old
        self.settings = dict(USUAL)

    def mallopt(self, parameter: int, value: int) -> int:
        if self.old and parameter == M_MMAP_THRESHOLD and value > 1 << 25:
            return 0
        self.settings[parameter] = value
        return 1


@pytest.mark.parametrize("old", [False, True])
def test_freed_memory_is_kept_for_a_while(old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = Allocator(old=old)
    allocator.settings[M_MMAP_THRESHOLD] = 1 << 17  # where glibc begins; it adapts until it is told
    monkeypatch.setattr(memory, "_glibc", lambda: allocator)
    with memory.keeping_pages():
        mapped = 1 << 25 if old else KEPT
        assert allocator.settings == {M_TRIM_THRESHOLD: KEPT, M_MMAP_THRESHOLD: mapped}
    assert allocator.settings == USUAL


FAULTS = """
import resource, torch
from pytest_multiplicity.compute.memory import keeping_pages

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def computed():
    for _ in range(10):
        torch.ones(1 << 24)  # 64 MB: by default such pieces are given back when freed

with keeping_pages():
    computed()
    before = faults()
    computed()
    print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts Linux's page faults")
def test_tensors_get_the_pages_of_those_before() -> None:
    """In a process of its own: where memory has ended once, glibc keeps smaller pieces only."""
    if memory._glibc() is None:
        pytest.skip("another allocator than glibc's")
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    assert int(done.stdout) < 50_000  # they have 163,840 pages in all


@pytest.mark.parametrize(("platform", "library"), [("linux", object()), ("darwin", Allocator)])
def test_other_allocators_are_left_alone(
    platform: str, library: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as musl's, which has no `mallopt`, and those of other systems."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert memory._glibc() is None
    ran = []
    with memory.keeping_pages():
        ran.append(True)
    assert ran == [True]


class Heaps(Allocator):
    """Has pieces that were freed between others."""

    def __init__(self, freed: int) -> None:
        super().__init__(old=False)
        self.mallinfo2 = lambda: memory._Used(fordblks=freed)
        self.trimmed: list[int] = []
        self.malloc_trim = self.trimmed.append


def test_much_that_was_freed_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for freed, calls in ((memory.UNUSED, []), (memory.UNUSED + 1, [0])):
        heaps = Heaps(freed)
        monkeypatch.setattr(memory, "_glibc", lambda heaps=heaps: heaps)
        memory.give_back()
        assert heaps.trimmed == calls


@pytest.mark.parametrize("library", [None, Allocator(old=True)])
def test_allocators_that_do_not_tell_are_left_alone(
    library: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other ones, and glibc before it had `mallinfo2`."""
    monkeypatch.setattr(memory, "_glibc", lambda: library)
    memory.give_back()


HOLES = """
import torch
from pytest_multiplicity.compute import give_back

def resident():
    with open("/proc/self/statm") as status:
        return int(status.read().split()[1]) * 4

pieces = [torch.ones(1 << 12) for _ in range(1 << 13)]  # 16 KiB each
kept = pieces[::64]
del pieces
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_holes_between_what_stays_are_given_back() -> None:
    if memory._glibc() is None or not hasattr(memory._glibc(), "mallinfo2"):
        pytest.skip("another allocator than glibc's of these years")
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, check=True)
    assert int(done.stdout) > 64 << 10  # of 126 MiB
