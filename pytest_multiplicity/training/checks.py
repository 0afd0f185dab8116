"""Whether an arithmetic is right for a group: it must compute what the plain one does.

And whether candidates side by side are independent: none of their bits may depend on neighbours, on
their slot, or on how many there are, since all of that is free.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import TypeVar

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    MOST_LANES,
    WARM,
    Arithmetic,
    Unfusable,
    copied,
    drawing_nothing,
    fewest_lanes,
    out_of_memory,
    precision,
    preserved_rng,
    records,
    threads,
)
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.training.batches import Feed, StepBatch
from pytest_multiplicity.training.fused_training import FusedTraining
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.plain import PlainTraining, compiling

STEPS = WARM + 3  # of a size, of which the last three are replayed
CHECKED = 16  # samples on which gradients are compared
TOLERANCE = 1e-10
COMPILED_TOLERANCE = 0.02  # of the gradient's length
T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """A few jobs of a group, the first of the declared design, to look at how they compute.

    Their initial `modules` stay as they are.
    """

    jobs: Sequence[Job]
    modules: Sequence[nn.Module]
    feed: Feed
    device: torch.device

    def why_not(self, arithmetic: Arithmetic, *, check: bool = True) -> str | None:
        """Return the reason not to take an arithmetic: something comes out differently.

        A fused step is compared with the plain one in float64, and neighbours with other neighbours
        bitwise; channels last and what is compiled with the plain one, too.

        Args:
            arithmetic: what is to be looked at.
            check: whether independence is checked, too.

        Raises:
            RecipeError: the jobs can't be trained as their recipe is written.
            StalledError: they hang.
        """
        recipe, arithmetic = self.jobs[0].recipe, replace(arithmetic, recorded=False)
        with preserved_rng(), precision(recipe.precision, self.device), threads(1):
            try:
                if arithmetic.fused:
                    self._check_agreement(arithmetic)
                    if check:
                        self._check_independence(arithmetic)
                elif arithmetic.compiled:
                    self._check_compiled(arithmetic)
                elif arithmetic.channels_last:
                    self._check_channels_last()
            except MultiplicityError:
                raise
            except Exception as error:
                if out_of_memory(error):  # what happens to be free decides no bits
                    raise
                return reason_of(error)
        return None

    def why_unrecorded(self, arithmetic: Arithmetic) -> str | None:
        """Return the reason not to record steps: one can't be, or not all bits are the same.

        Raises:
            RecipeError: the jobs can't be trained as their recipe is written.
            StalledError: they hang.
        """
        if not records(self.device):
            return f"torch {torch.__version__} doesn't clear up after a recording that fails"
        job = self.jobs[0]
        whole, rest = divmod(job.samples, job.recipe.batch_size)
        epochs = job.recipe.epochs
        if max(epochs * whole, epochs * (rest > 0)) <= WARM:
            return "too few steps"
        with preserved_rng(), precision(job.recipe.precision, self.device), threads(1):
            try:
                wanted, _ = self._run(replace(arithmetic, recorded=False))
                found, reason = self._run(replace(arithmetic, recorded=True))
            except MultiplicityError:
                raise
            except Exception as error:
                if out_of_memory(error):
                    raise
                return reason_of(error)
        alike = all(_equal(one, other) for one, other in zip(wanted, found, strict=True))
        return reason or (None if alike else "other bits come of it")

    def _run(self, arithmetic: Arithmetic) -> tuple[list[Tensor], str | None]:
        """Return what steps of both sizes of a batch give and leave; and why none is recorded."""
        found: list[Tensor] = []
        training = self._training(arithmetic, fewest_lanes(self.device))
        size, samples = self.jobs[0].recipe.batch_size, self.jobs[0].samples
        rest = samples % size
        several = _batches(training, slice(min(STEPS, max(1, samples // size)) * size))
        last = _batches(training, slice(-rest - size, None))[-1:] if rest < samples else []
        for batches in (several, last) if rest else (several,):
            for i, batch in zip(range(STEPS), cycle(batches), strict=False):
                position = min(i, self.jobs[0].steps - 1)
                found += training.step(*divmod(position, training.steps_per_epoch), batch)
        return [*found, *training.tensors], training.graphs.reason if training.graphs else None

    def _training(
        self, arithmetic: Arithmetic, lanes: int, *, last: bool = False
    ) -> FusedTraining | PlainTraining:
        """Return a training of the first job; fused, of so many lanes, it is the first or last."""
        slots = [i % len(self.jobs) for i in range(lanes if arithmetic.fused else 1)]
        slots = [*slots[:0:-1], 0] if last else slots
        modules, jobs = [copied(self.modules[i]) for i in slots], [self.jobs[i] for i in slots]
        if arithmetic.fused:
            return FusedTraining(jobs, modules, self.feed, self.device, arithmetic)
        return PlainTraining(jobs[0], modules[0], self.feed, self.device, arithmetic)

    def fewer_lanes(self, arithmetic: Arithmetic) -> tuple[int, ...]:
        """Return lower numbers of lanes than usual that give the same bits, largest first."""
        usual, fewer = fewest_lanes(self.device), []
        arithmetic = replace(arithmetic, recorded=False)
        if not arithmetic.fused or usual == FEWEST_LANES:
            return ()
        with preserved_rng(), precision(self.jobs[0].recipe.precision, self.device), threads(1):
            try:
                wanted = self._steps(arithmetic, usual, last=False)
                while (usual := usual // 2) >= FEWEST_LANES:
                    states = [self._steps(arithmetic, usual, last=last) for last in (False, True)]
                    fewer += [usual] * all(_same(wanted, state) for state in states)
            except Exception as error:
                if not out_of_memory(error):
                    raise
        return tuple(fewer)

    def _check_agreement(self, arithmetic: Arithmetic) -> None:
        """Raise `Unfusable` unless losses, gradients and buffers are those of the plain way."""
        jobs, modules = self.jobs[:FEWEST_LANES], self.modules[:FEWEST_LANES]
        chosen = [_with(job, augment=None) for job in _at_least(jobs, FEWEST_LANES)]
        doubles = [self._still(copied(m).double()) for m in _at_least(modules, FEWEST_LANES)]
        fused = FusedTraining(chosen, doubles, self.feed, self.device, arithmetic)
        whole = next(fused.batches(_orders(chosen, fused.rows)))
        batch = _in(whole.changed(lambda tensor: tensor[:, :CHECKED]), torch.float64)
        with drawing_nothing():
            losses, _ = fused.forward(0, 0, batch)
        grads = torch.autograd.grad(losses.sum(), fused.params, allow_unused=True)
        for lane in range(len(modules)):
            plain = PlainTraining(chosen[lane], doubles[lane], self.feed, self.device)
            loss, _ = plain.forward(0, 0, batch.lane(lane))
            loss.backward()  # type: ignore[no-untyped-call]
            pairs = [(losses[lane], loss), *_pairs(fused, grads, lane, plain.module)]
            if not all(_close(got, expected) for got, expected in pairs):
                raise Unfusable("a fused step differs from the plain one")

    def _check_independence(self, arithmetic: Arithmetic) -> None:
        """Raise `Unfusable` unless the first job's steps are the same bits in every company.

        As many lanes as there may be, an odd number of them, and the last slot instead of the
        first.
        """
        fewest = fewest_lanes(self.device)
        companies = (
            *((fewest, False), (min(fewest + 1, MOST_LANES), True)),
            *((MOST_LANES, False), (MOST_LANES, True)),
        )
        seen = [
            self._steps(arithmetic, lanes, last=last) for lanes, last in dict.fromkeys(companies)
        ]
        for state in seen[1:]:
            if not _same(seen[0], state):
                raise Unfusable("a candidate would depend on its neighbours")

    def _steps(self, arithmetic: Arithmetic, lanes: int, *, last: bool) -> dict[str, Tensor]:
        """Return the first job's state after a step of each batch size of an epoch."""
        training = self._training(arithmetic, lanes, last=last)
        assert isinstance(training, FusedTraining)
        for step, batch in enumerate(_one_of_each_size(training)):
            training.step(0, step, batch)
        return training.modules.state(lanes - 1 if last else 0)

    def _check_channels_last(self) -> None:
        """Raise `Unfusable` unless gradients agree: masks drawn in memory order change them."""
        size = min(CHECKED, self.jobs[0].recipe.batch_size)
        usual, other = (
            self._gradients(Arithmetic(channels_last=last), size, torch.float64)
            for last in (False, True)
        )
        if not all(_close(got, expected) for expected, got in zip(usual, other, strict=True)):
            raise Unfusable("channels last changes the gradients")

    def _check_compiled(self, arithmetic: Arithmetic) -> None:
        """Raise `Unfusable` unless gradients agree, of a whole batch: others compile anew.

        In float32: in bfloat16 two right gradients are a quarter of their length apart.
        """
        size = self.jobs[0].recipe.batch_size
        with compiling(arithmetic.compiled), precision("float32", self.device):
            plain, compiled = (
                torch.cat([grad.flatten() for grad in self._gradients(a, size, torch.float32)])
                for a in (replace(arithmetic, compiled=False), arithmetic)
            )
        if not (plain - compiled).norm() <= COMPILED_TOLERANCE * plain.norm():
            raise Unfusable("compiling changes the gradients")

    def _still(self, module: nn.Module) -> nn.Module:
        """Have a module's dropout layers drop nothing where other kernels draw other masks.

        So it is off the CPU: no two ways of computing have masks in common there.
        """
        for part in module.modules() if self.device.type != "cpu" else ():
            if isinstance(part, nn.modules.dropout._DropoutNd):  # the only name for them all
                part.p = 0.0
        return module

    def _gradients(self, arithmetic: Arithmetic, size: int, dtype: torch.dtype) -> list[Tensor]:
        """Return the gradients of so many samples' first step, of the first job by itself."""
        job = _with(self.jobs[0], augment=None, precision="float32")
        module = self._still(copied(self.modules[0]).to(dtype))
        training = PlainTraining(job, module, self.feed, self.device, arithmetic)
        batch = next(training.feed.batches(training.rows, size))
        loss, _ = training.forward(0, 0, _in(batch, dtype))
        loss.backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in training.module.parameters() if p.grad is not None]


