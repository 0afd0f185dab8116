"""Samples that two roles share: trained on and judged by, or selected by and reported on.

They are found by the content of the inputs, so a copy under another name is found too. And targets
that are all one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch

from pytest_multiplicity.data import Data
from pytest_multiplicity.store import RESULTS_VERSION, Store, fingerprint
from pytest_multiplicity.tasks import about_targets

Digests = npt.NDArray[np.uint64]

TRAINING, ENFORCED, UNFORESEEN, GATE = "training", "enforced", "unforeseen", "gate"
REPORTING = (UNFORESEEN, GATE)


class Leakage:
    """Knows which data sets were used for what, and tells of shared samples once per pair."""

    def __init__(self, store: Store, tell: Callable[[str], None]) -> None:
        self._store, self._tell = store, tell
        self._used: dict[str, dict[str, str]] = {}  # role -> data set name -> fingerprint
        self._known: dict[str, Digests] = {}

    def use(self, role: str, data: Data) -> None:
        """Note that a role uses a data set. One that is too big to be read is not looked into."""
        names = self._used.setdefault(role, {})
        if data.name in names or not data.source.readable:
            return
        names[data.name] = data.fingerprint
        self._digests(data)
        self._compare(role, data.name)

    @property
    def gated(self) -> Collection[str]:
        """Names of the data sets that gates looked at in this process."""
        return self._used.get(GATE, {}).keys()

    def known(self, data: str) -> Digests | None:
        """Return the digests of the samples of a data set, by its fingerprint, where they are."""
        if data not in self._known:
            entry = self._store.get("scores", _key(data))
            if entry is None:
                return None
            self._known[data] = entry.tensors["digests"].numpy().view(np.uint64)
        return self._known[data]

    def selected(self, used: Mapping[str, str]) -> None:
        """Enforced specs used these data sets (name -> fingerprint) in another process."""
        self._used.setdefault(ENFORCED, {}).update(used)

    def _compare(self, role: str, name: str) -> None:
        for other in _OPPOSED[role]:
            for other_name in self._used.get(other, {}):
                mine, its = self._of(role, name), self._of(other, other_name)
                if mine is None or its is None:
                    continue
                if count := int(np.isin(mine, its).sum()):
                    pair = (role, name, other, other_name)
                    self._tell(_sentence(*pair, count, len(mine)))

    def _of(self, role: str, name: str) -> Digests | None:
        return self.known(self._used[role][name])

    def _digests(self, data: Data) -> None:
        """Compute, and keep where other processes find them."""
        if data.fingerprint in self._known:
            return
        digests = self._known[data.fingerprint] = data.source.digests
        key = _key(data.fingerprint)
        if not self._store.has("scores", key):
            tensor = torch.from_numpy(digests.view(np.int64).copy())
            self._store.put("scores", key, {"digests": tensor}, {"data": data.name})


class Watched(Leakage):
    """The same, for one family, of which `looked` hears every use of a data set first."""

    def __init__(self, leakage: Leakage, looked: Callable[[Data], None]) -> None:
        self._leakage, self._looked = leakage, looked

    def use(self, role: str, data: Data) -> None:
        """Note that a role uses a data set."""
        if role != TRAINING:
            self._looked(data)
        self._leakage.use(role, data)

    def selected(self, used: Mapping[str, str]) -> None:
        """Enforced specs used these data sets (name -> fingerprint) in another process."""
        self._leakage.selected(used)


_OPPOSED = {
    TRAINING: (),
    ENFORCED: (TRAINING, *REPORTING),
    UNFORESEEN: (TRAINING, ENFORCED),
    GATE: (TRAINING, ENFORCED),
}


def _sentence(role: str, name: str, other: str, other_name: str, count: int, total: int) -> str:
    if other == TRAINING:
        return (
            f"{count:,} of the {total:,} samples of {name!r} were trained on ({other_name!r}): "
            "scores on them are too good"
        )
    selecting, reporting = (name, other_name) if role == ENFORCED else (other_name, name)
    return (
        f"{reporting!r} reports on samples that selected ({selecting!r}; {count:,} of the "
        f"{total:,} of {name!r}): what is measured there is optimistic"
    )


def _key(data: str) -> str:
    return fingerprint(["digests", RESULTS_VERSION, data])


def about_data(measured: Iterable[Data]) -> list[str]:
    """Return what is odd about the targets of whole data sets."""
    whole = (each for each in measured if each.root is each)
    told = [about_targets(each.task, each.targets, each.name) for each in whole]
    return [each for each in told if each is not None]
