"""How the models of one structure are evaluated: by the rule, as far as they can be.

What fuses, folds or lays out anew has to compute what the models compute by themselves, and the
same bits in any company. That is checked, on weights and samples that are drawn for it: so the
verdict is the same whichever candidates and data are asked for first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    Arithmetic,
    Shape,
    StalledError,
    Unfusable,
    copied,
    drawing_nothing,
    machine_class,
    of_inference,
    preserved_rng,
    structure,
    threads,
)
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.inference.executors import Alone, Batch, Step, Unit, made
from pytest_multiplicity.interventions import JointIntervention
from pytest_multiplicity.store import fingerprint

LANES = (FEWEST_LANES, 8, 16)  # side by side: more give no more speed
SIZES = (256, 32)  # of the batches on which bits are compared
TOLERANCE = 1e-5
PLAIN = Arithmetic()


@dataclass(frozen=True)
class Form:
    """How the models of one structure are evaluated.

    `lanes` are the numbers of models side by side that give the same bits. Units compute at once,
    with a thread each; `in_turn`: one after the other, with all threads that there are, which is
    how code is run that may mind company.
    """

    arithmetic: Arithmetic = PLAIN
    lanes: tuple[int, ...] = (1,)
    in_turn: bool = False

    def __str__(self) -> str:
        return f"{self.arithmetic}{', in turn' * self.in_turn}"

    def width(self, models: int, cores: int) -> int:
        """Return how many of so many models to put side by side, that no core is idle."""
        wanted = math.ceil(models / cores)
        return next((lanes for lanes in self.lanes if lanes >= wanted), self.lanes[-1])


IN_TURN = Form(in_turn=True)


@dataclass(frozen=True)
class Demand:
    """What a measurement asks of models.

    `gradients` with respect to inputs; `joint`: nothing of it needs one model by itself, or may
    mind threads.
    """

    gradients: bool
    joint: bool

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Demand:
        """Return what steps that are each model's own ask."""
        return cls(
            gradients=any(step.needs_model for step in steps),
            joint=all(isinstance(step, JointIntervention) for step in steps),
        )


class Forms:
    """Finds forms and remembers them, for a family of which so many models were declared."""

    def __init__(self, device: torch.device, declared: int) -> None:
        self._device, self._declared = device, declared
        self._known: dict[tuple[object, ...], Form] = {}
        self._structures: WeakKeyDictionary[nn.Module, str | None] = WeakKeyDictionary()

    @property
    def used(self) -> list[Form]:
        """All that were found so far."""
        return list(dict.fromkeys(self._known.values()))

    def structure(self, module: nn.Module) -> str | None:
        """Describe what modules that compute side by side have in common; None: nothing."""
        if module not in self._structures:
            try:
                self._structures[module] = fingerprint([structure(module)])
            except (Unfusable, MultiplicityError):
                self._structures[module] = None
        return self._structures[module]

    def of(self, module: nn.Module, batch: Batch, demand: Demand) -> Form:
        """Return the form for modules of a structure on inputs of a shape."""
        known = self.structure(module)
        if known is None or not demand.joint:
            return IN_TURN
        key = known, batch.inputs.shape[1:], batch.inputs.dtype, demand
        if key not in self._known:
            with preserved_rng(), threads(1):
                self._known[key] = self._found(module, batch, demand)
        return self._known[key]

    def _found(self, module: nn.Module, batch: Batch, demand: Demand) -> Form:
        generator = torch.Generator().manual_seed(0)
        try:
            inputs = _drawn_inputs(batch, generator)
            modules = [_drawn(module, generator) for _ in range(LANES[-1])]
            check = _Check(modules, inputs, gradients=demand.gradients)
            shape = Shape.of(modules[0], inputs[: SIZES[-1]])
        except StalledError:  # the measurement itself will say which model hangs
            raise
        except Exception:  # it draws, can't be copied, or minds what only resembles its inputs
            return IN_TURN
        machine = machine_class(self._device)
        chosen = of_inference(shape, alike=self._declared, machine=machine)
        for arithmetic in _simpler(chosen):
            if lanes := check.lanes(arithmetic):
                return Form(arithmetic, lanes)
        return Form()


class _Check:
    """Compares what modules of one structure compute with what they compute by themselves."""

    def __init__(self, modules: Sequence[nn.Module], inputs: Tensor, *, gradients: bool) -> None:
        self._modules, self._gradients = modules, gradients
        self._inputs = [inputs[:size] for size in SIZES]
        with drawing_nothing():
            self._expected = self._answers(Alone(modules[0]), -1)

    def lanes(self, arithmetic: Arithmetic) -> tuple[int, ...]:
        """Return how many lanes give the same bits, all the same; none where they can't be used."""
        try:
            if not arithmetic.fused:
                close = self._is_close(self._answers(made(self._modules[:1], arithmetic, 1), -1))
                return (1,) if close else ()
            most = LANES[-1]
            whole = self._all(arithmetic, most)
            if not (self._is_close(whole[-1][0]) and self._is_independent(arithmetic, whole)):
                return ()
            return (*(n for n in LANES[:-1] if _same(self._all(arithmetic, n), whole)), most)
        except StalledError:
            raise
        except Exception:  # it can't be fused, or user code met what only resembles a tensor
            return ()

    def _all(self, arithmetic: Arithmetic, lanes: int) -> list[Tensor]:
        """Return answers [K, b, ...] of all modules, for each size of a batch."""
        parts = [self._modules[i : i + lanes] for i in range(0, len(self._modules), lanes)]
        units = [made(part, arithmetic, lanes) for part in parts]
        return [torch.cat([self._answers(u, i) for u in units]) for i in range(len(SIZES))]

    def _is_independent(self, arithmetic: Arithmetic, whole: Sequence[Tensor]) -> bool:
        """Say whether bits are the same in another slot, and beside copies of one module."""
        if self._inputs[0].device.type != "cpu":
            return True
        backwards = made(self._modules[::-1], arithmetic, LANES[-1])
        alone = made(self._modules[1:2], arithmetic, LANES[-1])
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
        own = inputs.expand(unit.count, *inputs.shape).clone().requires_grad_()
        logits = unit.own(own)
        (gradient,) = torch.autograd.grad(logits.logsumexp(-1).sum(), own)
        return torch.cat([logits.detach(), gradient.flatten(2)], dim=-1)

    def _is_close(self, got: Tensor) -> bool:
        expected = self._expected
        scale = max(1.0, float(expected.abs().nan_to_num().max()))
        got = got.view_as(expected)
        return torch.allclose(got, expected, rtol=0, atol=TOLERANCE * scale, equal_nan=True)


def _same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(some, others, strict=True))


def _simpler(arithmetic: Arithmetic) -> Iterator[Arithmetic]:
    """Yield an arithmetic, and what remains of it the more is left out."""
    forms = [arithmetic, replace(arithmetic, folded=False)]
    forms += [replace(form, channels_last=False) for form in tuple(forms)]
    forms += [form.alone for form in tuple(forms)]
    yield from dict.fromkeys(forms)


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


def _drawn_inputs(batch: Batch, generator: torch.Generator) -> Tensor:
    """Return inputs as the batch's, drawn where they aren't words: those have to be known."""
    inputs = batch.inputs
    if not inputs.is_floating_point():
        repeated = torch.arange(max(SIZES)) % len(inputs)
        return inputs[repeated.to(inputs.device)]
    low, high = batch.data.bounds or (0.0, 1.0)
    drawn = torch.rand(max(SIZES), *inputs.shape[1:], generator=generator)
    return (low + (high - low) * drawn).to(inputs)
