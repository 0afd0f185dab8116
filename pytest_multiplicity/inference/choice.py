"""Which form the models of a structure are evaluated in: that of the rule, as far as they can be.

What fuses, folds or lays out anew has to compute what the models compute by themselves, and the
same bits in any company. That is checked, on weights and samples that are drawn for it: so the
verdict is the same whichever candidates and data are asked for first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    Arithmetic,
    Shape,
    StalledError,
    copied,
    drawing_nothing,
    let_go,
    machine_class,
    of_inference,
    out_of_memory,
    preserved_rng,
    structure,
    threads,
)
from pytest_multiplicity.data import kinds
from pytest_multiplicity.inference.executors import Alone, Model, Unit, made
from pytest_multiplicity.inference.form import IN_TURN, Alike, Batch, Demand, Form
from pytest_multiplicity.store import fingerprint

LANES = (FEWEST_LANES, 8, 16)  # side by side: more give no more speed
SIZES = (256, 32)  # of the batches on which bits are compared
SOME = 8  # samples that are looked at by themselves, and among others
TOLERANCE = 1e-5
MINDED = 1e-3  # what other samples change at the least, where they matter


def structure_of(model: object) -> str | None:
    """Describe what models that compute side by side have in common; None: nothing."""
    if not isinstance(model, nn.Module):
        return None
    try:
        return fingerprint([structure(model)])
    except Exception as error:  # scripted and exported modules lack much that others have
        if out_of_memory(error):
            raise
        return None


class Forms:
    """Finds forms and remembers them.

    Args:
        device: where models are evaluated.
        alike: says how many models of a structure the declared design has.
    """

    def __init__(self, device: torch.device, alike: Callable[[str], int]) -> None:
        self._device, self._alike = device, alike
        self._known: dict[tuple[object, ...], Form] = {}
        self._structures: WeakKeyDictionary[nn.Module, str | None] = WeakKeyDictionary()

    @property
    def used(self) -> list[Form]:
        """All that were found so far."""
        return list(dict.fromkeys(self._known.values()))

    def structure(self, model: object) -> str | None:
        """Return `structure_of` a model, remembered."""
        if not isinstance(model, nn.Module):
            return None
        if model not in self._structures:
            self._structures[model] = structure_of(model)
        return self._structures[model]

    def of(self, models: Sequence[Model], batch: Batch, demand: Demand) -> Iterator[Alike]:
        """Put models of one structure together, with their form on inputs of a shape."""
        alike: dict[str | None, list[int]] = {}
        for position, model in enumerate(models):
            alike.setdefault(self.structure(model) or f"model {position}", []).append(position)
        for positions in alike.values():
            model = models[positions[0]]
            known = self.structure(model)
            if known is None or not demand.joint or not kinds.tensors(batch.inputs):
                yield tuple(positions), _in_turn(model, batch.inputs, demand)
                continue
            assert isinstance(model, nn.Module)
            key = known, kinds.signature(batch.inputs), demand
            if key not in self._known:
                with preserved_rng(), threads(1):
                    form = self._looked_for(model, known, batch, demand)
                if form.lacking:  # which is no reason to do so the next time
                    yield tuple(positions), form
                    continue
                self._known[key] = form
            yield tuple(positions), self._known[key]

    def _looked_for(self, module: nn.Module, known: str, batch: Batch, demand: Demand) -> Form:
        """Return the form that is found, or in turn where memory runs out twice."""
        for _ in range(2):
            try:
                return self._found(module, known, batch, demand)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            let_go()
        return replace(_in_turn(module, batch.inputs, demand), lacking=True)

    def _found(self, module: nn.Module, known: str, batch: Batch, demand: Demand) -> Form:
        generator = torch.Generator().manual_seed(0)
        try:
            inputs = _drawn_inputs(batch, generator)
            modules = [_drawn(module, generator) for _ in range(LANES[-1])]
            some = kinds.slices(inputs, SIZES[-1])
            met = kinds.copied(some)
            with drawing_nothing(), torch.no_grad():
                kinds.call(modules[0], met)
                interact = _samples_interact(modules[0], some)
            form = Form(copies=_differ(met, some), whole=interact)
            if form.whole:
                return form
            check = _Check(modules, inputs, form, gradients=demand.gradients)
            shape = Shape.of(modules[0], kinds.copied(kinds.slices(inputs, SIZES[-1])))
        except StalledError:  # the measurement itself will say which model hangs
            raise
        except Exception as error:  # it draws, can't be copied, or minds what resembles its inputs
            if out_of_memory(error):  # what happens to be free decides no bits
                raise
            return _in_turn(module, batch.inputs, demand)
        machine = machine_class(self._device)
        chosen = of_inference(shape, alike=self._alike(known), machine=machine)
        for arithmetic in _simpler(chosen):
            if lanes := check.lanes(arithmetic):
                return replace(form, arithmetic=arithmetic, lanes=lanes)
        return form


def _in_turn(model: Model, inputs: kinds.Batch, demand: Demand) -> Form:
    """Return the form of models of which nothing is known.

    Only attacks by gradients leave samples out: who isn't asked for any needn't be looked at.
    """
    if not (demand.gradients and demand.joint):
        return IN_TURN  # as for whatever is no tensor: no attack acts on it
    try:
        with preserved_rng():
            return replace(IN_TURN, whole=_samples_interact(model, inputs))
    except StalledError:
        raise
    except Exception as error:  # the measurement itself will tell
        if out_of_memory(error):
            raise
        return IN_TURN


def _differ(met: kinds.Batch, given: kinds.Batch) -> bool:
    """Say whether a module wrote into the inputs that it met."""
    pairs = zip(kinds.tensors(met).values(), kinds.tensors(given).values(), strict=True)
    return not all(torch.equal(*pair) for pair in pairs)


def _samples_interact(model: Model, inputs: kinds.Batch) -> bool:
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


class _Check:
    """Compares what modules of one structure compute with what they compute by themselves."""

    def __init__(
        self, modules: Sequence[nn.Module], inputs: kinds.Batch, form: Form, *, gradients: bool
    ) -> None:
        self._modules, self._form, self._gradients = modules, form, gradients
        self._inputs = [kinds.slices(inputs, size) for size in SIZES]
        with drawing_nothing():
            self._expected = self._answers(Alone(modules[0], form), -1)

    def lanes(self, arithmetic: Arithmetic) -> tuple[int, ...]:
        """Return how many lanes give the same bits, all the same; none where they can't be used."""
        try:
            if not arithmetic.fused:
                unit = made(self._modules[:1], replace(self._form, arithmetic=arithmetic), 1)
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
        form = replace(self._form, arithmetic=arithmetic)
        parts = [self._modules[i : i + lanes] for i in range(0, len(self._modules), lanes)]
        units = [made(part, form, lanes) for part in parts]
        return [torch.cat([self._answers(u, i) for u in units]) for i in range(len(SIZES))]

    def _is_independent(self, arithmetic: Arithmetic, whole: Sequence[Tensor]) -> bool:
        """Say whether bits are the same in another slot, and beside copies of one module."""
        form = replace(self._form, arithmetic=arithmetic)
        backwards = made(self._modules[::-1], form, LANES[-1])
        alone = made(self._modules[1:2], form, LANES[-1])
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


def _scale(answers: Tensor) -> float:
    """Return how large answers are that are numbers; 0 where none is."""
    return float(answers.abs().nan_to_num(nan=0, posinf=0).max())


def _close(got: Tensor, expected: Tensor, tolerance: float) -> bool:
    return torch.allclose(got, expected, rtol=0, atol=tolerance, equal_nan=True)


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
