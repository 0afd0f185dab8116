"""What a kept candidate is known by: configuration, seed, code, and what the fixtures hold."""

from __future__ import annotations

import socket
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pytest_multiplicity.compute import Machine
from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Built
from pytest_multiplicity.errors import DefinitionError, StoreError
from pytest_multiplicity.inference.made import Made
from pytest_multiplicity.keeping import Given
from pytest_multiplicity.plugin.progress import Silent
from pytest_multiplicity.store import LocalStore

Train = Callable[..., Any]
Pair = namedtuple("Pair", ["train", "test"])


@dataclass
class Settings:
    steps: int
    names: tuple[str, ...] = ("a",)


def train(config: Any, given: Any) -> nn.Module:
    return nn.Linear(2, config.width)


def other(config: Any, given: Any) -> nn.Module:
    return nn.Linear(2, config.width + 1)


@pytest.fixture
def keys(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    """The keys of a family of two seeds, of a function and its fixtures."""

    def of(given: Any = 1, function: Train = train, width: int = 2, **settings: Any) -> Any:
        built = Built(function, {"width": width}, {}, 2, "star", keep=True, **settings)
        design = built.design()
        calls = [Given(function, {"given": given})] * len(design.ids)
        with LocalStore(tmp_path) as store:
            machine = Machine(torch.device("cpu"), store, Silent())
            return Made("family", built, design, calls, machine, "run").keys

    return of


def data(seed: int = 0, name: str = "points") -> Data:
    inputs = torch.rand(8, 2, generator=torch.Generator().manual_seed(seed))
    return Data(inputs, torch.arange(8) % 2, name=name)


FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
LINEAR = nn.Linear(2, 2)
UNLIKE = [
    *(1, 2, 1.0, True, None, "1", b"1", (1, 2), [1, 2], {1: 2}, {1: 3}, {"a": [1, (2.0, "x")]}),
    *(torch.zeros(2), torch.zeros(3), np.zeros(2), np.zeros(2, np.float32), np.float64(0)),
    *(FRAME, FRAME.rename(columns={"a": "c"}), FRAME["a"], data(), data(1), Pair(data(), data(1))),
    *(Settings(1), Settings(2), Settings(1, ("a", "b")), nn.Linear(2, 2), nn.Linear(2, 3)),
]


def test_each_content_has_a_key_of_its_own_and_the_same_each_time(keys):
    found = [keys(each) for each in UNLIKE]
    assert len({key for each in found for key in each}) == 2 * len(UNLIKE)
    assert found == [keys(each) for each in UNLIKE]


def test_equal_content_has_an_equal_key(keys):
    assert keys(data()) == keys(data(name="other name"))
    assert keys(FRAME) == keys(FRAME.copy())
    assert keys(LINEAR) == keys(LINEAR)


def test_configuration_and_code_count(keys):
    assert len({*keys(), *keys(width=3), *keys(function=other)}) == 6


def test_version_stands_for_the_code(keys):
    sockets = [socket.socket()]

    def opaque(config: Any, given: Any) -> Any:
        return sockets[0]

    with pytest.raises(StoreError, match=r"sockets.*version="):
        keys(function=opaque)
    told = keys(function=opaque, version="1")
    assert told == keys(function=train, version="1") != keys(function=train, version="2")
    assert told != keys(2, function=opaque, version="1")
    sockets[0].close()


class Handle:
    """Something that is not known by its content."""


class Named(Handle):
    """Something that says what it holds."""

    fingerprint = "1"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Handle(), "its fixture 'given' changes: given is a .*Handle; give it a str attribute"),
        ({"a": [Handle()]}, r"given\['a'\]\[0\] is a .*Handle"),
        (Pair(1, Handle()), r"given\['?test'?\] is a"),
        ((each for each in [1]), "given is a builtins.generator; it can be read once only"),
        (len, "given is a builtins.builtin_function"),
        (Path("x.csv"), "given is a pathlib.PosixPath"),
    ],
    ids=["object", "in a list", "in a tuple", "generator", "function", "path"],
)
def test_what_is_not_known_by_content_is_named(keys, value, told):
    with pytest.raises(DefinitionError, match=told):
        keys(value)


def test_what_declares_a_fingerprint_counts_by_it(keys):
    class Other(Handle):
        fingerprint = "2"

    assert keys(Named()) == keys([Named()][0]) != keys(Other())
