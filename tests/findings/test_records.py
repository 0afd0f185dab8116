"""Records: there and back as builtins, and one answer to who survives."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.design import make_design
from pytest_multiplicity.evaluation import Facts, Metric, MetricRecord, TrainingFacts
from pytest_multiplicity.findings import Ledger, News, PairRecord, status

TEXT = st.text(max_size=5)
COUNT = st.integers(0, 9)
SCORE = st.none() | st.floats(0, 1)
BUILTINS = {type(None), bool, int, float, str, list, tuple, dict}

FACTS = st.builds(
    Facts, st.none() | TEXT, COUNT, COUNT, COUNT, st.lists(TEXT, max_size=2).map(tuple)
)
TRAINING = st.builds(
    TrainingFacts,
    ways=st.dictionaries(TEXT, COUNT, max_size=2),
    diverged=st.dictionaries(COUNT, TEXT, max_size=2),
    history=st.dictionaries(
        COUNT, st.lists(st.dictionaries(TEXT, COUNT | st.floats(0, 1), max_size=2), max_size=2)
    ),
    weights=st.dictionaries(COUNT, TEXT, max_size=2),
)
METRICS = st.builds(
    MetricRecord,
    name=TEXT,
    scores=st.lists(SCORE, min_size=3, max_size=3).map(tuple),
    n=st.none() | COUNT,
    higher_is_better=st.booleans(),
    data=st.none() | TEXT,
    data_key=st.none() | TEXT,
    under=TEXT,
    key=st.none() | TEXT,
    searched=st.booleans(),
    proportion=st.booleans(),
    whole=st.booleans(),
    logits=st.dictionaries(COUNT, TEXT, max_size=2),
    portable=st.none() | TEXT,
)
NEWS = st.builds(News, st.lists(METRICS, max_size=2).map(tuple), FACTS, st.none() | TRAINING)
VERDICTS = st.sampled_from(["kept", "rejected", "failed", "screened"])
PAIRS = st.builds(
    PairRecord,
    family=st.just("family"),
    spec=st.sampled_from("abc"),
    candidate=st.integers(0, 3),
    verdict=VERDICTS,
    reason=st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    objected=st.booleans(),
    undecided=st.booleans(),
    training=st.booleans(),
    metrics=st.lists(TEXT, max_size=2).map(tuple),
    news=st.none() | NEWS,
)


@given(FACTS | TRAINING | METRICS | NEWS | PAIRS)
def test_every_record_comes_back_from_builtins(record):
    assert type(record).from_wire(record.to_wire()) == record


@given(PAIRS)
def test_what_crosses_a_process_is_of_exact_builtins(record):
    stack = [record.to_wire()]
    while stack:
        value = stack.pop()
        assert type(value) in BUILTINS
        if type(value) is dict:
            stack += [*value, *value.values()]
        elif type(value) in (list, tuple):
            stack += value


def test_text_that_utf_8_cannot_hold_does_not_stop_a_run():
    record = PairRecord("family", "spec", 0, "rejected", reason="a\ud800b")
    assert PairRecord.from_wire(record.to_wire()).reason == "a?b"


@given(METRICS)
def test_a_metric_is_the_same_wherever_it_was_measured(record):
    """But for what only the store holds, which these records know nothing of."""
    record = replace(record, portable=None)
    design = make_design({"a": 0}, {}, 3)
    known = {
        **vars(record),
        "scores": np.array([math.nan if s is None else s for s in record.scores]),
    }
    here = Metric(**known, design=design)
    assert here.record() == record
    for metric in (
        Metric.from_record(MetricRecord.from_wire(here.record().to_wire()), design, nothing),
        Metric.from_record(record, design, nothing, here),
    ):
        assert metric.record() == record
        assert [metric.score(i) for i in range(3)] == list(record.scores)


def nothing(kind, key):
    return None


# --- who survives


@given(st.lists(PAIRS, max_size=12), st.sets(st.integers(0, 3)))
def test_who_survives_by_a_slow_definition(records, diverged):
    """Whatever came in which order: the last verdict on a pair counts, a rerun's too."""
    ledger, last = Ledger(), {}
    for record in records:
        ledger.enter(record)
        if record.verdict != "screened" or (record.spec, record.candidate) not in last:
            last[record.spec, record.candidate] = record.verdict
    expected = []
    for candidate in range(4):
        said = [verdict for (_, k), verdict in last.items() if k == candidate]
        found = status(ledger.of("family", candidate).values(), diverged=candidate in diverged)
        if candidate in diverged or said.count("rejected"):
            assert found == "rejected"
        elif said.count("failed") + said.count("screened"):
            assert found == "failed"
        else:
            assert found == ("survivor" if said else "not judged")
            expected.append(candidate)
    alive = [k for k in range(4) if k not in diverged]
    assert ledger.standing("family", alive) == expected
    by = {k: {s for (s, c), v in last.items() if c == k and v == "rejected"} for k in range(4)}
    assert {k: set(specs) for k, specs in ledger.rejected("family").items()} == {
        k: specs for k, specs in by.items() if specs
    }


@given(
    st.lists(METRICS.map(lambda m: replace(m, searched=True, higher_is_better=True)), min_size=1)
)
def test_of_several_searches_the_worst_is_kept(records):
    ledger = Ledger()
    for record in records:
        news = News((replace(record, name="worst"),))
        ledger.enter(PairRecord("family", "a", 0, "kept", news=news))
    (metric,) = ledger.metrics["family"].values()
    for column, score in zip(
        zip(*(r.scores for r in records), strict=True), metric.scores, strict=True
    ):
        assert score == min((each for each in column if each is not None), default=None)


def test_what_one_process_trained_others_found_in_the_store():
    ledger = Ledger()
    for process, trained, stored in (("gw0", 3, 1), ("gw1", 1, 3)):
        facts = Facts("cpu", trained, stored, trained_now=trained, warnings=(process,))
        ledger.enter(PairRecord("family", "a", 0, "kept", news=News(facts=facts)), process)
    assert ledger.facts["family"] == Facts("cpu", 4, 0, 3, ("gw0", "gw1"))
