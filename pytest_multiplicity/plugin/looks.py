"""The ledger of looks on pytest's side: what is asked of which data, and since when.

A look is a run that judged on a data set with a question that was not asked before: another
specification or gate, or the same of other candidates. It is checked when a data set is first
asked about, and entered at the end, by the process that reports.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.design import Recorded
from pytest_multiplicity.errors import DataError, StoreError
from pytest_multiplicity.findings import LookReport
from pytest_multiplicity.plugin import compat, ladder, thresholds
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.options import Check
from pytest_multiplicity.plugin.state import State
from pytest_multiplicity.report import lock_file
from pytest_multiplicity.statistics import holdout
from pytest_multiplicity.store import Looked, entered, find, fingerprint, merged, sketch_of

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data
    from pytest_multiplicity.evaluation import Leakage

KIND = "looks"
LOOKS = pytest.StashKey["Looks"]()


def of(state: State) -> Looks:
    """Return what the run knows of looks."""
    return state.config.stash.setdefault(LOOKS, Looks(state))


class Looks:
    """What was known of looks before this run, and what this one adds."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._codes: dict[str, dict[str, str]] = {}  # family's key -> each test's code
        self._questions: dict[str, frozenset[str]] = {}  # by family
        self._here: dict[str, dict[str, Looked]] = {}  # family's key -> data sets asked about here
        self._entered = False
        self.ledger: list[Looked] = []  # after this run

    def watched(self, family: Family, leakage: Leakage) -> Leakage:
        """Return what hears of every use of a data set by a family."""
        from pytest_multiplicity.evaluation import Watched

        return Watched(leakage, lambda data: self._use(family, data.root))

    def _use(self, family: Family, data: Data) -> None:
        """Note a use. Raises DataError where this would be a look too many."""
        here = self._here.setdefault(family.key, {})
        if data.name not in here:
            new = Looked(_sketch(data), data.name, len(data))
            if limit := self._state.options.looks:
                self._check(family, new, limit)
            here[data.name] = new

    def _check(self, family: Family, new: Looked, limit: int) -> None:
        known = find(self.before, new.sketch)
        if known is None or known.looks < limit or not known.adds(self.questions(family)):
            return
        also = "" if known.name == new.name else f" (as {known.name!r})"
        raise DataError(
            f"{new.name!r} has been looked at {known.looks} times{also}, and specifications or "
            f"candidates are new since (multiplicity_looks = {limit}): take fresh samples, or ask "
            "what was asked before; sets that share half of their samples count as one"
        )

    @cached_property
    def before(self) -> list[Looked]:
        """What the store and the lock know, of each data set the larger counts."""
        path = self._state.options.lock
        try:
            locked = [] if path is None else lock_file.looks(path.read_text("utf-8"))
        except (OSError, ValueError):
            locked = []  # there is none yet, or it is about to be written anew
        return merged(self._stored(), locked)

    def _stored(self) -> list[Looked]:
        meta = self._state.resources.store.meta(KIND, fingerprint([KIND]))
        return [Looked.from_json(each) for each in (meta or {}).get("ledger", [])]

    # --- what is asked

    def note_codes(self) -> None:
        """Know what each test asks before any has run: they may change what their modules hold."""
        for family in self._state.families:
            if family.key not in self._codes and not isinstance(family.definition, Recorded):
                self._codes[family.key] = {
                    name: _code(function) for name, function in family.tests.items()
                }

    def questions(self, family: Family) -> frozenset[str]:
        """Return every question of a family: each test's code, with the candidates it is about."""
        if family.key not in self._questions:
            self.note_codes()
            candidates = self._candidates(family)
            self._questions[family.key] = frozenset(
                _digest(name, code, candidates)
                for name, code in self._codes.get(family.key, {}).items()
            )
        return self._questions[family.key]

    def _candidates(self, family: Family) -> str:
        """Return what the candidates of a family are known by, also where workers judge them."""
        if family.population is not None:
            return family.population.facts().candidates
        told = self._state.ledger.facts.get(family.key)
        return "" if told is None else told.candidates

    def _used(self, family: Family) -> dict[str, Looked]:
        """Return the data sets that a family was asked about, also in workers."""
        found, leakage = dict(self._here.get(family.key, {})), self._state.resources.leakage
        records = self._state.ledger.metrics.get(family.key, {}).values()
        for record in sorted(records, key=lambda each: not each.whole):
            name = record.data
            if name is None or name in found or name.partition(" where ")[0] in found:
                continue
            digests = leakage.known(str(record.data_key))
            if digests is not None:
                found[name] = Looked(sketch_of(digests), name, len(digests))
        return found

    def _reporting(self, family: Family, name: str) -> bool:
        """Return whether a gate looks at a data set, or a spec that rejects nobody."""
        records = self._state.ledger.metrics.get(family.key, {})
        unforeseen = {
            records[metric].data
            for nodeid, spec in family.specs.items()
            if spec.unforeseen
            for pair in self._state.ledger.judged(family.key, nodeid).values()
            for metric in pair.metrics
            if metric in records
        }
        return name in unforeseen or name in self._state.resources.leakage.gated

    def _answers(self, family: Family, name: str) -> int:
        """Return how many gates answered, where they look at a data set."""
        if name not in self._state.resources.leakage.gated:
            return 0
        gates = self._state.ledger.gates
        return sum(
            nodeid in gates and gates[nodeid].outcome != "not evaluated"
            for nodeid, key in self._state.gate_families.items()
            if key == family.key
        )

    # --- the end

    def enter(self) -> None:
        """Add this run's looks to the ledger, once."""
        used = {family.key: self._used(family) for family in self._state.families}
        if self._entered or not any(used.values()):
            return
        self._entered, store = True, self._state.resources.store
        with store.lock(KIND):
            self.ledger = merged(self._stored(), self.before)
            for family in self._state.families:
                for name, new in sorted(used[family.key].items()):  # the same with workers
                    known = find(self.ledger, new.sketch) or new
                    after = known.after(self.questions(family), self._answers(family, name))
                    self.ledger = entered(self.ledger, after)
                    look = self._look(family, new, known, after)
                    self._state.looks.setdefault(family.key, []).append(look)
            meta = {"ledger": [each.to_json() for each in self.ledger]}
            store.put(KIND, fingerprint([KIND]), {}, meta)
        if self._state.options.ladder is Check.ON:
            for family in self._state.families:
                ladder.climb(self._state, family)
        thresholds.remember_all(self._state)  # last: what was found is then assembled

    def _look(self, family: Family, data: Looked, before: Looked, after: Looked) -> LookReport:
        records = self._state.ledger.metrics.get(family.key, {}).values()
        now = self._answers(family, data.name)
        comparisons = sum(record.data == data.name for record in records) + now
        answers = before.answers if after is not before else max(0, before.answers - now)
        return LookReport(
            data=data.name,
            samples=data.samples,
            looks=after.looks,
            reporting=self._reporting(family, data.name),
            optimism=holdout.optimism(data.samples, len(family.design.ids), comparisons, answers),
        )

    def for_the_lock(self) -> list[Looked]:
        """Return the ledger after this run, of the questions those of this run alone."""
        families = [family for family in self._state.families if family.tests]
        asked = frozenset().union(*map(self.questions, families))
        return [replace(each, seen=each.seen & asked) for each in self.ledger]


def _sketch(data: Data) -> tuple[int, ...]:
    if data.source.readable:
        return sketch_of(data.source.digests)
    return (int(data.fingerprint[:15], 16),)  # too big to be read: known by its fingerprint alone


def _code(function: Any) -> str:
    """Return what a test is known by: the project's code that it reaches, else its text.

    Of a search both, as its author wrote them: the code is that of the test, the text has what is
    drawn. What hypothesis makes of it holds more, which differs from run to run.
    """
    known = []
    if compat.is_given(function):
        function = function.hypothesis.inner_test
        known.append(_text(function))
    try:
        return fingerprint([function, *known])
    except StoreError:
        return _text(function)


def _text(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(getattr(function, "__qualname__", function))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]
