"""Candidates side by side compute what each would by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytest_multiplicity.compute.fused import FusedModule, drawing_nothing, stack, structure
from pytest_multiplicity.compute.lanes import Unfusable
from pytest_multiplicity.compute.numpy_matmul import _matmul

LANES, BATCH = 5, 6
Build = Callable[[], nn.Module]


class Residual(nn.Module):
    """A residual block with what ResNets do in their own code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.shortcut = nn.Sequential(nn.Conv2d(4, 8, 1, stride=2), nn.BatchNorm2d(8))
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out)) * self.scale
        out += self.shortcut(x)
        out = F.relu(out).mean((2, 3))
        return self.head(out.view(x.size(0), -1))  # type: ignore[no-any-return]


class Dense(nn.Module):
    """Concatenation, squeeze and excitation, and arithmetic with constants and numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.grow = nn.Conv2d(4, 4, 3, padding=1)
        self.squeeze = nn.Linear(8, 8)
        self.head = nn.Linear(8 * 64, 3)
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = 1 - (x - self.mean) / 0.5
        x = torch.cat([x, self.grow(x)], 1)
        gate = torch.sigmoid(self.squeeze(F.adaptive_avg_pool2d(x, 1).flatten(1)))
        x = x * gate[:, :, None, None]
        return self.head(torch.flatten(x, 1))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Patches, a class token, positions, attention and layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(4, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(b, -1, -1), x], dim=1) + self.position
        qkv = self.qkv(self.norm(x)).reshape(b, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q @ k.transpose(-2, -1) * 0.5).softmax(dim=-1) @ v
        scores = scores + F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(scores.transpose(1, 2).reshape(b, 5, 8))
        return self.head(x[:, 0])  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """torch's own encoder layer, whose attention runs lane by lane."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(4, 8, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.patch(x).flatten(2).transpose(1, 2))
        return self.head(x.mean(1))  # type: ignore[no-any-return]


class Words(nn.Module):
    """Embeddings of discrete inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        words = (x[:, 0, 0] * 6.99).long()
        return self.head(self.embed(words).mean(1))  # type: ignore[no-any-return]


class Tied(nn.Module):
    """One weight in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(256, 256, bias=False)
        self.two = nn.Linear(256, 256)
        self.two.weight = self.one.weight
        self.head = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.one(x.flatten(1)).tanh()))  # type: ignore[no-any-return]


def flat(*layers: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 3))


def image_of(*layers: nn.Module) -> Build:
    def build() -> nn.Module:
        body = nn.Sequential(*(layer for layer in layers))
        features = body.eval()(torch.zeros(2, 4, 8, 8)).flatten(1).shape[1]
        return flat(*[reset(layer) for layer in layers], features=features).train()

    return build


def reset(layer: nn.Module) -> nn.Module:
    """Copy a layer with other weights."""
    made = copy.deepcopy(layer)
    for tensor in (*made.parameters(), *made.buffers()):
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand_like(tensor) + 0.1)
    return made


