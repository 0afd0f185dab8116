"""Logits computed on a cluster: a data set's batches spread over it, where that pays.

What is computed doesn't depend on where: batches and forms are those of an evaluation here.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    Cluster,
    Crashed,
    Done,
    Failed,
    Pool,
    Reporter,
    Shared,
    Stalled,
    StalledError,
    UnsharableError,
    threads,
)
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import EvaluationError
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.form import Alike
from pytest_multiplicity.inference.given import frozen
from pytest_multiplicity.inference.infer import BATCH, Infer, Model
from pytest_multiplicity.interventions import Chain

PAYS = 4.0  # seconds that the rest of an evaluation would take here
FEWEST_MODELS = 4  # of a task, where batches alone are too few
Found = tuple[list[Tensor], int, list[int]]
TASKS = 2  # for each worker: not all take as long


@dataclass(frozen=True)
class Share:
    """What one task computes: some batches for some of the models."""

    starts: range
    models: tuple[int, ...]


@dataclass(frozen=True)
class _How:
    """How a task computes: as it would be computed here."""

    device: torch.device
    threads: int
    alike: tuple[Alike, ...]


class FarInfer:
    """Computes logits as `Infer` does, of which it takes the first batches, on a cluster."""

    def __init__(self, infer: Infer, cluster: Cluster, patience: float) -> None:
        self._infer, self._cluster, self._patience = infer, cluster, patience

    def __call__(
        self, models: Sequence[Model], data: Data, under: Chain, advance: Callable[[int], None]
    ) -> list[Tensor]:
        """Logits `[n, C]` of each model; see `Infer`."""
        infer, starts = self._infer, range(0, len(data), BATCH)
        first = infer(models, data, under, advance, starts[:1])
        alike, rest = list(infer.alike), starts[1:]
        parts = [first]
        if rest:
            begun = time.perf_counter()  # now that all is decided, and made
            parts.append(infer(models, data, under, advance, rest[:1], alike))
            seconds = (time.perf_counter() - begun) * (len(rest) - 1)
            modules = [model for model in models if isinstance(model, nn.Module)]
            sendable = len(modules) == len(models) and not any(form.in_turn for _, form in alike)
            if seconds >= PAYS and sendable:
                parts += self._spread(modules, data, under, rest[1:], advance, alike)
            elif rest[1:]:
                parts.append(infer(models, data, under, advance, rest[1:], alike))
        infer.counts.inferred += len(models)
        return [torch.cat(each) for each in zip(*parts, strict=True)]

    def _spread(
        self,
        modules: Sequence[nn.Module],
        data: Data,
        under: Chain,
        starts: range,
        advance: Callable[[int], None],
        alike: Sequence[Alike],
    ) -> Iterator[list[Tensor]]:
        """Have workers compute batches, and yield the logits of all models, range by range."""
        pool = self._cluster.pool(self._infer.device, self._patience, as_here=True)
        shares = shared_out(starts, len(modules), pool.count)
        kept = {share.models: Shared([modules[i] for i in share.models]) for share in shares}
        device, threads_here = torch.device(self._infer.device.type), torch.get_num_threads()

        def make(share: Share) -> partial[Found]:
            how = _How(device, threads_here, tuple(_restricted(alike, share.models)))
            return partial(_compute, kept[share.models], how, data, under, share.starts)

        found: dict[Share, list[Tensor]] = {}
        for share, (logits, intervened, lacking) in self._done(pool, shares, make, advance):
            self._infer.lacking.update(id(modules[share.models[i]]) for i in lacking)
            if logits is None:
                chosen = [modules[i] for i in share.models]
                own = list(_restricted(alike, share.models))
                logits = self._infer(chosen, data, under, advance, share.starts, own)
            self._infer.counts.intervened += intervened
            found[share] = logits
        for part in dict.fromkeys(share.starts for share in shares):
            yield [row for share in shares if share.starts == part for row in found[share]]

    def _done(
        self,
        pool: Pool,
        shares: Sequence[Share],
        make: Callable[[Share], partial[Found]],
        advance: Callable[[int], None],
    ) -> Iterator[tuple[Share, tuple[list[Tensor] | None, int, Sequence[int]]]]:
        """Yield the result of every share; no logits where it can't be sent."""
        waiting, crashed = deque(shares), set()
        for share, outcome in pool.perform(waiting, make, advance=advance):
            match outcome:
                case Done(value):
                    yield share, value
                case Failed(UnsharableError()):
                    yield share, (None, 0, ())
                case Failed(error):
                    raise error
                case Stalled(seconds):
                    raise StalledError(f"evaluating on {len(share.starts)} batches", seconds)
                case Crashed(why) if share in crashed:
                    raise EvaluationError(
                        f"evaluating candidates killed a worker process twice ({why}): "
                        "give the cluster's nodes more memory"
                    )
                case Crashed():
                    crashed.add(share)
                    waiting.append(share)


def shared_out(starts: range, models: int, workers: int) -> list[Share]:
    """Divide batches among workers, and models, too, where there are fewer batches than workers.

    Inputs under an intervention are made in each task, so once for all models where that is enough.
    """
    ranges = min(len(starts), TASKS * workers)
    parts = 1
    if ranges < workers:
        parts = max(1, min(math.ceil(workers / ranges), models // FEWEST_MODELS))
    return [
        Share(batches, tuple(chosen))
        for batches in divided(starts, ranges)
        for chosen in divided(range(models), parts)
    ]


def divided(whole: range, count: int) -> list[range]:
    """Divide a range into so many of even size."""
    bounds = [len(whole) * i // count for i in range(count + 1)]
    return [whole[a:b] for a, b in pairwise(bounds)]


def _restricted(alike: Sequence[Alike], models: Sequence[int]) -> Iterator[Alike]:
    """Yield how some of the models are evaluated, by their positions among those."""
    for positions, form in alike:
        if own := tuple(models.index(i) for i in positions if i in models):
            yield own, form


def _compute(
    modules: Shared[list[nn.Module]],
    how: _How,
    data: Data,
    under: Chain,
    starts: range,
    reporter: Reporter,
) -> Found:
    """Compute logits over there.

    Return also on how many batches there was an intervention, and for whom memory ran out.
    """
    infer = Infer(how.device, Counts(), Forms(how.device, lambda structure: 0), cores=1)
    models = [frozen(module, how.device) for module in modules.value]
    with threads(how.threads):  # for interventions, which may mind how many there are
        logits = infer(models, data, under, reporter, starts, how.alike)
    lacking = [i for i, model in enumerate(models) if id(model) in infer.lacking]
    return logits, infer.counts.intervened, lacking
