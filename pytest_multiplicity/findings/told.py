"""What became of each candidate, for tests that tell others: the fixture `verdicts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from pytest_multiplicity.design import Config
from pytest_multiplicity.findings.family import FamilyFindings
from pytest_multiplicity.findings.model import Status
from pytest_multiplicity.findings.verdicts import candidates


@dataclass(frozen=True)
class CandidateVerdict:
    """One candidate, and what became of it."""

    id: str
    config: Config
    """With `config.seed`, and `config.run` where it is a tracker's."""
    status: Status
    rejected_by: tuple[str, ...]
    """Enforced specifications, or `training` if it diverged."""
    reasons: Mapping[str, str]
    """Specification -> why it rejected, or would have."""
    scores: Mapping[str, float | None]
    """Metric -> score, as a fraction where it is a share; None where it wasn't measured."""


class Verdicts(Sequence[CandidateVerdict]):
    """Every candidate of a family with its verdict, in definition order."""

    def __init__(self, known: Sequence[CandidateVerdict], partial: str | None) -> None:
        self._known = tuple(known)
        self.partial = partial
        """Why these verdicts are not all, such as `34 of 72 pairs`; None where they are."""

    @property
    def complete(self) -> bool:
        """Whether every specification has judged every candidate, so that survivors are known."""
        return self.partial is None

    def __len__(self) -> int:
        return len(self._known)

    @overload
    def __getitem__(self, index: int) -> CandidateVerdict: ...
    @overload
    def __getitem__(self, index: slice) -> Verdicts: ...
    def __getitem__(self, index: int | slice) -> CandidateVerdict | Verdicts:
        if isinstance(index, slice):
            return Verdicts(self._known[index], self.partial)
        return self._known[index]

    def __repr__(self) -> str:
        survivors = sum(each.status == "survivor" for each in self)
        doubt = "" if self.complete else f", {self.partial}"
        return f"<verdicts on {len(self)} candidates: {survivors} survive{doubt}>"


def tell(family: FamilyFindings) -> Verdicts:
    """Return the verdicts on a family, as the reports will have them."""
    found = [
        CandidateVerdict(
            each.id,
            config,
            each.status,
            tuple(each.rejected_by),
            dict(each.reasons),
            dict(each.scores),
        )
        for each, config in zip(candidates(family), family.seen.design.configs, strict=True)
    ]
    return Verdicts(found, family.seen.partial)
