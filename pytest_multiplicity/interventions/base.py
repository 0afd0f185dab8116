"""The kinds of intervention, what they have in common, and how they are joined by `|`.

Intervention
├── SampleIntervention     chooses samples: Group, WorstGroup
├── InputIntervention      changes inputs, the same for every model: Corrupt, InputNoise
├── ModelIntervention      changes inputs, for each model its own way: Attack
│   └── JointIntervention  and for several models at once: PGD
└── OutputIntervention     changes logits: OutputNoise
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions.naming import call

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.tasks import Task

Model = Callable[[Tensor], Tensor]


class Intervention:
    """A change under which accuracy is measured: `candidate.accuracy(data, under=...)`.

    Interventions are values: their parameters are all there is to them. `a | b` applies a, then b.
    """

    needs_classes: ClassVar[bool] = (
        False  # whether it acts on the logits of one class for each sample
    )

    def __or__(self, other: Intervention | Chain) -> Chain:
        return chain(self) | other

    def __repr__(self) -> str:
        return call(type(self).__name__, *self._arguments())

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the first parameter, and of the others those that differ from their defaults."""
        first, *others = fields(self)  # type: ignore[arg-type]  # the parametrized are dataclasses
        values = {field.name: getattr(self, field.name) for field in others}
        changed = {
            field.name: values[field.name]
            for field in others
            if field.default is MISSING or values[field.name] != field.default
        }
        return [getattr(self, first.name)], changed

    @property
    def draws(self) -> str:
        """What the random numbers are drawn from; "" where none are, or none of its own."""
        return ""

    def check(self, data: Data) -> None:
        """Raise an InterventionError where the parameters don't fit `data`."""


class SampleIntervention(Intervention, ABC):
    """Chooses samples, and changes none."""

    @abstractmethod
    def restrict(self, data: Data) -> Data:
        """Return the chosen samples as a view of `data`; all where the worst group is sought."""

    def groups(self, data: Data) -> Sequence[SampleIntervention]:
        """Return the groups of `data` among which the worst is sought; none for a single one."""
        return ()


class InputIntervention(Intervention, ABC):
    """Changes inputs, for every model alike."""

    needs_model: Literal[False] = False

    @abstractmethod
    def apply(self, inputs: kinds.Batch, rows: Tensor, data: Data) -> kinds.Batch:
        """Return the changed inputs, of the kind of the given ones, and on their device.

        Args:
            inputs: a batch of samples; not written to.
            rows: their positions [b] in `data.root`, on which random numbers depend, on nothing
                else: a group under noise is the noise of the group.
            data: where the samples come from; its bounds hold.
        """


class ModelIntervention(Intervention, ABC):
    """Changes inputs, for every model its own way."""

    needs_model: Literal[True] = True
    needs_classes = True

    @property
    def passes(self) -> int:
        """About how often a sample goes through the model for it, forwards or backwards.

        That of another library's attack is not known: as many as of ten steps are assumed.
        """
        return 20

    @abstractmethod
    def perturb(
        self, model: Model, inputs: Tensor, targets: Tensor, rows: Tensor, data: Data
    ) -> Tensor:
        """Return the inputs [b, ...] changed against `model`.

        Args:
            model: from a batch to logits, in eval mode, on the device of `inputs`.
            inputs: samples [b, ...]; not written to.
            targets: their classes [b], on the same device.
            rows: as for `InputIntervention.apply`.
            data: as for `InputIntervention.apply`.
        """


class JointIntervention(ModelIntervention, ABC):
    """Changes inputs, for every model its own way, and for several models at once."""

    @abstractmethod
    def perturb_all(
        self,
        models: Model,
        inputs: Tensor,
        targets: Tensor,
        rows: Tensor,
        data: Data,
        *,
        whole: bool = False,
    ) -> Tensor:
        """Return the inputs [K, b, ...] changed against each of K models: all that perturb says.

        Args:
            models: from a batch for each model, [K, b, ...], to logits [K, b, classes].
            inputs: samples for each model, [K, b, ...]; not written to.
            targets: their classes [b], as in `perturb`.
            rows: as in `perturb`.
            data: as in `perturb`.
            whole: whether samples act on each other, so that none may leave the batch.
        """


class OutputIntervention(Intervention, ABC):
    """Changes logits."""

    @abstractmethod
    def apply(self, logits: Tensor, rows: Tensor, data: Data) -> Tensor:
        """Return the changed logits [b, classes]; see `InputIntervention.apply` for the rest."""

    def check_answers(self, answers: Tensor, task: Task) -> None:
        """Raise InterventionError for answers of a task that it can't change."""

    def expected_correct(self, logits: Tensor, targets: Tensor) -> Tensor | None:
        """Return the probability [b], float64, that the changed logits predict the target.

        None where there is no closed form: the logits that `apply` returns then count.
        """
        return None


