"""Graphs of the simulated device: what is recorded, what is refused, and what a replay does."""

from __future__ import annotations

import copy
import gc
from functools import partial

import pytest
import simulated
import torch
from torch import nn
from torch.nn import functional as F

DEVICE = torch.device("cuda", 1)


@pytest.fixture(autouse=True)
def on_device():
    with torch.cuda.device(DEVICE):
        yield


def record(work, *generators, pool=None):
    """Return a graph of some work, and what the work gave."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(DEVICE)
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream, pool=pool):
        given = work()
    return graph, given


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
        *(nn.Dropout(0.2), nn.Linear(144, 5)),
    )


def test_nothing_is_done_before_the_first_replay_and_then_everything_anew():
    values = torch.ones(3, device=DEVICE)

    def work():
        values.add_(1)
        return values * 2

    graph, doubled = record(work)
    assert values.tolist() == [1, 1, 1]
    assert doubled.isnan().all()
    for wanted in (4, 6):
        graph.replay()
        assert doubled.tolist() == [wanted] * 3
    values.zero_()
    with simulated.counted() as counts:
        graph.replay()
    assert counts["launch"] == 1
    assert doubled.tolist() == [2, 2, 2]


def trained(module, optimizer, x, y):
    for parameter in module.parameters():
        parameter.grad = None
    loss = F.cross_entropy(module(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_steps_of_a_training_are_those_that_are_not_recorded(kind):
    torch.manual_seed(0)
    first = network().to(DEVICE)
    modules = [first, copy.deepcopy(first)]

    def made(module):
        lr = torch.tensor(0.1, device=DEVICE)
        if kind == "sgd":
            return torch.optim.SGD(module.parameters(), lr, momentum=0.9, fused=True)
        return torch.optim.Adam(module.parameters(), lr, fused=True, capturable=True)

    optimizers = [made(module) for module in modules]
    x, y = torch.rand(7, 3, 8, 8).to(DEVICE), (torch.arange(7) % 5).to(DEVICE)
    losses: list[list[float]] = [[], []]
    graph = loss = None
    for step in range(6):
        for which in (0, 1):
            torch.cuda.manual_seed(step)
            if which == 0 or step < 2:
                losses[which].append(trained(modules[which], optimizers[which], x, y).item())
                continue
            if graph is None:
                graph, loss = record(lambda: trained(modules[1], optimizers[1], x, y))
            graph.replay()
            losses[1].append(loss.item())
    assert losses[0] == losses[1]
    for name, value in modules[0].state_dict().items():
        assert torch.equal(value, modules[1].state_dict()[name])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda x: x.sum().item(), "not permitted when stream is capturing"),
        (lambda x: x.cpu(), "not permitted when stream is capturing"),
        (lambda x: x.nonzero(), "not permitted when stream is capturing"),
        (lambda x: x.copy_(torch.ones(4)), "not permitted when stream is capturing"),
        (lambda x: torch.cuda.synchronize(), "not permitted when stream is capturing"),
        (lambda x: torch.cuda.manual_seed(3), "only if new seed"),
        (lambda x: torch.cuda.get_rng_state(DEVICE), "during CUDA graph capture"),
        (lambda x: x.uniform_(generator=torch.Generator(DEVICE)), "unexpected CUDA generator"),
    ],
)
def test_it_refuses_what_cuda_does(act, message):
    values = torch.arange(4.0).to(DEVICE)
    torch.cuda.manual_seed(1)
    with pytest.raises(RuntimeError) as caught:
        record(lambda: act(values))
    told = (caught.value, caught.value.__context__)
    assert any(message in str(each) for each in told)
    assert torch.cuda.current_stream(DEVICE).stream_id == 0
    assert values.sum().item() == 6  # and all is as before
    record(lambda: values + 1)  # but for generators, of which torch 2.13 doesn't know that it ended
    torch.rand(3, device=DEVICE)


def test_after_a_failure_nothing_is_drawn_until_a_recording_ends_well():
    values = torch.ones(3, device=DEVICE)
    with pytest.raises(RuntimeError, match="previous error"):
        record(values.sum().item)
    with pytest.raises(RuntimeError, match="outside graph capture encountered unexpectedly"):
        torch.rand(3, device=DEVICE)
    record(lambda: values + 1)
    torch.rand(3, device=DEVICE)


def test_waits_are_told_if_asked_for():
    values = torch.ones(3, device=DEVICE)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="called a synchronizing CUDA operation"):
            values.sum().item()
        torch.cuda.set_sync_debug_mode("error")
        with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
            values.cpu()
        values.add_(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_is_on_another_stream_is_no_part_of_it():
    values = torch.ones(3, device=DEVICE)

    def work():
        with torch.cuda.stream(torch.cuda.Stream(DEVICE)):
            values.add_(1)

    with pytest.raises(RuntimeError, match="previous error during capture"):
        record(work)


def test_random_numbers_are_those_of_the_seed_at_the_replay():
    own = torch.Generator(DEVICE)

    def work():
        return torch.rand(3, device=DEVICE), torch.rand(3, device=DEVICE, generator=own)

    graph, given = record(work, own)
    for seed in (3, 4):
        torch.cuda.manual_seed(seed)
        own.manual_seed(seed + 1)
        wanted = work()
        torch.cuda.manual_seed(seed)
        own.manual_seed(seed + 1)
        with simulated.counted() as counts:
            graph.replay()
        assert counts["launch"] == 1 + 2 * 2
        for one, other in zip(given, wanted, strict=True):
            assert torch.equal(one, other)


def test_memory_is_kept_for_replays_and_used_again_within_one():
    gc.collect()
    before = torch.cuda.memory_allocated(DEVICE)
    values = torch.ones(1000, device=DEVICE)

    def work(total):
        for _ in range(10):
            total = total + 1
        return total

    graph, total = record(partial(work, values))
    kept = torch.cuda.memory_allocated(DEVICE) - before
    assert values.nbytes < kept <= 4 * values.nbytes
    graph.replay()
    assert total[0].item() == 11
    del values
    with pytest.raises(RuntimeError, match="inputs are gone"):
        graph.replay()
    del graph, total
    gc.collect()
    assert torch.cuda.memory_allocated(DEVICE) == before


def test_graphs_share_memory():
    values = torch.ones(1000, device=DEVICE)
    first, one = record(lambda: (values + 1).sum())
    before = torch.cuda.memory_allocated(DEVICE)
    second, other = record(lambda: (values * 3).sum(), pool=first.pool())
    assert torch.cuda.memory_allocated(DEVICE) - before < values.nbytes
    first.replay()
    second.replay()
    assert (one.item(), other.item()) == (2000, 3000)


def test_too_little_memory_while_recording_leaves_nothing_behind():
    values = torch.ones(1000, device=DEVICE)
    before = torch.cuda.memory_allocated(DEVICE)
    with simulated.failing(2), pytest.raises(torch.OutOfMemoryError):
        record(lambda: (values + 1, values + 2))
    gc.collect()
    assert torch.cuda.memory_allocated(DEVICE) == before
    graph, given = record(lambda: values + 1)
    graph.replay()
    assert given[0].item() == 2
