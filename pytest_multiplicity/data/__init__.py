"""Data sets: inputs, targets, attributes; groups, splits, fingerprints and leakage."""

from __future__ import annotations

from pytest_multiplicity.data.checks import check_classes
from pytest_multiplicity.data.dataset import Data, Split
from pytest_multiplicity.data.leakage import sample_digests, shared_samples

__all__ = ["Data", "Split", "check_classes", "sample_digests", "shared_samples"]
