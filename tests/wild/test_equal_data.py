"""Data that a family's function makes anew for each candidate, as the README does, are one."""

from __future__ import annotations

import torch
from support.bench import bench, linear, points

import pytest_multiplicity as pm
from pytest_multiplicity.inference import common_data
from pytest_multiplicity.training.groups import group_jobs

__all__ = ["bench"]

pytest_plugins = ["pytester"]


def recipe(data, **settings):
    return pm.Recipe(linear, data, epochs=1, **settings)


def test_equal_data_are_one_object():
    module, function = linear(), torch.relu
    made = [recipe(points(60, "train"), lr=lr) for lr in (0.1, 0.2, 0.3)]
    first, *others = common_data([*made, module, function])[:3]
    assert all(each.data is first.data is made[0].data for each in others)
    assert [each.lr for each in (first, *others)] == [0.1, 0.2, 0.3]
    assert common_data([module, function]) == [module, function]


def test_data_are_held_once_while_they_are_made():
    made = []

    def make():
        for _ in range(5):
            made.append(recipe(points(60, "train")))
            assert len({id(each) for each in made}) == len(made)
            yield made.pop()

    found = common_data(make())
    assert len({id(each.data) for each in found}) == 1


def test_data_that_differ_stay_apart():
    whole = points(60, "train")
    for other in (
        points(60, "train", seed=1),  # other inputs
        points(60, "other"),  # another name
        points(40, "train"),
        pm.Data(whole.inputs, 1 - whole.targets, whole.attributes, name="train"),
        pm.Data(whole.inputs, whole.targets, name="train"),
        pm.Data(whole.inputs, whole.targets, whole.attributes, name="train", bounds=(0, 2)),
    ):
        assert len({id(each.data) for each in common_data([recipe(whole), recipe(other)])}) == 2


def test_parts_and_datasets_are_one_too():
    for make in (
        lambda: points(60, "train").split(0.5, seed=3).select,
        lambda: points(60, "train").where("age < 20"),
        lambda: pm.Data.from_dataset([(torch.eye(4), i % 2) for i in range(6)], stream=True),
    ):
        found = common_data(recipe(make()) for _ in range(3))
        assert len({id(each.data) for each in found}) == 1


def test_they_are_trained_together(bench):
    anew = bench.family(lambda config: recipe(points(60, "train", 1), batch_size=16, lr=config.lr))
    jobs = [anew.models.made.job(index) for index in range(4)]
    assert len(group_jobs(jobs)) == 1


def test_through_pytest(pytester):
    pytester.makeconftest(
        """
        import pytest, torch
        from torch import nn
        import pytest_multiplicity as pm

        def load():
            inputs = torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
            return pm.Data(inputs, (inputs[:, 0] > 0.5).long(), name="train")

        @pytest.fixture(scope="session")
        def test():
            return load().split(0.5).report

        @pm.family(seeds=4)
        def candidate(config):
            return pm.Recipe(lambda: nn.Linear(4, 2), load(), epochs=1)
        """
    )
    pytester.makepyfile(
        """
        def test_one(candidate, test):
            population = candidate._population
            assert len({id(data) for data in population.models.made.data}) == 1
            assert candidate.accuracy(test) >= 0
        """
    )
    result = pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["*trained 4 fused*", "*4 passed*"])
