"""A candidate, as specs and gates see it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from pytest_multiplicity.design import Config, Design
from pytest_multiplicity.errors import MeasurementError, guarded
from pytest_multiplicity.evaluation.score import Score

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation.incumbent import Incumbent, NoScore
    from pytest_multiplicity.evaluation.measure import Measure, Ours
    from pytest_multiplicity.inference import Under


@contextmanager
def ours() -> Iterator[None]:
    """Compute what everybody gets, whoever asks; an assertion in there is no verdict of a spec."""
    from pytest_multiplicity.compute import as_new  # not at the top: it imports torch

    with guarded("the evaluation"), as_new():
        yield


OURS = ours()
RECENT: deque[tuple[Candidate, Tensor]] = deque(maxlen=8)
"""What candidates told last, so that a measure is known that captures it."""


class Measurer(Protocol):
    """Answers what a candidate is asked, of the candidate at a position."""

    design: Design
    absent: list[str]

    def module(self, index: int) -> nn.Module:
        """Return its module."""

    def logits(self, index: int, data: Data, under: Under) -> Tensor:
        """Return its logits."""

    def accuracy(
        self, index: int, data: Data, under: Under, tolerance: float | None = None
    ) -> Score:
        """Return its accuracy."""

    def measure(
        self,
        index: int,
        fn: Measure | Ours | str,
        data: Data,
        under: Under,
        *,
        name: str | None,
        higher_is_better: bool | None,
    ) -> Score:
        """Return its value of `fn`."""

    def consistency(self, index: int, data: Data, under: Under) -> Score:
        """Return how many of its predictions an intervention leaves as they are."""

    def compared(
        self, index: int, kind: str, incumbent: Incumbent, data: Data, under: Under
    ) -> Score:
        """Return its flips, its churn or its gain against an incumbent."""

    def privacy(
        self, index: int, members: Data, nonmembers: Data | None, *, references: bool
    ) -> Score:
        """Return how well it hides what it was trained on."""

    def recorded(self, index: int, name: str) -> Score:
        """Return its recorded score."""


class Candidate:
    """One model of a family: its configuration, its logits, its scores.

    What one candidate is asked for is computed for the whole family, once.
    """

    def __init__(self, population: Measurer, index: int) -> None:
        self._population, self._index = population, index
        self.config: Config = population.design.configs[index]
        self.id: str = population.design.ids[index]

    def __repr__(self) -> str:
        return f"<candidate {self.id}>"

    @property
    def seed(self) -> int:
        """The seed that drives its randomness."""
        return self.config.seed  # type: ignore[no-any-return]

    @property
    @OURS
    def module(self) -> nn.Module:
        """The trained module, frozen and in eval mode. MeasurementError where there is none."""
        return self._population.module(self._index)

    @OURS
    def logits(self, data: Data, under: Under = None) -> Tensor:
        """Answers in the order of `data`, on the CPU: logits `[n, classes]`, float32.

        Of candidates that answer without logits: labels, int64, or values in their dtype.
        """
        return self._told(self._population.logits(self._index, data, under))

    def probabilities(self, data: Data, under: Under = None) -> Tensor:
        """Probabilities of classes `[n, classes]` or labels, float32 on the CPU.

        Raises MeasurementError for answers without logits.
        """
        return self._told(data.task.probabilities(self.logits(data, under)))

    def predictions(self, data: Data, under: Under = None) -> Tensor:
        """Return what it says of every sample, on the CPU.

        Classes are codes, int64 `[n]`, values as they are in their dtype, several labels `[n, k]`.
        """
        return self._told(data.task.predictions(self.logits(data, under)))

    def _told(self, answers: Tensor) -> Tensor:
        RECENT.append((self, answers))
        return answers

    @OURS
    def accuracy(self, data: Data, under: Under = None, *, tolerance: float | None = None) -> Score:
        """Return the share of samples that it is right about, under an intervention if given.

        A value is right within a `tolerance` of the target, the data's own where none is given. Of
        dense labels it is the share of positions.
        """
        return self._population.accuracy(self._index, data, under, tolerance)

    @OURS
    def measure(
        self,
        fn: Measure | Ours | str,
        data: Data,
        under: Under = None,
        *,
        name: str | None = None,
        higher_is_better: bool | None = None,
    ) -> Score:
        """`fn(answers, targets)`, any number: a calibration error, an AUROC, an F1.

        Args:
            fn: a function, such as a functional of torchmetrics, or a `pm.Gap`; a third parameter
                gets the attributes of the samples, a DataFrame. Or a name: "mae", "rmse", "r2",
                "f1", "auroc", "ece", "iou" and more, as scikit-learn and torchmetrics compute them
                (of two classes the second one's, of more the mean over classes).
            data: what it is measured on.
            under: an intervention.
            name: what the sheets call it.
            higher_is_better: known for names, else True.

        Raises:
            MeasurementError: it returns no finite number, or is about one candidate.
        """
        return self._population.measure(
            self._index, fn, data, under, name=name, higher_is_better=higher_is_better
        )

    @OURS
    def gap(
        self,
        data: Data,
        by: str | Sequence[str],
        of: Measure | str = "accuracy",
        ratio: bool = False,
        positive: Any = None,
        minimum: int = 20,
        under: Under = None,
    ) -> Score:
        """Return the gap of a rate between groups, largest minus smallest: see `pm.Gap`.

        Its interval is simultaneous over the pairs of groups, and reports show the gap that chance
        alone would make.
        """
        from pytest_multiplicity.evaluation.gap import Gap

        gap = Gap(by, of, ratio, positive, minimum)
        return self._population.measure(
            self._index, gap, data, under, name=None, higher_is_better=None
        )

    @OURS
    def consistency(self, data: Data, under: Under = None) -> Score:
        """Return the share of samples whose prediction an intervention leaves as it is.

        No targets are needed. Under a group as well, those of the group's samples.
        """
        return self._population.consistency(self._index, data, under)

    def flips(self, incumbent: Incumbent, data: Data, under: Under = None) -> Score | NoScore:
        """Return the share of samples that the incumbent is right about and it is wrong about.

        Negative flips (Yan et al. 2021). Its interval is Clopper and Pearson's; reports show beside
        it the flips that retraining alone causes. Of values, right and wrong are by the tolerance.

        Raises MeasurementError for data without targets: `churn` needs none.
        """
        return self._against("flips", incumbent, data, under)

    def churn(self, incumbent: Incumbent, data: Data, under: Under = None) -> Score | NoScore:
        """Return the share of samples that it answers otherwise than the incumbent."""
        return self._against("churn", incumbent, data, under)

    def gain(self, incumbent: Incumbent, data: Data, under: Under = None) -> Score | NoScore:
        """Return its accuracy minus the incumbent's, on the same samples.

        Its interval is Tango's, and excludes 0 beyond doubt where McNemar's exact test does.
        """
        return self._against("gain", incumbent, data, under)

    @OURS
    def _against(self, kind: str, given: object, data: Data, under: Under) -> Score | NoScore:
        from pytest_multiplicity.evaluation.incumbent import NoScore, check_incumbent
        from pytest_multiplicity.inference import ask

        incumbent = check_incumbent(given, kind)
        if not incumbent:
            self._population.absent.append(incumbent.name)
            return NoScore()
        if kind != "churn" and not ask(data, under).task.has_targets:
            raise MeasurementError(
                f"{kind} on {data.name!r}: nobody is right or wrong without targets; how many "
                "answers change is candidate.churn(incumbent, data)"
            )
        return self._population.compared(self._index, kind, incumbent, data, under)

    @OURS
    def privacy(
        self, members: Data, nonmembers: Data | None = None, *, references: bool = False
    ) -> Score:
        """One minus an attacker's balanced accuracy in telling what it was trained on.

        Higher is better; at 0.5 the attacker guesses (membership inference, Yeom et al. 2018). The
        attacker sees how sure the candidate is of each sample's class, and calls a sample a member
        above a threshold, which is cross-fitted over two halves of the samples.

        With `nonmembers`, `members` is what the candidates were trained on. Without, it is the
        recipes' data, of which the axis `seed.subset` drew another half for each candidate; then
        `references=True` makes the attack stronger: each sample's log-odds are compared with
        those of the other candidates that did not see it (four or more; Carlini et al. 2022).

        Raises MeasurementError where it isn't known what a candidate was trained on.
        """
        return self._population.privacy(self._index, members, nonmembers, references=references)

    def score(self, name: str) -> Score:
        """Return a metric of a recorded family, named as its column."""
        return self._population.recorded(self._index, name)
