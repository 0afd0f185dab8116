"""What is kept, in the store: signed, since reading it runs what its pickle says.

A user whose key isn't an entry's writes beside it, so two who share a store don't undo each other's
work, and neither runs what the other wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.keeping.calls import KEPT, Returned, Skipped
from pytest_multiplicity.keeping.packing import unpack
from pytest_multiplicity.store import Signer, Store, signer

PICKLE = "multiplicity.pickle"  # the tensor of bytes that is no weight


@dataclass(frozen=True)
class Kept:
    """What is known of a kept model, its signature verified; `name` is where the store has it."""

    name: str
    kind: str
    size: int  # bytes
    seconds: float
    logged: Mapping[str, list[float]]
    machine: str
    run: list[str]


class Entries:
    """The kept models of a store. `refused` are keys of entries whose signature doesn't hold."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.refused: set[str] = set()
        self._false: set[str] = set()  # names of entries whose tensors aren't those signed

    @cached_property
    def _signer(self) -> Signer:
        return signer()

    def look(self, key: str) -> Kept | Skipped | None:
        """Return what is known under a key; None where there is nothing that may be read."""
        for name in self._names(key):
            if (meta := self._store.meta(KEPT, name)) is None:
                continue
            if not self._holds(name, meta):
                self.refused.add(key)
            elif "skipped" in meta:
                return Skipped(meta["skipped"])
            else:
                told = ("kind", "size", "seconds", "logged", "machine", "run")
                return Kept(name, **{each: meta[each] for each in told})
        return None

    def load(self, kept: Kept) -> Any:
        """Return a kept model, made anew; None where its entry is gone, or was changed.

        Raises:
            StoreError: its pickle can't be read, as where a class has gone.
        """
        entry = self._store.get(KEPT, kept.name)
        if entry is None or not self._holds(kept.name, entry.meta):
            return None
        if entry.meta["content"] != _digest(entry.tensors):
            self._false.add(kept.name)
            return None
        tensors = dict(entry.tensors)
        pickled = tensors.pop(PICKLE).numpy().tobytes()
        try:
            return unpack(pickled, tensors)
        except Exception as error:
            raise StoreError(
                f"a kept {kept.kind} can't be read ({type(error).__name__}: {error}): make what "
                "its classes need importable, or change `version=` to have it trained again"
            ) from error

    def put(self, key: str, returned: Returned, *, machine: str, run: list[str]) -> None:
        """Keep what a call gave, in the place of what isn't the user's or is damaged."""
        packed = returned.packed
        pickled = torch.from_numpy(np.frombuffer(packed.pickled, np.uint8).copy())
        meta = {
            "kind": packed.kind,
            "size": len(pickled) + sum(tensor.nbytes for tensor in packed.tensors.values()),
            "seconds": returned.seconds,
            "logged": {name: list(values) for name, values in returned.logged.items()},
            "machine": machine,
            "run": run,
        }
        self._write(key, {**packed.tensors, PICKLE: pickled}, meta)

    def put_skipped(self, key: str, skipped: Skipped, run_id: str) -> None:
        """Let the other processes of a run know that a call ended in a skip."""
        self._write(key, {}, {"skipped": skipped.reason}, run_id)

    def _write(
        self, key: str, tensors: dict[str, Tensor], meta: dict[str, Any], run: str | None = None
    ) -> None:
        first, second = self._names(key)
        there = self._store.meta(KEPT, first)
        name = first if there is None or self._holds(first, there) else second
        self._false.discard(name)
        meta = {**meta, "content": _digest(tensors)}
        meta["signature"] = self._signer.sign(_signed(name, meta))
        self._store.put(KEPT, name, tensors, meta, run=run)

    def _names(self, key: str) -> tuple[str, str]:
        """Return where what belongs to a key may lie: the second is this user's alone."""
        return key, hashlib.sha256(f"{key} {self._signer.name}".encode()).hexdigest()

    def _holds(self, name: str, meta: Mapping[str, Any]) -> bool:
        about = {field: value for field, value in meta.items() if field != "signature"}
        signed = self._signer.holds(_signed(name, about), meta.get("signature"))
        return signed and name not in self._false


def _signed(name: str, meta: Mapping[str, Any]) -> bytes:
    """Return what a signature is of: an entry's name, and all that its metadata say."""
    return json.dumps([KEPT, name, meta], sort_keys=True).encode()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of tensors by name."""
    table = [[name, str(each.dtype), list(each.shape)] for name, each in tensors.items()]
    digest = hashlib.sha256(json.dumps(table).encode())
    for tensor in tensors.values():
        plain = tensor.detach().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()
