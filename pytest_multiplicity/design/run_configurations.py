"""`pm.runs`: what a tracker knows of runs, as configurations for a design."""

from __future__ import annotations

import ast
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pytest_multiplicity.design.design import SOURCES
from pytest_multiplicity.design.distinct import DistinctConfigurations
from pytest_multiplicity.design.run_ids import RUN, run_id
from pytest_multiplicity.design.tracked import Tracked, read_tracked
from pytest_multiplicity.errors import DefinitionError

Keep = Literal["newest", "oldest", "error", "all"]
SEED = "seed"

_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None}
LONGEST_INTEGER = 4300  # digits: what Python makes an int of
EXACT = 2**53  # up to which a float is the integer that was meant
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")


@dataclass(frozen=True)
class _Run:
    """A run with its parameters parsed."""

    id: str | int
    options: dict[str, Any]


def runs(
    mapping_or_folder: Mapping[Any, Mapping[str, Any]] | str | os.PathLike[str],
    keep: str = "newest",
    *,
    only: Iterable[str] | None = None,
) -> list[dict[str, Any]]:
    """Return what a tracker knows of runs as configurations: `design=pm.runs("mlruns/1")`.

    Each has the run's parameters, `seed` (0 where none was logged) and `run`, its id, which
    `config.run` is and which is no axis. Text is parsed: `"0.1"` is a number, `"True"` a bool,
    `"(8, 8)"` a tuple. Nested parameters and odd names become identifiers: `optim.lr` is
    `optim_lr`. What all runs have in common is in no id.

    Args:
        mapping_or_folder: from a run's id to its parameters, the newest run first, as
            `mlflow.search_runs` lists them. Or a path (relative to the file that calls): MLflow's
            `mlruns`, the folder of an experiment in it, its database `mlflow.db` (of these only
            runs that have finished); or a folder with one for each run, in which there is
            a `params.json`, `params.yaml`, `config.json`, `config.yaml`, `hparams.yaml`, or
            Hydra's, DVCLive's or W&B's file of parameters, whose time is the run's.
        keep: of runs with the same parameters and seed, the `"newest"` or the `"oldest"`; or
            `"error"`. `"all"`: where no seed was logged they are the configuration's seeds.
        only: the parameters that matter, beside the seed; without what merely differs, such as a
            date.

    Raises:
        DefinitionError: there is no run, or no parameter of a name; names collide; only some runs
            have logged a seed; a file can't be read.
    """
    caller = Path(sys._getframe(1).f_code.co_filename)
    if keep not in get_args(Keep):
        raise DefinitionError(f"keep={keep!r}: choose one of {', '.join(get_args(Keep))}")
    wanted = None if only is None else (only,) if isinstance(only, str) else tuple(only)
    newest_first = isinstance(mapping_or_folder, Mapping)
    if isinstance(mapping_or_folder, Mapping):
        tracked = _told(mapping_or_folder)
    elif isinstance(mapping_or_folder, str | os.PathLike):
        tracked = read_tracked(caller.parent / mapping_or_folder)
    else:
        raise DefinitionError(
            f"runs() got {type(mapping_or_folder).__name__}: give a folder, or a mapping from a "
            "run's id to its parameters, such as {run.info.run_id: run.data.params for run in "
            "mlflow.search_runs(output_format='list')}"
        )
    if not tracked:
        raise DefinitionError("runs({}) makes an empty family: is it the right experiment?")
    _check_only(tracked, wanted)
    found = _seeded([_Run(each.id, _options(each, wanted)) for each in tracked])
    return _resolved(found, keep, newest_first=newest_first)


def _told(given: Mapping[Any, Mapping[str, Any]]) -> list[Tracked]:
    """Return the runs of a mapping."""
    found = []
    for name, parameters in given.items():
        if not isinstance(parameters, Mapping):
            raise DefinitionError(
                f"runs[{name!r}]={parameters!r}: give the run's parameters, a mapping from names "
                "to values, such as run.data.params"
            )
        plain = isinstance(name, int | str) and not isinstance(name, bool)
        found.append(Tracked(name if plain else str(name), parameters))
    return found


def _options(run: Tracked, only: Sequence[str] | None) -> dict[str, Any]:
    """Return a run's parameters, parsed, by names that axes can have."""
    options: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, value in _flat(run.parameters):
        axis = _axis(name)
        left_out = only is not None and not {axis, name} & {*only, SEED}
        if left_out or _is_nan(value):
            continue
        if axis in options:
            raise DefinitionError(
                f"run {run.id!r} has the parameters {origin[axis]!r} and {name!r}, which would "
                f"both be the axis {axis!r}: leave one out by only="
            )
        if axis == RUN:
            raise DefinitionError(
                f"run {run.id!r} has a parameter {name!r}, and config.run is the run's id: leave "
                "it out by only="
            )
        options[axis], origin[axis] = parsed(value), name
    return options


