"""Families: configurations, designs, seeds, ids. Pure, standard library only."""

from pytest_multiplicity.design.config import Config
from pytest_multiplicity.design.definition import Built, Definition
from pytest_multiplicity.design.design import Design, check_seeds, make_design
from pytest_multiplicity.design.ids import option_text
from pytest_multiplicity.design.recorded import Recorded

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
