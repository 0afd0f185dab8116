"""Where every random number of a training comes from: hashes of seeds, roles and counters.

Nothing here is drawn from a running stream, so any epoch and any step can be drawn again by itself:
that is what makes a resumed, a fused and a plain training see the same numbers.
"""

from __future__ import annotations

import hashlib
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pytest_multiplicity.errors import RecipeError

if TYPE_CHECKING:
    from pytest_multiplicity.design import Config

ROLES = ("init", "order", "augmentation", "noise")


@dataclass(frozen=True)
class Seeds:
    """The seeds of one training, by role.

    `init` draws the weights, `order` the order of the samples, `augmentation` what is done to
    them, `noise` dropout and whatever else the model draws. `subset`, where it is not None,
    draws the random half of the data that is trained on.
    """

    init: int
    order: int
    augmentation: int
    noise: int
    subset: int | None = None

    @classmethod
    def of(cls, config: Config) -> Seeds:
        """Let `config.seed` drive every role that no axis `seed.<role>` sets apart."""
        values: dict[str, Any] = vars(config)
        roles = {role: _whole(values, f"seed.{role}", values["seed"]) for role in ROLES}
        subset = _whole(values, "seed.subset", 0) if "seed.subset" in values else None
        return cls(**roles, subset=subset)


def _whole(values: dict[str, Any], axis: str, fallback: Any) -> int:
    value = values.get(axis, fallback)
    try:
        return operator.index(value)
    except TypeError:
        raise RecipeError(f"the axis {axis!r} holds {value!r}: a seed is a whole number") from None


def derive(seed: int, role: str, *counters: int) -> int:
    """Return the 63-bit seed of one use: a hash of the seed, what it is for, and counters."""
    text = f"{seed}/{role}/{'/'.join(map(str, counters))}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, role: str, *counters: int) -> torch.Generator:
    """Return a CPU generator of its own, seeded with `derive(seed, role, *counters)`."""
    return torch.Generator().manual_seed(derive(seed, role, *counters))


def training_rows(count: int, seeds: Seeds) -> Tensor:
    """Return the positions that are trained on: all, or a random half (int64, sorted)."""
    if seeds.subset is None:
        return torch.arange(count)
    if count < 2:
        raise RecipeError("seed.subset trains on half of the data: give 2 samples or more")
    shuffled = torch.randperm(count, generator=generator(seeds.subset, "subset"))
    return shuffled[: count // 2].sort().values


def epoch_order(rows: Tensor, seeds: Seeds, epoch: int) -> Tensor:
    """Return the rows in the order in which this epoch (counted from 0) takes them."""
    drawn = torch.randperm(len(rows), generator=generator(seeds.order, "order", epoch))
    return rows[drawn]
