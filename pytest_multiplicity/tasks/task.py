"""What a task is: everything that depends on what is asked of a model, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor

    from pytest_multiplicity.statistics import Said
    from pytest_multiplicity.tasks.turning import Turning


@dataclass(frozen=True)
class Loss:
    """A loss that recipes know by name."""

    of_batch: Callable[[Tensor, Tensor], Tensor]
    """Answers `[b, ...]` and targets `[b]` of a batch -> a scalar."""
    of_lanes: Callable[[Tensor, Tensor], Tensor]
    """Answers `[K, b, ...]` and targets `[K, b]` of K models -> their losses `[K]`."""
    alike: tuple[Callable[[Tensor, Tensor], Tensor], ...] = ()
    """Functions of a batch that compute the same wherever they can."""
    of_each: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | int]] | None = None
    """As `of_lanes` -> the loss of each sample `[K, b]`, summed over what counts in it, and how
    many that are `[K, b]`, 1 where it is one each. Without it samples can't be weighed."""


@dataclass(frozen=True)
class Vote:
    """What several candidates say of `n` samples together."""

    answers: Tensor
    """As one model would answer: `[n, ...]`."""
    said: Tensor
    """The prediction that most of them make; of equals the likelier. Of values the mean."""
    agreement: Tensor
    """The share of them that says it, `[n]`."""
    probabilities: Tensor | None = None
    """The mean of theirs, where they have any."""


