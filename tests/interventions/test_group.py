"""Groups, and the worst of several."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, InterventionError
from pytest_multiplicity.interventions import Group, SmallGroupWarning


def data(**columns):
    n = len(next(iter(columns.values()))) if columns else 6
    frame = pd.DataFrame(columns) if columns else None
    return Data(torch.rand(n, 2), torch.zeros(n).long(), frame, name="faces")


def test_rows_are_positions_in_the_data_given():
    ages = data(age=[10, 20, 30, 40])

    assert Group("age > 15").rows(ages).tolist() == [1, 2, 3]
    assert Group("age > 25").rows(ages.where("age > 15")).tolist() == [1, 2]
    assert Group("age > 25").restrict(ages.where("age > 15")).rows.tolist() == [2, 3]


def test_a_small_group_warns_where_a_size_was_asked_for():
    ages = data(age=[10, 20, 30, 40])
    group = Group("age < 15", min_size=2)

    for measure in (group.rows, group.restrict):
        with pytest.warns(
            SmallGroupWarning, match="has 1 of the 4 samples.*: one sample is 100 points"
        ):
            assert len(measure(ages)) == 1


def test_bad_queries():
    with pytest.raises(DataError, match=r"'sex' is not defined.*there are age"):
        Group("sex == 'F'").rows(data(age=[1, 2]))
    with pytest.raises(DataError, match="no sample of 'faces' matches 'age > 5'"):
        Group("age > 5").rows(data(age=[1, 2]))
    with pytest.raises(DataError, match="has no attributes"):
        Group("age > 5").rows(data())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Group(""), r"Group\(''\): give a pandas query"),
        (lambda: Group(30), r"Group\(30\): give a pandas query"),
        (lambda: Group("age < 3", min_size=0), "min_size=0"),
        (lambda: Group.worst(), "name the attributes"),
        (lambda: Group.worst(["race"]), "name the attributes"),
        (lambda: Group.worst("race", min_size=0), "min_size=0"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(InterventionError, match=message):
        make()


def test_the_groups_of_a_column_in_order():
    races = data(race=["White", "Asian", "White", "Asian", "Black", "Black"])

    groups = Group.worst("race", min_size=2).groups(races)

    assert groups == [Group(f"race == '{race}'") for race in ("Asian", "Black", "White")]


values = st.one_of(
    st.lists(st.text(max_size=3).filter(lambda text: "`" not in text), min_size=1, max_size=12),
    st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=1, max_size=12),
    st.lists(st.sampled_from([0.1, -2.5, 1e-9, np.nan]), min_size=1, max_size=12),
)


@given(values, st.sampled_from(["race", "skin tone", "class", "index"]))
def test_groups_partition_the_samples_that_have_a_value(column, name):
    faces = data(**{name: column})
    present = faces.attributes[name].notna()
    if not present.any():
        return

    groups = Group.worst(name, min_size=1).groups(faces)

    rows = torch.cat([group.rows(faces) for group in groups])
    assert sorted(rows.tolist()) == np.flatnonzero(present).tolist()
    assert len(groups) == faces.attributes[name].nunique()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), min_size=1, max_size=20))
def test_groups_of_two_columns_are_their_intersections(rows):
    faces = data(race=[race for race, _ in rows], age=[age for _, age in rows])

    groups = Group.worst("race", "age", min_size=1).groups(faces)

    assert len(groups) == len(set(rows))
    assert sum(len(group.rows(faces)) for group in groups) == len(rows)


def test_a_categorical_column_has_the_groups_that_occur():
    bands = pd.cut(pd.Series([1, 2, 50, 60]), [0, 10, 20, 100], labels=["low", "mid", "high"])

    groups = Group.worst("band", min_size=1).groups(data(band=bands))

    assert [group.query for group in groups] == ["band == 'low'", "band == 'high'"]


def test_small_groups_are_left_out_with_a_warning():
    races = data(race=["Asian"] * 3 + ["Black"] + ["White"] * 3)

    with pytest.warns(SmallGroupWarning, match=r"leaves out 1 groups.*race == 'Black' \(1\)"):
        groups = Group.worst("race", min_size=3).groups(races)

    assert [group.query for group in groups] == ["race == 'Asian'", "race == 'White'"]


def test_no_group_is_big_enough():
    with pytest.raises(DataError, match=r"none of the 50 groups .* 30 samples: .*and 45 more; low"):
        Group.worst("ink").groups(data(ink=np.linspace(0, 1, 50)))


def test_a_missing_column_names_those_there_are():
    with pytest.raises(DataError, match=r"no attribute 'sex'; there are 'age', 'race'"):
        Group.worst("race", "sex").groups(data(age=[1], race=["a"]))
    with pytest.raises(DataError, match=r"no attribute 'sex'; there are none"):
        Group.worst("sex").groups(data())


def test_values_that_a_query_cannot_name():
    dates = data(day=pd.to_datetime(["2024-01-01", "2024-01-02"]))

    with pytest.raises(DataError, match=r"is Timestamp, which a query can't name: turn .*astype"):
        Group.worst("day", min_size=1).groups(dates)


def test_the_worst_has_no_rows_of_its_own():
    with pytest.raises(InterventionError, match="a score over groups and has no samples of its ow"):
        Group.worst("age").rows(data(age=[1, 2]))
