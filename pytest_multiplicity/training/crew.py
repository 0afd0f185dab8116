"""The workers of one training, started when first needed, and what is shared with them."""

from __future__ import annotations

import os
from types import TracebackType

from pytest_multiplicity.training.course import Job
from pytest_multiplicity.training.feed import Samples
from pytest_multiplicity.training.tasks import portable
from pytest_multiplicity.training.workers import Workers


class Crew:
    """So many workers, none of which exists before ``workers`` is asked to perform.

    Work that makes no progress for ``patience`` seconds is given up; 0 is none.
    """

    def __init__(self, count: int, patience: float = 0.0) -> None:
        self.count, self.patience = count, patience
        self.workers = Workers(count, patience)
        self._samples: dict[int, Samples] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.workers.close()

    @property
    def possible(self) -> bool:
        """Whether this system can have workers, and more than one core for them."""
        return os.name == "posix" and self.count > 1

    def portable(self, job: Job) -> Job:
        """Give a job that can travel; what lies in memory is shared by all that travel."""
        data = job.recipe.data
        if data.streamed:
            return portable(job, None)
        if id(data) not in self._samples:
            self._samples[id(data)] = Samples(data.inputs, data.targets)
        return portable(job, self._samples[id(data)])
