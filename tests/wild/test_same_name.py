"""Two things of one name are the same only where their content is, whatever their `==` says."""

from __future__ import annotations

import dataclasses
import functools

import pandas as pd
import pytest
import torch
from support.bench import bench
from torchmetrics.classification import MulticlassAccuracy

import pytest_multiplicity as pm
from pytest_multiplicity.design.distinct import Distinct, same
from pytest_multiplicity.errors import InterventionError, MeasurementError
from pytest_multiplicity.evaluation.same_value import Content

__all__ = ["bench"]


@dataclasses.dataclass
class Lax:
    """A measure that is equal to all of its kind."""

    power: float = dataclasses.field(compare=False)
    __name__ = "lax"

    def __call__(self, logits, targets):
        return float(logits.abs().mean() ** self.power)


class Yes:
    """Equal to everything."""

    def __init__(self, by):
        self.by = by

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __call__(self, images):
        return (images * self.by).clamp(0, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (MulticlassAccuracy(2, average="micro"), MulticlassAccuracy(2, average="micro", top_k=2)),
        (Lax(1.0), Lax(2.0)),
        (functools.partial(Lax(1.0)), functools.partial(Lax(2.0))),
        (torch.zeros(3), torch.ones(3)),
        (pd.Series([1, 2]), pd.Series([1, 3])),
        (Yes(1), Yes(2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equality_is_not_asked(first, second):
    known = Content([first])
    assert known.is_that_of([first])
    assert not known.is_that_of([second])


def test_numbers_and_functions_are_themselves():
    lax = Lax(1.0)
    for values, others in (
        ([15, "a", None, True], [15.0, "a", None, True]),
        ([{"angle": 15}], [{"angle": 15.0}]),
        ([lax.__call__], [lax.__call__]),
        ([Lax(1.0)], [Lax(1.0)]),
    ):
        assert Content(values).is_that_of(others)
    assert not Content([15]).is_that_of([16])


def test_what_was_changed_in_place_is_another():
    values = torch.zeros(3)
    known = Content([values])
    values += 1
    assert not known.is_that_of([values])


def test_measures_of_one_name(bench):
    candidate = bench.family().candidates[0]
    first = MulticlassAccuracy(2, average="micro")
    assert candidate.measure(first, bench.test) == candidate.accuracy(bench.test)
    again = candidate.measure(MulticlassAccuracy(2, average="micro"), bench.test)
    assert again == candidate.accuracy(bench.test)
    with pytest.raises(MeasurementError, match="two different measures are named"):
        candidate.measure(MulticlassAccuracy(2, average="macro", top_k=2), bench.test)
    named = candidate.measure(
        MulticlassAccuracy(2, average="micro", top_k=2), bench.test, name="top 2"
    )
    assert named == 1.0


def test_interventions_of_one_name(bench):
    candidate = bench.family().candidates[0]
    candidate.accuracy(bench.test, under=pm.Corrupt(Yes(1)))
    with pytest.raises(InterventionError, match="two interventions are named"):
        candidate.accuracy(bench.test, under=pm.Corrupt(Yes(0)))


def halved(images):
    return images / 2


def test_a_parameter_with_the_name_of_its_default(bench):
    @pm.intervention
    def through(images, by=halved):
        return by(images)

    def other(images):
        return images * 0

    other.__name__ = "halved"
    images = bench.test.inputs
    rows = bench.test.rows
    assert torch.equal(through().apply(images, rows, bench.test), images / 2)
    assert torch.equal(through(by=other).apply(images, rows, bench.test), images * 0)
    assert repr(through(by=halved)) == repr(through())


def test_options_that_are_equal_to_everything():
    class Expression:
        def __eq__(self, other):
            return ("==", self, other)

        __hash__ = None

    assert not same(Expression(), Expression())
    assert len(Distinct([Expression(), Expression()]).options) == 2
