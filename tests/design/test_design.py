from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.design import Built, further, make_design, part
from pytest_multiplicity.errors import DefinitionError

DEFAULT = {"lr": 0.1, "optimizer": "sgd"}


def test_star_varies_one_axis_at_a_time():
    design = make_design(DEFAULT, {"lr": [0.05, 0.01], "optimizer": ["adam"]}, 2)
    assert design.ids == (
        "default-seed0",
        "default-seed1",
        "lr0.05-seed0",
        "lr0.05-seed1",
        "lr0.01-seed0",
        "lr0.01-seed1",
        "optimizeradam-seed0",
        "optimizeradam-seed1",
    )
    assert design.axes == {"lr": (0.1, 0.05, 0.01), "optimizer": ("sgd", "adam")}
    assert [vars(c) for c in design.configs][:3] == [
        {"lr": 0.1, "optimizer": "sgd", "seed": 0},
        {"lr": 0.1, "optimizer": "sgd", "seed": 1},
        {"lr": 0.05, "optimizer": "sgd", "seed": 0},
    ]


def test_grid_crosses_all_axes_and_lists_the_default_first():
    design = make_design(DEFAULT, {"lr": [0.01], "optimizer": ["sgd", "adam"]}, 1, "grid")
    assert design.ids == (
        "default-seed0",
        "optimizeradam-seed0",
        "lr0.01-seed0",
        "lr0.01-optimizeradam-seed0",
    )


def test_explicit_configurations_are_taken_as_they_are():
    design = make_design(DEFAULT, {}, [7], [{"lr": 0.01}, {"optimizer": "adam"}])
    assert design.ids == ("lr0.01-seed7", "optimizeradam-seed7")
    assert [c.lr for c in design.configs] == [0.01, 0.1]
    assert design.axes == {"lr": (0.1, 0.01), "optimizer": ("sgd", "adam")}


RUNS = [
    {"lr": 0.1, "seed": 11},
    {"lr": 0.01, "seed": 3},
    {"lr": 0.1, "seed": 3},
    {"lr": 0.05, "seed": 11},
]


def built(design, seeds=5):
    return Built(lambda config: None, {}, {}, seeds, design)


def test_configurations_that_tell_their_seed_are_the_candidates():
    design = built(RUNS).design()
    assert design.ids == ("lr0.1-seed03", "lr0.1-seed11", "lr0.01-seed03", "lr0.05-seed11")
    assert [vars(config) for config in design.configs] == [RUNS[i] for i in (2, 0, 1, 3)]
    assert (design.axes, design.seeds) == ({"lr": (0.1, 0.01, 0.05)}, (3, 11))


def test_fewer_seeds_of_configurations_that_tell_them():
    design = built(RUNS).design(seeds=1)
    assert design.ids == ("lr0.1-seed3", "lr0.01-seed3")
    assert design.axes == {"lr": (0.1, 0.01)}
    with pytest.raises(DefinitionError, match="lists only 2 seeds"):
        built(RUNS).design(seeds=3)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ([*RUNS, {"lr": 0.5}], "has no 'seed', which others have"),
        ([*RUNS, {"lr": 0.1, "seed": 3}], "is listed twice"),
        ([{"lr": 0.1, "seed": 0.5}], r"seed 0\.5: seeds are integers"),
        ([{"lr": 0.1, "seed": True}], "seed True: seeds are integers"),
    ],
)
def test_seeds_that_make_no_candidates(design, message):
    with pytest.raises(DefinitionError, match=message):
        built(design).design()


def test_axes_that_dont_vary_are_in_the_configuration_only():
    design = make_design(DEFAULT, {"lr": [0.01]}, 1)
    assert "optimizer" not in design.axes
    assert design.configs[0].optimizer == "sgd"


def test_sources_of_randomness_can_be_axes():
    design = make_design(DEFAULT, {"seed.init": range(3)}, 1)
    assert design.default["seed.init"] == 0
    assert [vars(c)["seed.init"] for c in design.configs] == [0, 1, 2]


def test_numbers_of_numpy_are_numbers():
    numpys = {"default": {"lr": np.float64(0.1)}, "vary": {"lr": np.array([0.05, 0.01])}}
    plain = make_design({"lr": 0.1}, {"lr": [0.05, 0.01]}, 2)
    for seeds in (np.int64(2), np.arange(2)):
        assert make_design(**numpys, seeds=seeds).ids == plain.ids
    listed = [{"w": np.int64(w), "seed": np.int64(0)} for w in (8, 16)]
    found = make_design({}, {}, 1, listed)
    assert found.ids == ("w8-seed0", "w16-seed0")
    assert [type(config.seed) for config in found.configs] == [int, int]


@pytest.mark.parametrize("seeds", [None, 2.0, "2", True, np.float64(2)], ids=str)
def test_what_is_no_count_of_seeds(seeds):
    with pytest.raises(DefinitionError, match="give a count or a list of integers"):
        make_design(DEFAULT, {}, seeds)