def _check_only(runs: Sequence[Tracked], only: Sequence[str] | None) -> None:
    """Raise DefinitionError for a name that no run has a parameter of."""
    names = dict.fromkeys(name for run in runs for name, _ in _flat(run.parameters))
    known = {*names, *map(_axis, names)}
    for name in only or ():
        if name not in known:
            raise DefinitionError(
                f"no run has a parameter {name!r}, which only= names; they have "
                f"{', '.join(names) or 'none'}"
            )


def _axis(name: str) -> str:
    """Return a parameter's name as an identifier: `optim.lr` is `optim_lr`."""
    if name in SOURCES:
        return name
    axis = re.sub(r"\W", "_", name).lstrip("_")
    return axis if axis.isidentifier() else f"p{axis}"


def _flat(parameters: Mapping[Any, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """Yield parameters with those that are nested: `{"a": {"b": 1}}` is `a.b`."""
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", str(value) if isinstance(value, Mapping) else value


def parsed(value: Any) -> Any:
    """Return a parameter as a number, a bool, None or a tuple where its text is one."""
    if isinstance(value, list | tuple):
        return tuple(parsed(each) for each in value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return parsed(value.tolist())
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text.lstrip("+-")) <= LONGEST_INTEGER else value
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if text[:1] in tuple("([\"'"):
        try:
            literal = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return value
        return literal if isinstance(literal, str) else _frozen(literal, value)
    return value


def _frozen(literal: Any, text: str) -> Any:
    """Return a literal with tuples for lists; its text where it holds what can't be an option."""
    if isinstance(literal, list | tuple):
        inside = [_frozen(each, text) for each in literal]
        return text if any(each is text for each in inside) else tuple(inside)
    return literal if literal is None or isinstance(literal, str | int | float) else text


def _is_nan(value: Any) -> bool:
    """Return whether a value is missing: so a table says that a run hasn't logged it."""
    return isinstance(value, float) and math.isnan(value)


def _seeded(runs: list[_Run]) -> list[_Run]:
    """Check that all runs have logged a seed, or none has, and make integers of them.

    Tables have `1.0` for 1 in a column that once lacked a value.
    """
    without = [run for run in runs if SEED not in run.options]
    if without and len(without) < len(runs):
        raise DefinitionError(
            f"{len(without)} of {len(runs)} runs have logged no seed, such as {without[0].id!r}: "
            "give only runs that have, or none"
        )
    for run in runs:
        seed = run.options.get(SEED, 0)
        if isinstance(seed, float) and seed.is_integer() and abs(seed) < EXACT:
            seed = run.options[SEED] = int(seed)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise DefinitionError(
                f"run {run.id!r} has the seed {seed!r}: seeds are integers from 0 up"
            )
    return runs


def _resolved(runs: list[_Run], keep: str, *, newest_first: bool) -> list[dict[str, Any]]:
    """Return a configuration for each run that is kept, where the first of its kind stands."""
    known, groups = DistinctConfigurations(), dict[int, list[_Run]]()
    for run in runs:
        groups.setdefault(known.add(run.options), []).append(run)
    chosen: Callable[[list[_Run]], list[dict[str, Any]]] = {
        "newest": _first,
        "oldest": lambda group: _first(group[::-1]),
        "error": _alone,
        "all": _numbered,
    }[keep]
    from_newest = (group if newest_first else group[::-1] for group in groups.values())
    return [configuration for group in from_newest for configuration in chosen(group)]


def _first(group: list[_Run]) -> list[dict[str, Any]]:
    run, *others = group
    marked = run_id(run.id, tuple(str(each.id) for each in others))
    return [{**run.options, SEED: run.options.get(SEED, 0), RUN: marked}]


def _alone(group: list[_Run]) -> list[dict[str, Any]]:
    if len(group) > 1:
        names = ", ".join(repr(run.id) for run in group[:3])
        raise DefinitionError(
            f"runs {names} have the same parameters, {group[0].options!r}: log what differs, "
            "delete one, or say keep='newest'"
        )
    return _first(group)


def _numbered(group: list[_Run]) -> list[dict[str, Any]]:
    """Return the runs of one configuration, numbered as its seeds: the oldest is 0."""
    if len(group) > 1 and SEED in group[0].options:
        raise DefinitionError(
            f"runs {group[0].id!r} and {group[1].id!r} have the same parameters and the seed "
            f"{group[0].options[SEED]}: keep='all' is for runs that have logged no seed; say "
            "keep='newest'"
        )
    kept = [_first([run])[0] for run in group[::-1]]
    return [
        configuration if SEED in group[0].options else {**configuration, SEED: place}
        for place, configuration in enumerate(kept)
    ]
