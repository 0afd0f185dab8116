"""Whether models of one structure compute side by side, folded or laid out anew, what each does.

That is seen on weights and samples that are drawn for it: so the verdict is the same whichever
candidates and data are asked for first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    Arithmetic,
    Shape,
    StalledError,
    copied,
    drawing_nothing,
    out_of_memory,
)
from pytest_multiplicity.data import kinds
from pytest_multiplicity.inference.executors import Alone, Model, Unit, assembled
from pytest_multiplicity.inference.folding import prepared
from pytest_multiplicity.inference.form import IN_TURN, Batch, Demand, Form

LANES = (FEWEST_LANES, 8, 16)  # side by side: more give no more speed
SIZES = (256, 32)  # of the batches on which bits are compared
SOME = 8  # samples that are looked at by themselves, and among others
TOLERANCE = 1e-5
MINDED = 1e-3  # what other samples change at the least, where they matter


@dataclass(frozen=True)
class Agreeing:
    """What was found of models of one structure, on inputs of one shape and of the same bounds.

    Args:
        form: by itself.
        shape: of a model; None where samples act on each other, so that nothing else is looked at.
        lanes: for each arithmetic that was checked, how many lanes it may have.
    """

    form: Form
    shape: Shape | None
    lanes: dict[Arithmetic, tuple[int, ...]] = field(default_factory=dict)


class Drawing:
    """Looks at modules as one is, on inputs as those of a batch, both drawn when first needed."""

    def __init__(self, module: nn.Module, batch: Batch, demand: Demand) -> None:
        self._module, self._batch, self._demand = module, batch, demand
        self._check: Comparison | None = None

    @cached_property
    def _drawn(self) -> tuple[kinds.Batch, list[nn.Module]]:
        generator = torch.Generator().manual_seed(0)
        inputs = _drawn_inputs(self._batch, generator)
        return inputs, [_drawn(self._module, generator) for _ in range(LANES[-1])]

    def first(self) -> Agreeing:
        """Return what one module shows."""
        inputs, modules = self._drawn
        some = kinds.slices(inputs, SIZES[-1])
        met = kinds.copied(some)
        with drawing_nothing(), torch.no_grad():
            kinds.call(modules[0], met)
            interact = samples_interact(modules[0], some)
        form = Form(copies=_differ(met, some), whole=interact)
        if form.whole:
            return Agreeing(form, None)
        self.check(form)
        return Agreeing(form, Shape.of(modules[0], kinds.copied(kinds.slices(inputs, SIZES[-1]))))

    def check(self, form: Form) -> Comparison:
        """Return what compares them with each by itself, in a form."""
        if self._check is None:
            inputs, modules = self._drawn
            self._check = Comparison(modules, inputs, form, gradients=self._demand.gradients)
        return self._check


class Comparison:
    """Compares what modules of one structure compute with what they compute by themselves."""

    def __init__(
        self, modules: Sequence[nn.Module], inputs: kinds.Batch, form: Form, *, gradients: bool
    ) -> None:
        self._modules, self._form, self._gradients = modules, form, gradients
        self._prepared: dict[tuple[bool, bool], list[nn.Module]] = {}
        self._inputs = [kinds.slices(inputs, size) for size in SIZES]
        with drawing_nothing():
            self._expected = self._answers(Alone(modules[0], form), -1)

    def lanes(self, arithmetic: Arithmetic) -> tuple[int, ...]:
        """Return how many lanes give the same bits, all the same; none where they can't be used."""
        try:
            if not arithmetic.fused:
                unit = self._unit(arithmetic, slice(1), 1)
                return (1,) if self._is_close(self._answers(unit, -1)) else ()
            most = LANES[-1]
            whole = self._all(arithmetic, most)
            if not (self._is_close(whole[-1][0]) and self._is_independent(arithmetic, whole)):
                return ()
            return (*(n for n in LANES[:-1] if _same(self._all(arithmetic, n), whole)), most)
        except StalledError:
            raise
        except Exception as error:  # it can't be fused, or user code met what resembles a tensor
            if out_of_memory(error):
                raise
            return ()

    def _all(self, arithmetic: Arithmetic, lanes: int) -> list[Tensor]:
        """Return answers [K, b, ...] of all modules, for each size of a batch."""
        parts = [slice(i, i + lanes) for i in range(0, len(self._modules), lanes)]
        units = [self._unit(arithmetic, part, lanes) for part in parts]
        return [torch.cat([self._answers(u, i) for u in units]) for i in range(len(SIZES))]

    def _unit(self, arithmetic: Arithmetic, part: slice, lanes: int) -> Unit:
        """Return the unit of some of the modules, each of which is folded once."""
        kind = arithmetic.folded, arithmetic.fused
        if kind not in self._prepared:
            needed = self._modules if arithmetic.fused else self._modules[:1]
            self._prepared[kind] = prepared(needed, folded=arithmetic.folded)
        modules = self._prepared[kind][part]
        return assembled(modules, replace(self._form, arithmetic=arithmetic), lanes)

    def _is_independent(self, arithmetic: Arithmetic, whole: Sequence[Tensor]) -> bool:
        """Say whether bits are the same in another slot, and beside copies of one module."""
        backwards = self._unit(arithmetic, slice(None, None, -1), LANES[-1])
        alone = self._unit(arithmetic, slice(1, 2), LANES[-1])
        return all(
            torch.equal(self._answers(backwards, i).flip(0), answers)
            and torch.equal(self._answers(alone, i)[0], answers[1])
            for i, answers in enumerate(whole)
        )

    def _answers(self, unit: Unit, size: int) -> Tensor:
        """Return logits of common inputs and of each model's own [K, b, C], or gradients."""
        inputs = self._inputs[size]
        if not self._gradients:
            with torch.no_grad():
                return unit.shared(inputs)
        own: Tensor = inputs.expand(unit.count, *inputs.shape).clone().requires_grad_()
        logits = unit.own(own)
        (gradient,) = torch.autograd.grad(logits.logsumexp(-1).sum(), own)
        return torch.cat([logits.detach(), gradient.flatten(2)], dim=-1)

    def _is_close(self, got: Tensor) -> bool:
        scale = max(1.0, _scale(self._expected))
        return _close(got.view_as(self._expected), self._expected, TOLERANCE * scale)


