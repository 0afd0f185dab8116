"""Which candidates a family has: star, grid and explicit designs, crossed with seeds."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any, Literal

from pytest_multiplicity.design.config import Config
from pytest_multiplicity.design.distinct import Distinct, DistinctConfigurations, same
from pytest_multiplicity.design.ids import SEED, configuration_ids, seed_texts
from pytest_multiplicity.design.run_ids import RunId, left_out, without_runs
from pytest_multiplicity.errors import DefinitionError

Kind = Literal["star", "grid", "explicit"]
Options = dict[str, Any]

SOURCES = ("seed.init", "seed.order", "seed.augmentation", "seed.noise", "seed.subset")
"""The sources of randomness that can be axes of their own; `seed` drives all others."""


@dataclass(frozen=True)
class Design:
    """The candidates of one family: every configuration with every seed.

    `axes` holds what varies (two options or more), the default's option first; `default` holds
    an option for every axis, also for those that don't vary. `configs` and `ids` run in
    parallel, configuration by configuration, the default's first.
    """

    kind: Kind
    default: Options
    axes: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]
    configs: tuple[Config, ...] = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    reruns: int = 0
    """How many runs of a tracker were left out, as reruns of these."""

    @cached_property
    def configurations(self) -> dict[str, list[int]]:
        """Every configuration's name in ids, and the positions of its seeds."""
        found: dict[str, list[int]] = {}
        for index, text in enumerate(self.ids):
            found.setdefault(text.rpartition(SEED)[0], []).append(index)
        return found


def make_design(
    default: Mapping[str, Any],
    vary: Mapping[str, Iterable[Any]],
    seeds: int | Iterable[int],
    design: str | Iterable[Mapping[str, Any]] = "star",
) -> Design:
    """Check what a user wrote on `@pm.family` and list the candidates.

    `design` is `"star"` (one axis at a time around the default, the paper's design), `"grid"`
    (all axes crossed) or a list of configurations, each completed by `default`. Configurations
    that each tell their `seed` are the candidates themselves, those of them with one of
    `seeds`; else every configuration is combined with every seed. The run that each names, where
    `pm.runs` gave them, is no axis; what all runs have in common belongs to the default.

    Raises DefinitionError for an unknown axis, an option listed twice, no or repeated seeds, and
    names that can't be axes.
    """
    default = dict(default)
    if "seed" in default:
        raise DefinitionError("'seed' can't name an axis: say seeds=, which every family has")
    names: list[RunId | None] = []
    if not isinstance(design, str):
        design, names = without_runs(design)
        default = (_common(design) if any(names) else {}) | default
    kind, listed = _configurations(default, vary, design, names)
    seed_values = check_seeds(seeds)
    runs = _runs(listed, seed_values, names)
    configurations = [options for options, _ in runs]
    _check_names(configurations)
    axes = _options(default, configurations)
    differing = [
        [axis for axis in axes if axis not in default or not same(options[axis], default[axis])]
        for options in configurations
    ]
    ids = configuration_ids(configurations, differing)
    texts = dict(zip(seed_values, seed_texts(seed_values), strict=True))
    return Design(
        kind=kind,
        default=default,
        axes={axis: options for axis, options in axes.items() if len(options) > 1},
        seeds=seed_values,
        configs=tuple(
            Config(options, seed, run) for options, own in runs for seed, run in own.items()
        ),
        ids=tuple(
            f"{text}-{texts[seed]}"
            for text, (_, own) in zip(ids, runs, strict=True)
            for seed in own
        ),
        reruns=left_out(names),
    )


