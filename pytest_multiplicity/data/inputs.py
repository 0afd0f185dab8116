"""Where inputs come from: memory, a map-style dataset that is read as needed, a selection."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pytest_multiplicity.data import content, kinds
from pytest_multiplicity.data.arrays import as_tensor
from pytest_multiplicity.data.checks import check_bounds, check_values
from pytest_multiplicity.data.hashing import combine, hash_rows, raw
from pytest_multiplicity.data.kinds import Batch
from pytest_multiplicity.errors import DataError

BLOCK_BYTES = 32 * 2**20


class Dataset(Protocol):
    """A map-style dataset, as torchvision's are."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Source(ABC):
    """Samples of one kind, by position; see `kinds`."""

    kind: str = kinds.TENSOR
    shape: torch.Size  # of one sample; () for what is no tensor
    floats: bool = True  # whether there are floats in its tensors
    streamed: bool = False  # whether samples are read from a dataset each time they are needed
    readable: bool = True  # False: too big to be read for hashes of its samples

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def take(self, rows: Tensor) -> Batch:
        """Return the samples at these positions, on the CPU, of the kind that was given."""

    @property
    def described(self) -> str:
        """What a sample is, in words: its shape, its columns."""
        return str(tuple(self.shape))

    @property
    def sample_bytes(self) -> int:
        """About how many bytes a sample has."""
        return 4 * self.shape.numel()

    @property
    def spreads(self) -> dict[Any, float]:
        """The standard deviation of each column of numbers of a frame, over all that was given."""
        return {}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all samples, computed once; whoever knows a better one may set it."""
        return hash_inputs(self)

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """A hash of every sample [n], computed once."""
        return hash_samples(self)


class InMemory(Source):
    """A batch of all samples, shared with whoever made it."""

    def __init__(self, inputs: Batch, name: str = "data") -> None:
        self.inputs = inputs
        self.name = name
        self.kind = kinds.kind(inputs)
        self.shape = kinds.shape(inputs)
        self.floats = kinds.has_floats(inputs)

    def __len__(self) -> int:
        return kinds.length(self.inputs)

    def take(self, rows: Tensor) -> Batch:
        """Return a copy of these rows."""
        return kinds.take(self.inputs, rows)

    @property
    def described(self) -> str:
        """What a sample is, in words: its shape, its columns."""
        return kinds.described(self.inputs)

    @property
    def sample_bytes(self) -> int:
        """About how many bytes a sample has."""
        return kinds.sample_bytes(self.inputs)

    @cached_property
    def spreads(self) -> dict[Any, float]:
        """The standard deviation of each column of numbers of a frame."""
        return kinds.spreads(self.inputs) if self.kind == kinds.FRAME else {}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all samples; of floats [n, ...] the same as of a stream of them."""
        if isinstance(self.inputs, Tensor) and self.inputs.dtype is torch.float32:
            return hash_inputs(self)
        whole = kinds.tensors(self.inputs)
        return content.hash_whole(self.inputs, None if whole else self.digests)

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """A hash of every sample [n]."""
        return content.hash_each(self.inputs, self.name)


