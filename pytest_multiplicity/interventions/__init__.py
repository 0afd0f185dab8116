"""Interventions: changes to the data, the input or the output under which accuracy is measured."""

from __future__ import annotations

from pytest_multiplicity.interventions import strategies
from pytest_multiplicity.interventions.attack import Attack
from pytest_multiplicity.interventions.base import (
    InputIntervention,
    Intervention,
    JointIntervention,
    ModelIntervention,
    OutputIntervention,
)
from pytest_multiplicity.interventions.chain import Chain, chain
from pytest_multiplicity.interventions.corrupt import Corrupt
from pytest_multiplicity.interventions.custom import intervention
from pytest_multiplicity.interventions.group import Group, SmallGroupWarning, WorstGroup
from pytest_multiplicity.interventions.noise import InputNoise, OutputNoise
from pytest_multiplicity.interventions.pgd import PGD

__all__ = [
    "PGD",
    "Attack",
    "Chain",
    "Corrupt",
    "Group",
    "InputIntervention",
    "InputNoise",
    "Intervention",
    "JointIntervention",
    "ModelIntervention",
    "OutputIntervention",
    "OutputNoise",
    "SmallGroupWarning",
    "WorstGroup",
    "chain",
    "intervention",
    "strategies",
]
