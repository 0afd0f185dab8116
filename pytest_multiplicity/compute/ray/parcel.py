"""What crosses to a cluster: a pickle, and large parts beside it that every node gets once.

Those parts are the arrays of data sets, which nobody writes to, so that the processes of a node
read them where its object store has them; their frames and lists, of which each process makes its
own; and what is wrapped in `Shared`.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_multiplicity.compute.samples import Samples
from pytest_multiplicity.compute.sharing import (
    CodePickler,
    Shared,
    UnsharableError,
    pickled,
    project_code_by_value,
)
from pytest_multiplicity.data import kinds

DATA = {
    "pytest_multiplicity.data.dataset.Data",
    "pytest_multiplicity.data.inputs.InMemory",
    "pytest_multiplicity.data.inputs.Selected",
}
SMALLEST_PART = 1 << 16  # bytes; what is smaller travels in the pickle


@dataclass(frozen=True)
class Part:
    """What travels beside a pickle; parts of one owner are the same."""

    owner: object
    content: NDArray[Any] | bytes

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.nbytes


@dataclass(frozen=True)
class Parcel:
    """A pickle, and the parts it refers to by position."""

    payload: bytes
    parts: tuple[Part, ...]


def pack(value: Any) -> Parcel:
    """Pack a value for other machines, with the project's code.

    Raises:
        UnsharableError: some of it can't be pickled; the message says which.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    with project_code_by_value(far=True):
        try:
            pickler.dump(value)
        except Exception as error:
            raise UnsharableError(f"{type(error).__name__}: {error}") from error
    return Parcel(buffer.getvalue(), tuple(pickler.parts))


def unpack(payload: bytes, contents: Sequence[Any]) -> Any:
    """Return the value that was packed, given the contents of its parts."""
    return _Unpickler(io.BytesIO(payload), contents).load()


class _Pickler(CodePickler):
    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self.parts: list[Part] = []
        self._data: set[int] = set()  # ids of tensors that nobody writes to
        self._wholes: set[int] = set()  # ids of frames and lists of a data set
        self._positions: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) is Shared:
            return "shared", self._part(obj, obj.pickled)
        if type(obj) is Tensor:
            if id(obj) in self._data and obj.nbytes >= SMALLEST_PART:
                return "data", self._part(obj, obj.contiguous().numpy())
        elif id(obj) in self._wholes:
            return "whole", self._part(obj, pickled(obj))
        elif type(obj) is Samples or _is_data(obj):
            self._data.update(id(value) for value in vars(obj).values() if type(value) is Tensor)
            self._of_inputs(vars(obj).get("inputs"))
            self._data.update(map(id, vars(obj).get("attribute_tensors", {}).values()))
        return None

    def _of_inputs(self, inputs: Any) -> None:
        """Note what of a data set's inputs travels beside the pickle."""
        self._data.update(map(id, kinds.tensors(inputs).values()))
        if kinds.kind(inputs) in (kinds.FRAME, kinds.LIST) and inputs is not None:
            self._wholes.add(id(inputs))

    def _part(self, owner: object, content: NDArray[Any] | bytes) -> int:
        if id(owner) not in self._positions:
            self._positions[id(owner)] = len(self.parts)
            self.parts.append(Part(owner, content))
        return self._positions[id(owner)]


def _is_data(obj: object) -> bool:
    """Return whether it is of a data set. By name: workers without those start sooner."""
    return f"{type(obj).__module__}.{type(obj).__name__}" in DATA


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, contents: Sequence[Any]) -> None:
        super().__init__(buffer)
        self._contents = contents

    def persistent_load(self, name: Any) -> Any:
        kind, position = name
        content = self._contents[position]
        if kind == "data":
            return _read_only(content)
        value = pickle.loads(content)
        return Shared(value) if kind == "shared" else value


def _read_only(array: NDArray[Any]) -> Tensor:
    """Return a tensor on an array's memory, which nobody writes to; torch would warn of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)
