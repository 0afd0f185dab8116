"""When Python's garbage collector looks: rarely while modules are imported, not at what stays.

Imports make nearly no garbage and a million objects, which a collector looks through again and
again: a fifth of the time that imports take, and as much again when the process ends.
"""

from __future__ import annotations

import atexit
import gc

import pytest

RARELY = 1_000_000  # objects made between two looks, about as many as torch and scikit-learn have
_RELAXED = pytest.StashKey[tuple[int, int, int]]()
_SPARED = pytest.StashKey[bool]()


def relax(config: pytest.Config) -> None:
    """Look rarely while conftests and tests are imported, unless somebody chose how often."""
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