def test_seeds_are_padded_to_one_width():
    ids = make_design(DEFAULT, {}, 11).ids
    assert (ids[0], ids[-1]) == ("default-seed00", "default-seed10")


def test_ids_of_functions_lambdas_and_long_texts_are_readable_and_differ():
    def tanh():
        """A named option."""

    default = {"act": "relu"}
    options = [tanh, lambda: 1, lambda: 2, "x" * 500, "x" * 501, "a=b::c[d]/e f"]
    ids = make_design(default, {"act": options}, 1).ids
    assert ids[1] == "acttanh-seed0"
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]{1,120}", each) for each in ids)
    again = make_design(default, {"act": [*options]}, 1).ids
    assert ids == again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vary": {"lrr": [1]}}, "'lrr', which default doesn't have (did you mean 'lr'?)"),
        ({"vary": {"lr": [0.5, 0.5]}}, "lists 0.5 twice"),
        ({"vary": {"lr": 0.5}}, "give a list of options"),
        ({"vary": {"optimizer": "adam"}}, "give a list of options"),
        ({"seeds": 0}, "seeds=0 makes an empty family"),
        ({"seeds": []}, "makes an empty family"),
        ({"seeds": [1, 1]}, "lists 1 twice"),
        ({"seeds": [-1]}, "seed -1"),
        ({"seeds": True}, "seeds=True"),
        ({"seeds": "5"}, "seeds='5'"),
        ({"seeds": 2.5}, "seeds=2.5"),
        ({"design": "cross"}, "design='cross'"),
        ({"design": []}, "makes an empty family"),
        ({"design": [{"lr": 1}, {"lr": 1}]}, "listed twice"),
        ({"design": [{"lr": 1}, {"depth": 2}]}, "has no 'depth', which others have"),
        ({"design": [{"lr": 1}], "vary": {"lr": [2]}}, "give one or the other"),
        ({"default": {"seed": 1}}, "'seed' can't name an axis"),
        ({"default": {"learning rate": 1}}, "'learning rate' can't name an axis"),
        ({"default": {"__class__": 1}}, "'__class__' can't name an axis"),
    ],
)
def test_bad_definitions_name_the_value_and_the_remedy(change, message):
    arguments = {"default": DEFAULT, "vary": {}, "seeds": 2, "design": "star"} | change
    with pytest.raises(DefinitionError) as caught:
        make_design(**arguments)
    assert message in str(caught.value)


def test_a_configuration_is_frozen_and_says_what_it_has():
    (config,) = make_design(DEFAULT, {}, 1).configs
    with pytest.raises(AttributeError, match="frozen"):
        config.lr = 1
    with pytest.raises(AttributeError, match="no axis 'depth'; it has lr, optimizer, seed"):
        config.depth  # noqa: B018
    assert hash(config) == hash(make_design(DEFAULT, {}, 1).configs[0])


options = st.lists(
    st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.booleans()),
    min_size=1,
    max_size=4,
    unique_by=lambda o: (isinstance(o, bool), o),
)
spaces = st.dictionaries(st.sampled_from(["a", "b", "_c", "lambda", "D4"]), options, max_size=4)


@given(spaces, st.integers(1, 12))
def test_every_design_has_each_candidate_once(space, seeds):
    default = {axis: values[0] for axis, values in space.items()}
    vary = {axis: values[1:] for axis, values in space.items()}
    star = make_design(default, vary, seeds)
    grid = make_design(default, vary, seeds, "grid")
    assert len(star.ids) == seeds * (1 + sum(len(v) - 1 for v in space.values()))
    expected = len(list(itertools.product(*space.values()))) * seeds
    assert len(grid.ids) == expected
    for design in (star, grid):
        assert len(set(design.ids)) == len(design.ids) == len(design.configs)
        assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", each) for each in design.ids)
        assert design.ids[0].startswith("default")


def test_further_seeds_follow_the_declared_ones_and_change_no_id():
    design = make_design({"lr": 0.1}, {"lr": [0.01]}, 3)
    added = further(design, 12)
    assert design.ids[0] == "default-seed0"
    assert added.ids[:4] == ("default-seed3", "lr0.01-seed3", "default-seed4", "lr0.01-seed4")
    assert added.ids[-1] == "lr0.01-seed11"
    assert [(c.lr, c.seed) for c in added.configs[:2]] == [(0.1, 3), (0.01, 3)]
    assert further(design, 20).ids[: len(added.ids)] == added.ids
    assert further(design, 3) is None
    listed = make_design({}, {}, [4, 1, 12])
    assert further(listed, 5).ids == ("default-seed13", "default-seed14")
    some = part(added, [1, 3])
    assert (some.ids, some.seeds) == (("lr0.01-seed3", "lr0.01-seed4"), (3, 4))
