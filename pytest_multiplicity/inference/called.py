"""The models of a family that keeps: its function is called for those that aren't kept yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_multiplicity.errors import (
    Attempt,
    CandidateSkipped,
    DefinitionError,
    guarded,
)
from pytest_multiplicity.inference.counts import Counts, Foreseen
from pytest_multiplicity.inference.made import Made
from pytest_multiplicity.keeping import Call, Entries, Kept, Skipped, train
from pytest_multiplicity.store import fingerprint
from pytest_multiplicity.training import Diverged, Plan


class Called:
    """Has the function called for the selected candidates, together; see `Weights`.

    `selected` are the positions of those that specs of this run judge. `again`: the function is
    called twice for the first of them.
    """

    def __init__(self, made: Made, counts: Counts, selected: Sequence[int]) -> None:
        self._made, self._counts, self._selected = made, counts, list(selected)
        self._machine, self.again = made.machine, False
        self._entries = Entries(made.machine.store)
        self._kept: dict[int, Kept] = {}
        self._training = Attempt(f"training {made.name}")
        self._ready = False
        self.skipped: dict[int, str] = {}
        self.diverged: dict[int, Diverged] = {}
        self.history: dict[int, list[dict[str, float]]] = {}
        self.others: dict[int, str] = {}
        self.trained_now: set[int] = set()  # in this run, also by a process that died since
        self._own: set[int] = set()  # by this process

    @property
    def ways(self) -> dict[str, int]:
        """How candidates were trained is their author's business."""
        return {}

    def device(self, index: int) -> str | None:
        """Return None: a function may have trained wherever it liked."""
        return None

    @property
    def absent(self) -> set[int]:
        """Positions of the candidates that have no model in this run."""
        return set(range(len(self._made.all))) - set(self._selected) | set(self.skipped)

    @property
    def doubts(self) -> list[str]:
        """What is said of entries that were not read, and of a run of some candidates only."""
        told = []
        if refused := len(self._entries.refused):
            told.append(
                f"{self._made.name}: {refused} kept model{'s' * (refused > 1)} in the store had "
                "no signature of this user's key, and so weren't read but trained again; see "
                "SECURITY.md"
            )
        if len(self._selected) < len(self._made.all):
            told.append(
                f"{self._made.name}: {len(self._selected)} of {len(self._made.all)} candidates "
                "were selected, and only these trained, measured and compared with each other"
            )
        return told

    def refuse(self, index: int) -> None:
        """Raise CandidateSkipped where the function skipped the candidate at `index`."""
        if index in self.skipped:
            raise CandidateSkipped(self.skipped[index])

    def load(self, index: int) -> Any:
        """Return a candidate's model, made anew from what is kept."""
        self.ready()
        self.refuse(index)
        model = self._entries.load(self._kept[index])
        if model is None:  # gone or damaged since: trained again
            self._ready = False
            return self.load(index)
        return model

    def twin(self, index: int) -> Any:
        """Return what a second call gave for a candidate; None where there was none."""
        if not self.again or index != self._selected[0]:
            return None
        kept = self._entries.look(self._twin.key)
        return self._entries.load(kept) if isinstance(kept, Kept) else None

    def size(self, index: int) -> int:
        """Return the bytes of a kept model, about."""
        return self._kept[index].size

    def ready(self) -> None:
        """Train all selected candidates that aren't kept; a failure is remembered."""
        if not self._ready:
            with self._training, self._machine.as_new():
                self._train()
            self._ready = True

    @property
    def there(self) -> list[int]:
        """Positions of the candidates that have a model by now."""
        return [i for i in range(len(self._made.all)) if i not in self.absent]

    @property
    def going(self) -> bool:
        """Whether training has begun, and not come to its end."""
        return False

    @property
    def whole(self) -> bool:
        """Whether all training is done."""
        return self._ready

    def need(self, index: int) -> None:
        """Train all, whoever is needed first."""
        self.ready()

    def go_on(self) -> None:
        """Do nothing: all is trained at once."""

    def stop(self) -> None:
        """Do nothing: nothing is trained meanwhile."""

    def plan(self) -> list[Plan]:
        """Return nothing: how a function trains can't be told before; see `foreseen`."""
        return []

    def foreseen(self) -> Foreseen:
        """Say what is to be trained, by the time that others took; trains nothing."""
        missing = [i for i in range(len(self._made.all)) if not self._recall(i)]
        took = [kept.seconds for kept in self._kept.values()]
        if missing and not took:
            return Foreseen(len(missing), None)
        rounds = math.ceil(len(missing) / self._machine.cores)
        return Foreseen(len(missing), rounds * sum(took) / max(1, len(took)))

    def _train(self) -> None:
        if self._lacking():
            with self._machine.alone():
                self._call(self._lacking())  # fewer, where another process was faster
        self._counts.stored = len(self._kept.keys() - self._own)
        self._check_kinds()

    def _lacking(self) -> list[Call]:
        """Return the calls that are to be made."""
        calls = [self._call_of(i) for i in self._selected if not self._recall(i)]
        if self.again and self._entries.look(self._twin.key) is None:
            calls.append(self._twin)
        return calls

    def _call(self, calls: Sequence[Call]) -> None:
        made, kind = self._made, str(self._machine.kind)
        assert made.given is not None
        positions = {made.keys[i]: i for i in self._selected}
        with guarded("training"):
            for call, result in train(calls, made.given, self._machine, made.name):
                if isinstance(result, Skipped):
                    self._entries.put_skipped(call.key, result, made.run_id)
                else:
                    self._entries.put(call.key, result, machine=kind, run=made.here)
                    self._machine.store.drop_folder(call.key)
                if call.key not in positions:
                    continue
                if not isinstance(result, Skipped):
                    self._counts.trained += 1
                    self._own.add(positions[call.key])
                    self.trained_now.add(positions[call.key])
                self._recall(positions[call.key])

    def _call_of(self, index: int) -> Call:
        made, key = self._made, self._made.keys[index]
        folder = self._machine.store.folder(key)
        return Call(made.design.ids[index], key, made.design.configs[index], folder)

    @property
    def _twin(self) -> Call:
        """The first selected candidate's call, to be made once more."""
        first = self._call_of(self._selected[0])
        key = fingerprint(["again", first.key])
        folder = self._machine.store.folder(key)
        return replace(first, id=f"{first.id} again", key=key, folder=folder)

    def _recall(self, index: int) -> bool:
        found = self._entries.look(self._made.keys[index])
        if isinstance(found, Skipped):
            self.skipped[index] = found.reason
            return True
        if found is None:
            return False
        if found.run != self._made.here:  # a run that ended before it had tidied up
            self._machine.store.drop_folder(self._made.keys[index])
        self._kept[index] = found
        longest = max(map(len, found.logged.values()), default=0)
        self.history[index] = [
            {"epoch": at + 1, **{n: v[at] for n, v in found.logged.items() if at < len(v)}}
            for at in range(longest)
        ]
        if found.machine != str(self._machine.kind):
            self.others[index] = found.machine
        if found.run == self._made.here:
            self.trained_now.add(index)
        return True

    def _check_kinds(self) -> None:
        kinds: dict[str, int] = {}
        for index, kept in sorted(self._kept.items()):
            kinds.setdefault(kept.kind, index)
        if len(kinds) > 1:
            ids = self._made.design.ids
            told = ", ".join(f"{_a(kind)} for {ids[index]}" for kind, index in kinds.items())
            raise DefinitionError(
                f"family {self._made.name!r} returned {told}: return models of one kind"
            )


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
