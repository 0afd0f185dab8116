"""The funnel, from records of verdicts to the rows of the model."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.design import make_design
from pytest_multiplicity.findings import FamilyFindings, Ledger, PairRecord, Seen, Spec
from pytest_multiplicity.findings.verdicts import specs


def family_of(rejected, enforced=None, judged=None, undecided=None):
    """A family in which each spec (a row) says this of each candidate (a column)."""
    count = len(rejected[0])
    seen = [
        Spec(f"test_{letter}", f"test_{letter}", not kind, "")
        for letter, kind in zip("abcdef", enforced or [True] * len(rejected), strict=False)
    ]
    ledger = Ledger()
    for row, spec in enumerate(seen[: len(rejected)]):
        for k in range(count):
            if judged is not None and not judged[row][k]:
                continue
            objected = bool(rejected[row][k])
            ledger.enter(
                PairRecord(
                    "family",
                    spec.nodeid,
                    k,
                    "rejected" if objected and not spec.unforeseen else "kept",
                    objected=objected,
                    undecided=bool(undecided is not None and undecided[row][k]),
                )
            )
    design = make_design({"a": 0}, {}, count)
    known = {spec.nodeid: spec for spec in seen[: len(rejected)]}
    pairs = len(known) * count
    return FamilyFindings(
        Seen(key="family", title="f", design=design, specs=known, pairs=pairs, partial=None),
        ledger,
        lambda kind, key: None,
    )


def redundant(family):
    return tuple(row.name for row in specs(family) if row.redundant)


def conflicting(family):
    pairs = ((row.name, other) for row in specs(family) for other in row.conflicts_with)
    return tuple(pair for pair in pairs if pair[0] < pair[1])


def matrices(count):
    return st.lists(st.lists(st.booleans(), min_size=count, max_size=count), min_size=3, max_size=3)


@given(matrices(5), matrices(5), matrices(5), st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_funnel_counts(rejected, judged, undecided, enforced):
    family = family_of(rejected, enforced, judged, undecided)
    who = {
        name: {k for k in range(5) if judged[s][k] and rejected[s][k]}
        for s, name in enumerate(family.specs)
    }
    counting = {n: w for (n, w), e in zip(who.items(), enforced, strict=True) if e}
    everyone = set(range(5))
    seen = {k for k in range(5) if any(row[k] for row in judged)}
    standing = everyone - set().union(*counting.values())
    assert set(family.ledger.standing("family", range(5))) == standing
    assert {k for k in range(5) if family.survivors[k]} == standing & seen
    for s, row in enumerate(specs(family)):
        others = set().union(*(w for n, w in counting.items() if n != row.name))
        rejects = row.rejected if enforced[s] else row.would_reject
        assert (row.judged, rejects) == (sum(judged[s]), len(who[row.name]))
        assert row.kept + row.rejected == row.judged
        assert row.undecided == sum(u and j for u, j in zip(undecided[s], judged[s], strict=True))
        assert row.only_here == (len(who[row.name] - others) if enforced[s] else 0)
    assert set(redundant(family)) == {
        n
        for n, w in counting.items()
        if w and w <= set().union(*(v for m, v in counting.items() if m != n))
    }
    assert set(conflicting(family)) == {
        (a, b)
        for a, b in itertools.combinations(counting, 2)
        if counting[a] | counting[b] == everyone and everyone not in (counting[a], counting[b])
    }


def test_a_redundant_spec_and_a_conflicting_pair():
    family = family_of([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert redundant(family) == ("test_b",)
    assert conflicting(family) == (("test_a", "test_c"),)
    assert not family.survivors.any()


def test_what_an_unforeseen_spec_would_reject_rejects_nobody():
    family = family_of([[1, 1, 0], [0, 0, 1]], enforced=[False, True])
    assert family.survivors.tolist() == [True, True, False]
    rows = specs(family)
    assert [(row.rejected or row.would_reject, row.only_here) for row in rows] == [(2, 0), (1, 1)]
    assert conflicting(family) == ()


def test_who_was_screened_leaves_open_whether_others_reject_them_too():
    family = family_of([[1, 0], [0, 0]])
    family.ledger.enter(PairRecord("family", "test_b", 0, "screened"))
    assert [row.only_here for row in specs(family)] == [1, 0]  # it had judged before
    screened = family_of([[1, 0], [0, 0]], judged=[[True, True], [False, True]])
    screened.ledger.enter(PairRecord("family", "test_b", 0, "screened"))
    assert [row.only_here for row in specs(screened)] == [None, 0]
    assert [row.screened for row in specs(screened)] == [0, 1]
