"""Models as a pickle beside their weights: the same answers when they are read."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from pytest_multiplicity.errors import DefinitionError
from pytest_multiplicity.keeping.packing import pack, unpack

X = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0.5).long()


def twice(model: Any) -> Any:
    packed = pack(model)
    return unpack(packed.pickled, packed.tensors)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.plain = torch.rand(4)
        self.same = self.plain
        self.scale = lambda batch: batch * 2

    def forward(self, batch: Tensor) -> Tensor:
        return self.scale(self.second(self.first(batch))) + self.plain


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GRU(8, 3))
    module[0].register_forward_hook(lambda module, args, output: output * 3)
    return module


def compiled() -> Any:
    inner: Any = torch.compile(nn.ReLU())
    return torch.compile(nn.Sequential(nn.Linear(4, 2), inner))


@pytest.mark.parametrize(
    "make",
    [
        Tied,
        hooked,
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)),
        lambda: nn.Linear(4, 2, dtype=torch.bfloat16),
        lambda: nn.Linear(4, 2, dtype=torch.float64),
        compiled,
    ],
    ids=["tied", "hooks", "parametrized", "bfloat16", "float64", "compiled"],
)
def test_modules_answer_as_before(make):
    module = make().eval()
    again = twice(module)
    eager = getattr(module, "_orig_mod", module)
    batch = X.to(next(module.parameters()).dtype)
    with torch.no_grad():
        for one, other in zip(flat(eager(batch)), flat(again(batch)), strict=True):
            assert torch.equal(one, other)


def flat(output: Any) -> list[Tensor]:
    return list(output) if isinstance(output, tuple) else [output]


def test_ties_are_kept_and_weights_have_their_names():
    packed = pack(Tied())
    assert {"first.weight", "first.bias", "second.bias"} < packed.tensors.keys()
    assert len(packed.tensors) == 4  # the plain one, too, and each once
    again = unpack(packed.pickled, packed.tensors)
    assert again.second.weight is again.first.weight
    assert again.same is again.plain


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_pipeline(
            make_column_transformer((StandardScaler(), [0, 1]), remainder="passthrough"),
            LogisticRegression(),
        ),
        lambda: RandomForestClassifier(5, random_state=0),
    ],
    ids=["pipeline", "forest"],
)
def test_estimators_answer_as_before(make):
    fitted = make().fit(X.numpy(), Y.numpy())
    again = twice(fitted)
    assert (again.predict_proba(X.numpy()) == fitted.predict_proba(X.numpy())).all()


def holding(value: object) -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    vars(module[0])["helper"] = {"deep": [value]}
    return module


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (None, "returned None: did you forget to return it"),
        (3, "returned 3: With keep=True return"),
        (nn.Linear, "returned <class"),
        (holding(threading.Lock()), r"model\.0\.helper\['deep'\]\[0\], a lock, can't be pickled"),
        (holding(re.finditer("a", "a")), r"\[0\], a callable_iterator, can't"),
        (holding(x for x in [1]), r"\[0\], a generator, can't"),
    ],
    ids=["nothing", "a number", "a class", "a lock", "an iterator", "a generator"],
)
def test_what_can_not_be_kept_is_named(model, told):
    with pytest.raises(DefinitionError, match=told):
        pack(model)
