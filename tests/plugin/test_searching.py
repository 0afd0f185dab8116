"""Names for all examples of a search alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_multiplicity as pm
from pytest_multiplicity.design import make_design
from pytest_multiplicity.evaluation import Metric
from pytest_multiplicity.plugin.searching import Names, Search


def named(*examples):
    """The names after examples of (what was drawn, names of the metrics measured with it)."""
    names, places = Names(), {}
    for drawn, measured in examples:
        seen = []
        for name in measured:
            places[names.add(name, drawn, seen)] = None
            seen.append(name)
    return [names.name(place) for place in places]


def test_what_follows_a_failure_is_said_of_that_candidate_alone():
    design = make_design({"lr": 1}, {}, 3)
    told = []
    search = Search(Names(), 1, lambda: told.append("alone"))
    for scores in ([0.9, 0.8, 0.7], [0.6, 0.2, 0.8]):
        search.start({"by": scores[0]})
        search.add(Metric("accuracy", np.array(scores), design))
    assert not told
    search.fail()
    search.start({"by": 0.1})
    search.add(Metric("accuracy", np.array([0.1, 0.1, 0.1]), design))
    assert told == ["alone"]
    (found,) = search.metrics.values()
    assert found.scores.tolist() == [0.6, 0.1, 0.7]


def rotated(angle, steps=3):
    return f"accuracy on test under Corrupt(rotate, angle={angle}) | PGD(0.01, steps={steps})"


def test_what_varies_reads_as_a_star():
    found = named(({"angle": 5.0}, [rotated(5)]), ({"angle": -2.5}, [rotated(-2.5)]))
    assert found == [f"worst {rotated('*')}"]


def test_what_was_drawn_reads_as_a_star_in_a_single_example():
    assert named(({"angle": 5.0}, [rotated(5)])) == [f"worst {rotated('*')}"]


def test_a_constant_that_was_drawn_by_chance_stays():
    examples = [({"angle": float(angle)}, [rotated(angle)]) for angle in (3, 1, 2)]
    assert named(*examples) == [f"worst {rotated('*')}"]


def test_what_was_computed_from_a_draw_reads_as_a_star():
    examples = [({"half": angle / 2}, [rotated(angle)]) for angle in (3, 1, 2)]
    assert named(*examples) == [f"worst {rotated('*')}"]


@given(st.permutations([0.5, 1.0, 2.0, 3.0, 40.0, -1e-7]))
def test_the_order_of_examples_does_not_matter(angles):
    examples = [({"angle": each}, [rotated(each, 40), rotated(2 * each, 41)]) for each in angles]
    assert named(*examples) == [f"worst {rotated('*', 40)}", f"worst {rotated('*', 41)}"]


def test_two_measurements_of_one_example_are_apart():
    examples = [
        ({"by": by}, [f"accuracy on test where age < {age} under Dark({by})" for age in (20, 40)])
        for by in (0.1, 0.2)
    ]
    assert named(*examples) == [
        "worst accuracy on test where age < 20 under Dark(*)",
        "worst accuracy on test where age < 40 under Dark(*)",
    ]


@pytest.mark.parametrize(
    ("drawn", "name", "starred"),
    [
        (pm.PGD(0.5), "PGD(0.5)", "*"),
        (pm.Group("a == 'b'") | pm.PGD(0.5), "Group(\"a == 'b'\") | PGD(0.5)", "*"),
        ("fog", "Corrupt(fog, severity=3)", "Corrupt(*, severity=3)"),
        ("fog", "Corrupt('fog', severity=3)", "Corrupt(*, severity=3)"),
        ("fog", "Corrupt(foggy, severity=3)", "Corrupt(foggy, severity=3)"),
        ("", "Corrupt(foggy, severity=3)", "Corrupt(foggy, severity=3)"),
        (3, "Corrupt(fog3, severity=13)", "Corrupt(fog3, severity=13)"),
        (True, "Corrupt(fog, hard=True)", "Corrupt(fog, hard=*)"),
    ],
)
def test_whatever_is_drawn(drawn, name, starred):
    assert named(({"x": drawn}, [f"accuracy on {{a}} under {name}"])) == [
        f"worst accuracy on {{a}} under {starred}"
    ]
