"""By what families, and modules that can't be collected, are known before anything else is."""

from __future__ import annotations

import pytest

DEFINITION = "multiplicity_definition"  # by this attribute a fixture is known as a family
INCUMBENT = "multiplicity_incumbent"  # and by this one as an incumbent
BROKEN = pytest.StashKey[bool]()  # whether something could not be collected
