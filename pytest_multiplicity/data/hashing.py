"""Content hashes of tensors and frames, block by block so that memory stays bounded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from pytest_multiplicity.data.inputs import Source

BLOCK_BYTES = 32 * 2**20


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


def hash_rows(rows: Tensor) -> str:
    """Hash a list of positions or class indices."""
    return hashlib.sha256(raw(rows).data).hexdigest()


def hash_frame(frame: pd.DataFrame | None) -> str:
    """Hash the columns' names and values."""
    if frame is None:
        return "none"
    digest = hashlib.sha256(repr(list(frame.columns)).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().data)
    return digest.hexdigest()


def combine(*parts: object) -> str:
    """Hash parts whose repr is their content."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def raw(tensor: Tensor) -> NDArray[np.generic]:
    """Return the values as an array, without copying contiguous ones."""
    array: NDArray[np.generic] = tensor.contiguous().numpy()
    return array
