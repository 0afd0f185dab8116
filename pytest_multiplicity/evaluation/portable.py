"""Measures that cross processes: a controller of workers has no function to find the noise with."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pytest_multiplicity.compute import pickled, project_code_by_value
from pytest_multiplicity.evaluation.measure import Measure, noise_of_measure
from pytest_multiplicity.statistics import Noise
from pytest_multiplicity.store import Entry


@dataclass(frozen=True)
class Portable:
    """A measure, and where what it was applied to is.

    `logits`: position of a candidate -> what the store knows its logits by, of which `rows` [n]
    with `targets` [n] were measured.
    """

    fn: Measure
    logits: Mapping[int, str]
    rows: Tensor
    targets: Tensor

    def to_text(self) -> str | None:
        """Return it as text for the process that started this one; None where it can't travel."""
        try:
            with project_code_by_value():
                return base64.b64encode(pickled(self)).decode("ascii")
        except Exception:
            return None

    @classmethod
    def from_text(cls, text: str) -> Portable:
        """Return what a worker of this very run wrote."""
        made: Portable = pickle.loads(base64.b64decode(text))
        return made

    def noise(
        self, look: Callable[[str, str], Entry | None], positions: npt.NDArray[np.intp]
    ) -> Noise | None:
        """Return the noise between the candidates at some positions; None where logits are gone."""
        entries = [look("logits", self.logits[index]) for index in positions.tolist()]
        outputs = [
            each.tensors["logits"][self.rows].numpy() for each in entries if each is not None
        ]
        if len(outputs) < len(positions):
            return None
        return noise_of_measure(self.fn, np.stack(outputs), self.targets.numpy())