class Task(Protocol):
    """What is asked of a model. Answers are what it gives, predictions what is made of these.

    Where nothing else is said, leading dimensions may be any: of models, of samples.
    """

    @property
    def name(self) -> str:
        """What `Data(task=...)` calls it."""

    @property
    def answers(self) -> str:
        """What a model returns for a batch, for messages: "logits [batch, classes]"."""

    @property
    def losses(self) -> Mapping[str, Loss]:
        """The losses that fit, by name; the first is the default."""

    @property
    def names(self) -> tuple[Any, ...] | None:
        """The names of the classes, in the order of their indices; None where they have none."""

    @property
    def no_prediction(self) -> int | float:
        """What stands in the place of a prediction where there is none."""

    @property
    def kept_as(self) -> torch.dtype | None:
        """What predictions are stored as; None: in their dtype."""

    @property
    def identity(self) -> tuple[object, ...]:
        """What models' answers depend on beside the targets; nothing for classes by index."""

    @property
    def chooses(self) -> bool:
        """Whether a prediction is one of several classes for each sample, as attacks need it."""

    @property
    def has_targets(self) -> bool:
        """Whether there are any."""

    @property
    def compares(self) -> bool:
        """Whether it is known when two predictions differ."""

    @property
    def judgement(self) -> tuple[Any, ...]:
        """What decides on right and wrong beside the targets: a tolerance."""

    def judged(self, tolerance: float, name: str) -> Task:
        """Return the task with another tolerance. Raises DataError where there is none."""

    @property
    def has_accuracy(self) -> bool:
        """Whether predictions can be right."""

    @property
    def turning(self) -> Turning | None:
        """How outputs of a last layer turn a prediction; None where that has no meaning."""

    def check_targets(self, targets: Tensor, name: str) -> Tensor:
        """Return the targets of the data set `name` in the form that `Data` keeps.

        Raises DataError where they are none of this task.
        """

    def describe(self, targets: Tensor) -> str:
        """Say what there is to predict: "10 classes"."""

    def fit(self, answers: Tensor, samples: int) -> bool:
        """Return whether answers have a shape that a model may give for so many samples."""

    def read_answers(self, answers: Tensor, targets: Tensor, name: str) -> Tensor:
        """Return what a model gave for all samples of `name`, `[n, ...]`, in the task's form.

        Raises MeasurementError for a shape that a model can't have meant.
        """

    def doubts_about(
        self, given: Tensor, name: str, *, network: bool = False, targets: Tensor | None = None
    ) -> str | None:
        """Return what looks odd in what a model gave for all samples, before it is read.

        Raises MeasurementError where it is surely something else than what it is taken for: more
        is sure of a function's than of a `network`'s. `targets` are those of the data.
        """

    def columns(
        self, answers: Tensor, classes: Sequence[Any], targets: Tensor, name: str
    ) -> Tensor:
        """Return answers `[n, C]` about classes that a model names in the order of the data's."""

    def of_probabilities(
        self, sure: Tensor, classes: Sequence[Any] | None, targets: Tensor, name: str
    ) -> Tensor:
        """Return probabilities as answers. Raises MeasurementError where they are none."""

    def codes(self, labels: Any, name: str) -> Tensor:
        """Return labels in the form of targets. Raises MeasurementError for an unknown one."""

    def unknown(self, said: Tensor, targets: Tensor, like: Tensor) -> tuple[Tensor, int]:
        """Return which predictions are of classes beyond those that targets or answers `like` know.

        And the last of these: of predictions that are no classes none is beyond.
        """

    def has_probabilities(self, answers: Tensor) -> bool:
        """Return whether `probabilities` can be made of answers."""

    def has_logits(self, answers: Tensor) -> bool:
        """Return whether these are logits of which each sample's largest is its prediction."""

    def check_answers(self, answers: Tensor, targets: Tensor, name: str) -> None:
        """Raise DataError where answers `[..., n, C]` can't be right about targets of `name`."""

    def check_trainable(self, answers: object, batch: Tensor, targets: Tensor) -> None:
        """Raise RecipeError where a model's first answers don't fit the targets of a batch.

        `targets` are those of all samples.
        """

    def predictions(self, answers: Tensor) -> Tensor:
        """Return what answers predict, one for each sample."""

    def predictions_in_training(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Return what a module's answers about a batch predict, which nobody has read yet."""

    def right(self, predictions: Any, targets: Any) -> Any:
        """Return which predictions are right, of tensors or arrays that broadcast.

        Raises MeasurementError where none can be, see `has_accuracy`.
        """

    def by_sample(self, right: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return each sample's share of what is right, `[K, n]`, and how much it counts `[n]`.

        None: all count alike.
        """

    def differ(self, some: Any, others: Any) -> Any:
        """Return where two predictions of the same samples differ."""

    def said(
        self,
        predictions: npt.NDArray[Any],
        targets: npt.NDArray[Any] | None = None,
    ) -> Said:
        """Return what K candidates said, `[K, n, ...]`, to be compared with each other."""

    def parts(self, predictions: npt.NDArray[Any]) -> Mapping[Any, Said]:
        """Return the same of each part that has a name, such as a label; nothing by default."""

    def ballots(self, predictions: npt.NDArray[Any]) -> npt.NDArray[np.integer] | None:
        """Return predictions as codes `[K, units]` that mean the same in every run, for a lock.

        None where there are none.
        """

    def magnitudes(
        self, answers: Tensor, targets: Tensor, label: Any = None
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return numbers `[units]` of which candidates' ranges are shown, and whose units they are.

        Of classes it is the probability of the target's, or of `label`; of values these themselves.
        None where no class is meant.
        """

    def defines(self, name: str) -> str:
        """Return the definition that is printed with a number."""

    def probabilities(self, answers: Tensor) -> Tensor:
        """Return answers as probabilities of what may be predicted."""

    def channels(
        self, answers: Tensor, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return probabilities `[units, C]`, the targets `[units]`, and whose units they are.

        The last is None where each sample is one. Raises MeasurementError as `probabilities` does.
        """

    def vote(self, members: Sequence[Tensor]) -> Vote:
        """Return what members say together, by their answers."""

    def sureness(
        self, answers: npt.NDArray[np.floating], targets: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float64]:
        """Return how sure a model is of each target `[n]`: the larger, the surer."""

    def shown(self, prediction: Any) -> str:
        """Return a prediction, or a target, as reports show it."""

    def told(self, prediction: Any) -> Any:
        """Return a prediction, or a target, as frames hold it: a name, a number, a text."""
