"""Faces from elsewhere, that nobody asked about: collected with ``--celeba DIR``."""

from __future__ import annotations

import pytest


@pytest.mark.unforeseen
def test_celeba(candidate, celeba):
    """Celebrities differ from everybody in age, in light and in make-up."""
    candidate.accuracy(celeba)
