"""Which device and how many threads a process has; no GPU is needed to know."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from pytest_multiplicity.plugin.device import choose
from pytest_multiplicity.plugin.resources import Resources


@pytest.fixture
def gpus(monkeypatch):
    """As if so many GPUs were visible."""

    def visible(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: names.get(index, "H200"))

    names = {2: "T4"}
    return visible


@pytest.mark.parametrize("text", ["auto", "cuda"])
def test_workers_take_turns_on_the_gpus_that_are_visible(gpus, monkeypatch, text):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7,9")
    gpus(4)
    assert [str(choose(text, process)) for process in range(5)] == [
        *("cuda:0", "cuda:1", "cuda:3"),  # the one between is of another model
        *("cuda:0", "cuda:1"),
    ]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7,9"


def test_one_process_has_all_gpus(gpus, monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    gpus(3)
    assert choose("auto") == choose("cuda") == torch.device("cuda")


def test_a_device_that_was_named_is_every_workers(monkeypatch):
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    assert {str(choose("cuda:1", process)) for process in range(3)} == {"cuda:1"}
    assert choose("cpu", 3) == torch.device("cpu")


def test_without_a_gpu_it_is_the_cpu(gpus):
    gpus(0)
    assert choose("auto", 2) == torch.device("cpu")
    with pytest.raises(pytest.UsageError, match=r"--multiplicity-device: 'cuda' can't be used"):
        choose("cuda")


@pytest.mark.parametrize("text", ["mps", "xpu:1", "meta"])
def test_devices_of_other_kinds_are_refused_in_a_sentence(monkeypatch, text):
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)  # as if there were one
    told = rf"{text!r} can't be used here \(its random numbers .*\); say auto, cpu, cuda, or one"
    with pytest.raises(pytest.UsageError, match=told):
        choose(text)


@pytest.mark.parametrize(("workers", "share"), [(1, 4), (3, 1), (4, 1), (8, 1)])
def test_a_worker_has_its_share_of_the_threads(monkeypatch, workers, share):
    now = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[-1])
    monkeypatch.setattr(torch, "set_num_threads", now.append)
    config = SimpleNamespace(workerinput={"workerid": "gw1", "workercount": workers})
    held = Resources(config, SimpleNamespace())
    assert held.process.number == 1
    assert held.threads == 4  # while it computes, and others wait
    assert now == [4, share]


def test_without_workers_there_is_no_share(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", pytest.fail)
    held = Resources(SimpleNamespace(), SimpleNamespace())
    assert held.process.number == 0
    assert held.threads == torch.get_num_threads()