LAYERS: dict[str, Build] = {
    "linear": image_of(nn.Flatten(), nn.Linear(256, 9), nn.ReLU(), nn.Linear(9, 7, bias=False)),
    "linear on the last dimension": image_of(nn.Linear(8, 5)),
    "conv": image_of(nn.Conv2d(4, 6, 3, padding=1, stride=2), nn.ReLU(inplace=True)),
    "conv, groups, dilation": image_of(nn.Conv2d(4, 8, 3, groups=2, dilation=2, bias=False)),
    "conv, depthwise, same": image_of(nn.Conv2d(4, 4, 3, groups=4, padding="same")),
    "conv, reflected": image_of(nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect")),
    "conv1d": image_of(nn.Flatten(2), nn.Conv1d(4, 6, 5), nn.BatchNorm1d(6), nn.MaxPool1d(2)),
    "conv3d": image_of(nn.Unflatten(1, (2, 2)), nn.Conv3d(2, 3, (2, 3, 3)), nn.BatchNorm3d(3)),
    "transposed conv": image_of(nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2)),
    "batch norm": image_of(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1)),
    "batch norm of inputs": image_of(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3)),
    "batch norm without statistics": image_of(nn.BatchNorm2d(4, track_running_stats=False)),
    "batch norm without weights": image_of(nn.BatchNorm2d(4, affine=False)),
    "batch norm 1d": image_of(nn.Flatten(), nn.Linear(256, 6), nn.BatchNorm1d(6), nn.Linear(6, 4)),
    "layer norm": image_of(nn.Flatten(), nn.Linear(256, 6), nn.LayerNorm(6), nn.GELU()),
    "layer norm of images": image_of(nn.Conv2d(4, 2, 3), nn.LayerNorm([2, 6, 6])),
    "group norm": image_of(nn.Conv2d(4, 6, 3), nn.GroupNorm(3, 6)),
    "instance norm": image_of(nn.Conv2d(4, 6, 3), nn.InstanceNorm2d(6, affine=True)),
    "max pool": image_of(nn.Conv2d(4, 6, 3), nn.MaxPool2d(2)),
    "average pool": image_of(nn.AvgPool2d(3, stride=2), nn.Conv2d(4, 3, 1)),
    "adaptive pool": image_of(nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1)),
    "adaptive max pool": image_of(nn.Conv2d(4, 6, 3), nn.AdaptiveMaxPool2d(2)),
    "prelu": image_of(nn.Conv2d(4, 6, 3), nn.PReLU(), nn.PReLU(6)),
    "activations": image_of(
        *[nn.Conv2d(4, 4, 1), nn.LeakyReLU(), nn.ELU(), nn.SiLU(), nn.Hardswish(), nn.Softplus()],
        *[nn.Mish(), nn.ReLU6(), nn.Tanh(), nn.Sigmoid(), nn.LogSoftmax(1), nn.Softmax(dim=1)],
    ),
    "upsample": image_of(nn.Conv2d(4, 3, 3), nn.Upsample(scale_factor=2), nn.PixelUnshuffle(2)),
    "unfold, lane by lane": image_of(nn.Unfold(3), nn.Linear(36, 2)),
    "dropout": image_of(nn.Conv2d(4, 3, 3), nn.Dropout(0.3), nn.Flatten(), nn.Dropout(0.5)),
    "dropout 2d": image_of(nn.Conv2d(4, 3, 3), nn.Dropout2d(0.4)),
    "residual": Residual,
    "dense": Dense,
    "transformer": Transformer,
    "encoder": Encoder,
    "embedding": Words,
    "tied": Tied,
}


def modules(build: Build, count: int = LANES) -> list[nn.Module]:
    with torch.random.fork_rng():
        made = []
        for seed in range(count):
            torch.manual_seed(seed)
            made.append(build().double())
        return made


