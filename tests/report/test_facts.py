from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from pytest_multiplicity.findings import (
    CandidateReport,
    FamilyReport,
    GapReport,
    RunReport,
    SheetPair,
    SheetReport,
    SpecReport,
    Table,
)
from pytest_multiplicity.report import facts


def family(*rejected: tuple[str, ...], **known: object) -> FamilyReport:
    candidates = [
        CandidateReport(
            id=f"lr{i // 2}-seed{i % 2}",
            seed=i % 2,
            config={"lr": i // 2},
            status="rejected" if names else "survivor",
            rejected_by=names,
            diverged="diverged at epoch 3: loss is nan" if facts.TRAINING in names else None,
        )
        for i, names in enumerate(rejected)
    ]
    empty = FamilyReport(name="f", design="star", default={"lr": 0}, axes={}, seeds=(0, 1))
    return replace(empty, candidates=candidates, **known)  # type: ignore[arg-type]


def test_the_funnel_counts_what_is_left(samples: ModuleType) -> None:
    steps = facts.funnel(samples.paper_run().families[0])
    assert [step.left for step in steps] == [36, 27, 24, 19]
    assert [step.kept + step.rejected for step in steps] == [45] * 4


def test_divergence_comes_first_in_the_funnel() -> None:
    (step,) = facts.funnel(family((facts.TRAINING,), (facts.TRAINING, "test_a"), ("test_a",), ()))
    assert (step.name, step.kept, step.rejected, step.only_here, step.left) == (
        "training", 2, 2, 1, 2,
    )  # fmt: skip


def test_candidates_that_were_not_judged_are_not_left() -> None:
    specs = [
        SpecReport(name=name, nodeid=name, kind="enforced", judged=2, kept=2, rejected=0)
        for name in ("test_a", "test_b")
    ]
    made = family(("test_a",), (), (), (), specs=specs)
    failed = replace(made.candidates[1], status="failed", failed_in=("test_b",))
    made = replace(made, candidates=[made.candidates[0], failed, *made.candidates[2:]])
    assert [step.left for step in facts.funnel(made)] == [3, 2]


def test_survivors_by_configuration() -> None:
    groups = facts.by_configuration(family((), (), ("a",), ()).survivors)
    assert {name: [each.seed for each in of] for name, of in groups.items()} == {
        "lr0": [0, 1],
        "lr1": [1],
    }


def test_sentences() -> None:
    two = family((), ("a",), axes={"lr": (0, 1)})
    assert facts.survival(two) == "1 of 2 candidates survives"
    assert facts.survival(family((), ())) == "2 of 2 candidates survive"
    assert facts.origin(two) == "2 candidates"
    assert facts.origin(replace(two, trained=1)) == "2 candidates: 1 trained, 0 from the store"
    unjudged = [replace(each, status="not judged") for each in two.candidates]
    stopped = replace(two, candidates=unjudged, trained=1)
    assert facts.origin(stopped) == "1 of 2 candidates trained and kept in the store"
    assert facts.shape(two) == "star design, 1 axis, 2 seeds"
    assert facts.partial(RunReport(complete=True, device="cpu", families=[])) == ""


def test_gates_are_tallied_the_failed_first(samples: ModuleType) -> None:
    assert facts.tally(samples.paper_run().gates) == "1 failed, 1 passed"
    assert facts.tally([]) == ""


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, ""),
        ({"noise_floor": 0.012, "floor_at_most": True}, "noise floor at most 1.20"),
        (
            {"noise_floor": 0.012, "p_value": 0.3, "real_share": 0.1},
            "noise floor 1.20, p = 0.3: within test-set noise, 10% real",
        ),
        (
            {"noise_floor": 0.012, "p_value": 0.05},
            "noise floor 1.20, p = 0.05: beyond test-set noise",
        ),
        ({"noise_floor": float("nan"), "p_value": 0.3}, ""),
    ],
)
def test_the_noise_floor_in_words(known: dict[str, float], words: str) -> None:
    assert facts.in_words(SheetReport(count=3, delta_all=0.02, **known)) == words  # type: ignore[arg-type]


def test_a_floor_that_is_no_share_is_not_in_percent() -> None:
    words = facts.in_words(SheetReport(count=3, delta_all=0.02, noise_floor=0.0123), percent=False)
    assert words == "noise floor 0.0123"


def test_an_optimistic_metric_is_marked_only_when_somebody_was_rejected(
    samples: ModuleType,
) -> None:
    pair = samples.paper_run().families[0].sheets[1]
    assert facts.marks(pair) == ("within test-set noise", "optimistic")
    assert facts.marks(replace(pair, after=pair.before)) == ("within test-set noise",)


def sheet(scores: list[list[float | None]]) -> SheetReport:
    table = Table(
        options=range(len(scores[0])),
        seeds=range(len(scores)),
        scores=scores,
        delta_by_seed=[0.1] * len(scores),
        delta_by_option=[None] * len(scores[0]),
    )
    return SheetReport(count=2, delta_all=0.1, tables={"a": table})


def test_scores_are_shaded_over_their_range_and_deltas_from_nought() -> None:
    scores, deltas = facts.scales(sheet([[0.5, None, 0.6]]))
    assert (scores.shade(0.5), scores.shade(0.6), scores.shade(None)) == (0.0, 1.0, None)
    assert scores.shade(float("nan")) is None
    assert (deltas.shade(0.0), deltas.shade(0.1)) == (0.0, 1.0)


def test_scales_of_nothing_and_of_one_value_are_white() -> None:
    assert facts.scales(SheetReport(count=0, delta_all=None)) == (
        facts.Scale(0, 0),
        facts.Scale(0, 0),
    )
    assert facts.scales(sheet([[0.5]]))[0].shade(0.5) == 0.0


def test_what_a_table_leaves_out() -> None:
    small = sheet([[0.5]]).tables["a"]
    assert facts.cut(small) == ""
    seeds = replace(small, seeds=range(facts.SEEDS_SHOWN + 1))
    assert facts.cut(seeds) == "1 more seed"
    both = replace(seeds, options=range(facts.OPTIONS_SHOWN + 2))
    assert facts.cut(both) == "1 more seed, 2 more options"


def test_a_definition_stands_once(samples: ModuleType) -> None:
    definitions = facts.definitions(samples.paper_run().families[0])
    assert [len(names) for names in definitions.values()] == [9, 1, 1]


@pytest.mark.parametrize(
    ("most", "told"),
    [(0.1, "a gap of 4.24, 95% 10.00: "), (0.0424, "a gap of 4.24, however it falls: ")],
)
def test_a_gap_that_chance_makes_in_one_size_is_said_once(most: float, told: str) -> None:
    of = GapReport(kind="gap", null="none", groups={}, floor=0.0424, floor_95=most, beyond=0)
    empty = SheetReport(count=0, delta_all=None)
    pair = SheetPair(metric="a gap", before=empty, after=empty, gap=of)
    assert told in facts.gap(pair)
