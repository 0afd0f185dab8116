"""Training: recipes, the ways to train a family of them, and the planner that picks one."""

from __future__ import annotations

from pytest_multiplicity.training.course import (
    Diverged,
    Job,
    Progress,
    Task,
    Trained,
    initial_module,
)
from pytest_multiplicity.training.engine import train
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.seeds import Seeds, training_rows

__all__ = [
    "Diverged",
    "Job",
    "Progress",
    "Recipe",
    "Seeds",
    "Task",
    "Trained",
    "initial_module",
    "train",
    "training_rows",
]
