"""What stays in memory of a family that was asked many questions."""

from __future__ import annotations

import gc

import torch

import pytest_multiplicity as pm
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
