"""Objects of a recipe that keep state: every training has copies of its own, as they were made."""

from __future__ import annotations

import copy
import types
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import out_of_memory
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.store import fingerprint
from pytest_multiplicity.training.jobs import Job
from pytest_multiplicity.training.recipe import Recipe

CALLED = ("optimizer", "schedule", "loss", "augment")
LARGEST = 16 << 20  # bytes of an array that is copied: larger ones are data, no state
Memo = dict[int, Any]


def own(job: Job, device: torch.device) -> Job:
    """Return the job with its own loss, schedule, transform and optimizer, as new.

    What several of them have in common they have in common again. Tensors of the loss, such as the
    weights of classes, are brought to the device.
    """
    memo: Memo = {}
    fresh = {name: _own(getattr(job.recipe, name), memo) for name in CALLED}
    if device.type != "cpu":
        fresh["loss"] = _on(device, fresh["loss"])
    recipe = copy.copy(job.recipe)
    for name, value in fresh.items():
        object.__setattr__(recipe, name, value)  # `replace` would check data that may be bare
    return replace(job, recipe=recipe)


def stepped(recipe: Recipe, before: Recipe) -> bool:
    """Say whether an object of the recipe has another state than before it was used.

    Checkpoints don't hold it, so what has would not go on from one as it was.
    """
    pairs = [[getattr(each, name) for name in CALLED] for each in (recipe, before)]
    if all(value is other or isinstance(value, str) for value, other in zip(*pairs, strict=True)):
        return False
    try:
        return fingerprint(pairs[0]) != fingerprint(pairs[1])
    except MultiplicityError:  # it doesn't show its state
        return True


def _own(value: Any, memo: Memo) -> Any:
    """Copy a value with what it captures; what can't be copied is used as it is."""
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, types.FunctionType):
        return _own_function(value, memo)
    if _is_data(value):
        return value
    try:
        return copy.deepcopy(value, memo)
    except Exception as error:  # it holds a lock, a file, a session
        if out_of_memory(error):
            raise
        return value


def _own_function(function: types.FunctionType, memo: Memo) -> types.FunctionType:
    if not function.__closure__:
        return function
    cells = tuple(types.CellType() for _ in function.__closure__)
    twin = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
    )
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__qualname__, twin.__module__ = function.__qualname__, function.__module__
    vars(twin).update(vars(function))
    memo[id(function)] = twin
    for cell, captured in zip(cells, function.__closure__, strict=True):
        try:
            content = captured.cell_contents
        except ValueError:  # not filled yet
            continue
        cell.cell_contents = _own(content, memo)
    return twin


def _on(device: torch.device, value: Any) -> Any:
    """Return a loss whose tensors lie on a device: of a module, a partial, or what it captured."""
    if isinstance(value, Tensor | nn.Module):
        return value.to(device)
    if isinstance(value, partial):
        keywords = {name: _on(device, each) for name, each in value.keywords.items()}
        return partial(_on(device, value.func), *(_on(device, a) for a in value.args), **keywords)
    for cell in getattr(value, "__closure__", None) or ():
        with suppress(ValueError):  # not filled yet
            if isinstance(cell.cell_contents, Tensor | nn.Module | partial):
                cell.cell_contents = _on(device, cell.cell_contents)
    return value


def _is_data(value: Any) -> bool:
    kind = type(value).__module__.partition(".")[0]
    large = getattr(value, "nbytes", 0)
    return (
        isinstance(value, types.ModuleType)
        or kind in ("pandas", "pytest_multiplicity")
        or (isinstance(large, int) and large > LARGEST)
    )
