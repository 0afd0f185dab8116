"""Evaluation and attacks on a device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute import others_like, threads
from pytest_multiplicity.compute.arithmetic import Arithmetic
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.executors import Abreast
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.inference.spread import SpreadInfer
from pytest_multiplicity.interventions import Chain

CPU, DEVICE = torch.device("cpu"), torch.device("cuda", 1)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


@pm.intervention
def drawing(batch):
    return batch + 0.1 * torch.rand_like(batch)


def models(device, count=5):
    torch.manual_seed(0)
    return [network().requires_grad_(False).to(device) for _ in range(count)]


def data(count=70):
    generator = torch.Generator().manual_seed(0)
    return pm.Data(torch.rand(count, 3, 8, 8, generator=generator), torch.arange(count) % 3)


def answers(device, *steps, count=5):
    infer = Infer(device, Counts(), Forms(device, lambda structure: count))
    under = Chain(steps)
    return infer(models(device, count), data(), under, lambda steps: None), infer


def test_answers_are_those_of_the_cpu():
    for here, there in zip(answers(CPU)[0], answers(DEVICE)[0], strict=True):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)


def test_evaluation_is_in_float32_whatever_is_set_around():
    seen = []

    class Looking(pm.PGD):
        def check(self, data):
            conv = torch.backends.cudnn.conv
            seen.append((conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))

    assert torch.backends.cudnn.conv.fp32_precision == "tf32"  # torch's default
    answers(DEVICE, Looking(0.01, steps=1))
    assert set(seen) == {("ieee", "ieee")}


def test_models_side_by_side_are_checked_not_to_depend_on_each_other(monkeypatch):
    from pytest_multiplicity.compute import fused

    def leaking(self, inputs, own=fused.FusedModule.shared):
        given = own(self, inputs)
        return given + 1e-7 * given[-1:].mean()

    _, infer = answers(DEVICE)
    assert [form.arithmetic.fused for _, form in infer.alike] == [True]
    monkeypatch.setattr(fused.FusedModule, "shared", leaking)
    _, infer = answers(DEVICE)
    assert [form.arithmetic.fused for _, form in infer.alike] == [False]


def test_an_attack_s_random_numbers_are_the_device_s_own():
    from pytest_multiplicity.interventions.randomness import lent

    before = [state.tolist() for state in torch.cuda.get_rng_state_all()]
    with lent(DEVICE) as numbers:
        numbers.seed(3)
        first = torch.rand(4, device=DEVICE)
        numbers.seed(3)
        assert torch.equal(torch.rand(4, device=DEVICE), first)
    assert [state.tolist() for state in torch.cuda.get_rng_state_all()] == before


def test_arithmetic_of_a_gpu_reads_no_clock():
    from pytest_multiplicity.compute import Shape, machine_class, of_training

    machine = machine_class(DEVICE)
    told = {
        alike: of_training(
            Shape(1e9, convolves=True, images=True),
            batch_size=128,
            steps=7800,
            alike=alike,
            declared=alike,
            machine=machine,
            precision="bf16",
        )
        for alike in (1, 15)
    }
    assert told[1] == Arithmetic(channels_last=True)
    assert told[15] == Arithmetic(channels_last=True, compiled=True)


@pytest.mark.parametrize(
    "steps", [(), (pm.InputNoise(0.1),), (pm.PGD(0.05, steps=2),), (drawing(),)], ids=str
)
def test_batches_are_spread_over_devices_that_were_not_numbered(steps):
    whole, told = data(600), []
    under, first = Chain(steps), torch.device("cuda")
    alone = Infer(first, Counts(), Forms(first, lambda structure: 5))
    expected = alone(models(first), whole, under, told.append)
    assert others_like(DEVICE) == []
    assert others_like(first) == [DEVICE]
    infer = Infer(first, Counts(), Forms(first, lambda structure: 5))
    spread = SpreadInfer(infer, others_like(first))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    before, spread_told = torch.cuda.memory_allocated(DEVICE), []
    found = spread(models(first), whole, under, spread_told.append)
    assert torch.cuda.max_memory_allocated(DEVICE) > before  # which computed its share
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert sum(spread_told) == sum(told) == 15
    assert infer.counts == alone.counts
    assert not infer.begun


def test_precision_and_threads_are_put_back_after_all_devices():
    first = torch.device("cuda")
    spread = SpreadInfer(Infer(first, Counts(), Forms(first, lambda structure: 5)), [DEVICE])
    before = torch.backends.cudnn.conv.fp32_precision
    with threads(2):
        for _ in range(5):
            spread(models(first), data(600), Chain((pm.InputNoise(0.1),)), lambda steps: None)
            assert torch.get_num_threads() == 2
            assert torch.backends.cudnn.conv.fp32_precision == before


def test_code_that_may_mind_company_stays_on_the_first_device():
    first = torch.device("cuda")
    spread = SpreadInfer(Infer(first, Counts(), Forms(first, lambda structure: 1)), [DEVICE])
    seen = set()

    def model(batch):
        seen.add(batch.device)
        return batch.flatten(1)[:, :3]

    (found,) = spread([model], data(600), Chain(()), lambda steps: None)
    assert len(found) == 600
    assert seen == {torch.device("cuda", 0)}


def test_memory_that_runs_out_on_another_device_is_told_of_its_models():
    first = torch.device("cuda")
    infer = Infer(first, Counts(), Forms(first, lambda structure: 5))
    spread, given = SpreadInfer(infer, [DEVICE]), models(first)
    shared = Abreast.shared

    def greedy(self, inputs):
        if inputs.device == DEVICE:
            raise torch.OutOfMemoryError("no room")
        return shared(self, inputs)

    with pytest.MonkeyPatch.context() as patch:
        spread(given, data(600), Chain(()), lambda steps: None)
        assert not infer.lacking
        patch.setattr(Abreast, "shared", greedy)
        spread(given, data(600), Chain(()), lambda steps: None)
    assert infer.lacking == set(map(id, given))
