"""Copies: candidates whose raw answers on the data concerned are equal count once in statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor


def distinct(predictions: npt.NDArray[Any], answers: Callable[[int], Tensor]) -> Sequence[int]:
    """Return the positions of those who answer as nobody before them.

    Answers are looked at where predictions `[K, n, ...]` are equal.
    """
    alike: dict[bytes, list[int]] = defaultdict(list)
    for position, said in enumerate(predictions):
        alike[np.ascontiguousarray(said).tobytes()].append(position)
    first: list[int] = []
    for group in alike.values():
        seen: dict[bytes, int] = {}
        for position in group:
            known = _hash(answers(position)) if len(group) > 1 else b""
            seen.setdefault(known, position)
        first += seen.values()
    return sorted(first)


def _hash(answers: Tensor) -> bytes:
    return sha256(answers.contiguous().numpy().tobytes()).digest()
