"""Families: configurations, designs, seeds, ids. Pure, standard library only."""

from pytest_multiplicity.family.config import Config
from pytest_multiplicity.family.definition import Built, Definition
from pytest_multiplicity.family.design import Design, check_seeds, make_design
from pytest_multiplicity.family.ids import option_text
from pytest_multiplicity.family.recorded import Recorded

__all__ = [
    "Built",
    "Config",
    "Definition",
    "Design",
    "Recorded",
    "check_seeds",
    "make_design",
    "option_text",
]
