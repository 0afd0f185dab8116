"""The last layers of networks as others write them: found, and put back with other weights."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.bench import bench as bench
from torch import Tensor, nn
from torchvision import models

import pytest_multiplicity as pm
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.evaluation.survivors import Survivors
from pytest_multiplicity.reach import head_of


def pictures(name: str, count: int, size: int = 32) -> pm.Data:
    """Three classes, the later the brighter."""
    draw = torch.Generator().manual_seed(len(name))
    targets = torch.arange(count) % 3
    inputs = torch.rand(count, 3, size, size, generator=draw) / 2
    return pm.Data(inputs + 0.2 * targets[:, None, None, None], targets, name=name, bounds=None)


class Answering(nn.Module):
    """A network that answers with an object, or a dict, as others' do."""

    def __init__(self, how: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU())
        self.last, self.how = nn.Linear(8, 3), how

    def forward(self, inputs: Tensor) -> Any:
        return self.how(self.last(self.body(inputs)))


class AtTheLast(nn.Module):
    """A network that answers at every position, and picks one for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        steps = inputs.flatten(2)  # [n, 3, 16]: three positions
        everywhere: Tensor = self.last(self.body(steps[..., :12]).relu())
        chosen = (inputs.flatten(1).sum(1) * 10).long() % 3
        return everywhere[torch.arange(len(inputs)), chosen]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(num_classes=3),
    "mobilenet": lambda: models.mobilenet_v3_small(num_classes=3),
    "transformer": lambda: models.VisionTransformer(32, 8, 1, 2, 16, 16, num_classes=3),
}
SMALL: dict[str, Callable[[], nn.Module]] = {
    "object": lambda: Answering(lambda logits: SimpleNamespace(logits=logits)),
    "dict": lambda: Answering(lambda logits: {"loss": 0, "logits": logits}),
    "tuple": lambda: Answering(lambda logits: (logits, 1)),
    "position": AtTheLast,
}


def drawn(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return a network with weights of a seed."""
    torch.manual_seed(seed)
    return make().eval().requires_grad_(False)


@pytest.mark.parametrize("name", [*NETWORKS, *SMALL])
def test_outputs_are_features_times_weights_also_of_what_is_built(name: str) -> None:
    model = drawn((NETWORKS | SMALL)[name])
    data = pictures("some", 9, 32 if name in NETWORKS else 4)
    head = head_of(model, data, "a")
    features, changed = head.features(data).double(), head.weights.flip(0) * 2 + 0.1
    for each, weights in ((model, head.weights), (head.built(changed), changed)):
        given = kinds.answers(each(data.inputs))
        assert torch.allclose(given.double(), features @ weights.T, atol=1e-4)
    before, after = model.state_dict(), head.built(changed).state_dict()
    other = [key for key in before if not torch.equal(before[key], after[key])]
    assert len(other) == 2  # weight and bias


@pytest.mark.parametrize("name", ["transformer", *SMALL])
def test_what_is_built_of_them_is_measured(bench: Any, name: str) -> None:
    make = (NETWORKS | SMALL)[name]
    size = 32 if name in NETWORKS else 4
    select, report = pictures("select", 30, size), pictures("report", 24, size)
    population = bench.family(
        lambda config: drawn(make, config.seed), default={"a": 0}, vary={}, seeds=1
    )
    survivors = Survivors(population, [0])
    frame = survivors.reachable(report, select, within=0.2)
    assert frame.reachable.any()
    row = int(np.flatnonzero(frame.reachable)[-1])
    twin = survivors.twin(report, row, select, within=0.2)
    said = kinds.answers(twin.module(select.inputs)).argmax(1)
    assert float((said == select.targets).double().mean()) == pytest.approx(frame.score[row])
    assert int(kinds.answers(twin.module(report.inputs))[row].argmax()) == frame.to[row]


class Served:
    """A network behind an object that can be called."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, inputs: Tensor) -> Tensor:
        return 2 * self.network(inputs)

    def told(self, inputs: Tensor) -> Tensor:
        return self(inputs)


def captured(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda inputs: network(inputs).flip(1)


@pytest.mark.parametrize(
    "wrap",
    [Served, lambda network: Served(network).told, captured],
    ids=["object", "method", "function"],
)
def test_a_callable_that_holds_a_network_says_so(
    bench: Any, wrap: Callable[[nn.Module], Any]
) -> None:
    data = pictures("some", 9, 4)
    network = drawn(lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 3)))
    told = r"nobody sees \(it holds a network as 'network': return that itself"
    with pytest.raises(MeasurementError, match=told):
        head_of(wrap(network), data, "a")
    population = bench.family(lambda config: wrap(network), default={"a": 0}, vary={}, seeds=1)
    with pytest.raises(MeasurementError, match=told):
        Survivors(population, [0]).reachable(data, pictures("other", 9, 4))
