"""Content-addressed weights and logits: fingerprints, files, locks.

Fingerprints need neither torch nor locks, so `Store` and its words are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_multiplicity.store.fingerprint import fingerprint

if TYPE_CHECKING:
    from pytest_multiplicity.store.files import Entry
    from pytest_multiplicity.store.store import Item, Store, StoreWarning, Usage

__all__ = ["Entry", "Item", "Store", "StoreWarning", "Usage", "fingerprint"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_multiplicity.store import store

    return getattr(store, name)
