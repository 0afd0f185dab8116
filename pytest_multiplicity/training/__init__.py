"""Training: recipes, the ways to train a family of them, and the planner that picks one.

`train` trains jobs and `plan` says how it would. `stack` puts trained modules side by side, and
`call_elsewhere` calls functions of the user's own in worker processes.
"""

from __future__ import annotations

from pytest_multiplicity.training.cores import available_cores
from pytest_multiplicity.training.course import (
    Diverged,
    Job,
    Progress,
    Task,
    Trained,
    initial_module,
)
from pytest_multiplicity.training.elsewhere import call_elsewhere
from pytest_multiplicity.training.engine import plan, train
from pytest_multiplicity.training.fused import FusedModule, stack, structure
from pytest_multiplicity.training.lanes import Unfusable
from pytest_multiplicity.training.planner import Plan, describe
from pytest_multiplicity.training.pools import Cluster
from pytest_multiplicity.training.recipe import Recipe
from pytest_multiplicity.training.seeds import Seeds, training_rows
from pytest_multiplicity.training.sharing import project_code_by_value
from pytest_multiplicity.training.watch import StalledError, named, watched
from pytest_multiplicity.training.ways import device_class, threads

__all__ = [
    "Cluster",
    "Diverged",
    "FusedModule",
    "Job",
    "Plan",
    "Progress",
    "Recipe",
    "Seeds",
    "StalledError",
    "Task",
    "Trained",
    "Unfusable",
    "available_cores",
    "call_elsewhere",
    "describe",
    "device_class",
    "initial_module",
    "named",
    "plan",
    "project_code_by_value",
    "stack",
    "structure",
    "threads",
    "train",
    "training_rows",
    "watched",
]
