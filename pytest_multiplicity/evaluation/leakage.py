"""Samples that two roles share: trained on and judged by, or selected by and reported on.

They are found by the content of the inputs, so a copy under another name is found too. And targets
that are all one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from weakref import WeakKeyDictionary

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
    """Knows which data sets were used for what, and tells of shared samples once per pair.

    What a family was trained on says nothing of the scores of another.
    """

    def __init__(self, store: Store, tell: Callable[[str], None]) -> None:
        self._store, self._tell = store, tell
        # role and whose it is -> data set name -> fingerprint
        self._used: dict[tuple[str, object], dict[str, str]] = {}
        self._told: set[str] = set()
        self._known: dict[str, Digests] = {}

    def use(self, role: str, data: Data, whose: object = None) -> None:
        """Note that a role uses a data set. One that is too big to be read is not looked into."""
        names = self._used.setdefault((role, whose), {})
        if data.name in names or not data.source.readable:
            return
        names[data.name] = data.fingerprint
        self._digests(data)
        self._compare(role, data, whose)

    @property
    def gated(self) -> Collection[str]:
        """Names of the data sets that gates looked at in this process."""
        return {name for (role, _), names in self._used.items() if role == GATE for name in names}

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
        self._used.setdefault((ENFORCED, None), {}).update(used)

    def _compare(self, role: str, data: Data, whose: object) -> None:
        mine = self.known(data.fingerprint)
        for other, name, its in self._opposed(role, whose):
            if mine is None or its is None:
                continue
            if count := int(np.isin(mine, its).sum()):
                self._tell_once(_sentence(role, data.name, other, name, count, len(mine)))

    def _opposed(self, role: str, whose: object) -> Iterator[tuple[str, str, Digests | None]]:
        """Yield roles and data sets, with their samples, that shouldn't share any with a role."""
        for other in _OPPOSED[role]:
            for (its_role, owner), names in self._used.items():
                if its_role == other and (other != TRAINING or owner is whose):
                    yield from ((other, name, self.known(data)) for name, data in names.items())

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._tell(message)

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

    def use(self, role: str, data: Data, whose: object = None) -> None:
        """Note that a role uses a data set."""
        if role != TRAINING:
            self._looked(data)
        self._leakage.use(role, data, self)

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


_ABOUT: WeakKeyDictionary[Data, str | None] = WeakKeyDictionary()
"""What is odd about data sets, which every pair asks."""


def about_data(measured: Iterable[Data]) -> Iterator[str]:
    """Yield what is odd about the targets of whole data sets."""
    for data in measured:
        if data.root is data and data not in _ABOUT:
            _ABOUT[data] = about_targets(data.task, data.targets, data.name)
        if (told := _ABOUT.get(data)) is not None:
            yield told
