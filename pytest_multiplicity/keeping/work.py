"""What a worker process does with a call: seeded, with one thread, whatever the function does."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from importlib.util import find_spec

import torch
from threadpoolctl import threadpool_limits

from pytest_multiplicity.compute import Reporter, Shared, Work, preserved_rng, seed_everything
from pytest_multiplicity.keeping.calls import PARTS, Broken, Call, Given, Returned, Run, Skipped
from pytest_multiplicity.keeping.output import bounded
from pytest_multiplicity.keeping.packing import pack

SIGN_SECONDS = 1.0  # between signs of life of a call that comes no further
ORPHAN_SECONDS = 1.0  # between looks whether who asked still lives


def task(given: Shared[Given], call: Call, device: torch.device) -> Work:
    """Make the task of one call."""
    return partial(_perform, given, call, device)


def _perform(
    given: Shared[Given], call: Call, device: torch.device, reporter: Reporter
) -> Returned | Skipped | Broken:
    _alone()
    process = os.getpid()
    signs = _Signs(reporter)
    run = Run(call.config.seed, device, call.folder, signs)
    own = {**given.value.fixtures, **({"run": run} if given.value.takes_run else {})}
    begun = time.perf_counter()
    try:
        with _surroundings(call.config.seed):
            model = given.value.function(call.config, **own)
    except BaseException as error:
        _end_copy(process)
        if type(error).__name__ == "Skipped" and hasattr(error, "allow_module_level"):  # pytest's
            return Skipped(str(error))
        return _broken(error)
    _end_copy(process)
    signs.end()
    return Returned(pack(model), time.perf_counter() - begun, run._logged)


class _Signs:
    """Reports progress, and now and then that there is life where there is none."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._last, self._parts = reporter, time.monotonic(), 0

    def __call__(self, parts: int) -> None:
        self._reporter(parts)
        self._parts += parts
        if parts == 0 and time.monotonic() - self._last >= SIGN_SECONDS:
            self._reporter.note(None)
            self._last = time.monotonic()

    def end(self) -> None:
        """Report what is left of the call's share of the bar."""
        self._reporter(PARTS - self._parts)


def _broken(error: BaseException) -> Broken:
    own = error.__traceback__ and error.__traceback__.tb_next  # without the frame above
    trace = "".join(traceback.format_exception(type(error), error, own))
    if isinstance(error, SystemExit):
        return Broken(f"it called sys.exit({error.code!r}): return the model, or raise", trace)
    if isinstance(error, EOFError):
        return Broken("it asks for input, and nobody can answer where it runs", trace)
    return Broken(f"{type(error).__name__}: {error}", trace)


def _end_copy(process: int) -> None:
    """End a copy of the worker that the function forked, and which came back from it as well."""
    if os.getpid() != process:
        os._exit(0)


@contextmanager
def _surroundings(seed: int) -> Iterator[None]:
    """Seed the global generators; one thread; the folder, and how much is printed, bounded."""
    folder = os.getcwd()
    with ExitStack() as stack:
        stack.enter_context(preserved_rng())
        stack.enter_context(threadpool_limits(1))
        if find_spec("joblib") is not None:
            from joblib import parallel_config

            stack.enter_context(parallel_config("sequential"))
        stack.enter_context(bounded())
        stack.callback(os.chdir, folder)
        stack.callback(torch.set_num_threads, 1)
        seed_everything(seed % 2**63)
        yield


@cache
def _alone() -> None:
    """Leave the terminal, which is not this process' to ask, and end when who asked is gone."""
    with contextlib.suppress(OSError, AttributeError):  # it leads a session, or there are none
        os.setsid()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHAN_SECONDS)
    os._exit(1)
