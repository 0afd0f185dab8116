"""Odd data sets: each works, or is refused with one message of our own.

    python tests/faults/odd_data.py [part of a name]

Each is made, hashed, split, queried and measured with a model that sees it whole. What works keeps
the values that it was given. Exits with 1 when one ends in an error of torch, numpy or pandas.
"""

from __future__ import annotations

import array
import datetime
import decimal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, IterableDataset, Subset, TensorDataset
from torchvision import tv_tensors

from pytest_multiplicity.data import Data, kinds
from pytest_multiplicity.errors import MultiplicityError

N = 12
X = np.linspace(0, 1, 4 * N, dtype="f4").reshape(N, 4)
Y = np.arange(N) % 3
IMAGES = torch.from_numpy(np.linspace(0, 1, N * 48, dtype="f4").reshape(N, 3, 4, 4))


def inputs(values: Any, **settings: Any) -> Data:
    """Return a data set of odd inputs."""
    return Data(values, Y, name="odd", **settings)


def targets(values: Any) -> Data:
    """Return a data set of odd targets."""
    return Data(X, values, name="odd")


def attributes(values: Any) -> Data:
    """Return a data set of odd attributes."""
    return Data(X, Y, values, name="odd")


def samples(make: Callable[[int], Any], **settings: Any) -> Data:
    """Return a data set of odd samples."""
    return Data.from_dataset([make(row) for row in range(N)], name="odd", **settings)  # type: ignore[arg-type]


def image(mode: str) -> Callable[[int], Any]:
    """Return samples that are images of a mode."""
    return lambda row: (Image.new(mode, (4, 4)), row % 3)


def masked(values: Any, mask: Any) -> Any:
    """Return an array some values of which are missing."""
    return np.ma.array(values, mask=mask)  # type: ignore[no-untyped-call]


class Stream(IterableDataset[Any]):
    """A dataset without positions."""

    def __iter__(self) -> Any:
        return iter([(X[0], 0)] * N)

    def __len__(self) -> int:
        return N


class Liar:
    """A dataset whose `.targets` are not those of its samples."""

    def __init__(self, lies: int) -> None:
        self.targets = [row % 3 for row in range(N)]
        self.lies = lies

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return IMAGES[row], (row + (row < self.lies)) % 3


class Broken(Liar):
    """A dataset one sample of which can't be read."""

    def __getitem__(self, row: int) -> Any:
        raise IndexError("no such file")


