"""When Python's garbage collector looks: rarely while modules are imported, not at what stays.

Imports make nearly no garbage and a million objects, which a collector looks through again and
again: a fifth of the time that imports take, and as much again when the process ends.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Generator

import pytest

RARELY = 1_000_000  # objects made between two looks, about as many as torch and scikit-learn have
_RELAXED = pytest.StashKey[tuple[int, int, int]]()
_SPARED = pytest.StashKey[bool]()
_LAST = pytest.StashKey[bool]()  # whether something of ours runs after all else is cleaned up


def relax(config: pytest.Config) -> None:
    """Look rarely while conftests and tests are imported, unless somebody chose how often."""
    config.add_cleanup(lambda: give_back(config))  # the first one, which is done last
    config.stash[_LAST] = True
    often = gc.get_threshold()
    if 0 < often[0] < RARELY and gc.isenabled():
        config.stash[_RELAXED] = often
        gc.set_threshold(RARELY, *often[1:])
        config.add_cleanup(lambda: restore(config))


def restore(config: pytest.Config) -> None:
    """Look as often as before, from the first test on."""
    often = config.stash.get(_RELAXED, None)
    if often is not None:
        del config.stash[_RELAXED]
        if gc.get_threshold() == (RARELY, *often[1:]):  # else somebody chose since
            gc.set_threshold(*often)


def spare(config: pytest.Config) -> None:
    """Leave alone what is there until the run ends: modules and tests, which stay until then."""
    if not gc.get_freeze_count():  # else somebody did so for reasons of their own
        gc.freeze()
        config.stash[_SPARED] = True
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)  # pytest has looked by then, and all memory goes anyway


def give_back(config: pytest.Config) -> None:
    """Leave nothing alone any more: pytest looks for what was left behind."""
    if config.stash.get(_SPARED, False):
        config.stash[_SPARED] = False
        gc.unfreeze()


def looks(config: pytest.Config) -> Generator[None, None, None]:
    """Around the end of the run: pytest gets all back, and once it has looked, what is new since.

    Newer releases of it look twice, before and after what plugins clean up.
    """
    spared, before = config.stash.get(_SPARED, False), _full()
    give_back(config)
    yield
    if spared and config.stash.get(_LAST, False) and _full() > before and not gc.get_freeze_count():
        gc.freeze()
        config.stash[_SPARED] = True


def _full() -> int:
    """Return how often all generations were looked through."""
    return int(gc.get_stats()[-1]["collections"])
