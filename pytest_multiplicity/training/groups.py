"""Which jobs could be trained together: those that do the same work on numbers of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from pytest_multiplicity.compute import Unfusable, structure
from pytest_multiplicity.training.fused_optimizer import optimizer_kind
from pytest_multiplicity.training.jobs import Job, initial_module

LARGEST = 64 << 20  # bytes of a model's state: checks of fusing keep some fifty copies of it


@dataclass(frozen=True)
class JobGroup:
    """Jobs of one signature; `obstacle` says why they can't be fused, if they can't."""

    jobs: tuple[Job, ...]
    signature: str
    obstacle: str | None
    state_bytes: int = 0

    @property
    def steps(self) -> int:
        """How many steps each job has."""
        return self.jobs[0].steps


def group_jobs(jobs: Sequence[Job]) -> list[JobGroup]:
    """Put together what has the same module structure, shapes, batch size, steps and kind of step.

    Seeds, learning rates, decays, schedules, losses, data order and augmentation may differ.
    """
    found: dict[tuple[str, str], list[Job]] = {}
    known: dict[str, tuple[str | None, int]] = {}
    for job in jobs:
        module = initial_module(job.recipe, job.seeds)
        signature, obstacle = _signature(job, module)
        known[signature] = obstacle, _state_bytes(module)
        found.setdefault((job.recipe.data.fingerprint, signature), []).append(job)
    return [JobGroup(tuple(group), sig, *known[sig]) for (_, sig), group in found.items()]


def _state_bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def _signature(job: Job, module: nn.Module) -> tuple[str, str | None]:
    recipe = job.recipe
    try:
        described: object = structure(module)
        obstacle = None
    except Unfusable as reason:
        described, obstacle = repr(module), str(reason)
    if _state_bytes(module) > LARGEST:
        obstacle = obstacle or "too large to have several in memory"
    if isinstance(recipe.optimizer, str):
        optimizer: object = optimizer_kind(recipe)
    else:
        optimizer, obstacle = "custom", obstacle or "custom optimizer"
    parts = {
        "module": described,
        "optimizer": optimizer,
        "loss": recipe.loss if isinstance(recipe.loss, str) else "custom",
        "augment": recipe.augment is not None,
        "batch_size": recipe.batch_size,
        "samples": job.samples,
        "shape": list(recipe.data.shape),
        "epochs": recipe.epochs,
        "precision": recipe.precision,
        "weight": recipe.weight,
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest(), obstacle
