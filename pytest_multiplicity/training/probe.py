"""A few steps of each way on the real jobs: how long, how much memory; and whether it is right."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    Unfusable,
    drawing_nothing,
    peak_bytes,
    preserved_rng,
    threads,
)
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.training.batches import Feed
from pytest_multiplicity.training.fused_training import FusedTraining
from pytest_multiplicity.training.jobs import Job, precision
from pytest_multiplicity.training.plain import PlainTraining, compiling
from pytest_multiplicity.training.ways import Probed, Way

PROBE_SECONDS = 0.4
LEAST_STEPS, MOST_STEPS = 2, 20
HOPELESS = 3.0  # times slower than the best so far in its first step: not worth a second one
CHECKED = 16  # samples on which gradients are compared
TOLERANCE = 1e-10
COMPILED_TOLERANCE = 0.02  # of the gradient's length: bf16 rounds to 0.004, elsewhere than before
T = TypeVar("T")


@dataclass(frozen=True)
class Probe:
    """The ways that ran, and why a fused one did not, if one didn't."""

    probed: list[Probed]
    obstacle: str | None = None


def probe(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    ways: Sequence[Way],
    feed: Feed,
    device: torch.device,
    *,
    seconds: float = PROBE_SECONDS,
    most_steps: int = MOST_STEPS,
) -> Probe:
    """Try ways on jobs of one group, given their initial modules (which stay as they are).

    Each way is given so many ``seconds`` and steps, and at least two of those where it may have as
    many: the first one also prepares things.
    """
    obstacle = None
    probed: list[Probed] = []
    with preserved_rng(), precision(jobs[0].recipe, device):
        for way in ways:
            best = min((p.seconds / p.way.lanes for p in probed), default=math.inf)
            try:
                with threads(way.threads), compiling(way.compiled):
                    step = _stepper(jobs, modules, way, feed, device)
                    setup = _seconds(step, 0, device) if way.compiled else 0.0
                    limit = HOPELESS * best * way.lanes
                    found = _measure(step, device, seconds, limit, most_steps)
                    probed.append(Probed(way, *found, setup))
            except MultiplicityError:
                raise  # a recipe that can't be trained at all
            except Exception as error:
                if way.kind == "fused":
                    obstacle = obstacle or _reason(error)
                elif not way.compiled:
                    raise
    return Probe(probed, obstacle)


def _reason(error: Exception) -> str:
    """Say why fusing failed, in user code that ran on something that only resembles a tensor."""
    return str(error) if isinstance(error, Unfusable) else f"{type(error).__name__}: {error}"


def why_not(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    way: Way,
    feed: Feed,
    device: torch.device,
    *,
    check: bool = True,
) -> str | None:
    """Give the reason not to take a way: it computes something else than the plain one does.

    A fused step is compared with the plain one in float64, and neighbours with other neighbours
    bitwise; channels last and what is compiled with the plain way, too.
    """
    with preserved_rng(), precision(jobs[0].recipe, device):
        try:
            if way.kind == "fused":
                _check_agreement(jobs, modules, way, feed, device)
                if check:
                    _check_independence(jobs, modules, way, feed, device)
            elif way.compiled:
                with compiling(way.compiled):
                    _check_compiled(jobs[0], modules[0], way, feed, device)
            elif way.channels_last:
                _check_channels_last(jobs[0], modules[0], feed, device)
        except MultiplicityError:
            raise
        except Exception as error:
            return _reason(error)
    return None


def _check_agreement(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    way: Way,
    feed: Feed,
    device: torch.device,
) -> None:
    """Raise `Unfusable` unless losses, gradients and buffers are those of the plain way."""
    chosen = [_without_augmentation(job) for job in _at_least(jobs[:FEWEST_LANES], FEWEST_LANES)]
    doubles = [copy.deepcopy(m).double() for m in _at_least(modules[:FEWEST_LANES], FEWEST_LANES)]
    fused = FusedTraining(chosen, doubles, feed, device, way)
    inputs, targets = next(fused.batches(_orders(chosen, fused.rows)))
    inputs, targets = inputs[:, :CHECKED], targets[:, :CHECKED]
    with drawing_nothing():
        losses, _ = fused.forward(0, 0, inputs.double(), targets)
    grads = torch.autograd.grad(losses.sum(), fused.params, allow_unused=True)
    trained = [n for n, p in fused.modules.parameters.items() if p.requires_grad]
    for lane in range(len(set(map(id, modules[:FEWEST_LANES])))):
        plain = PlainTraining(chosen[lane], doubles[lane], feed, device)
        loss, _ = plain.forward(0, 0, inputs[lane].double(), targets[lane])
        loss.backward()  # type: ignore[no-untyped-call]
        named = dict(plain.module.named_parameters())
        pairs = [(losses[lane], loss)]
        for name, grad in zip(trained, grads, strict=True):
            expected = named[name].grad
            if grad is None or expected is None:
                raise Unfusable(f"the parameter {name} has no gradient")
            pairs.append((grad[lane], expected))
        tensors = dict(plain.module.named_buffers())
        pairs += [(fused.modules.buffers[name][lane], value) for name, value in tensors.items()]
        if not all(_close(got, expected) for got, expected in pairs):
            raise Unfusable("a fused step differs from the plain one")


