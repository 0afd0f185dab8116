"""Faces from elsewhere, that a network must read too: collected with ``--fairface DIR``."""

from __future__ import annotations

K = 0.75


def test_fairface(candidate, fairface):
    """Shift: other people, other cameras, faces cropped more widely."""
    assert candidate.accuracy(fairface).in_top(K)
