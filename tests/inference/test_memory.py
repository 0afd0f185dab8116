"""What stays in memory of a family that was asked many questions."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

import pytest_multiplicity as pm
from pytest_multiplicity.evaluation.metric import samples_of
from pytest_multiplicity.inference import ask


def logits_in_memory(size):
    gc.collect()
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    return len({each.untyped_storage().data_ptr() for each in tensors if each.shape == size})


def test_logits_of_one_question_at_a_time_are_in_memory(bench):
    population = bench.family()
    logits, everybody = population._measuring.logits, range(len(population.candidates))
    unders = [None, *(pm.InputNoise(0.1 * level) for level in range(1, 5))]
    asked = [ask(bench.test, under) for under in unders]
    population.models.weights.ready()
    size = logits.of(asked[0], everybody)(0).shape
    before = logits_in_memory(size)  # of other tests
    readers = [logits.of(each, everybody) for each in asked[1:]]
    assert logits_in_memory(size) == before + len(everybody)
    inferred = population.models.counts.inferred
    first = [read(0).clone() for read in readers]  # the store has those of earlier questions
    for given, read in zip(first, readers, strict=True):
        assert torch.equal(given, read(0))
    assert population.models.counts.inferred == inferred == len(asked) * len(everybody)


def test_a_search_keeps_what_the_store_does_not(bench):
    population = bench.family()
    logits, everybody = population._measuring.logits, range(len(population.candidates))
    population.models.weights.ready()
    with population.searching():
        readers = [logits.of(ask(bench.test, pm.InputNoise(by)), everybody) for by in (0.1, 0.2)]
        inferred = population.models.counts.inferred
        for read in readers:
            read(0)
    assert population.models.counts.inferred == inferred


def modules_in_memory():
    gc.collect()
    return sum(issubclass(type(each), torch.nn.Linear) for each in gc.get_objects())


def test_when_all_is_measured_the_store_has_models_and_logits(bench):
    population = bench.family()
    logits, everybody = population._measuring.logits, range(len(population.candidates))
    before = modules_in_memory()
    population.accuracy(0, bench.test, None)
    reader = logits.of(ask(bench.test, None), everybody)
    first, size = reader(0).clone(), reader(0).shape
    population.finish()
    counts = population.models.counts
    done = counts.trained, counts.inferred
    assert modules_in_memory() == before
    held = logits_in_memory(size)
    assert torch.equal(reader(0), first)
    assert logits_in_memory(size) <= held + 1
    assert (counts.trained, counts.inferred) == done
    population.accuracy(0, bench.test, pm.InputNoise(0.1))  # models are read again
    assert counts.trained == done[0]


@pytest.mark.parametrize(("most", "narrow"), [(127, np.int8), (128, np.int16), (1 << 15, np.int32)])
def test_classes_are_held_in_few_bytes(most, narrow):
    said = np.array([[-1, 0, most]], dtype=np.int32)
    found = samples_of({"predictions": said, "right": said == 0, "targets": said[0]})
    assert found["predictions"].dtype == narrow
    assert np.array_equal(found["predictions"], said)
