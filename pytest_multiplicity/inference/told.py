"""Answers that were given elsewhere, looked up by the samples' ids."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Told
from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.interventions import Chain
from pytest_multiplicity.store import fingerprint

SHOWN = 3  # ids in a message


class ToldAnswers:
    """One candidate of a table: it answers about samples that the table has, as they are."""

    def __init__(self, told: Told, id_name: str, task: str | None) -> None:
        self._told, self._id, self._task = told, id_name, task
        self._places = {each: place for place, each in enumerate(told.ids)}
        said = [told.said[name].tolist() for name in told.said]
        what = [list(told.ids), said, told.probabilities, list(told.classes or ())]
        self.fingerprint = fingerprint(["told, checked", repr(what)])

    def __call__(self, batch: object) -> NoReturn:
        """Raise MeasurementError: there is no model."""
        raise MeasurementError("recorded answers have no model that could be asked anew")

    def about(self, data: Data, under: Chain) -> Tensor:
        """Return the answers `[n, ...]` about a data set.

        Raises:
            DataError: the data have no such ids, or some that the table lacks.
            MeasurementError: under an intervention on inputs.
        """
        if under.inputs:
            raise MeasurementError(
                f"recorded answers know nothing under {' | '.join(map(repr, under.inputs))}: they "
                "are about the samples as they were; groups and noise on the output can be asked, "
                "and for a shift record answers on the shifted data"
            )
        if self._task not in (None, data.task.name):
            raise DataError(
                f"the answers are for {self._task}, and {data.name!r} is for {data.task.name}: "
                "give one of them another task="
            )
        said = self._told.said.iloc[self._rows(data)]
        if bool(said.isna().to_numpy().any()):
            row = int(said.isna().any(axis=1).to_numpy().nonzero()[0][0])
            raise DataError(
                f"the answer about sample {self._ids(data)[row]!r} of {data.name!r} is missing: "
                "drop the sample from the data, or answer it"
            )
        if self._told.probabilities:
            sure = torch.tensor(said.to_numpy(dtype=float))
            classes = self._told.classes or _named(said.columns.tolist(), data)
            return data.task.of_probabilities(sure, classes, data.targets, data.name)
        if self._told.names and not data.task.losses:  # no targets: the table's own names
            places = {name: place for place, name in enumerate(self._told.names)}
            return torch.tensor([places[str(each)] for each in said.iloc[:, 0]])
        return _plain(said.iloc[:, 0], data)

    def _ids(self, data: Data) -> list[Any]:
        if data.attributes is None or self._id not in data.attributes:
            raise DataError(
                f"answers are matched by the attribute {self._id!r}, which {data.name!r} lacks: "
                f"pm.Data(inputs, targets, attributes=frame) with a column {self._id!r}"
            )
        return list(data.attributes[self._id].tolist())

    def _rows(self, data: Data) -> list[int]:
        ids = self._ids(data)
        if missing := [each for each in ids if each not in self._places]:
            some = ", ".join(map(repr, missing[:SHOWN])) + ", ..." * (len(missing) > SHOWN)
            kinds = f"{type(missing[0]).__name__}s", f"{type(self._told.ids[0]).__name__}s"
            hint = f" (ids are {kinds[0]} there, {kinds[1]} in the table)" * (kinds[0] != kinds[1])
            raise DataError(
                f"the table has no answer about {len(missing)} of {len(ids)} samples of "
                f"{data.name!r}: {some}{hint}; answer them, or drop them from the data"
            )
        return [self._places[each] for each in ids]


def _named(columns: list[str], data: Data) -> tuple[str, ...] | None:
    """Return the classes that columns are named after; None where they are others' names."""
    names = [str(each) for each in getattr(data.task, "names", None) or ()]
    unknown = [each for each in columns if str(each) not in names]
    if len(columns) > 1 and len(unknown) < len(columns) and unknown:
        raise DataError(
            f"the table has a column {unknown[0]!r} among those of probabilities, and the classes "
            f"of {data.name!r} are {', '.join(map(repr, names))}: drop it, or name it after one"
        )
    return None if unknown or len(columns) < 2 else tuple(columns)


def _plain(said: Any, data: Data) -> Tensor:
    """Return labels as codes, numbers as they are."""
    if said.dtype.kind not in "fiub":
        return data.task.codes(said.tolist(), data.name)
    values = torch.tensor(said.to_numpy())
    classes = data.task.losses and not data.targets.is_floating_point()
    if classes and values.is_floating_point() and not torch.equal(values, values.round()):
        row = int((values != values.round()).nonzero()[0])
        raise DataError(
            f"column {said.name!r} says {float(values[row])!r} of a sample of {data.name!r}, which "
            "is no class: give labels, or a column of probabilities for each class"
        )
    if values.is_floating_point() and not data.targets.is_floating_point():
        whole = values.to(torch.int64)
        values = whole if torch.equal(whole.to(values), values) else values
    named = getattr(data.task, "names", None) is not None and not values.is_floating_point()
    return data.task.codes(values.tolist(), data.name) if named else values
