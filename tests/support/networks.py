"""Networks of many makes, each of three classes for images of three channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune, rnn

D = 192  # values in an image of 8 x 8

Build = Callable[[], nn.Module]


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Pick(nn.Module):
    """One of the things that a layer returns."""

    def __init__(self, layer: nn.Module, *path: int) -> None:
        super().__init__()
        self.layer, self.path = layer, path

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        for step in self.path:
            out = out[step]
        return out


def flat(*layers: nn.Module, width: int = 8) -> nn.Module:
    """Return a network of values, around layers of some width."""
    return nn.Sequential(nn.Flatten(), nn.Linear(D, width), *layers, nn.Flatten(), nn.LazyLinear(3))


def known(*layers: nn.Module, width: int = 8, last: int = 8) -> nn.Module:
    """Return a network of values without lazy parts."""
    return nn.Sequential(nn.Flatten(), nn.Linear(D, width), *layers, nn.Linear(last, 3))


def images(*layers: nn.Module, channels: int = 6) -> nn.Module:
    """Return a network of images, around layers of some channels."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LazyLinear(3),
    )  # fmt: skip


def sequences(*layers: nn.Module) -> nn.Module:
    """Return a network of eight steps of 24 values, around layers that keep the steps first."""
    return nn.Sequential(Apply(lambda x: x.flatten(1).view(-1, 8, 24)), *layers, nn.LazyLinear(3))


def ids(top: int) -> nn.Module:
    """Return a layer that makes ids below a number of the first four values."""
    return Apply(lambda x: (x.flatten(1)[:, :4] * top).long().clamp(0, top - 1))


class Attention(nn.Module):
    """Attention under a mask that is infinite."""

    def __init__(self, *, persistent: bool = True, boolean: bool = False) -> None:
        super().__init__()
        self.of, self.last = nn.MultiheadAttention(24, 2, batch_first=True), nn.Linear(24, 3)
        mask = torch.full((8, 8), -torch.inf).triu(1)
        self.register_buffer("mask", mask.isinf() if boolean else mask, persistent=persistent)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.flatten(1).view(-1, 8, 24)
        out: Tensor = self.last(self.of(steps, steps, steps, attn_mask=self.mask)[0].mean(1))
        return out


class Packed(nn.Module):
    """A GRU of sequences that are packed."""

    def __init__(self) -> None:
        super().__init__()
        self.of, self.last = nn.GRU(24, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((len(x),), 5)
        packed = rnn.pack_padded_sequence(x.reshape(-1, 8, 24), lengths, batch_first=True)
        out: Tensor = self.last(self.of(packed)[1][0])
        return out


class Tied(nn.Module):
    """A decoder of the encoder's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(D, 8), nn.Linear(8, D)
        self.decode.weight = nn.Parameter(self.encode.weight.detach().T.clone())
        self.last, self.again = nn.Linear(D, 3), nn.Linear(D, 3)
        self.again.weight = self.last.weight

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        out: Tensor = self.last(self.decode(self.encode(values))) + self.again(values)
        return out


class _Straight(torch.autograd.Function):
    """A sign whose gradient is one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Extra(nn.Linear):
    """A layer with a state of its own beside its tensors."""

    steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return super().forward(x) * (1 + self.steps)

    def get_extra_state(self) -> Any:
        return {"steps": self.steps}

    def set_extra_state(self, state: Any) -> None:
        self.steps = state["steps"]


class ExtraTensor(Extra):
    """The same, in a tensor."""

    def get_extra_state(self) -> Any:
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Any) -> None:
        self.steps = int(state)


class Learnt(nn.Module):
    """A layer that keeps what it learns in attributes."""

    def __init__(self, kept: Any) -> None:
        super().__init__()
        self.kept, self.last = kept, nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        if self.training:
            self.kept = type(self.kept)(values.detach().mean()) + self.kept
        out: Tensor = self.last(values * self.kept)
        return out


