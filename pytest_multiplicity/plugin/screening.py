"""`--multiplicity-screen`: what is decided is not judged again, and the cheap is judged first.

Once a spec has rejected a candidate, no other spec judges it, and nothing more is measured for it.
The survivors are the same as without: a spec that compares a candidate with its family (`within`,
`in_top`) still sees the whole family, which is measured for it then.

What a spec costs is known once it has judged a candidate. So each enforced spec first judges one,
its pilot, for which alone it is measured; then the specs follow one another over all other
candidates, each time the one that adds least to what is computed already. Unforeseen ones are last.
A worker of pytest-xdist can't change its order: there specs stand as they are written, and what
workers know of each other's rejections goes through the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest

from pytest_multiplicity.findings import PairRecord
from pytest_multiplicity.plugin import compat
from pytest_multiplicity.plugin.collection import PAIR, Pair
from pytest_multiplicity.plugin.families import Family
from pytest_multiplicity.plugin.state import STATE, State

DECIDED = pytest.StashKey[bool]()  # on an item: its candidate was rejected before its turn
KIND = "verdicts"
FEWEST = 2  # enforced specs that can be put in an order

Costs = Mapping[str, int]
"""What logits of a candidate are called -> passes of samples through its model, about."""


class Screening:
    """Whom a run needn't measure any more, and in which order specs judge."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pilots: dict[pytest.Item, Pair] = {}  # those still to come
        self._piloting: Pair | None = None
        self._costs: dict[str, Costs] = {}  # spec's node id -> what it asked of its pilot

    # --- the order of specs

    def arrange(self, items: list[pytest.Item]) -> None:
        """Put spec behind spec, as they are written, after a pilot of each."""
        if not self._state.worker:
            self._pilots = _pilots(items)
        order = {item: position for position, item in enumerate(self._pilots)}
        places = self._places()
        _sort(items, lambda item, pair: (order.get(item, len(order)), places[pair.spec.nodeid]))

    def rearrange(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """After the last pilot put the cheaper specs first.

        pytest has chosen the item that follows by now, and taken down the fixtures that this one
        doesn't need; the one that follows instead may need fewer of those that are left.
        """
        if self._pilots.pop(item, None) is None or self._pilots or following is None:
            return
        session = item.session
        position = session.items.index(item) + 1
        rest, places = session.items[position:], self._places()
        _sort(rest, lambda item, pair: places[pair.spec.nodeid])
        session.items[position:] = rest
        if rest[0] is not following:
            compat.tear_down_for(rest[0])

    def _places(self) -> dict[str, tuple[int, int, int]]:
        """Spec's node id -> its place: family by family, unforeseen last, the cheaper first."""
        places = {}
        for number, family in enumerate(self._state.families):
            enforced = [name for name, spec in family.specs.items() if not spec.unforeseen]
            ordered = cheapest_first({n: self._costs.get(n, {}) for n in enforced}, _paid(family))
            unforeseen = [name for name, spec in family.specs.items() if spec.unforeseen]
            for place, name in enumerate([*ordered, *unforeseen]):
                places[name] = (number, int(name in unforeseen), place)
        return places

    # --- who is out

    def begin(self, item: pytest.Item, pair: Pair) -> None:
        """Before a pair's fixtures. Raises pytest.skip.Exception where the candidate is out."""
        others = self._rejected_by(pair.family, pair.candidate) - {pair.spec.nodeid}
        rejected_by = [pair.family.specs[spec].name for spec in others]
        self._piloting = pair if item in self._pilots else None
        if self._piloting is None and rejected_by:
            item.stash[DECIDED] = True
            raise compat.skip_at_item(f"rejected by {', '.join(rejected_by)}, so screened")
        if pair.family.population is not None:
            pair.family.population.effort.asked.clear()

    def end(self, pair: Pair, record: PairRecord) -> None:
        """After a pair's verdict: learn what it cost, tell other processes of a rejection."""
        population = pair.family.population
        if self._piloting is pair and population is not None:
            self._costs[pair.spec.nodeid] = dict(population.effort.asked)
        self._piloting = None
        if self._state.worker and record.verdict == "rejected":
            key = self._key(pair.family, pair.candidate)
            self._state.resources.store.put(KIND, key, {}, {"by": pair.spec.nodeid})

    def screened(self, family: Family) -> Collection[int]:
        """Whom nothing is measured for now: all but a pilot, else those who were rejected."""
        everyone = range(len(family.design.ids))
        if self._piloting is not None and self._piloting.family is family:
            return [i for i in everyone if i != self._piloting.candidate]
        if not self._state.worker:
            return self._state.ledger.rejected(family.key)
        return [i for i in everyone if self._rejected_by(family, i)]

    def _rejected_by(self, family: Family, candidate: int) -> set[str]:
        """Node ids of specs that have rejected a candidate, as far as this process knows."""
        here = set(self._state.ledger.rejected(family.key).get(candidate, ()))
        if here or not self._state.worker:
            return here
        entry = self._state.resources.store.get(KIND, self._key(family, candidate))
        return set() if entry is None else {entry.meta["by"]}

    def _key(self, family: Family, candidate: int) -> str:
        from pytest_multiplicity.store import fingerprint

        return fingerprint(["verdict", self._state.process.run_id, family.key, candidate])


SCREENING = pytest.StashKey[Screening]()


def of(state: State) -> Screening:
    """Return the screening of a run, where that is asked for."""
    return state.config.stash.setdefault(SCREENING, Screening(state))


def cheapest_first(costs: Mapping[str, Costs], paid: Iterable[str]) -> list[str]:
    """Specs in an order in which each adds least to what is paid, of those not before it."""
    ordered: list[str] = []
    computed, left = set(paid), dict(costs)
    while left:
        name = min(left, key=lambda each: _added(left[each], computed))
        computed.update(left.pop(name))
        ordered.append(name)
    return ordered


def _added(costs: Costs, paid: Collection[str]) -> int:
    return sum(passes for logits, passes in costs.items() if logits not in paid)


def order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Arrange the pairs of a run that screens."""
    state = config.stash[STATE]
    if state.options.screen and not state.options.plan:
        of(state).arrange(items)


def setup(item: pytest.Item) -> None:
    """Skip a pair whose candidate is out."""
    pair, state = item.stash.get(PAIR, None), item.config.stash[STATE]
    if pair is not None and state.options.screen and not state.options.plan:
        of(state).begin(item, pair)


def teardown(item: pytest.Item, following: pytest.Item | None) -> None:
    """Order what is left, once its cost is known."""
    state = item.config.stash[STATE]
    if state.options.screen and PAIR in item.stash:
        of(state).rearrange(item, following)


def _pilots(items: Sequence[pytest.Item]) -> dict[pytest.Item, Pair]:
    """Return the first pair of each enforced spec, where a family has several of these."""
    first: dict[str, pytest.Item] = {}
    for item in items:
        pair = item.stash.get(PAIR, None)
        if pair is not None and not pair.spec.unforeseen:
            first.setdefault(pair.spec.nodeid, item)
    pilots = {item: item.stash[PAIR] for item in first.values()}
    families = [pair.family.key for pair in pilots.values()]
    return {
        item: pair for item, pair in pilots.items() if families.count(pair.family.key) >= FEWEST
    }


def _sort(items: list[pytest.Item], key: Any) -> None:
    """Order the pairs among items; all others stay where they are."""
    places = [place for place, item in enumerate(items) if PAIR in item.stash]
    ordered = sorted((items[place] for place in places), key=lambda i: key(i, i.stash[PAIR]))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


def _paid(family: Family) -> Collection[str]:
    return () if family.population is None else family.population.effort.everybody
