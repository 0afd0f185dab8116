"""Content-addressed weights and logits: fingerprints, files, locks."""

from __future__ import annotations

from pytest_multiplicity.store.fingerprint import fingerprint

__all__ = ["fingerprint"]