@dataclass(frozen=True, repr=False)
class Chain:
    """Interventions that are applied from left to right; none at all is the clean measurement.

    Groups may stand anywhere: they choose samples, and change none. A change of the output comes
    after all changes of the input.

    Raises:
        InterventionError: the order makes no sense, or two steps would draw the same numbers.
    """

    steps: tuple[Intervention, ...] = ()

    def __post_init__(self) -> None:
        _check_order(self.steps)
        _check_draws(self.steps)

    def __or__(self, other: Intervention | Chain) -> Chain:
        return Chain(self.steps + chain(other).steps)

    def __repr__(self) -> str:
        return self.name or "Chain()"

    @cached_property
    def name(self) -> str:
        """What reports call it: the steps joined by " | ", "" for none."""
        return " | ".join(map(repr, self.steps))

    @cached_property
    def groups(self) -> tuple[SampleIntervention, ...]:
        """The steps that choose samples."""
        return tuple(step for step in self.steps if isinstance(step, SampleIntervention))

    @cached_property
    def inputs(self) -> tuple[InputIntervention | ModelIntervention, ...]:
        """The steps that change the input, in order."""
        kinds = InputIntervention | ModelIntervention
        return tuple(step for step in self.steps if isinstance(step, kinds))

    @cached_property
    def outputs(self) -> tuple[OutputIntervention, ...]:
        """The steps that change the output, in order."""
        return tuple(step for step in self.steps if isinstance(step, OutputIntervention))

    @property
    def needs_model(self) -> bool:
        """Whether inputs are changed for each model its own way."""
        return any(step.needs_model for step in self.inputs)

    @property
    def passes(self) -> int:
        """About how often a sample goes through a model until its logits are known."""
        attacks = (step for step in self.inputs if isinstance(step, ModelIntervention))
        return 1 + sum(step.passes for step in attacks)

    def check(self, data: Data) -> None:
        """Raise a DataError or InterventionError where this can't be measured on `data`.

        Groups are looked for and parameters compared with the bounds; nothing is computed.
        """
        self.expand(data)
        self.restrict(data)
        for step in self.steps:
            if step.needs_classes and not data.task.chooses:
                raise InterventionError(
                    f"{step!r} acts on the logits of one class for each sample, and {data.name!r} "
                    f"is for {data.task.name}: it fits classification; Group, Corrupt, InputNoise "
                    "and your own interventions fit any task"
                )
            step.check(data)

    def restrict(self, data: Data) -> Data:
        """Return the samples that are in all groups, as a view of `data`.

        Raises:
            DataError: there are none, or an attribute is missing.
        """
        for group in self.groups:
            data = group.restrict(data)
        return data

    def expand(self, data: Data) -> list[Chain]:
        """Return a chain for each group among which the worst is sought; itself where none is.

        A score under this chain is the worst of the scores under those.
        """
        for position, step in enumerate(self.steps):
            if not isinstance(step, SampleIntervention):
                continue
            if groups := step.groups(self.restrict(data)):
                before, after = self.steps[:position], self.steps[position + 1 :]
                return [
                    expanded
                    for group in groups
                    for expanded in Chain((*before, group, *after)).expand(data)
                ]
        return [self]


def chain(under: Any) -> Chain:
    """Return what `under=` was given as a chain: an intervention, several joined, or None."""
    if under is None:
        return Chain()
    if isinstance(under, Chain):
        return under
    if isinstance(under, Intervention):
        return Chain((under,))
    raise InterventionError(f"{under!r} is no intervention: {_remedy(under)}")


def _remedy(under: Any) -> str:
    if isinstance(under, type) and issubclass(under, Intervention):
        return f"give its parameters, as in {under.__name__}(...)"
    if isinstance(under, str):
        return f"a group is Group({under!r}), a named corruption Corrupt(name, severity=3)"
    if callable(under):
        return "wrap it, as in Corrupt(function)"
    return "give one such as Group('age < 30') or PGD(0.005), or several joined by |"


def _check_order(steps: tuple[Intervention, ...]) -> None:
    output: Intervention | None = None
    for step in steps:
        if isinstance(step, OutputIntervention):
            output = step
        elif output is not None and isinstance(step, InputIntervention | ModelIntervention):
            raise InterventionError(
                f"{step!r} changes the input, but stands after {output!r}, which changes the "
                f"output: write {step!r} | {output!r}"
            )


def _check_draws(steps: tuple[Intervention, ...]) -> None:
    counts = Counter(step.draws for step in steps if step.draws)
    for draws, times in counts.items():
        if times > 1:
            raise InterventionError(
                f"{' | '.join(map(repr, steps))} draws the numbers of {draws} {times} times: "
                "give each step a seed of its own, seed=1, seed=2"
            )
