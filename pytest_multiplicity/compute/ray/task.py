"""What a process of the cluster does: one task, whose messages it yields as they come."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

from pytest_multiplicity.compute.devices import gpu_name
from pytest_multiplicity.compute.ray.parcel import unpack
from pytest_multiplicity.compute.worker import Reporter, perform, prepare, send
from pytest_multiplicity.errors import EvaluationError

REPORT_SECONDS = 0.5  # many workers report to one process


def work(payload: bytes, paths: Sequence[str], gpu: str, *contents: Any) -> Iterator[bytes]:
    """Perform a packed task in a thread beside, and yield its messages, pickled.

    Args:
        payload: of the `parcel.Parcel`.
        paths: where the one who asks finds modules; those that are here, too, are searched last.
        gpu: the name of the GPU that this process must have, if any: another one gives other bits.
        contents: of the parcel's parts.
    """
    if gpu and gpu != (found := gpu_name()):
        unlike = EvaluationError(
            f"a node of the Ray cluster has {found}, where the tests run on {gpu}: its candidates "
            "would differ; give RAY_ADDRESS a cluster of one kind of GPU"
        )
        yield pickle.dumps(("failed", unlike))
        return
    yield pickle.dumps(("ready", None))
    sys.path += [path for path in paths if path not in sys.path and os.path.isdir(path)]
    messages = _Messages()
    Thread(target=_perform, args=(messages, payload, contents), daemon=True).start()
    while (message := messages.queue.get()) is not None:
        yield message


class _Messages:
    """A queue that takes messages as a connection does; None is the end."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[bytes | None] = SimpleQueue()

    def send_bytes(self, data: bytes, /) -> None:
        self.queue.put(data)


def _perform(messages: _Messages, payload: bytes, contents: Sequence[Any]) -> None:
    try:
        prepare()
        reporter = Reporter(messages, REPORT_SECONDS)
        send(messages, perform(reporter, partial(unpack, payload, contents)))
        messages.queue.put(None)
    except BaseException:  # the end of a process of its own, here that of a thread
        traceback.print_exc()
        os._exit(1)
