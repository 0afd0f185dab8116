"""A study of texts: tiny transformers that tell good reviews from bad ones, trained by a loop.

The texts are made here (`texts.py`), so nothing is downloaded, and so are the tokens and the
networks: plain torch. Each candidate takes texts as they were written. The plugin calls the loop
once for each, in its worker processes, and keeps the model.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pytest_multiplicity as pm

from . import texts

WORDS = 30  # of a text, at most
PIECES = 10  # of a word, at most
VOCABULARY = 1024
EPOCHS = 10


class Parts(NamedTuple):
    """Reviews to train on, to select by, and to report on."""

    train: pm.Data
    select: pm.Data
    report: pm.Data


@pytest.fixture(scope="session")
def reviews(smoke: bool) -> Parts:
    """Reviews of which no two are alike."""
    train, other = (300, 200) if smoke else (1200, 400)
    drawn = pd.DataFrame(texts.write(train + 2 * other))
    ends = train, train + other, len(drawn)
    return Parts(
        *(
            pm.Data(each["text"], each["opinion"], each[["writer", "negated"]], name=name)
            for name, start, end in zip(Parts._fields, (0, *ends), ends, strict=False)
            for each in [drawn[start:end]]
        )
    )


class Transformer(nn.Module):
    """A transformer over words, each of which is the sum of the embeddings of its pieces."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.piece = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.place = nn.Parameter(0.1 * torch.randn(WORDS, width))
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.opinion = nn.Linear(width, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of bad and good, of pieces [b, words, pieces]."""
        empty = (ids == 0).all(2)
        states = self.layers(self.piece(ids).sum(2) + self.place, src_key_padding_mask=empty)
        shown = states.masked_fill(empty[:, :, None], 0).sum(1)
        return self.opinion(shown / (~empty).sum(1, keepdim=True))


@dataclass
class Reader:
    """A network with its tokens: what takes texts, as they were written."""

    cut: str
    network: Transformer

    def __call__(self, batch: list[str]) -> Tensor:
        with torch.no_grad():
            return self.network(tokens(batch, self.cut))


def tokens(batch: Sequence[str], cut: str) -> Tensor:
    """The pieces of the words of texts, [b, words, pieces]; 0 where there is none."""
    none = [0] * PIECES
    rows = [[numbers(word, cut) for word in text.lower().split()[:WORDS]] for text in batch]
    return torch.tensor([row + [none] * (WORDS - len(row)) for row in rows])


@functools.cache
def numbers(word: str, cut: str) -> list[int]:
    """A number from 1 on for each piece of a word, of which others may have the same; then 0."""
    pieces = [word] if cut == "words" else trigrams(word)
    found = [1 + zlib.crc32(piece.encode()) % (VOCABULARY - 1) for piece in pieces[:PIECES]]
    return found + [0] * (PIECES - len(found))


def trigrams(word: str) -> list[str]:
    """Every three letters that follow one another, beginning and end marked."""
    marked = f"<{word}>"
    return [marked[at : at + 3] for at in range(len(marked) - 2)]


@pm.family(
    default={"cut": "words", "width": 32, "layers": 1},
    vary={"cut": ["trigrams"], "width": [16], "layers": [2]},
    seeds=4,
    keep=True,
)
def reader(config, reviews, run):
    """A transformer, ten times through the reviews; whatever it draws, the plugin seeds."""
    network = Transformer(config.width, config.layers)
    ids, opinions = tokens(reviews.train.inputs, config.cut), reviews.train.targets
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for epoch in range(EPOCHS):
        for rows in torch.randperm(len(ids)).split(32):
            loss = F.cross_entropy(network(ids[rows]), opinions[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        run.log("loss", loss.item())
        run.progress(epoch + 1, EPOCHS)
    return Reader(config.cut, network.eval())
