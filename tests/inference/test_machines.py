"""What was trained on another class of machines is used, and said."""

from __future__ import annotations

import warnings

import pytest

from pytest_multiplicity.compute.arithmetic import MachineClass
from pytest_multiplicity.compute.machine import Machine
from pytest_multiplicity.store import StoreWarning

OTHER = MachineClass("cpu", "Another Processor AVX2", 4, ("torch 2.9",))


def test_weights_of_another_class_of_machines_are_used_and_said(bench, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Machine, "kind", OTHER)
        bench.family().models.ready()
    again = bench.family().models
    with pytest.warns(StoreWarning, match=r"4 of candidate's .* trained on Another Processor AVX2"):
        again.ready()
    assert again.counts.trained == 0


def test_weights_of_this_machine_are_used_in_silence(bench):
    bench.family().models.ready()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.family().models.ready()
