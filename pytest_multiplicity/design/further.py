"""Further seeds: candidates beyond the declared ones, that can be run to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_multiplicity.design.config import Config
from pytest_multiplicity.design.design import Design
from pytest_multiplicity.design.ids import SEED


def further(design: Design, most: int) -> Design | None:
    """Return the candidates that bring every configuration to `most` seeds, seed by seed.

    Their seeds follow the largest that was declared, and their ids are those that follow. None
    where as many were declared.
    """
    if len(design.seeds) >= most:
        return None
    first = max(design.seeds) + 1
    seeds = tuple(range(first, first + most - len(design.seeds)))
    width = len(design.ids[0].rpartition(SEED)[2])
    named = [
        (name, {axis: o for axis, o in vars(design.configs[of[0]]).items() if axis != "seed"})
        for name, of in design.configurations.items()
    ]
    return replace(
        design,
        seeds=seeds,
        configs=tuple(Config(options, seed) for seed in seeds for _, options in named),
        ids=tuple(f"{name}{SEED}{seed:0{width}d}" for seed in seeds for name, _ in named),
    )


def part(design: Design, positions: Sequence[int]) -> Design:
    """Return some of the candidates of a design, as one of their own."""
    configs = tuple(design.configs[index] for index in positions)
    return replace(
        design,
        seeds=tuple(dict.fromkeys(config.seed for config in configs)),
        configs=configs,
        ids=tuple(design.ids[index] for index in positions),
    )
