"""Modules and losses of many makes: the same bits the second time, or one message of our own.

    python tests/faults/modules.py [part of a name]

Two candidates of each are trained for a few steps, or given ready-made, and asked. A second run on
the same store asks again: for the answers, which the store has, and for those under a noise of
nothing, which it computes from the weights it has. Exits with 1 when bits differ, or one ends in
an error of torch.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils import parametrizations, weight_norm

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MultiplicityError

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.bench import Bench
from support.losses import LOSSES
from support.networks import (
    Apply,
    Attention,
    Buffers,
    Build,
    Complex,
    D,
    Extra,
    ExtraTensor,
    Heads,
    Learnt,
    LearntTensor,
    Nested,
    Packed,
    Pick,
    Several,
    Tied,
    _Straight,
    averaged,
    checkpointed,
    flat,
    frozen,
    hooked,
    ids,
    images,
    known,
    known_tail,
    pruned,
    pruned_for_good,
    sequences,
)

N = 12
_SEED = torch.Generator().manual_seed(0)
TARGETS = torch.arange(N) % 3
SMALL = pm.Data(torch.rand(N, 3, 8, 8, generator=_SEED), TARGETS, name="small")
LARGE = pm.Data(torch.rand(N, 3, 32, 32, generator=_SEED), TARGETS, name="large")


def ready(build: Build) -> nn.Module:
    """Return a network as it is measured."""
    return build().eval()


def traced() -> nn.Module:
    """Return a network as torch traces it."""
    return torch.jit.trace(ready(known), SMALL.inputs[:2])


def exported() -> nn.Module:
    """Return a network as torch exports it."""
    batch = torch.export.Dim("batch")
    return torch.export.export(
        ready(known), (SMALL.inputs[:4],), dynamic_shapes={"input": {0: batch}}
    ).module()


MODELS: dict[str, Build] = {
    "linear": lambda: known(),
    "bilinear": lambda: flat(Apply(lambda x: (x[:, :4, None] * x[:, None, 4:]).flatten(1))),
    "conv1d": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 5, 2), known_tail()),
    "conv2d": lambda: images(nn.ReLU(), nn.MaxPool2d(2)),
    "conv3d": lambda: nn.Sequential(
        Apply(lambda x: x[:, None]), nn.Conv3d(1, 4, (2, 3, 3)), known_tail()
    ),
    "conv transposed": lambda: images(nn.ConvTranspose2d(6, 4, 3, stride=2)),
    "conv depthwise": lambda: images(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 8, 1)),
    "conv in groups": lambda: images(nn.Conv2d(6, 8, 3, groups=2, dilation=2, bias=False)),
    "conv circular": lambda: images(nn.Conv2d(6, 6, 3, padding="same", padding_mode="circular")),
    "batch norm": lambda: images(nn.BatchNorm2d(6), nn.ReLU()),
    "batch norm 1d": lambda: known(nn.BatchNorm1d(8, momentum=None)),
    "layer norm": lambda: known(nn.LayerNorm(8)),
    "RMS norm": lambda: known(nn.RMSNorm(8)),
    "group norm": lambda: images(nn.GroupNorm(3, 6)),
    "instance norm": lambda: images(nn.InstanceNorm2d(6, affine=True, track_running_stats=True)),
    "local response norm": lambda: images(nn.LocalResponseNorm(2)),
    "RNN": lambda: sequences(Pick(nn.RNN(24, 6, batch_first=True), 1, 0)),
    "LSTM": lambda: sequences(Pick(nn.LSTM(24, 6, 2, batch_first=True, dropout=0.2), 1, 0, -1)),
    "LSTM both ways": lambda: sequences(
        Pick(nn.LSTM(24, 6, batch_first=True, bidirectional=True), 0), Apply(lambda x: x[:, -1])
    ),
    "LSTM projected": lambda: sequences(
        Pick(nn.LSTM(24, 6, batch_first=True, proj_size=4), 1, 0, 0)
    ),
    "GRU": lambda: sequences(Pick(nn.GRU(24, 6, batch_first=True), 1, 0)),
    "GRU packed": Packed,
    "attention, mask of -inf": Attention,
    "attention, mask not kept": lambda: Attention(persistent=False),
    "attention, boolean mask": lambda: Attention(boolean=True),
    "transformer encoder": lambda: sequences(
        nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 2, 16, batch_first=True), 2),
        Apply(lambda x: x.mean(1)),
    ),
    "transformer, norm first": lambda: sequences(
        nn.TransformerEncoder(
            nn.TransformerEncoderLayer(24, 3, 16, 0.0, batch_first=True, norm_first=True),
            1,
            enable_nested_tensor=False,
        ),
        Apply(lambda x: x[:, 0]),
    ),
    "embedding": lambda: nn.Sequential(
        ids(50), nn.Embedding(50, 4, padding_idx=0), nn.Flatten(), nn.Linear(16, 3)
    ),
    "embedding of long ids": lambda: nn.Sequential(
        ids(50_000), nn.Embedding(50_000, 4), nn.Flatten(), nn.Linear(16, 3)
    ),
    "embedding, sparse": lambda: nn.Sequential(
        ids(50), nn.Embedding(50, 4, sparse=True), nn.Flatten(), nn.Linear(16, 3)
    ),
    "embedding of a norm": lambda: nn.Sequential(
        ids(50), nn.Embedding(50, 4, max_norm=1.0), nn.Flatten(), nn.Linear(16, 3)
    ),
    "embedding bag": lambda: nn.Sequential(
        ids(50), nn.EmbeddingBag(50, 4, mode="mean"), nn.Linear(4, 3)
    ),
    "weight norm, old": lambda: nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(D, 3))),
    "weight norm, parametrized": lambda: nn.Sequential(
        nn.Flatten(), parametrizations.weight_norm(nn.Linear(D, 3))
    ),
    "spectral norm, old": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.spectral_norm(nn.Linear(D, 3))
    ),
    "spectral norm, parametrized": lambda: nn.Sequential(
        nn.Flatten(), parametrizations.spectral_norm(nn.Linear(D, 3))
    ),
    "orthogonal": lambda: known(parametrizations.orthogonal(nn.Linear(8, 8))),
    "dropout": lambda: known(nn.Dropout(0.3), nn.AlphaDropout(0.2)),
    "dropout of channels": lambda: images(nn.Dropout2d(0.3)),
    "random ReLU": lambda: known(nn.RReLU()),
    "PReLU": lambda: known(nn.PReLU(8)),
    "pixel shuffle": lambda: nn.Sequential(nn.PixelUnshuffle(2), known_tail()),
    "fold": lambda: nn.Sequential(nn.Unfold(3), known_tail()),
    "upsample": lambda: images(nn.Upsample(scale_factor=2, mode="bilinear")),
    "fractional pooling": lambda: images(nn.FractionalMaxPool2d(2, output_size=4)),
    "tied weights": Tied,
    "hooks": hooked,
    "frozen part": frozen,
    "custom autograd function": lambda: known(Apply(_Straight.apply)),
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), known_tail()),
    "pruned": pruned,
    "pruned for good": pruned_for_good,
    "averaged": averaged,
    "complex weights": Complex,
    "odd structure": Nested,
    "buffers not kept": Buffers,
    "lists and dictionaries": Heads,
    "extra state": lambda: nn.Sequential(nn.Flatten(), Extra(D, 3)),
    "extra state in a tensor": lambda: nn.Sequential(nn.Flatten(), ExtraTensor(D, 3)),
    "attribute learnt": lambda: Learnt(1.0),
    "tensor learnt": LearntTensor,
    "several outputs, one counts": lambda: Several(True),
    "several outputs": lambda: Several(False),
    "checkpointed": lambda: known(Apply(checkpointed)),
    "channels last": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    ).to(memory_format=torch.channels_last),
    "logits of many axes": lambda: nn.Conv2d(3, 3, 1),
    "nothing to train": lambda: nn.Sequential(nn.Flatten(), Apply(lambda x: x[:, :3])),
}

TORCHVISION: dict[str, Build] = {
    "resnet18": lambda: vision.resnet18(num_classes=3),
    "a resnet of one block": lambda: vision.ResNet(
        vision.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3
    ),
    "mobilenet v3": lambda: vision.mobilenet_v3_small(num_classes=3),
    "squeezenet": lambda: vision.squeezenet1_1(num_classes=3),
    "shufflenet": lambda: vision.shufflenet_v2_x0_5(num_classes=3),
    "mnasnet": lambda: vision.mnasnet0_5(num_classes=3),
    "a vision transformer": lambda: vision.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=3),
}

GIVEN: dict[str, Build] = {
    "given": lambda: ready(known),
    "scripted": lambda: torch.jit.script(ready(known)),
    "traced": traced,
    "exported": exported,
    "symbolically traced": lambda: torch.fx.symbolic_trace(ready(known)),
    "compiled eagerly": lambda: torch.compile(ready(known), backend="eager"),
    "quantised dynamically": lambda: quantize_dynamic(ready(known), {nn.Linear}),
    "in bfloat16": lambda: nn.Sequential(
        Apply(lambda x: x.bfloat16()), ready(known).bfloat16(), Apply(lambda x: x.float())
    ),
}

TRAINED_FORMS: dict[str, Build] = {
    "scripted in training": lambda: torch.jit.script(known()),
    "compiled eagerly in training": lambda: torch.compile(known(), backend="eager"),
}


Case = tuple[Build, pm.Data, dict[str, Any] | None]
CASES: dict[str, Case] = {
    **{name: (build, SMALL, {}) for name, build in {**MODELS, **TRAINED_FORMS}.items()},
    **{f"torchvision: {name}": (build, LARGE, {}) for name, build in TORCHVISION.items()},
    **{f"ready-made: {name}": (build, SMALL, None) for name, build in GIVEN.items()},
    **{name: (known, SMALL, {"loss": loss}) for name, loss in LOSSES.items()},
}


def asked(root: Path, case: Case, **under: Any) -> list[Tensor]:
    """Return the logits of two candidates, in a run of its own on the store in a folder."""
    build, data, settings = case

    def made(config: Any) -> Any:
        if settings is None:
            torch.manual_seed(config.seed)
            return build()
        return pm.Recipe(build, data, epochs=2, batch_size=4, lr=0.01, **settings)

    bench = Bench(root)
    with bench.store:
        population = bench.family(made, default={}, vary={})
        return [candidate.logits(data, **under) for candidate in population.candidates]


def same(ours: list[Tensor], others: list[Tensor]) -> bool:
    """Tell whether all answers have the same bits."""
    return all(map(torch.equal, ours, others))


def outcome(case: Case) -> str:
    """Return what became of a case: "works", or the message that refuses it."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fresh = asked(Path(folder), case)
            stored = asked(Path(folder), case)
            loaded = asked(Path(folder), case, under=pm.InputNoise(0))
        except MultiplicityError as error:
            return str(error) or "without a message, which is a fault"
    assert fresh[0].isfinite().all()
    assert not torch.equal(*fresh), "seeds don't tell"
    assert same(stored, fresh), "the store has other answers"
    assert same(loaded, fresh), "the stored weights have other answers"
    return "works"


def main(part: str = "") -> int:
    """Go through the cases whose names have this part."""
    failed, told = 0, []
    for name, case in CASES.items():
        if part in name:
            start = time.perf_counter()
            try:
                told.append(outcome(case))
                line = told[-1] if told[-1] == "works" else f"is refused: {told[-1]}"
            except Exception as error:  # whatever it is: that's what is looked for
                failed += 1
                told.append(f"FAILS: {type(error).__name__}: {error}")
                line = told[-1]
            took = time.perf_counter() - start
            print(f"{name:36} {took:5.1f} s  {' '.join(line.split())}", flush=True)
    works = told.count("works")
    refused = len(told) - works - failed
    print(f"{len(told)} modules and losses: {works} work, {refused} are refused, {failed} fail")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
