"""Models of ten libraries, kept and read back: the same answers, bit for bit.

What isn't installed is left out; `nox -s libraries` has all of it.
"""

from __future__ import annotations

import textwrap
from importlib.util import find_spec
from typing import Any

import pytest
import torch

HEAD = """
import os
import warnings
import numpy as np
import pytest
import torch
from torch import nn
import pytest_multiplicity as pm

rng = np.random.default_rng(0)
X = rng.random((200, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 1).astype(int)
T, L = torch.from_numpy(X), torch.from_numpy(Y)

@pytest.fixture(scope="session")
def points():
    return pm.Data(X, Y, name="points", bounds=None)

def loop(module):
    optimizer = torch.optim.Adam(module.parameters(), 0.05)
    for _ in range(5):
        output = module(T)
        loss = nn.functional.cross_entropy(getattr(output, "logits", output), L)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()

def logits(module):
    with torch.no_grad():
        output = module(T)
    return getattr(output, "logits", output)

def noted(model, answers):
    with open("calls.txt", "a") as stream:
        print(os.getpid(), file=stream)
    torch.save(torch.as_tensor(answers), "given.pt")
    return model

@pm.family(seeds=1, keep=True)
def candidate(config, points):
"""
SPECS = """
import torch

def test_it(candidate, points):
    torch.save(candidate.logits(points), "answers.pt")
    assert candidate.accuracy(points) >= 0
"""
LIBRARIES = {
    "pipeline": (
        "sklearn",
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
        return noted(model, model.predict_log_proba(X))
        """,
    ),
    "forest": (
        "sklearn",
        """
        from sklearn.ensemble import RandomForestClassifier
        model = RandomForestClassifier(10, n_jobs=-1, max_depth=2).fit(X, Y)
        return noted(model, model.predict_log_proba(X))
        """,
    ),
    "xgboost": (
        "xgboost",
        """
        from xgboost import XGBClassifier
        model = XGBClassifier(n_estimators=5, subsample=0.5, random_state=config.seed).fit(X, Y)
        return noted(model, np.log(model.predict_proba(X)))
        """,
    ),
    "lightgbm": (
        "lightgbm",
        """
        from lightgbm import LGBMClassifier
        model = LGBMClassifier(n_estimators=5, n_jobs=-1, verbose=-1).fit(X, Y)
        return noted(model, np.log(model.predict_proba(X)))
        """,
    ),
    "catboost": (
        "catboost",
        """
        from catboost import CatBoostClassifier
        model = CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False).fit(X, Y)
        return noted(model, model.predict_log_proba(X))
        """,
    ),
    "skorch": (
        "skorch",
        """
        from skorch import NeuralNetClassifier
        torch.manual_seed(config.seed)
        model = NeuralNetClassifier(
            nn.Sequential(nn.Linear(4, 2)), criterion=nn.CrossEntropyLoss, max_epochs=2, verbose=0
        ).fit(X, Y)
        return noted(model, np.log(model.predict_proba(X)))
        """,
    ),
    "torch": (
        "torch",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 2)

            def forward(self, batch):
                return self.layer(batch) * 2

        model = loop(Net())
        return noted(model, logits(model))
        """,
    ),
    "compiled": (
        "torch",
        """
        inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        model = torch.compile(inner, backend="eager")
        loop(model)
        return noted(model, logits(inner))
        """,
    ),
    "hooks": (
        "torch",
        """
        model = nn.Sequential(nn.Linear(4, 2), nn.Identity())
        model[1].register_forward_hook(lambda module, args, output: output - 1)
        loop(model)
        return noted(model, logits(model))
        """,
    ),
    "lightning": (
        "lightning",
        """
        import lightning
        from torch.utils.data import DataLoader, TensorDataset

        class Lit(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = nn.Linear(4, 2)

            def forward(self, batch):
                return self.net(batch)

            def training_step(self, batch, number):
                return nn.functional.cross_entropy(self(batch[0]), batch[1])

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), 0.1)

        warnings.simplefilter("ignore")
        model = Lit()
        lightning.Trainer(
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu",
        ).fit(model, DataLoader(TensorDataset(T, L), 50))
        model.eval()
        return noted(model, logits(model))
        """,
    ),
    "transformers": (
        "transformers",
        """
        from transformers import BertConfig, BertForSequenceClassification

        class OnVectors(BertForSequenceClassification):
            def forward(self, batch):
                return super().forward(inputs_embeds=batch[:, :, None].expand(-1, -1, 8))

        config = BertConfig(
            vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=8, max_position_embeddings=4,
        )
        model = loop(OnVectors(config))
        return noted(model, logits(model))
        """,
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("torch", "pipeline") else pytest.mark.thorough)
        for name in LIBRARIES
    ],
)
def test_a_kept_model_answers_as_it_did(name, pytester, monkeypatch):
    library, body = LIBRARIES[name]
    if find_spec(library) is None:
        pytest.skip(f"needs {library}")
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "of nobody in particular")
    pytester.makeconftest(HEAD + textwrap.indent(textwrap.dedent(body), "    "))
    pytester.makepyfile(test_specs=SPECS)
    first, second = (run(pytester) for _ in range(2))
    given = torch.load(pytester.path / "given.pt")
    assert torch.equal(first, second)
    assert torch.equal(first, given.to(first.dtype))
    assert len((pytester.path / "calls.txt").read_text().splitlines()) == 1


def run(pytester: pytest.Pytester) -> Any:
    """Run the specs; return the candidate's answers."""
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider")
    assert result.ret == 0
    return torch.load(pytester.path / "answers.pt")
