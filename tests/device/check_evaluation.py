"""Evaluation and attacks on a device."""

from __future__ import annotations

import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute.arithmetic import Arithmetic
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.counts import Counts
from pytest_multiplicity.inference.infer import Infer
from pytest_multiplicity.interventions import Chain

CPU, DEVICE = torch.device("cpu"), torch.device("cuda", 1)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


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