def samples_interact(model: Model, inputs: kinds.Batch) -> bool:
    """Say whether what a model answers about samples depends on the others in their batch.

    The samples are less extreme than the others, and neither first nor last.
    """
    count = min(SOME, kinds.length(inputs) // 3)
    if count == 0:
        return False
    before, after = kinds.slices(inputs, count), kinds.slices(inputs, 2 * count, SIZES[-1])
    means = iter([x.mean() if x.is_floating_point() else x for x in kinds.tensors(inputs).values()])

    def middling(values: Tensor) -> Tensor:
        mean = next(means)
        return (values + mean) / 2 if values.is_floating_point() else values

    some = kinds.mapped(kinds.slices(inputs, count, 2 * count), middling)
    unit = Alone(model, IN_TURN)
    with torch.no_grad():
        alone = unit.shared(some)
        among = unit.shared(kinds.join([before, some, after]))[:, count : 2 * count]
    eps = torch.finfo(alone.dtype).eps if alone.is_floating_point() else 0.0
    return not _close(among, alone, max(MINDED, 8 * eps) * _scale(alone))


def _differ(met: kinds.Batch, given: kinds.Batch) -> bool:
    """Say whether a module wrote into the inputs that it met."""
    pairs = zip(kinds.tensors(met).values(), kinds.tensors(given).values(), strict=True)
    return not all(torch.equal(*pair) for pair in pairs)


def _scale(answers: Tensor) -> float:
    """Return how large answers are that are numbers; 0 where none is."""
    return float(answers.abs().nan_to_num(nan=0, posinf=0).max())


def _close(got: Tensor, expected: Tensor, tolerance: float) -> bool:
    return torch.allclose(got, expected, rtol=0, atol=tolerance, equal_nan=True)


def _same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(some, others, strict=True))


def _drawn(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Copy a module with other weights, of the size that weights have."""
    module = copied(module)
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]
    means = [part.running_mean for part in norms if part.running_mean is not None]
    others = [part.running_var for part in norms if part.running_var is not None]
    with torch.no_grad():
        for tensor in filter(Tensor.is_floating_point, (*module.parameters(), *means, *others)):
            values = torch.rand(tensor.shape, generator=generator)
            if tensor.ndim < 2:  # shifts and scales
                values += 0.5
            else:
                values = (2 * values - 1) / math.sqrt(max(1, tensor[0].numel()))
            tensor.copy_(values)
    return module


def _drawn_inputs(batch: Batch, generator: torch.Generator) -> kinds.Batch:
    """Return inputs as the batch's, drawn where they aren't words: those have to be known."""
    low, high = batch.data.bounds or (0.0, 1.0)

    def drawn(values: Tensor) -> Tensor:
        if not values.is_floating_point():
            repeated = torch.arange(max(SIZES)) % len(values)
            return values[repeated.to(values.device)]
        found = torch.rand(max(SIZES), *values.shape[1:], generator=generator)
        return (low + (high - low) * found).to(values)

    return kinds.mapped(batch.inputs, drawn)
