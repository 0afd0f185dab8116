"""Composition: names, order, groups under everything else."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, InterventionError
from pytest_multiplicity.interventions import (
    PGD,
    Attack,
    Chain,
    Corrupt,
    Group,
    InputNoise,
    OutputNoise,
    chain,
    intervention,
)


def identity(images, **_):
    return images


def data(n=120):
    ages, races = range(n), ["Asian", "Black", "White"] * (n // 3)
    frame = {"age": ages, "race": races, "young": [age < 30 for age in ages]}
    return Data(torch.rand(n, 2), torch.zeros(n).long(), frame, name="faces", bounds=(0, 1))


@pytest.mark.parametrize(
    ("under", "name"),
    [
        (PGD(0.005), "PGD(0.005)"),
        (PGD(1), "PGD(1)"),
        (PGD(0.01, steps=20), "PGD(0.01, steps=20)"),
        (PGD(0.1, 10, None, True), "PGD(0.1, random_start=True)"),
        (PGD(0.5, norm="l2", step_size=0.1), "PGD(0.5, step_size=0.1, norm='l2')"),
        (OutputNoise(5), "OutputNoise(5)"),
        (OutputNoise(5.0), "OutputNoise(5)"),
        (InputNoise(0.05, seed=2), "InputNoise(0.05, seed=2)"),
        (Group("race == 'Asian'"), "Group(\"race == 'Asian'\")"),
        (Group("age < 5", min_size=9), "Group('age < 5', min_size=9)"),
        (Group.worst("race"), "Group.worst('race')"),
        (Group.worst("race", "sex", min_size=9), "Group.worst('race', 'sex', min_size=9)"),
        (Corrupt(v2.functional.rotate, angle=15), "Corrupt(rotate, angle=15)"),
        (Corrupt(v2.functional.rotate, angle=12.5), "Corrupt(rotate, angle=12.5)"),
        (Corrupt("blur", severity=3), "Corrupt(blur, severity=3)"),
        (Corrupt(identity), "Corrupt(identity)"),
        (Corrupt(functools.partial(identity, k=2.0)), "Corrupt(identity(k=2))"),
        (Corrupt(v2.GaussianNoise()), "Corrupt(GaussianNoise(mean=0.0, sigma=0.1, clip=True))"),
        (Corrupt(v2.Compose([v2.Identity()])), "Corrupt(Compose(Identity()))"),
        (Attack(identity), "Attack(identity)"),
        (Attack(identity, name="square"), "Attack(square)"),
        (intervention(identity)(), "identity()"),
        (PGD(0.005) | OutputNoise(5), "PGD(0.005) | OutputNoise(5)"),
        (None, ""),
    ],
)
def test_names(under, name):
    assert chain(under).name == name


def test_functions_without_a_name_and_objects_without_a_repr():
    class Opaque:
        def __call__(self, images):
            return images

    line = test_functions_without_a_name_and_objects_without_a_repr.__code__.co_firstlineno + 6
    assert repr(Corrupt(lambda images: images)) == f"Corrupt(lambda at test_chain.py:{line})"
    assert repr(Corrupt(Opaque())) == "Corrupt(Opaque)"


def test_parts_of_a_chain():
    group, noise, attack, output = Group("age < 3"), InputNoise(0.1), PGD(0.1), OutputNoise(1)

    joined = noise | group | attack | output

    assert joined == (noise | group) | (attack | output)
    assert joined.steps == (noise, group, attack, output)
    assert joined.groups == (group,)
    assert joined.inputs == (noise, attack)
    assert joined.outputs == (output,)
    assert joined.needs_model
    assert not (noise | output).needs_model
    assert chain(joined) is joined
    assert chain(None) == Chain()


def test_equal_parameters_make_equal_steps():
    assert OutputNoise(5) == OutputNoise(5.0)
    assert PGD(0.1) != PGD(0.1, steps=11)


def test_a_change_of_the_input_after_one_of_the_output_makes_no_sense():
    for step in (PGD(0.1), InputNoise(0.1), Corrupt(identity), Attack(identity)):
        with pytest.raises(InterventionError, match=r"changes the input, but stands after Output"):
            OutputNoise(5) | Group("age < 3") | step


def test_groups_may_stand_anywhere():
    for under in (
        PGD(0.1) | Group("age < 30"),
        OutputNoise(5) | Group("age < 30"),
        Corrupt(identity) | Group("age < 30") | PGD(0.1),
    ):
        assert under.restrict(data()).rows.tolist() == list(range(30))


def test_the_same_numbers_twice():
    for twice in (InputNoise, OutputNoise):
        with pytest.raises(InterventionError, match="2 times: give each step a seed of its own"):
            twice(1) | Group("age < 3") | twice(2)
        assert len((twice(1) | twice(1, seed=1)).steps) == 2


@pytest.mark.parametrize(
    ("under", "message"),
    [
        (PGD, r"is no intervention: give its parameters, as in PGD\(\.\.\.\)"),
        ("age < 30", r"a group is Group\('age < 30'\)"),
        (identity, r"wrap it, as in Corrupt\(function\)"),
        (0.05, "give one such as"),
        ([PGD(0.1)], r"several joined by \|"),
    ],
)
def test_what_is_no_intervention(under, message):
    with pytest.raises(InterventionError, match=message):
        chain(under)
    with pytest.raises(InterventionError, match=message):
        PGD(0.1) | under
    with pytest.raises(InterventionError, match=message):
        PGD(0.1) | Group("age < 3") | under


@given(st.lists(st.integers(0, 119), min_size=1, max_size=3))
def test_groups_intersect(limits):
    queries = [f"age <= {limit}" for limit in limits]
    under = functools.reduce(lambda chained, query: chained | Group(query), queries, Chain())

    assert under.restrict(data()).rows.tolist() == list(range(min(limits) + 1))


def test_an_empty_intersection():
    under = Group("age < 30") | PGD(0.1) | Group("age > 60")

    for attempt in (under.restrict, under.check):
        with pytest.raises(DataError, match="no sample of 'faces where age < 30' matches"):
            attempt(data())


def test_a_chain_without_a_worst_group_stands_for_itself():
    under = Group("age < 30") | PGD(0.1)

    assert under.expand(data()) == [under]
    assert Chain().expand(data()) == [Chain()]


def test_the_worst_of_groups_stands_for_a_chain_each():
    under = Corrupt(identity) | Group.worst("race") | OutputNoise(5)

    names = [each.name for each in under.expand(data())]

    assert names == [
        f"Corrupt(identity) | Group(\"race == '{race}'\") | OutputNoise(5)"
        for race in ("Asian", "Black", "White")
    ]


def test_the_worst_is_sought_within_the_other_groups():
    under = Group("age < 60 and race != 'White'") | Group.worst("race", "young", min_size=10)

    names = [str(each.groups[1].query) for each in under.expand(data())]

    assert names == [
        f"race == '{race}' and young == {young}"
        for race in ("Asian", "Black")
        for young in (False, True)
    ]


def test_the_worst_of_two_kinds_is_that_of_all_their_pairs():
    under = Group.worst("race", min_size=1) | Group.worst("young", min_size=1)

    assert len(under.expand(data())) == 6


def test_check_compares_parameters_with_the_data():
    (Group("age < 30") | PGD(0.5)).check(data())

    with pytest.raises(InterventionError, match="eps is more than the bounds"):
        (Group("age < 30") | PGD(2)).check(data())
    with pytest.raises(DataError, match="no attribute 'sex'"):
        (Group.worst("sex") | PGD(0.1)).check(data())
