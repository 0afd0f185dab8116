"""Some of the modules and losses of modules.py."""

from __future__ import annotations

import pytest
import torch
from faults.modules import CASES, outcome
from torchvision.models import mnasnet0_5

from pytest_multiplicity.training import restore
from pytest_multiplicity.training.state import final_state

WORK = (
    *(
        "batch norm",
        "attention, mask of -inf",
        "weight norm, old",
        "tensor learnt",
        "several outputs",
    ),
    *("ready-made: quantised dynamically", "loss: counts its calls"),
)


@pytest.mark.parametrize("name", WORK)
def test_each_has_the_same_bits_the_second_time(name):
    assert outcome(CASES[name]) == "works"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("logits of many axes", "must give logits of shape"),
        ("loss: of each sample", "return a scalar"),
    ],
)
def test_others_are_refused_with_a_message(name, message):
    assert message in outcome(CASES[name])


class Versioned(torch.nn.Linear):
    """A layer that reads states of its own version only."""

    _version = 3

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        assert metadata.get("version") == 3
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def mnasnet():
    return mnasnet0_5(num_classes=3)


def nested():
    return torch.nn.Sequential(torch.nn.Sequential(Versioned(2, 2)))


@pytest.mark.parametrize("build", [mnasnet, lambda: Versioned(2, 2), nested])
def test_layers_are_told_the_version_of_their_state(build):
    one, other = build(), build()
    restore(other, final_state(one))
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_what_is_missing_in_a_state_is_still_told():
    state = final_state(nested())
    del state["0.0.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.0\.bias"):
        restore(nested(), state)
