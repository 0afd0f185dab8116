"""Samples that two data sets share, found by their content."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_multiplicity.data.dataset import Data


def sample_digests(data: Data) -> NDArray[np.uint64]:
    """Return a hash of every sample's input [n]; targets and attributes play no part.

    A data set is hashed once, its groups and splits with it. Where it is streamed, that reads all
    of it.
    """
    return data.source.digests


def shared_samples(data: Data, other: Data) -> Tensor:
    """Return the positions in `data` of the samples whose input, to the bit, is in `other` too.

    Equal inputs are counted wherever they come from, also where a data set lists a sample twice.
    """
    shared = np.isin(sample_digests(data), sample_digests(other))
    return torch.from_numpy(np.flatnonzero(shared))