CASES: dict[str, Callable[[], Data]] = {
    # inputs
    "inputs: big-endian": lambda: inputs(X.astype(">f4")),
    "inputs: big-endian doubles": lambda: inputs(X.astype(">f8")),
    "inputs: float16": lambda: inputs(X.astype("f2")),
    "inputs: bfloat16": lambda: inputs(torch.from_numpy(X).bfloat16()),
    "inputs: long double": lambda: inputs(X.astype(np.longdouble)),
    "inputs: Fortran order": lambda: inputs(np.asfortranarray(X)),
    "inputs: backwards": lambda: inputs(X[::-1]),
    "inputs: read-only": lambda: inputs(np.broadcast_to(X[:1], (N, 4))),
    "inputs: uint8": lambda: inputs((X * 255).astype("u1")),
    "inputs: uint16": lambda: inputs((X * 255).astype("u2")),
    "inputs: bool": lambda: inputs(X > 0.5),
    "inputs: complex": lambda: inputs(X.astype("c8")),
    "inputs: ragged": lambda: inputs([[0.1] * (1 + row % 2) for row in range(N)]),
    "inputs: lists": lambda: inputs(X.tolist()),
    "inputs: list of tensors": lambda: inputs([torch.from_numpy(row) for row in X]),
    "inputs: list of tensors in training": lambda: inputs([torch.ones(4, requires_grad=True)] * N),
    "inputs: in training": lambda: inputs(torch.from_numpy(X).clone().requires_grad_()),
    "inputs: sparse": lambda: inputs(torch.from_numpy(X).to_sparse()),
    "inputs: compressed sparse": lambda: inputs(torch.from_numpy(X).to_sparse_csr()),
    "inputs: scipy's sparse": lambda: inputs(scipy.sparse.csr_matrix(X)),
    "inputs: nested": lambda: inputs(torch.nested.nested_tensor([torch.ones(4)] * N)),
    "inputs: meta": lambda: inputs(torch.empty(N, 4, device="meta")),
    "inputs: quantised": lambda: inputs(
        torch.quantize_per_tensor(torch.from_numpy(X), 0.1, 0, torch.quint8)
    ),
    "inputs: masked": lambda: inputs(masked(X, mask=X > 0.5)),
    "inputs: masked nowhere": lambda: inputs(masked(X, mask=False)),
    "inputs: images of torchvision": lambda: inputs(tv_tensors.Image(IMAGES)),
    "inputs: a frame": lambda: inputs(pd.DataFrame(X)),
    "inputs: a frame with text": lambda: inputs(pd.DataFrame(X).assign(name="a")),
    "inputs: a frame of nullable floats": lambda: inputs(pd.DataFrame(X).astype("Float32")),
    "inputs: a frame with missing values": lambda: inputs(
        pd.DataFrame(X).astype("Float32").mask(X > 0.5)
    ),
    "inputs: structured": lambda: inputs(np.zeros(N, dtype=[("a", "f4"), ("b", "f4")])),
    "inputs: dates": lambda: inputs(np.full((N, 2), np.datetime64("2020-01-01"))),
    "inputs: decimals": lambda: inputs([[decimal.Decimal("0.5")]] * N),
    "inputs: buffer": lambda: inputs(memoryview(X)),  # type: ignore[arg-type]
    "inputs: generator": lambda: inputs(row for row in X),
    "inputs: dictionary": lambda: inputs({"a": X}),
    "inputs: nothing": lambda: inputs(None),
    "inputs: text": lambda: inputs(["a", "b"] * (N // 2)),
    "inputs: no samples": lambda: Data(X[:0], Y[:0], name="odd"),
    "inputs: no features": lambda: inputs(X[:, :0]),
    "inputs: a scalar": lambda: inputs(0.5),
    "inputs: nan": lambda: inputs(np.where(X > 0.5, np.nan, X)),
    "inputs: huge doubles": lambda: inputs(X.astype("f8") * 1e300, bounds=None),
    "inputs: one value": lambda: inputs(np.full((N, 1), 0.5)),
    # targets
    "targets: unsigned 16 bits": lambda: targets(Y.astype("u2")),
    "targets: unsigned 32 bits": lambda: targets(torch.from_numpy(Y).to(torch.uint32)),
    "targets: unsigned 64 bits": lambda: targets(Y.astype("u8")),
    "targets: beyond 63 bits": lambda: targets(Y.astype("u8") + 2**63),
    "targets: big-endian": lambda: targets(Y.astype(">i4")),
    "targets: bool": lambda: targets(Y > 0),
    "targets: bytes": lambda: targets(array.array("B", Y.tolist())),
    "targets: float": lambda: targets(Y.astype("f4")),
    "targets: one-hot": lambda: targets(np.eye(3)[Y].astype(int)),
    "targets: a column": lambda: targets(Y[:, None]),
    "targets: masked": lambda: targets(masked(Y, mask=Y == 1)),
    "targets: text": lambda: targets(["a", "b", "c"] * (N // 3)),
    "targets: text of pandas": lambda: targets(pd.Series(["a", "b", "c"] * (N // 3))),
    "targets: categories": lambda: targets(pd.Categorical(["a", "b", "c"] * (N // 3))),
    "targets: nullable": lambda: targets(pd.Series(Y, dtype="Int64")),
    "targets: missing": lambda: targets(pd.Series([None, 1, 2] * (N // 3), dtype="Int64")),
    "targets: nan": lambda: targets(np.where(Y == 0, np.nan, Y)),
    "targets: None among them": lambda: targets([None, 1, 2] * (N // 3)),
    "targets: a series of another index": lambda: targets(pd.Series(Y, index=range(5, 5 + N))),
    "targets: a frame": lambda: targets(pd.DataFrame({"y": Y})),
    "targets: too few": lambda: targets(Y[:-1]),
    "targets: sparse": lambda: targets(torch.from_numpy(Y).to_sparse()),
    # attributes, splits, fingerprints
    "attributes: lists in cells": lambda: attributes(pd.DataFrame({"a": [[1]] * N})),
    "attributes: of several lengths": lambda: attributes({"a": [1, 2], "b": [1]}),
    "attributes: a number": lambda: attributes(5),
    "attributes: dates and categories": lambda: attributes(
        pd.DataFrame({"at": [datetime.datetime(2020, 1, 1)] * N, "of": pd.Categorical(["a"] * N)})
    ),
    "attributes: several levels": lambda: attributes(pd.DataFrame(np.ones((N, 2))).T.stack()),
    "attributes: duplicates": lambda: attributes(pd.DataFrame(np.ones((N, 2)), columns=["a", "a"])),
    "attributes: missing": lambda: attributes({"a": [None, 1.0] * (N // 2)}),
    "split: nan": lambda: targets(Y).split(float("nan")).select,
    "split: text": lambda: targets(Y).split("half").select,  # type: ignore[arg-type]
    "split: a seed of text": lambda: targets(Y).split(0.5, seed="a").select,  # type: ignore[arg-type]
    "split: a seed of numpy": lambda: targets(Y).split(0.5, seed=np.int64(3)).select,  # type: ignore[arg-type]
    "split: a seed beyond 64 bits": lambda: targets(Y).split(0.5, seed=2**80).select,
    "split: a fraction of numpy": lambda: targets(Y).split(np.float32(0.5)).select,  # type: ignore[arg-type]
    "query: a number": lambda: attributes({"a": range(N)}).where(5),  # type: ignore[arg-type]
    "query: nothing": lambda: attributes({"a": range(N)}).where(""),
    "bounds: nan": lambda: inputs(X, bounds=(0, float("nan"))),
    "bounds: arrays": lambda: inputs(X, bounds=(np.zeros(4), np.ones(4))),  # type: ignore[arg-type]
    "fingerprint: a number": lambda: inputs(X, fingerprint=5),
    # datasets
    "samples: one-hot targets": lambda: samples(lambda row: (IMAGES[row], torch.eye(3)[row % 3])),
    "samples: one-hot of numpy": lambda: samples(lambda row: (IMAGES[row], np.eye(3)[row % 3])),
    "samples: targets in tensors of one": lambda: samples(
        lambda row: (IMAGES[row], torch.tensor([row % 3]))
    ),
    "samples: boxes": lambda: samples(lambda row: (IMAGES[row], {"boxes": torch.ones(1, 4)})),
    "samples: masks": lambda: samples(lambda row: (IMAGES[row], torch.zeros(4, 4).long())),
    "samples: masks of several sizes": lambda: samples(
        lambda row: (IMAGES[row], torch.zeros(4, 1 + row % 2).long())
    ),
    "samples: dictionaries": lambda: samples(lambda row: {"image": IMAGES[row], "label": row % 3}),
    "samples: no targets": lambda: samples(lambda row: IMAGES[row]),
    "samples: targets of some": lambda: samples(lambda row: (IMAGES[row], 1)[: 1 + row % 2]),
    "samples: text targets": lambda: samples(lambda row: (IMAGES[row], "abc"[row % 3])),
    "samples: several sizes": lambda: samples(lambda row: (torch.ones(3, 4, 4 + row % 2), 0)),
    "samples: triples": lambda: samples(lambda row: (IMAGES[row], row % 3, "path")),
    "samples: big-endian": lambda: samples(lambda row: (X[row].astype(">f4"), row % 3)),
    "samples: masked": lambda: samples(lambda row: (masked(X[row], mask=X[row] > 0.5), 0)),
    "samples: sparse": lambda: samples(lambda row: (IMAGES[row].to_sparse(), 0)),
    "samples: integers": lambda: samples(lambda row: (np.arange(4), 0)),
    "samples: scalars": lambda: samples(lambda row: (torch.tensor(0.5), 0)),
    **{
        f"samples: images of mode {mode}": lambda mode=mode: samples(image(mode))  # type: ignore[misc]
        for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16")
    },
    "samples: big-endian images": lambda: samples(image("I;16B")),
    "dataset: of tensors": lambda: Data.from_dataset(
        TensorDataset(IMAGES, torch.from_numpy(Y)), name="odd"
    ),
    "dataset: parts joined": lambda: Data.from_dataset(
        ConcatDataset([Subset(TensorDataset(IMAGES, torch.from_numpy(Y)), range(6))] * 2),
        name="odd",
    ),
    "dataset: without positions": lambda: Data.from_dataset(Stream(), name="odd"),
    "dataset: a frame": lambda: Data.from_dataset(pd.DataFrame(X), name="odd"),  # type: ignore[arg-type]
    "dataset: a dictionary": lambda: Data.from_dataset({"a": X}, name="odd"),  # type: ignore
    "dataset: unreadable": lambda: Data.from_dataset(Broken(0), name="odd"),
    "dataset: an iterator": lambda: Data.from_dataset(iter([(X[0], 0)]), name="odd"),  # type: ignore[arg-type]
    "dataset: streamed one-hot": lambda: samples(
        lambda row: (IMAGES[row], torch.eye(3)[row % 3]), stream=True
    ),
    "dataset: other targets than it says": lambda: Data.from_dataset(
        Liar(3), name="odd", stream=True
    ),
    "dataset: targets given": lambda: Data.from_dataset(
        Liar(3), name="odd", stream=True, targets=Y
    ),
}


def used(data: Data) -> Data:
    """Do with a data set what runs do."""
    assert "odd" in repr(data)
    assert len(data.fingerprint) == 64
    assert len(data.source.digests) == len(data)
    assert data.targets.dtype in (torch.int64, torch.float32, torch.float64)
    batch = data.take(torch.arange(len(data)))
    assert kinds.length(batch) == len(data)
    for tensor in kinds.tensors(batch).values():
        assert torch.isfinite(tensor).all()
        assert tensor.dtype is torch.float32 or not tensor.is_floating_point()
    halves = data.split(0.5, seed=1)
    assert len(halves.select) + len(halves.report) == len(data)
    return data


def outcome(make: Callable[[], Data]) -> str:
    """Return what became of a case: "works", or the message that refuses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            used(make())
        except MultiplicityError as error:
            return str(error)
    return "works"


def main(part: str = "") -> int:
    """Go through the cases whose names have this part."""
    failed, told = 0, []
    for name, make in CASES.items():
        if part in name:
            try:
                told.append(outcome(make))
            except Exception as error:  # whatever it is: that's what is looked for
                failed += 1
                told.append(f"FAILED: {type(error).__name__}: {error}")
            print(f"{name:40} {' '.join(told[-1].split())}")
    works = told.count("works")
    refused = len(told) - works - failed
    print(
        f"{len(told)} odd data sets: {works} work, {refused} are refused, {failed} fail otherwise"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