def _close(got: Tensor, expected: Tensor) -> bool:
    if not expected.is_floating_point():
        return torch.equal(got, expected)
    scale = max(1.0, float(expected.detach().abs().nan_to_num().max()))
    return torch.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)


def _check_independence(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    way: Way,
    feed: Feed,
    device: torch.device,
) -> None:
    """Raise `Unfusable` unless the first job's steps are bitwise the same beside other neighbours.

    Every batch size of an epoch is tried, and the last slot instead of the first.
    """
    if device.type != "cpu":
        return
    forwards = [i % len(jobs) for i in range(way.lanes)]
    seen = []
    for slots in (forwards, forwards[::-1]):
        copies = [copy.deepcopy(modules[i]) for i in slots]
        chosen = [jobs[i] for i in slots]
        training = FusedTraining(chosen, copies, feed, device, way)
        for step, (inputs, targets) in enumerate(_one_of_each_size(training)):
            training.step(0, step, inputs, targets)
        seen.append(training.modules.state(slots.index(0)))
    if not all(torch.equal(seen[0][name], seen[1][name]) for name in seen[0]):
        raise Unfusable("a candidate would depend on its neighbours")


def _one_of_each_size(training: FusedTraining) -> Iterator[tuple[Tensor, Tensor]]:
    orders = _orders(training.jobs, training.rows)
    size = training.recipe.batch_size
    partial = orders.shape[1] % size
    yield from training.batches(orders[:, :size])
    if partial and orders.shape[1] > size:
        yield from training.batches(orders[:, -partial:])


def _check_channels_last(job: Job, module: nn.Module, feed: Feed, device: torch.device) -> None:
    """Raise `Unfusable` unless gradients are the same: masks drawn in memory order change them."""
    size = min(CHECKED, job.recipe.batch_size)
    usual, other = (
        _gradients(job, module, Way("plain", channels_last=last), feed, device, size, torch.float64)
        for last in (False, True)
    )
    if not all(_close(got, expected) for expected, got in zip(usual, other, strict=True)):
        raise Unfusable("channels last changes the gradients")


def _check_compiled(
    job: Job, module: nn.Module, way: Way, feed: Feed, device: torch.device
) -> None:
    """Raise `Unfusable` unless gradients agree, of a whole batch as it is: others compile anew."""
    size = job.recipe.batch_size
    plain, compiled = (
        torch.cat([grad.flatten() for grad in found])
        for found in (
            _gradients(job, module, each, feed, device, size, torch.float32)
            for each in (replace(way, compiled=False), way)
        )
    )
    if not (plain - compiled).norm() <= COMPILED_TOLERANCE * plain.norm():
        raise Unfusable("compiling changes the gradients")


def _gradients(
    job: Job,
    module: nn.Module,
    way: Way,
    feed: Feed,
    device: torch.device,
    size: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Give the gradients of so many samples' first step, one module's plain way."""
    training = PlainTraining(
        _without_augmentation(job),
        copy.deepcopy(module).to(dtype),
        feed,
        device,
        way,
    )
    inputs, targets = next(feed.batches(training.rows, size))
    loss, _ = training.forward(0, 0, inputs.to(dtype), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return [p.grad for p in training.module.parameters() if p.grad is not None]


def _stepper(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    way: Way,
    feed: Feed,
    device: torch.device,
) -> Callable[[int], object]:
    """Give a function that takes one step of a way, on a copy of the modules."""
    if way.kind == "fused":
        chosen = _at_least(jobs[: way.lanes], way.lanes)
        copies = [copy.deepcopy(m) for m in _at_least(modules[: way.lanes], way.lanes)]
        fused = FusedTraining(chosen, copies, feed, device, way)
        inputs, targets = next(fused.batches(_orders(chosen, fused.rows)))
        return lambda step: fused.step(0, step, inputs, targets)
    plain = PlainTraining(jobs[0], copy.deepcopy(modules[0]), feed, device, way)
    x, y = next(feed.batches(plain.rows, jobs[0].recipe.batch_size))
    return lambda step: plain.step(0, step, x, y)


def _measure(
    step: Callable[[int], object],
    device: torch.device,
    seconds: float,
    limit: float,
    most_steps: int,
) -> tuple[float, int]:
    """Give the median seconds of a step after the first, and the bytes that stepping added.

    A first step of more than ``limit`` seconds is enough to know.
    """
    before = peak_bytes(device)
    times: list[float] = []
    begun = time.perf_counter()
    least = min(LEAST_STEPS, most_steps)
    while len(times) < least or (len(times) < most_steps and time.perf_counter() - begun < seconds):
        times.append(_seconds(step, len(times), device))
        if times[0] > limit:
            break
    return statistics.median(times[1:] or times), peak_bytes(device) - before


def _seconds(step: Callable[[int], object], number: int, device: torch.device) -> float:
    start = time.perf_counter()
    step(number)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _orders(jobs: Sequence[Job], rows: Sequence[Tensor]) -> Tensor:
    return torch.stack([chosen[: jobs[0].samples] for chosen in rows])


def _at_least(items: Sequence[T], count: int) -> list[T]:
    return [*items, *[items[0]] * (count - len(items))]


def _without_augmentation(job: Job) -> Job:
    recipe = copy.copy(job.recipe)
    object.__setattr__(recipe, "augment", None)  # `replace` would check data that may be bare
    return replace(job, recipe=recipe)