class Selected(Source):
    """Some rows of another source: nothing is copied until it is read, nothing hashed twice."""

    def __init__(self, source: Source, rows: Tensor) -> None:
        self.source = source
        self.rows = rows
        self.kind = source.kind
        self.shape = source.shape
        self.floats = source.floats
        self.streamed = source.streamed
        self.readable = source.readable

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor) -> Batch:
        """Return these rows of the selected ones."""
        return self.source.take(self.rows[rows])

    @property
    def described(self) -> str:
        """What a sample is, in words: its shape, its columns."""
        return self.source.described

    @property
    def sample_bytes(self) -> int:
        """About how many bytes a sample has."""
        return self.source.sample_bytes

    @property
    def spreads(self) -> dict[Any, float]:
        """Those of what the rows are taken from: of a group they are the whole's."""
        return self.source.spreads

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what the rows are taken from, and of the rows."""
        return combine("rows", self.source.fingerprint, hash_rows(self.rows))

    @cached_property
    def digests(self) -> NDArray[np.uint64]:
        """The hashes of the selected samples."""
        selected: NDArray[np.uint64] = self.source.digests[self.rows.numpy()]
        return selected


class Streamed(Source):
    """A dataset that is read as needed; every block read is checked as tensors are when given."""

    streamed = True

    def __init__(self, dataset: Dataset, bounds: Any, name: str) -> None:
        self.dataset = dataset
        self.name = name
        self.declared: Tensor | None = None  # targets [n] that were believed without reading
        self.shape = self._sample(0)[0].shape
        self.bounds = check_bounds(bounds, name, of=self)
        if self.shape.numel() == 0 or not self.shape:
            raise DataError(
                f"sample 0 of {name!r} has shape {tuple(self.shape)}: give values in at least one "
                "dimension, as in (features,)"
            )

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, rows: Tensor) -> Batch:
        """Read these samples, one after the other."""
        return self.read(rows)[0]

    def read(self, rows: Tensor) -> tuple[Tensor, list[Any]]:
        """Read these samples' inputs [b, ...] and their targets, those that have one."""
        inputs = torch.empty(len(rows), *self.shape)
        targets = []
        for position, row in enumerate(rows.tolist()):
            value, target = self._sample(row)
            if value.shape != self.shape:
                raise DataError(
                    f"sample {row} of {self.name!r} has shape {tuple(value.shape)}, the first has "
                    f"{tuple(self.shape)}: resize or crop in the dataset's transform"
                )
            inputs[position] = value
            targets += target
            if self.declared is not None and target and not agree(target[0], self.declared[row]):
                raise DataError(
                    f"sample {row} of {self.name!r} has the target {target[0]!r}, and .targets of "
                    f"the dataset say {self.declared[row].item()!r}: pass targets=[...], one each"
                )
        check_values(inputs, self.bounds, self.name)
        return inputs, targets

    def _sample(self, row: int) -> tuple[Tensor, list[Any]]:
        """Return an input, and its target in a list that is empty where there is none."""
        sample = self.dataset[row]
        value, *rest = sample if isinstance(sample, tuple | list) else (sample,)
        return to_float(value, row, self.name), rest[:1]


def agree(said: Any, declared: Tensor) -> bool:
    """Return whether a sample's target is the declared one."""
    try:
        return bool(float(said) == float(declared))
    except (RuntimeError, TypeError, ValueError):
        return False


def to_float(value: Any, row: int, name: str) -> Tensor:
    """Return one input as a CPU float32 tensor; images and 8-bit values are scaled to [0, 1]."""
    if isinstance(value, Image.Image):
        if value.mode in ("1", "P"):
            raise DataError(
                f"sample {row} of {name!r} is an image of mode {value.mode!r}: convert it in the "
                "dataset's transform, as in transform=lambda image: image.convert('RGB')"
            )
        odd = value.mode.startswith("I;16")
        value = np.asarray(value) if odd else _transforms().pil_to_tensor(value)
    if not isinstance(value, Tensor | np.ndarray):
        raise DataError(
            f"sample {row} of {name!r} is {type(value).__name__}: give a dataset of (input, "
            "target) pairs whose inputs are images, tensors or arrays"
        )
    tensor = as_tensor(value, f"values of sample {row} of {name!r}").detach()
    if tensor.dtype is torch.uint8:
        scaled: Tensor = _transforms().to_dtype(tensor, torch.float32, scale=True)
        return scaled.cpu()
    if not tensor.is_floating_point():
        raise DataError(f"sample {row} of {name!r} is {tensor.dtype}: give 8-bit images or floats")
    return tensor.to("cpu", torch.float32)


def _transforms() -> Any:
    from torchvision.transforms.v2 import functional  # takes a second, which not everybody needs

    return functional


def row_blocks(source: Source) -> Iterator[Tensor]:
    """Yield the positions in a source in order, in blocks of about 32 MiB of samples."""
    size = max(1, BLOCK_BYTES // (4 * source.shape.numel()))
    for start in range(0, len(source), size):
        yield torch.arange(start, min(start + size, len(source)))


def hash_inputs(source: Source) -> str:
    """Hash shape and values: the same for a tensor and for a stream of the same samples."""
    digest = hashlib.sha256(repr((len(source), tuple(source.shape))).encode())
    for rows in row_blocks(source):
        digest.update(raw(source.take(rows).flatten()).data)
    return digest.hexdigest()


def hash_samples(source: Source) -> NDArray[np.uint64]:
    """Hash every sample by itself [n]."""
    blocks = (raw(source.take(rows).flatten(1)) for rows in row_blocks(source))
    digests = [hashlib.sha256(sample.data).digest()[:8] for block in blocks for sample in block]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
