"""Bad input: one error that names the value and the remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError

INPUTS = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
IMAGES = INPUTS.reshape(4, 1, 2, 1)
TARGETS = [0, 1, 0, 1]
FRAME = pd.DataFrame({"age": [20, 30, 40, 50], "race": ["Asian", "Black", "White", "Asian"]})


def data():
    return Data(INPUTS, TARGETS, FRAME, name="faces")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((INPUTS, [0.0, 1.0, 1.0, 1.0]), "are floats, and all 0 or 1: say task="),
        ((INPUTS, torch.ones(4, 1).long()), r"shape \(4, 1\).*squeeze\(1\) of a column"),
        ((INPUTS, [0, 1, 0]), "4 inputs but 3 targets"),
        ((INPUTS, [0, -1, 0, 1]), "target -1 of sample 1 of 'data' is out of range"),
        ((INPUTS, TARGETS, FRAME[:3]), "4 inputs but 3 rows of attributes"),
        ((INPUTS, TARGETS, pd.DataFrame([[1, 2]] * 4)), r"names that are text.*got \[0, 1\]"),
        ((IMAGES * 255, TARGETS), r"range from .* outside their bounds \(0, 1\): scale images"),
        ((IMAGES - 1, TARGETS), "range from -"),
        ((INPUTS.masked_fill(INPUTS > 0.8, np.nan), TARGETS), "nan or infinity, in . of 4 sa"),
        ((INPUTS / 0, TARGETS), "nan or infinity, in 4 of 4"),
        ((INPUTS + 1j, TARGETS), "inputs of 'data' are torch.complex64: give real numbers"),
        ((INPUTS[0, 0], TARGETS), r"shape \(\)"),
        ((INPUTS[:0], []), "at least one sample"),
    ],
)
def test_unfitting_values(arguments, message):
    with pytest.raises(DataError, match=message):
        Data(*arguments)


@pytest.mark.parametrize("bounds", [(1, 0), (0, 0), (0, float("nan")), (0, 1, 2), 1, ("a", "b")])
def test_unfitting_bounds(bounds):
    with pytest.raises(DataError, match="give a pair of numbers"):
        Data(INPUTS, TARGETS, bounds=bounds)


def test_stated_bounds_and_none_are_honoured():
    assert Data(INPUTS * 255, TARGETS, bounds=(0, 255)).bounds == (0.0, 255.0)
    assert Data(INPUTS * 255, TARGETS, bounds=None).bounds is None


@pytest.mark.parametrize("name", ["", None, 3])
def test_unfitting_name(name):
    with pytest.raises(DataError, match="name of a data set is text"):
        Data(INPUTS, TARGETS, name=name)


def test_a_query_on_a_missing_attribute_names_those_there_are():
    with pytest.raises(
        DataError, match=r"'gender' is not defined.* on 'faces': there are "
    ) as error:
        data().where("gender == 'F'")

    assert "age (20 to 50), race ('Asian', 'Black', 'White')" in str(error.value)


def test_a_query_on_a_misspelled_attribute_guesses_the_right_one():
    with pytest.raises(DataError, match=r"'raec' is not defined.*\(did you mean 'race'\?\)"):
        data().where("raec == 'Asian'")


def test_a_query_without_attributes_says_how_to_give_them():
    with pytest.raises(DataError, match=r"no attributes to query.*Data\(inputs, targets, attr"):
        Data(INPUTS, TARGETS).where("age < 30")


def test_an_empty_group():
    with pytest.raises(DataError, match="no sample of 'faces' matches 'age > 90': there are age"):
        data().where("age > 90")


@pytest.mark.parametrize("query", ["age <", "age.nope()", "race < 3", ""])
def test_a_query_that_pandas_cannot_evaluate(query):
    with pytest.raises(DataError, match="no query that pandas can evaluate on 'faces'"):
        data().where(query)


@pytest.mark.parametrize("query", ["age", "age + 1", "1 == 1"])
def test_a_query_that_is_no_condition(query):
    with pytest.raises(DataError, match="is no condition"):
        data().where(query)


def test_a_query_does_not_see_the_callers_variables():
    limit = 30  # noqa: F841

    with pytest.raises(DataError, match="put values of variables into the query's text"):
        data().where("age < @limit")


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.5, 0.01])
def test_a_split_with_an_empty_part(fraction):
    with pytest.raises(DataError, match=f"a fraction of {fraction} of the 4 samples"):
        data().split(fraction)


def test_labels_that_a_model_cannot_give():
    check, targets = data().task.check_answers, data().targets
    check(torch.zeros(4, 2), targets, "data")

    with pytest.raises(DataError, match=r"go up to 1 \(2 samples .* the model gives 1 logits"):
        check(torch.zeros(4, 1), targets, "data")
