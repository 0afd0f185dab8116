"""The models of a family: trained from recipes, given as modules, or opaque callables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from pytest_multiplicity.compute import Machine, device_class, free_bytes, named
from pytest_multiplicity.design import Built, Design
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.inference.answers import answering
from pytest_multiplicity.inference.called import Called
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.executors import size_of
from pytest_multiplicity.inference.given import Seal, apart, frozen
from pytest_multiplicity.inference.infer import Model
from pytest_multiplicity.inference.made import Made
from pytest_multiplicity.inference.weights import Weights
from pytest_multiplicity.training import Recipe, Seeds, initial_module, restore

SHARE = 0.25  # of the memory that is free, for trained modules that wait for the next question


class Models:
    """What the family's function returned for every configuration, turned into models.

    Weights are read from the store when a model is first used, and modules kept as far as memory
    allows.
    """

    def __init__(
        self,
        name: str,
        definition: Built,
        design: Design,
        made: Sequence[Any],
        *,
        machine: Machine,
        run_id: str,
        selected: Sequence[int] = (),
    ) -> None:
        self.name, self.design, self.machine = name, design, machine
        self._seals = {i: Seal(each) for i, each in enumerate(made) if isinstance(each, nn.Module)}
        own = [apart(each, weights=False) if isinstance(each, nn.Module) else each for each in made]
        self.made = Made(name, definition, design, own, machine, run_id)
        self.counts = Counts()
        everybody = range(len(made))
        self.weights: Weights | Called = (
            Weights(self.made, self.counts)
            if self.made.given is None
            else Called(self.made, self.counts, selected or everybody)
        )
        self._again: Any = None  # what another call gave for the first
        self.odd: dict[str, set[int]] = {}  # what is said of answers -> of whose
        self.makers: set[str] = set()  # other classes of machines that made what is used
        self._held: dict[int, Model] = {}
        self._room: float | None = None  # bytes, for what is held

    def further(self, design: Design, made: Sequence[Any]) -> Models:
        """Return models of candidates that are added to these, and computed as these are."""
        known, together = self.made, replace(self.machine, early=False)
        added = Models(
            self.name, known.definition, design, made, machine=together, run_id=known.run_id
        )
        added.made.compute_as(known)
        return added

    @property
    def alive(self) -> list[int]:
        """Positions of the candidates that have a model in this run: most have."""
        self.weights.ready()
        return [i for i in range(len(self.made.all)) if i not in self.weights.absent]

    @property
    def history(self) -> dict[int, list[dict[str, float]]]:
        """The course of each training: a row for every epoch."""
        return self.weights.history

    @property
    def doubts(self) -> list[str]:
        """What is said of odd answers, and of results that another class of machine made."""
        makers = self.makers | set(self.weights.others.values())
        return [*self.weights.doubts, *self._odd()] + [
            f"some results in the store were made by {maker}; this machine, {self.machine.kind}, "
            "might compute other last bits: give --multiplicity-store another folder to have "
            "everything made here"
            for maker in sorted(makers)
        ]

    def known_by(self, index: int) -> list[str]:
        """Return what the store knows what a candidate computes by: what evaluates it, too.

        And the class of device that trained it, where that is another one.
        """
        here = device_class(self.machine.device)
        trained = self.weights.device(index)
        return [self.made.keys[index], here, *([trained] if trained not in (None, here) else [])]

    def note_odd(self, index: int, what: str | None) -> None:
        """Note what looks odd in the answers of a candidate."""
        if what is not None:
            self.odd.setdefault(what, set()).add(index)

    def _odd(self) -> Iterator[str]:
        """Yield what was noted, each once, with whom it is about."""
        for what, positions in self.odd.items():
            ids = named([self.design.ids[index] for index in sorted(positions)])
            whose = "" if ids == self.name else f"{self.name}: "  # a family of one has its name
            yield f"{whose}{ids}: {what}"

    def note_maker(self, maker: str | None) -> None:
        """Note the class of the machine that made what was found in the store."""
        if maker not in (None, str(self.machine.kind)):
            self.makers.add(maker)

    def model(self, index: int) -> Model:
        """Return a frozen callable from a batch on the device to answers, not to be changed.

        Raises:
            CandidateDiverged: its training diverged.
        """
        made = self.made.all[index]
        if isinstance(self.weights, Called):
            return self._kept(self.weights, index)
        if not isinstance(made, Recipe | nn.Module):
            return answering(made)
        if isinstance(made, nn.Module):
            return self._given(index, made)
        if index not in self._held:
            module = self.module(index)
            self._hold(index, module, size_of(module))
            return module
        return self._held[index]

    def module(self, index: int) -> nn.Module:
        """Return a copy of the module, frozen, in eval mode, on the device; it may be changed."""
        with self.machine.as_new():
            return self._module(index)

    def _module(self, index: int) -> nn.Module:
        made = self.made.all[index]
        if isinstance(self.weights, Called):
            made = self.weights.load(index)
            if isinstance(made, nn.Module):
                return frozen(made, self.machine.device)
        if isinstance(made, nn.Module):
            return apart(self._given(index, made), weights=True)
        if not isinstance(made, Recipe) or isinstance(self.weights, Called):
            raise MeasurementError(
                f"{self.design.ids[index]} is a {type(made).__name__}, no torch module: "
                "it has logits, but neither weights nor gradients"
            )
        weights = self.weights.of(index)
        module = initial_module(made, Seeds.of(self.design.configs[index]))
        restore(module, weights)
        return frozen(module, self.machine.device)

    def _given(self, index: int, module: nn.Module) -> nn.Module:
        """Return a module that came ready-made, frozen, with the weights that it came with."""
        if self._seals[index].broken and self.made.key_now(index) != self.made.keys[index]:
            raise MeasurementError(
                f"the weights of {self.design.ids[index]} were changed after the family's function "
                f"had returned it: have {self.name!r} return a copy, copy.deepcopy(module)"
            )
        return frozen(module, self.machine.device)

    def _kept(self, called: Called, index: int) -> Model:
        """Return what the family's function returned once, and was kept since."""
        if index not in self._held:
            with self.machine.as_new():
                loaded = called.load(index)
            model: Model = answering(loaded)
            if isinstance(loaded, nn.Module):
                model = frozen(loaded, self.machine.device)
            self._hold(index, model, called.size(index))
            return model
        return self._held[index]

    def check(self, again: Any = None) -> None:
        """From now on compare what the first answers with what another call gave, or will give."""
        self._again = again
        if isinstance(self.weights, Called):
            self.weights.again = True

    def twin(self, index: int) -> Model | None:
        """Return the model that another call of the function gave for a candidate, if any did."""
        if isinstance(self.weights, Called):
            other = self.weights.twin(index)
        else:
            other = None if index else self._again
        if other is None or isinstance(other, Recipe):
            return None
        if isinstance(other, nn.Module):
            return frozen(other, self.machine.device)
        return answering(other)

    def let_go(self) -> None:
        """Leave trained modules to the store: few more questions are expected, if any.

        What a family's function returned stays, which may take long to load.
        """
        if isinstance(self.weights, Weights):
            self._held.clear()
            self._room = None

    def _hold(self, index: int, module: Model, size: int) -> None:
        """Keep a module for the next question, where there is room.

        Questions go through the family in its order: those that came first are asked next, so what
        finds no room isn't kept, rather than what was used longest ago.
        """
        if self._room is None:
            self._room = SHARE * free_bytes(self.machine.device)
        if size <= self._room:
            self._held[index], self._room = module, self._room - size
