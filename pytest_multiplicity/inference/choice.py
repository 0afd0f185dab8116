"""Which form the models of a structure are evaluated in: that of the rule, as far as they can be.

What fuses, folds or lays out anew has to compute what the models compute by themselves, and the
same bits in any company, which `agreeing` sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import nn

from pytest_multiplicity.compute import (
    Arithmetic,
    StalledError,
    let_go,
    machine_class,
    of_inference,
    out_of_memory,
    preserved_rng,
    structure,
    threads,
)
from pytest_multiplicity.data import kinds
from pytest_multiplicity.inference.agreeing import Agreeing, Drawing, samples_interact
from pytest_multiplicity.inference.executors import Model
from pytest_multiplicity.inference.form import IN_TURN, Alike, Batch, Demand, Form
from pytest_multiplicity.store import fingerprint


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
        seen: what was found of structures, which others may share; none of its own by default.
    """

    def __init__(
        self,
        device: torch.device,
        alike: Callable[[str], int],
        seen: dict[object, Agreeing] | None = None,
    ) -> None:
        self._device, self._alike = device, alike
        self._seen = {} if seen is None else seen
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
        look = Drawing(module, batch, demand)
        try:
            seen = self._seen_by(look, known, batch, demand)
            if seen.shape is None:
                return seen.form
            machine = machine_class(self._device)
            chosen = of_inference(seen.shape, alike=self._alike(known), machine=machine)
            for arithmetic in _simpler(chosen):
                if arithmetic not in seen.lanes:
                    seen.lanes[arithmetic] = look.check(seen.form).lanes(arithmetic)
                if lanes := seen.lanes[arithmetic]:
                    return replace(seen.form, arithmetic=arithmetic, lanes=lanes)
        except StalledError:  # the measurement itself will say which model hangs
            raise
        except Exception as error:  # it draws, can't be copied, or minds what resembles its inputs
            if out_of_memory(error):  # what happens to be free decides no bits
                raise
            return _in_turn(module, batch.inputs, demand)
        return seen.form

    def _seen_by(self, look: Drawing, known: str, batch: Batch, demand: Demand) -> Agreeing:
        """Return what was found of a structure; what depends on the very inputs isn't shared."""
        tensors = kinds.tensors(batch.inputs)
        if not all(tensor.is_floating_point() for tensor in tensors.values()):
            return look.first()
        shape, device = kinds.signature(batch.inputs), str(self._device)
        key = known, shape, demand, batch.data.bounds, device
        if key not in self._seen:
            self._seen[key] = look.first()
        return self._seen[key]


def _in_turn(model: Model, inputs: kinds.Batch, demand: Demand) -> Form:
    """Return the form of models of which nothing is known.

    Only attacks by gradients leave samples out: who isn't asked for any needn't be looked at.
    """
    if not (demand.gradients and demand.joint):
        return IN_TURN  # as for whatever is no tensor: no attack acts on it
    try:
        with preserved_rng():
            return replace(IN_TURN, whole=samples_interact(model, inputs))
    except StalledError:
        raise
    except Exception as error:  # the measurement itself will tell
        if out_of_memory(error):
            raise
        return IN_TURN


def _simpler(arithmetic: Arithmetic) -> Iterator[Arithmetic]:
    """Yield an arithmetic, and what remains of it the more is left out."""
    forms = [arithmetic, replace(arithmetic, by_numpy=False)]
    forms += [replace(form, folded=False) for form in tuple(forms)]
    forms += [replace(form, channels_last=False) for form in tuple(forms)]
    forms += [form.alone for form in tuple(forms)]
    yield from dict.fromkeys(forms)