def batch(count: int = LANES, size: int = BATCH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    inputs = torch.rand(count, size, 4, 8, 8, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (count, size), generator=generator)


def plain_gradients(module: nn.Module, x: Tensor, y: Tensor, seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        F.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


MULTIPLYING = ["linear", "linear on the last dimension", "transformer", "residual", "tied"]


@pytest.mark.parametrize(
    ("name", "by_numpy"), [*((n, False) for n in LAYERS), *((n, True) for n in MULTIPLYING)]
)
def test_gradients_are_those_of_each_module(name: str, by_numpy: bool) -> None:
    alone, (inputs, targets) = modules(LAYERS[name]), batch()
    fused = stack(alone)
    fused.deck.by_numpy = by_numpy
    fused.deck.generators = [torch.Generator().manual_seed(seed) for seed in range(LANES)]
    with drawing_nothing():
        logits = fused(inputs)
    loss = sum(F.cross_entropy(z, y) for z, y in zip(logits, targets, strict=True))
    params = {n: p for n, p in fused.parameters.items() if p.requires_grad}
    grads = dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))  # type: ignore[arg-type]
    for lane, module in enumerate(alone):
        expected = plain_gradients(module, inputs[lane], targets[lane], lane)
        assert expected.keys() == grads.keys()
        for parameter, gradient in expected.items():
            torch.testing.assert_close(grads[parameter][lane], gradient, rtol=1e-10, atol=1e-10)
        for key, value in module.state_dict().items():
            torch.testing.assert_close(fused.state(lane)[key], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "by_numpy"), [*((n, False) for n in LAYERS), *((n, True) for n in MULTIPLYING)]
)
def test_evaluation_of_shared_and_of_own_inputs(name: str, by_numpy: bool) -> None:
    alone, (inputs, _) = [module.eval() for module in modules(LAYERS[name])], batch()
    fused = FusedModule(alone)
    fused.deck.by_numpy = by_numpy
    own, shared = fused(inputs), fused.shared(inputs[0])
    for lane, module in enumerate(alone):
        torch.testing.assert_close(own[lane], module(inputs[lane]), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(shared[lane], module(inputs[0]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "by_numpy"),
    [
        *((n, False) for n in ("linear", "residual", "dense", "transformer", "dropout")),
        *((n, True) for n in ("linear", "residual")),
    ],
)
@pytest.mark.parametrize("size", [BATCH, 33])
def test_a_lane_is_bitwise_the_same_beside_any_neighbours(
    name: str, size: int, by_numpy: bool
) -> None:
    made = modules(LAYERS[name], 9)
    inputs = batch(size=size)[0].float()
    parameter = next(name for name, _ in made[0].named_parameters())

    def gradient(neighbours: list[nn.Module], slot: int) -> Tensor:
        chosen = [*neighbours[:slot], made[0], *neighbours[slot:]]
        fused = stack([module.float() for module in chosen])
        fused.deck.by_numpy = by_numpy
        fused.deck.generators = [torch.Generator().manual_seed(3) for _ in chosen]
        x = inputs[:1].expand(len(chosen), *inputs.shape[1:])
        loss = fused(x).square().sum()
        (grad,) = torch.autograd.grad(loss, [fused.parameters[parameter]])
        return grad[slot]

    reference = gradient(made[1:5], 0)
    assert torch.equal(reference, gradient(made[5:9], 4))
    sick = modules(LAYERS[name], 5)[1:]
    for module in sick:
        for p in module.parameters():
            p.data.fill_(torch.nan)
    assert torch.equal(reference, gradient(sick, 2))


def test_gradients_of_images_lie_as_the_images_do() -> None:
    """What comes after them lies in another way, in which pooling takes long backwards."""
    formats: list[bool] = []

    class Watched(nn.AdaptiveAvgPool2d):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            value = getattr(out, "value", out)
            value.register_hook(
                lambda g: formats.append(g.is_contiguous(memory_format=torch.channels_last))
            )
            return out

    for channels_last in (False, True):
        fused = stack(modules(image_of(nn.Conv2d(4, 6, 3), Watched(2))))
        fused.deck.channels_last = channels_last
        fused(batch()[0]).square().sum().backward()  # type: ignore[no-untyped-call]
    assert formats == [False, True]


def test_numpy_multiplies_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards and both gradients of each layer; not in bf16, which it doesn't know."""
    products: list[torch.dtype] = []

    def spied(x: Tensor, y: Tensor) -> Tensor:
        products.append(x.dtype)
        return _matmul(x, y)

    monkeypatch.setattr("pytest_multiplicity.compute.numpy_matmul._matmul", spied)
    fused = stack([module.float() for module in modules(LAYERS["linear"])])
    fused.deck.by_numpy = True
    inputs = batch()[0].float().requires_grad_()
    fused(inputs).sum().backward()  # type: ignore[no-untyped-call]
    assert products == [torch.float32] * 3 * 3
    with torch.autocast("cpu", torch.bfloat16):
        assert fused(inputs).dtype == torch.bfloat16
    assert len(products) == 9


class Decides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(x.flatten(1))
        return out if out.sum() > 0 else -out  # type: ignore[no-any-return]


class Noisy(Decides):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) + torch.rand(3)  # type: ignore[no-any-return]


class Reads(Decides):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) * float(x.max())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (Decides, "decides by the value of a tensor"),
        (Reads, "decides by the value of a tensor"),
        (Noisy, "draws random numbers by other means than dropout"),
    ],
)
def test_what_cannot_be_fused_says_why(build: Build, said: str) -> None:
    fused = stack(modules(build))
    with pytest.raises(Unfusable, match=said), drawing_nothing():
        fused(batch()[0])


def test_modules_of_other_structure_cannot_be_stacked() -> None:
    with pytest.raises(Unfusable, match="differ in structure"):
        stack([nn.Linear(4, 3), nn.Linear(4, 2)])


def test_structure_tells_settings_apart_but_not_weights() -> None:
    assert structure(nn.Linear(4, 3)) == structure(nn.Linear(4, 3))
    assert structure(nn.Dropout(0.1)) != structure(nn.Dropout(0.2))
    assert structure(nn.Conv2d(1, 2, 3)) != structure(nn.Conv2d(1, 2, 3, stride=2))
    assert structure(nn.Linear(4, 3)) != structure(nn.Linear(4, 3).eval())
    frozen = nn.Linear(4, 3).requires_grad_(False)
    assert structure(nn.Linear(4, 3)) != structure(frozen)


def test_structure_knows_tensors_that_are_plain_attributes() -> None:
    def with_constant(value: float) -> nn.Module:
        module: Any = nn.Linear(4, 3)
        module.constant = torch.full((3,), value)
        return module  # type: ignore[no-any-return]

    assert structure(with_constant(1.0)) == structure(with_constant(1.0))
    assert structure(with_constant(1.0)) != structure(with_constant(2.0))


def test_parameters_in_a_list_are_left_alone() -> None:
    with pytest.raises(Unfusable, match="parameters in a list of its own"):
        structure(nn.LSTM(4, 3))


def test_modules_with_hooks_are_left_alone() -> None:
    module = nn.Linear(4, 3)
    module.register_forward_hook(lambda *args: None)
    with pytest.raises(Unfusable, match="has hooks"):
        structure(module)
