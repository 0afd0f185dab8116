"""The heads of transformers' classifiers: found, built anew, and measured by the network itself.

What isn't installed is left out; `nox -s libraries` has it. Weights are random: nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.bench import bench as bench
from torch import Tensor, nn

import pytest_multiplicity as pm
from pytest_multiplicity.evaluation.survivors import Survivors

transformers = pytest.importorskip("transformers")
WORDS = 100
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_labels": 3,
}
TEXT: dict[str, Any] = {**SIZES, "vocab_size": WORDS, "pad_token_id": 0}
ENDS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2}


def texts(name: str, count: int) -> pm.Data:
    """Six to nine words, of another part of the vocabulary in each of three classes."""
    draw = torch.Generator().manual_seed(len(name))
    targets = torch.arange(count) % 3
    words = torch.randint(3, 60, (count, 9), generator=draw) + 10 * targets[:, None]
    mask = torch.arange(9) < torch.randint(6, 10, (count, 1), generator=draw)
    inputs = {"input_ids": words * mask, "attention_mask": mask.long()}
    return pm.Data(inputs, targets, name=name)


def pictures(name: str, count: int) -> pm.Data:
    """Three classes, the later the brighter."""
    draw = torch.Generator().manual_seed(len(name))
    targets = torch.arange(count) % 3
    inputs = torch.rand(count, 3, 16, 16, generator=draw) / 2 + 0.2 * targets[:, None, None, None]
    return pm.Data({"pixel_values": inputs}, targets, name=name, bounds=None)


def bert() -> nn.Module:
    config = transformers.BertConfig(**TEXT)
    return transformers.BertForSequenceClassification(config)  # type: ignore[no-any-return]


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(
        vocab_size=WORDS, dim=16, n_layers=1, n_heads=2, hidden_dim=16, num_labels=3
    )
    return transformers.DistilBertForSequenceClassification(config)  # type: ignore[no-any-return]


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_embd=16, n_layer=1, n_head=2, num_labels=3, pad_token_id=0, **ENDS
    )
    return transformers.GPT2ForSequenceClassification(config)  # type: ignore[no-any-return]


def llama() -> nn.Module:
    config = transformers.LlamaConfig(**TEXT, **ENDS)
    return transformers.LlamaForSequenceClassification(config)  # type: ignore[no-any-return]


def vit() -> nn.Module:
    config = transformers.ViTConfig(**SIZES, image_size=16, patch_size=8)
    return transformers.ViTForImageClassification(config)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "data"),
    [(bert, texts), (distilbert, texts), (gpt2, texts), (llama, texts), (vit, pictures)],
    ids=["bert", "distilbert", "gpt2", "llama", "vit"],
)
def test_what_is_built_of_a_transformer_is_measured(
    bench: Any, make: Callable[[], nn.Module], data: Callable[[str, int], pm.Data]
) -> None:
    select, report = data("select", 30), data("report", 24)

    def seeded(config: Any) -> nn.Module:
        torch.manual_seed(config.seed)
        return make().eval()

    survivors = Survivors(bench.family(seeded, default={"a": 0}, vary={}, seeds=2), range(2))
    frame = survivors.reachable(report, select, within=0.2)
    assert frame.reachable.any()
    row = int(np.flatnonzero(frame.reachable)[-1])
    twin = survivors.twin(report, row, select, within=0.2)

    def said(asked: pm.Data) -> Tensor:
        with torch.no_grad():
            return twin.module(**asked.inputs).logits.argmax(1)  # type: ignore[no-any-return]

    assert int(said(report)[row]) == frame.to[row]
    for each in survivors:
        assert int(each.predictions(report)[row]) != frame.to[row]
    score = float((said(select) == select.targets).double().mean())
    assert score == pytest.approx(frame.score[row])
    assert isinstance(twin.module, type(survivors[0].module))
