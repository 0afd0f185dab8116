"""Linear layers after each other as one operation, against one operation after the other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import FusedModule, join_rows, numpy_matmul
from pytest_multiplicity.compute.in_a_row import InARow

LANES = 5


def sequence() -> nn.Sequential:
    inner = nn.Sequential(nn.Linear(70, 33, bias=False), nn.Dropout(), nn.ReLU(inplace=True))
    head = (nn.Linear(33, 20), nn.Linear(20, 7), nn.ReLU())
    return nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(64, 70), nn.ReLU(), inner, *head)


class Own(nn.Module):
    """Uses what is between a layer and its ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 7), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.flatten(1)) + self.net[0](x.flatten(1))  # type: ignore[no-any-return]


def abreast(modules: Sequence[nn.Module], *, joined: bool, learning: bool = False) -> FusedModule:
    fused = FusedModule(modules).train(False)
    fused.deck.by_numpy = True
    for tensor in fused.parameters.values():
        tensor.requires_grad_(learning)
    if joined:
        join_rows(fused.template)
    return fused


def modules(build: type[nn.Module] | None = None) -> list[nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [build() if build else sequence() for _ in range(LANES)]


def inputs(rows: int = 32) -> Tensor:
    return torch.randn(LANES, rows, 1, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.2


def slope(fused: FusedModule, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    out = fused(x)
    weighed = torch.linspace(-1, 1, out.numel()).view_as(out)
    return out.detach(), torch.autograd.grad(out, x, weighed)[0]


@pytest.mark.parametrize("rows", [32, 256])
@pytest.mark.parametrize("build", [None, Own])
def test_bits_are_those_of_one_after_the_other(build: type[nn.Module] | None, rows: int) -> None:
    one, other = (abreast(modules(build), joined=joined) for joined in (False, True))
    x = inputs(rows)
    for pair in zip(slope(one, x), slope(other, x), strict=True):
        assert torch.equal(*pair)
        assert pair[0].abs().sum() > 0
    with torch.no_grad():
        assert torch.equal(other(x), one(x))
        assert torch.equal(other.shared(x[0]), one.shared(x[0]))


def test_rows_of_layers_are_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with as many products as it has layers, and as many for the gradient."""
    products: list[Tensor] = []
    calls: list[tuple[bool, ...]] = []
    matmul, layers = numpy_matmul._matmul, numpy_matmul._Layers.apply

    def multiplied(x: Tensor, y: Tensor) -> Tensor:
        products.append(x)
        return matmul(x, y)

    def applied(x: Tensor, rectified: tuple[bool, ...], *flat: Tensor) -> Tensor:
        calls.append(rectified)
        return layers(x, rectified, *flat)  # type: ignore[no-any-return]

    monkeypatch.setattr(numpy_matmul, "_matmul", multiplied)
    monkeypatch.setattr(numpy_matmul._Layers, "apply", applied)
    slope(abreast(modules(), joined=True), inputs())
    assert calls == [(True,), (True,), (False, True)]
    assert len(products) == 2 * 4


def test_what_is_between_stays_where_it_is_used() -> None:
    own = abreast(modules(Own), joined=True).template
    assert not any(isinstance(part, InARow) for part in own.modules())
    kept = nn.Sequential(nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Dropout())
    kept.train()
    join_rows(kept)
    kinds = [type(part) for part in kept]
    assert kinds == [nn.ReLU, InARow, nn.Tanh, InARow, nn.Dropout]


def test_layers_that_learn_and_other_precisions_are_computed_one_by_one() -> None:
    one, other = (abreast(modules(), joined=joined, learning=True) for joined in (False, True))
    for fused in (one, other):
        fused(inputs()).sum().backward()  # type: ignore[no-untyped-call]
    for name, tensor in one.parameters.items():
        found = other.parameters[name].grad
        assert tensor.grad is not None
        assert found is not None
        assert torch.equal(tensor.grad, found)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(other(inputs()), one(inputs()))
