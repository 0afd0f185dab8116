"""The incumbent: the model that runs today, outside the family."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.evaluation.reading import on_rows, with_outputs
from pytest_multiplicity.inference import Logits, Models, ask
from pytest_multiplicity.tasks import share_right

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.inference import Asked, Under


class Incumbent:
    """The model that runs today, or a table of its answers: what `@pm.incumbent` makes.

    Candidates are compared with it: `candidate.flips(production, data)`, `.churn`, `.gain`,
    `score.not_worse_than(production)`. Its answers are computed once for each data set and
    intervention, and kept in the store. `bool(production)` is False while there is none.
    """

    def __init__(
        self, name: str, models: Models | None, tell: Callable[[str], None] = print
    ) -> None:
        self.name = self.id = name
        self._tell = tell  # what looks odd in its answers
        self._models = models
        self._logits = None if models is None else Logits(models)

    def __bool__(self) -> bool:
        return self._models is not None

    def __repr__(self) -> str:
        return f"<incumbent {self.name}{'' if self else ': there is none'}>"

    @property
    def key(self) -> str:
        """What the store knows it by."""
        return "nobody" if self._models is None else self._models.made.keys[0]

    def run_of(self) -> str | None:
        """Return the run in which alone it is known; None: in every run."""
        return None if self._models is None else self._models.made.run_of([0])

    def answers(self, asked: Asked, *, outputs: bool = True) -> Tensor:
        """Return its answers about the rows asked about, before steps on the output if so said."""
        if self._models is None or self._logits is None:
            raise MeasurementError(
                f"{self.name!r} returned None: there is no model that could answer; flips, churn "
                "and gain are 0 then, and comparisons hold"
            )
        self._models.weights.ready()
        self._models.weights.refuse(0)
        answers = on_rows(self._logits.of(asked, [0])(0), asked)
        for doubt in self._models.doubts:
            self._tell(doubt)
        try:
            asked.task.check_answers(answers, asked.data.targets, asked.data.name)
        except DataError as error:
            raise DataError(f"the incumbent {self.name}: {error}") from None
        return with_outputs(answers, asked) if outputs else answers

    def logits(self, data: Data, under: Under = None) -> Tensor:
        """Return its answers in the order of `data`: see `Candidate.logits`."""
        return self.answers(ask(data, under))

    def probabilities(self, data: Data, under: Under = None) -> Tensor:
        """Return its probabilities: see `Candidate.probabilities`."""
        return data.task.probabilities(self.logits(data, under))

    def predictions(self, data: Data, under: Under = None) -> Tensor:
        """Return what it says of every sample: see `Candidate.predictions`."""
        return data.task.predictions(self.logits(data, under))

    def accuracy(self, data: Data, under: Under = None) -> float:
        """Return the share of samples that it is right about; it enters no sheet."""
        asked = ask(data, under)
        return share_right(asked.task, asked.task.predictions(self.answers(asked)), asked.targets)


class NoScore(float):
    """What stands for a score where there is no incumbent: 0.0, and every comparison holds."""

    def __new__(cls) -> NoScore:
        """Return 0.0."""
        return super().__new__(cls, 0.0)

    def _holds(self, *args: Any, **options: Any) -> bool:
        return True

    within = in_top = not_worse_than = _holds
    __le__ = __ge__ = __lt__ = __gt__ = _holds

    @property
    def beyond_doubt(self) -> NoScore:
        """Itself: nothing is doubted."""
        return self

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return (0.0, 0.0)."""
        return 0.0, 0.0

    def __repr__(self) -> str:
        return "0.0 (there is no incumbent to compare with)"


def check_incumbent(given: object, method: str) -> Incumbent:
    """Return what is an incumbent. Raises MeasurementError for anything else."""
    if isinstance(given, Incumbent):
        return given
    raise MeasurementError(
        f"{method} compares with an incumbent, and got {type(given).__name__}: write a function "
        "below @pm.incumbent that returns the model, or a table of its answers, and take the "
        "fixture of its name"
    )
