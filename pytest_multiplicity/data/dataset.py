"""The data set that specifications measure on and recipes train on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from pytest_multiplicity.data import checks, hashing
from pytest_multiplicity.data.attributes import Attributes
from pytest_multiplicity.data.given import as_inputs
from pytest_multiplicity.data.inputs import Dataset, InMemory, Selected, Source
from pytest_multiplicity.data.kinds import Batch
from pytest_multiplicity.data.query import matching_rows
from pytest_multiplicity.data.reading import read_dataset
from pytest_multiplicity.data.splitting import first_part
from pytest_multiplicity.errors import DataError
from pytest_multiplicity.tasks import Task


class Split(NamedTuple):
    """Two parts of a data set: one to select candidates on, one to report on."""

    select: Data
    report: Data


class UnsplitError(DataError, AttributeError):
    """A part was asked of a data set that was not split."""


MOST_VIEWS = 64
"""Groups of a data set that are remembered."""


class Data:
    """Inputs, their targets and, where groups matter, their attributes.

    A data set is not changed after it was made, and neither are the tensors given to it: they are
    shared, not copied (inputs that are float32 on the CPU, that is).

    Args:
        inputs: a tensor or an array [n, ...] of any dtype; a dict or a tuple of them; a DataFrame,
            also with missing values; a sequence of objects, such as texts or paths. A model gets a
            batch of the same kind, a module a dict as keywords. Images are in [0, 1]; models
            normalise inside, as RobustBench's do.
        targets: class indices, text or categories [n], values [n] or [n, k], several labels [n, k]
            of 0 and 1, dense labels [n, ...], or None where only agreement is measured.
        attributes: a DataFrame, or what makes one, with a row per sample; see `where`.
        name: how reports call the data set. Two of one name and different content are an error.
        bounds: what floats range between; attacks and noise are clamped to them. None for inputs
            without bounds. By default (0, 1) for floats of three dimensions a sample, which are
            images, and None for anything else.
        fingerprint: what identifies the inputs, instead of a hash of them.
        task: "classification", "regression", "multilabel" or "dense", where the targets alone would
            say another.
        tolerance: the distance up to which a value is right, of a regression.
        ignore: the target of positions that don't count, of dense labels.

    Its `task` says what depends on what is asked of a model: which predictions are right, and more.

    Raises:
        DataError: lengths, labels, bounds or attributes don't fit, or inputs are not finite.
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        attributes: Any = None,
        *,
        name: str = "data",
        bounds: tuple[float, float] | Literal["auto"] | None = "auto",
        fingerprint: str | None = None,
        task: str | Task | None = None,
        tolerance: float | None = None,
        ignore: int = -100,
    ) -> None:
        if not (isinstance(name, str) and name):
            raise DataError(f"the name of a data set is text that reports can show: got {name!r}")
        if not isinstance(fingerprint, str | None):
            raise DataError(f"the fingerprint of {name!r} is {fingerprint!r}: give text, or None")
        self.name = name
        whole = None if isinstance(inputs, Source) else as_inputs(inputs, name)
        self.source = inputs if isinstance(inputs, Source) else InMemory(whole, name)
        self.bounds = checks.check_bounds(bounds, name, of=self.source)
        checks.check_values(whole, self.bounds, name)
        if fingerprint is not None:
            self.source.fingerprint = hashing.combine("given", fingerprint)
            self.source.readable = not self.source.streamed
        self._root: Data | None = None
        self.rows = torch.arange(len(self))
        self.task, self.targets = checks.check_targets(
            targets, len(self), name, task=task, tolerance=tolerance, ignore=ignore
        )
        if not isinstance(attributes, Attributes):
            attributes = Attributes(checks.check_attributes(attributes, len(self), name))
        self._attributes: Attributes = attributes
        self._views: dict[str, Data] = {}

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset,
        *,
        attributes: Any = None,
        name: str = "data",
        bounds: tuple[float, float] | Literal["auto"] | None = "auto",
        targets: Any = None,
        fingerprint: str | None = None,
        stream: bool | None = None,
        task: str | Task | None = None,
        tolerance: float | None = None,
        ignore: int = -100,
    ) -> Data:
        """Make a data set from a map-style dataset of (input, target) pairs, as torchvision's are.

        Inputs are PIL images, tensors or arrays of one shape; images and 8-bit values are scaled
        to [0, 1]. They are read into memory, or, where they would take more than 1 GiB, again each
        time they are needed. Reading must give the same each time: augmentation is a recipe's.

        Args:
            dataset: has a length and samples by position.
            attributes: as for `Data`.
            name: as for `Data`.
            bounds: as for `Data`.
            targets: as for `Data`, instead of the dataset's own.
            fingerprint: identifies the inputs of a dataset that is too big to be read for a hash.
            stream: True reads samples as they are needed, False all at once; None decides by size.
            task: as for `Data`, with `tolerance` and `ignore`.
            tolerance: as for `Data`.
            ignore: as for `Data`.

        Raises:
            DataError: as for `Data`; or the dataset has no samples, inputs of several shapes, or
                inputs that differ when read again.
        """
        source, read_targets = read_dataset(
            dataset,
            name=name,
            bounds=bounds,
            targets=targets,
            stream=stream,
        )
        return cls(
            source,
            read_targets,
            attributes,
            name=name,
            bounds=bounds,
            fingerprint=fingerprint,
            task=task,
            tolerance=tolerance,
            ignore=ignore,
        )

    def __deepcopy__(self, memo: object) -> Data:
        """Return this one: data don't change, and what captures them may be copied often."""
        return self

    def __len__(self) -> int:
        return len(self.source)

    if not TYPE_CHECKING:  # which would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            if name in Split._fields:
                raise UnsplitError(
                    f"a pm.Data has no {name!r}: did you forget .split()? Write "
                    f"data.split(0.5).{name}, or have the fixture return data.split(0.5)"
                )
            raise AttributeError(f"a pm.Data has no {name!r}")

    def __repr__(self) -> str:
        return (
            f"Data({self.name!r}, {len(self):,} samples of {self.source.described}, "
            f"{self.task.describe(self.targets)})"
        )

    @property
    def shape(self) -> torch.Size:
        """Shape of one input; () for inputs that are no tensor."""
        return self.source.shape

    @property
    def kind(self) -> str:
        """What its inputs are: "tensor", "dict", "tuple", "frame" or "list"."""
        return self.source.kind

    @property
    def inputs(self) -> Batch:
        """All inputs, on the CPU, floats as float32. Read them, don't write to them.

        They are what was given where that was a tensor, and are read or gathered for this call
        where it was a dataset or where this is a part of a data set.
        """
        if isinstance(self.source, InMemory):
            return self.source.inputs
        return self.take(torch.arange(len(self)))

    @property
    def streamed(self) -> bool:
        """Whether inputs are read from a dataset each time they are needed."""
        return self.source.streamed

    @property
    def sample_bytes(self) -> int:
        """About how many bytes an input has."""
        return self.source.sample_bytes

    def take(self, rows: Tensor) -> Batch:
        """Return a copy of the inputs at these positions of this data set, on the CPU."""
        return self.source.take(rows)

    @property
    def attributes(self) -> pd.DataFrame | None:
        """A row per sample, with index 0 to n - 1; None where there are none."""
        return self._attributes.frame

    @property
    def attribute_tensors(self) -> dict[str, Tensor]:
        """The attributes as a recipe's loss gets them, each [n].

        Numbers and bools are float32, nan where missing. Texts and categories are int64 codes,
        positions in `categories`, -1 where missing.
        """
        return self._attributes.tensors

    @property
    def categories(self) -> dict[str, tuple[Any, ...]]:
        """The values behind the codes of `attribute_tensors`, of each attribute that has codes.

        They are sorted, or in the order of a pandas categorical. Parts have those of the whole.
        """
        return self._attributes.categories

    @property
    def root(self) -> Data:
        """The data set that this is a group of; itself where it is none."""
        return self if self._root is None else self._root

    @cached_property
    def fingerprint(self) -> str:
        """Hash of inputs, targets, attributes and bounds, computed on first use; not of the name.

        A group is known by its root's fingerprint and its rows in there.
        """
        return hashing.combine(
            self.source.fingerprint,
            hashing.hash_rows(self.targets),
            self._attributes.fingerprint,
            self.bounds,
            *self.task.identity,
        )

    def where(self, query: str) -> Data:
        """Return the group of samples whose attributes match a pandas query: "age < 30".

        The group is a view: it has the `root` it was taken from and its `rows` in there.

        Raises:
            DataError: the query names an attribute that there isn't, or matches no sample.
        """
        if query not in self._views:  # every candidate is asked about the same groups
            rows = matching_rows(self.attributes, query, self.name)
            group = self._part(rows, f"{self.name} where {query}")
            group._root = self.root
            group.rows = self.rows[rows]
            if len(self._views) >= MOST_VIEWS:
                del self._views[next(iter(self._views))]
            self._views[query] = group
        return self._views[query]

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs of it: no views."""
        return {**vars(self), "_views": {}}

    def split(
        self,
        fraction: float = 0.5,
        *,
        seed: int = 0,
        by: str | None = None,
        groups: str | None = None,
    ) -> Split:
        """Return two disjoint parts: a random `fraction` of the samples, and the others.

        They are data sets of their own, named "<name>-select" and "<name>-report". Both keep the
        order of this data set, and share its memory.

        Args:
            fraction: of the samples, which are in the first part.
            seed: of what is drawn.
            by: an attribute, such as time: the first part has the least values, nothing is drawn.
            groups: an attribute, such as a patient: samples of one value are in one part. Groups
                are drawn until the first part is as near to the fraction as they allow.

        Raises:
            DataError: a part would be empty, or an attribute isn't there or has missing values.
        """
        select, report = first_part(
            self.attributes,
            len(self),
            fraction,
            seed=seed,
            by=by,
            groups=groups,
            name=self.name,
        )
        return Split(
            self._part(select, f"{self.name}-select"), self._part(report, f"{self.name}-report")
        )

    def _part(self, rows: Tensor, name: str) -> Data:
        return Data(
            Selected(self.source, rows),
            self.targets[rows],
            self._attributes.part(rows),
            name=name,
            bounds=self.bounds,
            task=self.task,
        )
