"""Specifications for families of models that look equally good.

Every public name is imported from here, and only when it is used: ``import pytest_multiplicity``
alone imports neither torch nor pandas nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "pytest_multiplicity.plugin.fixtures": ("family", "recorded"),
    "pytest_multiplicity.training.recipe": ("Recipe",),
    "pytest_multiplicity.training.load": ("load",),
    "pytest_multiplicity.data": ("Data",),
    "pytest_multiplicity.interventions": (
        "Attack",
        "Corrupt",
        "Group",
        "InputNoise",
        "OutputNoise",
        "PGD",
        "intervention",
        "strategies",
    ),
    "pytest_multiplicity.statistics.sheet": ("Sheet",),
    "pytest_multiplicity.evaluation.candidate": ("Candidate",),
    "pytest_multiplicity.evaluation.score": ("Score",),
    "pytest_multiplicity.evaluation.survivors": ("Survivors",),
    "pytest_multiplicity.errors": ("MultiplicityError",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME), "__version__"]

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data as Data
    from pytest_multiplicity.errors import MultiplicityError as MultiplicityError
    from pytest_multiplicity.evaluation.candidate import Candidate as Candidate
    from pytest_multiplicity.evaluation.score import Score as Score
    from pytest_multiplicity.evaluation.survivors import Survivors as Survivors
    from pytest_multiplicity.interventions import PGD as PGD
    from pytest_multiplicity.interventions import Attack as Attack
    from pytest_multiplicity.interventions import Corrupt as Corrupt
    from pytest_multiplicity.interventions import Group as Group
    from pytest_multiplicity.interventions import InputNoise as InputNoise
    from pytest_multiplicity.interventions import OutputNoise as OutputNoise
    from pytest_multiplicity.interventions import intervention as intervention
    from pytest_multiplicity.interventions import strategies as strategies
    from pytest_multiplicity.plugin.fixtures import family as family
    from pytest_multiplicity.plugin.fixtures import recorded as recorded
    from pytest_multiplicity.statistics.sheet import Sheet as Sheet
    from pytest_multiplicity.training.load import load as load
    from pytest_multiplicity.training.recipe import Recipe as Recipe


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