class LearntTensor(Learnt):
    """The same, in a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__(None)
        self.kept = torch.zeros(D)

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        if self.training:
            self.kept = values.detach().mean(0)
        out: Tensor = self.last(values - self.kept)
        return out


class Heads(nn.Module):
    """Several heads that are kept in a list and a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.some = nn.ModuleList(nn.Linear(D, 3) for _ in range(3))
        self.named = nn.ModuleDict({"a": nn.Linear(D, 3)})
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(3)) for _ in range(2))
        self.shifts = nn.ParameterDict({"b": nn.Parameter(torch.zeros(3))})

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        out: Tensor = sum(head(values) for head in self.some) * self.scales[0]
        return out + self.named["a"](values) * self.scales[1] + self.shifts["b"]


class Several(nn.Module):
    """A network of several outputs, of which `only` says the one that counts."""

    def __init__(self, only: bool) -> None:
        super().__init__()
        self.first, self.second, self.only = nn.Linear(D, 3), nn.Linear(D, 3), only

    def forward(self, x: Tensor) -> Any:
        both = self.first(x.flatten(1)), self.second(x.flatten(1))
        return both[0] if self.only else both


class Nested(nn.Module):
    """A module whose layers are made, and found, in odd ways."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("a", "b_", "c0"):
            self.add_module(name, nn.Linear(D, 8))
        self.rest = {"d": nn.Linear(8, 8)}  # torch does not see it
        self.last, self.same = nn.Linear(8, 3), nn.Identity()
        self.alias = self.last

    def forward(self, x: Tensor) -> Tensor:
        total = sum(getattr(self, name)(x.flatten(1)) for name in ("a", "b_", "c0"))
        out: Tensor = self.alias(self.same(total))
        return out


class Complex(nn.Module):
    """A layer of complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(D, 3, dtype=torch.complex64) / D)

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1).to(torch.complex64) @ self.weight).abs()


class Buffers(nn.Module):
    """A layer with buffers that are kept, that aren't, and that are none."""

    seen: Tensor
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(D, 3)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.rand(D), persistent=False)
        self.register_buffer("mean", torch.zeros(D), persistent=False)
        self.register_buffer("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        values = x.flatten(1)
        if self.training:
            self.seen += len(x)
            self.mean = 0.9 * self.mean + 0.1 * values.detach().mean(0)
        out: Tensor = self.last((values - self.mean) * self.scale) + self.seen / 100
        return out


def hooked() -> nn.Module:
    """Return a network with hooks of every kind."""
    net = known(nn.ReLU())
    net[1].register_forward_hook(lambda module, args, out: out * 2)
    net[2].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    net[3].register_full_backward_hook(lambda module, given, taken: None)
    net[3].weight.register_hook(lambda gradient: gradient.clamp(-1, 1))
    return net


def frozen() -> nn.Module:
    """Return a network the first part of which is not trained."""
    net = known(nn.BatchNorm1d(8), nn.ReLU())
    net[1].requires_grad_(False)
    net[2].eval()
    return net


def pruned() -> nn.Module:
    """Return a network half of whose weights are pruned."""
    net = known(nn.ReLU())
    prune.l1_unstructured(net[1], "weight", amount=0.5)
    return net


def pruned_for_good() -> nn.Module:
    """Return the same, of which nothing else tells."""
    net = pruned()
    prune.remove(net[1], "weight")
    return net


def averaged() -> nn.Module:
    """Return the mean of networks, as SWA keeps it."""
    return torch.optim.swa_utils.AveragedModel(known(nn.ReLU()))


def known_tail() -> nn.Module:
    """Return what makes three logits of anything."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))


def checkpointed(x: Tensor) -> Tensor:
    """Compute something again in the backward pass."""
    out: Tensor = torch.utils.checkpoint.checkpoint(torch.tanh, x, use_reentrant=False)
    return out
