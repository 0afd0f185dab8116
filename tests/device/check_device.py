"""The simulated device itself: what it computes, counts and refuses."""

from __future__ import annotations

import io

import pytest
import simulated
import torch
from torch import nn

DEVICE = torch.device("cuda", 1)


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
        *(nn.Dropout(0.2), nn.Linear(144, 5)),
    )


def test_it_computes_what_the_cpu_does():
    torch.manual_seed(0)
    module, inputs = network().eval(), torch.randn(7, 3, 8, 8)
    there = module(inputs)
    there.sum().backward()
    gradients = [parameter.grad.clone() for parameter in module.parameters()]
    module.zero_grad()
    module.to(DEVICE)
    here = module(inputs.to(DEVICE))
    here.sum().backward()
    assert here.device == DEVICE
    torch.testing.assert_close(here.cpu(), there)
    for parameter, wanted in zip(module.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad.cpu(), wanted)


def test_every_launch_is_counted_once():
    several = [torch.ones(3, device=DEVICE) for _ in range(5)]
    with simulated.counted() as counts:
        (several[0] + 1).mul_(2)
        torch._foreach_add_(several, 1.0)
    assert counts["launch"] == 3
    assert "wait" not in counts


@pytest.mark.parametrize(
    ("waits", "act"),
    [
        (1, lambda x: x.sum().item()),
        (1, lambda x: x.cpu()),
        (1, lambda x: x[x > 0]),
        (1, lambda x: x[torch.tensor([0, 1])]),
        (1, lambda x: (x > 0).nonzero()),
        (1, lambda x: torch.tensor([1.0], device=x.device)),
        (0, lambda x: torch.tensor([1.0]).pin_memory().to(x.device, non_blocking=True)),
        (0, lambda x: torch.where(x > 0, x, 0.0).sum()),
        (1, lambda x: torch.cuda.synchronize()),
    ],
)
def test_it_counts_when_the_host_waits(waits, act):
    values = torch.arange(4.0, device=DEVICE)
    with simulated.counted() as counts:
        act(values)
    assert counts.get("wait", 0) == waits


def test_devices_do_not_mix():
    with pytest.raises(RuntimeError, match="at least two devices, cuda:1 and cpu"):
        torch.ones(3, device=DEVICE) + torch.ones(3)
    with pytest.raises(RuntimeError, match="at least two devices, cuda:1 and cuda:0"):
        torch.ones(3, device=DEVICE) + torch.ones(3, device="cuda:0")


def test_each_has_random_numbers_of_its_own():
    torch.cuda.manual_seed_all(3)
    first = torch.rand(4, device=DEVICE)
    torch.cuda.manual_seed_all(3)
    torch.rand(4, device="cuda:0")
    assert torch.equal(torch.rand(4, device=DEVICE), first)


def test_memory_is_each_device_s_own_and_what_is_freed_stays_reserved():
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    before, other = torch.cuda.memory_allocated(DEVICE), torch.cuda.memory_allocated(0)
    free, _ = torch.cuda.mem_get_info(DEVICE)
    values = torch.zeros(1 << 20, dtype=torch.uint8, device=DEVICE)
    assert torch.cuda.memory_allocated(DEVICE) - before == values.nbytes
    del values
    assert torch.cuda.max_memory_allocated(DEVICE) - before == 1 << 20
    assert free - torch.cuda.mem_get_info(DEVICE)[0] == 1 << 20
    torch.cuda.empty_cache()
    assert torch.cuda.mem_get_info(DEVICE)[0] == free
    assert torch.cuda.memory_allocated(0) == other


def test_it_runs_out_of_memory():
    values = torch.zeros(8, device=DEVICE)
    with simulated.failing(2):
        values.clone()
        with pytest.raises(torch.OutOfMemoryError):
            values.clone()
        values.clone()
    with simulated.failing(1, "CUDA error: out of memory"), pytest.raises(RuntimeError) as caught:
        values.clone()
    assert not isinstance(caught.value, torch.OutOfMemoryError)
    with simulated.limited(100), pytest.raises(torch.OutOfMemoryError):
        torch.zeros(1000, device=DEVICE)


def test_what_is_saved_goes_back_where_it_was():
    kept = io.BytesIO()
    torch.save(torch.arange(3, device=DEVICE), kept)
    kept.seek(0)
    found = torch.load(kept, weights_only=True)
    assert found.device == DEVICE
    assert found.tolist() == [0, 1, 2]
