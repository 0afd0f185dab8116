"""The rule that says which arithmetic a candidate gets: pure, monotone, and blind to clocks."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pytest_multiplicity.compute.arithmetic import (
    Arithmetic,
    MachineClass,
    Shape,
    machine_class,
    of_inference,
    of_training,
)

AMD = MachineClass("cpu", "AMD EPYC 26/2 AVX512", 2, ("torch 2.9", "numpy 2.1 openblas 0.3"))
INTEL = MachineClass("cpu", "Intel Xeon 6/143 AVX512", 16, ("torch 2.9", "numpy 2.1 openblas 0.3"))
GPU = MachineClass("cuda", "NVIDIA H200", 0, ("torch 2.9",))
MLP = Shape(0.034e6, multiplies=True)
CNN = Shape(0.168e6, convolves=True, multiplies=True, images=True)
RESNET = Shape(25e6, convolves=True, multiplies=True, images=True)

machines = st.sampled_from([AMD, INTEL, GPU, replace(AMD, cores=1), replace(AMD, cores=64)])
flops = st.one_of(st.floats(0, 1e15), st.just(math.inf))
shapes = st.builds(Shape, flops, st.booleans(), st.booleans(), st.booleans())
counts = st.integers(1, 10_000)


def trained(shape, alike=64, batch_size=64, machine=AMD, **settings):
    settings = {"steps": 100, "declared": alike} | settings
    return of_training(shape, batch_size=batch_size, alike=alike, machine=machine, **settings)


def test_the_cases_of_the_benchmarks_train_as_their_tables_say():
    assert str(trained(MLP)) == "fused, numpy's products"
    assert str(trained(CNN)) == "fused, channels last, numpy's products"
    assert str(trained(RESNET, 8, 128)) == "plain, channels last"
    assert str(trained(MLP, 1)) == "plain"
    assert str(trained(CNN, 1)) == "plain, channels last"
    assert str(trained(RESNET, 1, 128)) == "plain, channels last, 2 threads"
    assert str(trained(MLP, machine=INTEL)) == "fused"
    assert str(trained(MLP, precision="bf16")) == "fused"
    assert str(trained(RESNET, 64, 128, GPU)) == "plain, channels last"
    assert str(trained(RESNET, 64, 128, GPU, steps=400)) == "plain, channels last, compiled"


def test_the_cases_of_the_benchmarks_are_evaluated_as_their_tables_say():
    assert str(of_inference(MLP, alike=64, machine=AMD)) == "fused, folded, numpy's products"
    assert str(of_inference(MLP, alike=64, machine=INTEL)) == "fused, folded"
    cnn = "fused, channels last, folded, numpy's products"
    assert str(of_inference(CNN, alike=16, machine=AMD)) == cnn
    assert str(of_inference(RESNET, alike=4, machine=AMD)) == "plain, channels last, folded"
    assert not of_inference(MLP, alike=2, machine=AMD).fused


@given(shapes, counts, counts, counts, counts, machines, st.floats(1, 1e6))
def test_a_larger_network_is_never_fused_where_a_smaller_one_is_not(
    shape, batch_size, steps, alike, more, machine, factor
):
    larger = replace(shape, flops=shape.flops * factor)
    settings = {"batch_size": batch_size, "steps": steps, "machine": machine}
    settings |= {"alike": alike, "declared": alike + more}
    one, other = of_training(shape, **settings), of_training(larger, **settings)
    assert one.fused >= other.fused
    assert other.threads >= one.threads or one.fused
    inferred = (of_inference(s, alike=alike, machine=machine).fused for s in (shape, larger))
    assert next(inferred) >= next(inferred)


@given(shapes, counts, counts, counts, counts, machines)
def test_more_candidates_never_part_what_was_fused(shape, batch_size, steps, alike, more, machine):
    settings = {"batch_size": batch_size, "steps": steps, "machine": machine}
    few = of_training(shape, alike=alike, declared=alike, **settings)
    many = of_training(shape, alike=alike + more, declared=alike + more, **settings)
    assert few.fused <= many.fused
    assert few.threads >= many.threads


@given(shapes, counts, counts, counts, counts, machines)
def test_the_rule_gives_the_same_every_time_and_only_what_fits_together(
    shape, batch_size, steps, alike, more, machine
):
    settings = {"batch_size": batch_size, "steps": steps, "machine": machine}
    settings |= {"alike": alike, "declared": alike + more}
    chosen = of_training(shape, **settings)
    random.random()
    assert of_training(shape, **settings) == chosen
    assert not (chosen.fused and (chosen.threads > 1 or chosen.compiled))
    assert chosen.fused or not chosen.by_numpy
    assert not (chosen.by_numpy and machine.device != "cpu")
    assert chosen.threads in (1, machine.cores)


def test_what_can_not_be_counted_counts_as_large():
    class Odd(nn.Module):
        def forward(self, x):
            raise RuntimeError("not on this")

    shape = Shape.of(Odd(), torch.zeros(2, 3))
    assert shape.flops == math.inf
    assert not trained(shape).fused


def test_a_shape_is_that_of_one_sample_and_looking_changes_nothing():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate()
    shapes = {Shape.of(model, torch.rand(n, 1, 8, 8)) for n in (1, 2, 7)}
    torch.set_rng_state(states[0])
    assert len(shapes) == 1
    (shape,) = shapes
    assert shape.flops == 2 * (36 * 4 * 9 + 144 * 10)
    assert shape.convolves
    assert shape.multiplies
    assert shape.images
    assert shape.bytes == sum(t.nbytes for t in model.state_dict().values())
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())
    assert model.training
    assert random.getstate() == states[1]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2)), (6,)),
        (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 7, 5)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 7, 5)),
        (nn.Conv1d(2, 3, 3), (2, 9)),
    ],
)
def test_operations_are_those_that_torch_counts(model, shape):
    from torch.utils.flop_counter import FlopCounterMode

    samples = torch.rand(3, *shape)
    with FlopCounterMode(display=False) as counter:
        model(samples)
    assert Shape.of(model, samples).flops == counter.get_total_flops() / 3


def test_what_hides_its_products_counts_as_large():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTM(4, 4)

        def forward(self, x):
            return self.cell(x)[0]

    assert Shape.of(Recurrent(), torch.rand(2, 3, 4)).flops == math.inf


def test_counting_imports_no_compiler():
    code = (
        "import sys, torch; from pytest_multiplicity.compute import Shape\n"
        "assert Shape.of(torch.nn.Conv2d(1, 2, 3), torch.rand(2, 1, 4, 4)).flops == 144\n"
        "assert not {'torch._dynamo', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_class_of_this_machine_is_readable_and_steady():
    here = machine_class(torch.device("cpu"))
    assert here == machine_class(torch.device("cpu"))
    assert f"torch {torch.__version__}" in str(here)
    assert here.cores >= 1


def test_a_limit_of_threads_is_a_part_of_the_class(monkeypatch):
    machine_class.cache_clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        assert machine_class(torch.device("cpu")).cores == 1
    finally:
        machine_class.cache_clear()


@pytest.mark.parametrize(
    ("arithmetic", "text"),
    [
        (Arithmetic(), "plain"),
        (Arithmetic(fused=True, by_numpy=True).alone, "plain"),
        (Arithmetic(compiled=True, channels_last=True), "plain, channels last, compiled"),
        (Arithmetic(threads=4, folded=True), "plain, folded, 4 threads"),
    ],
)
def test_an_arithmetic_reads_as_a_phrase(arithmetic, text):
    assert str(arithmetic) == text


@pytest.mark.parametrize(
    ("layer", "safe"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(8, 16, 1, stride=2, groups=2), False),
        (nn.Conv2d(8, 16, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 3, stride=2, padding=1), True),
    ],
    ids=["few channels", "few of each group", "eight channels", "no stride", "more pixels"],
)
def test_images_lie_as_usual_where_that_alone_is_safe(layer, safe):
    """Channels last, these gradients are written beyond their memory on some processors."""
    shape = Shape.of(nn.Sequential(layer), torch.rand(1, layer.in_channels, 8, 8))
    assert shape.channels_last is safe
    assert trained(shape).channels_last is safe
    assert of_inference(shape, alike=1, machine=AMD).channels_last is safe