def reason_of(error: Exception) -> str:
    """Say why fusing failed, in user code that ran on something that only resembles a tensor."""
    return str(error) if isinstance(error, Unfusable) else f"{type(error).__name__}: {error}"


def _pairs(
    fused: FusedTraining, grads: Sequence[Tensor | None], lane: int, plain: nn.Module
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a lane's gradients and buffers beside those of the module by itself."""
    named = dict(plain.named_parameters())
    trained = [n for n, p in fused.modules.parameters.items() if p.requires_grad]
    for name, grad in zip(trained, grads, strict=True):
        expected = named[name].grad
        if grad is None or expected is None:
            raise Unfusable(f"the parameter {name} has no gradient")
        yield grad[lane], expected
    for name, value in plain.named_buffers():
        yield fused.modules.buffers[name][lane], value


def _same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(state[name], other[name]) for name in state)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors have the same values, nan included."""
    same = (one == other) | ((one != one) & (other != other))
    return bool(same.all())


def _close(got: Tensor, expected: Tensor) -> bool:
    if not expected.is_floating_point():
        return torch.equal(got, expected)
    scale = max(1.0, float(expected.detach().abs().nan_to_num().max()))
    return torch.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)


def _in(batch: StepBatch, dtype: torch.dtype) -> StepBatch:
    """Return a batch whose inputs are floats of another dtype."""
    return batch._replace(inputs=kinds.floats_as(batch.inputs, dtype))


def _batches(training: FusedTraining | PlainTraining, rows: slice) -> list[StepBatch]:
    if isinstance(training, FusedTraining):
        return list(training.batches(_orders(training.jobs, training.rows)[:, rows]))
    return list(training.feed.batches(training.rows[rows], training.job.recipe.batch_size))


def _one_of_each_size(training: FusedTraining) -> Iterator[StepBatch]:
    orders = _orders(training.jobs, training.rows)
    size = training.recipe.batch_size
    partial = orders.shape[1] % size
    yield from training.batches(orders[:, :size])
    if partial and orders.shape[1] > size:
        yield from training.batches(orders[:, -partial:])


def _orders(jobs: Sequence[Job], rows: Sequence[Tensor]) -> Tensor:
    return torch.stack([chosen[: jobs[0].samples] for chosen in rows])


def _at_least(items: Sequence[T], count: int) -> list[T]:
    return [*items, *[items[0]] * (count - len(items))]


def _with(job: Job, **settings: object) -> Job:
    recipe = copy.copy(job.recipe)
    for name, value in settings.items():  # `replace` would check data that may be bare
        object.__setattr__(recipe, name, value)
    return replace(job, recipe=recipe)