def check_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Return a count, or the seeds themselves, as a tuple of distinct non-negative integers."""
    given: Any = seeds  # numpy's integers are none to a type checker
    counted = isinstance(given, Integral) and not isinstance(given, bool)
    if not counted and (isinstance(given, str) or not isinstance(given, Iterable)):
        raise DefinitionError(f"seeds={seeds!r}: give a count or a list of integers")
    values = tuple(range(given) if counted else given)
    if not values:
        raise DefinitionError(f"seeds={seeds!r} makes an empty family: give one seed or more")
    for seed in values:
        if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
            raise DefinitionError(f"seed {seed!r}: seeds are integers from 0 up")
    _refuse_twice("seeds", values)
    return tuple(map(int, values))


def own_seeds(design: str | Iterable[Mapping[str, Any]]) -> tuple[int, ...] | None:
    """Return the seeds that listed configurations tell themselves, sorted; None if none do."""
    if isinstance(design, str):
        return None
    told = dict.fromkeys(options["seed"] for options in design if "seed" in options)
    return tuple(sorted(check_seeds(told))) if told else None


def _runs(
    configurations: Sequence[Options], seeds: tuple[int, ...], names: Sequence[RunId | None]
) -> list[tuple[Options, dict[int, str | int | None]]]:
    """Every configuration, without its seed, and the seeds that there is a candidate with.

    Each seed has the run of a tracker that it is, None where it is from none.
    """
    if "seed" not in configurations[0]:
        each = names or [None] * len(configurations)
        plain = [None if name is None else name.plain for name in each]
        pairs = zip(configurations, plain, strict=True)
        return [(options, dict.fromkeys(seeds, run)) for options, run in pairs]
    known = DistinctConfigurations()
    found: dict[int, tuple[Options, dict[int, str | int | None]]] = {}
    for listed, name in zip(configurations, names, strict=True):
        options = {axis: option for axis, option in listed.items() if axis != "seed"}
        _, own = found.setdefault(known.add(options), (options, {}))
        own[listed["seed"]] = None if name is None else name.plain
    told = [
        (options, {seed: own[seed] for seed in seeds if seed in own})
        for options, own in found.values()
    ]
    return [(options, own) for options, own in told if own]


def _common(configurations: Sequence[Options]) -> Options:
    """Return the options, but the seed, that all configurations share."""
    first, *others = configurations
    return {
        axis: option
        for axis, option in first.items()
        if axis != "seed" and all(axis in each and same(each[axis], option) for each in others)
    }


def _configurations(
    default: Options,
    vary: Mapping[str, Iterable[Any]],
    design: str | Iterable[Mapping[str, Any]],
    names: Sequence[RunId | None],
) -> tuple[Kind, list[Options]]:
    if not isinstance(design, str):
        return "explicit", _explicit(default, vary, design, names)
    varied = _check_vary(default, vary)
    if design == "star":
        return "star", _star(default, varied)
    if design == "grid":
        return "grid", _grid(default, varied)
    raise DefinitionError(f"design={design!r}: choose 'star', 'grid' or a list of configurations")


def _star(default: Options, varied: Mapping[str, Sequence[Any]]) -> list[Options]:
    others = [
        default | {axis: option}
        for axis, options in varied.items()
        for option in options
        if not same(option, default[axis])
    ]
    return [dict(default), *others]


def _grid(default: Options, varied: Mapping[str, Sequence[Any]]) -> list[Options]:
    choices = [
        [default[axis], *(o for o in options if not same(o, default[axis]))]
        for axis, options in varied.items()
    ]
    return [default | dict(zip(varied, row, strict=True)) for row in itertools.product(*choices)]


def _explicit(
    default: Options,
    vary: Mapping[str, Iterable[Any]],
    listed: Iterable[Mapping[str, Any]],
    names: Sequence[RunId | None],
) -> list[Options]:
    if vary:
        raise DefinitionError(
            f"vary={dict(vary)!r} beside a list of configurations: give one or the other"
        )
    configurations = [default | dict(options) for options in listed]
    if not configurations:
        raise DefinitionError("design=[] makes an empty family: list one configuration or more")
    axes = set().union(*configurations)
    for place, options in enumerate(configurations):
        if missing := sorted(axes - set(options)):
            whose = f"run {names[place]!r}, " if names and names[place] is not None else ""
            raise DefinitionError(
                f"{whose}configuration {options!r} has no {missing[0]!r}, which others have: "
                "add it there or to default"
            )
    known = DistinctConfigurations()
    for position, options in enumerate(configurations):
        if known.add(options) < position:
            raise DefinitionError(f"configuration {options!r} is listed twice: keep one")
    return configurations


def _check_vary(default: Options, vary: Mapping[str, Iterable[Any]]) -> dict[str, tuple[Any, ...]]:
    varied = {}
    for axis, options in vary.items():
        if isinstance(options, str) or not isinstance(options, Iterable):
            raise DefinitionError(f"vary[{axis!r}]={options!r}: give a list of options")
        varied[axis] = tuple(options)
        _refuse_twice(f"vary[{axis!r}]", varied[axis])
        if axis in SOURCES and varied[axis]:
            # a source has no natural default: the first value listed stands for it
            default.setdefault(axis, varied[axis][0])
        if axis not in default:
            raise DefinitionError(_unknown_axis(axis, default))
    return varied


def _unknown_axis(axis: str, default: Options) -> str:
    close = difflib.get_close_matches(str(axis), list(default), 1)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    return (
        f"vary names the axis {axis!r}, which default doesn't have{guess}: add it to default, "
        f"which has {', '.join(default) or 'no axis'}"
    )


def _check_names(configurations: Sequence[Options]) -> None:
    for axis in configurations[0]:
        named = isinstance(axis, str) and (axis.isidentifier() or axis in SOURCES)
        if not named or axis.startswith("__"):
            raise DefinitionError(
                f"{axis!r} can't name an axis: use an identifier, or one of {', '.join(SOURCES)}"
            )


def _options(default: Options, configurations: Sequence[Options]) -> dict[str, tuple[Any, ...]]:
    """Every axis with its options: the default's first, then in order of first appearance."""
    axes = {axis: Distinct([option]) for axis, option in default.items()}
    used: dict[str, set[int]] = {axis: set() for axis in axes}
    for options in configurations:
        for axis, option in options.items():
            place = axes.setdefault(axis, Distinct()).add(option)
            used.setdefault(axis, set()).add(place)
    return {
        axis: tuple(option for i, option in enumerate(known.options) if i in used[axis])
        for axis, known in axes.items()
    }


def _refuse_twice(where: str, values: Sequence[Any]) -> None:
    known = Distinct()
    for position, value in enumerate(values):
        if known.add(value) < position:
            raise DefinitionError(f"{where} lists {value!r} twice: keep one")
