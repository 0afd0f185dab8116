"""Ways to treat groups alike: losses for networks, and thresholds for networks and pipelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import cross_val_predict
from torch import Tensor, nn
from torch.nn import functional as F

Attributes = dict[str, Tensor]
FEMALE = 0  # the code of the first of the sorted values


def parity(logits: Tensor, targets: Tensor, attributes: Attributes) -> Tensor:
    """Cross-entropy, and how much more probable a loan is for one sex (DiffDP)."""
    yes, female = logits.softmax(1)[:, 1], attributes["sex"] == FEMALE
    gap = (yes[female].mean() - yes[~female].mean()).nan_to_num()
    return F.cross_entropy(logits, targets) + gap.abs()


def odds(logits: Tensor, targets: Tensor, attributes: Attributes) -> Tensor:
    """Cross-entropy, and the same among those who repaid and those who didn't (DiffEOdd)."""
    yes, female = logits.softmax(1)[:, 1], attributes["sex"] == FEMALE
    parts = [(targets == label, female) for label in (0, 1)]
    gaps = [(yes[of & f].mean() - yes[of & ~f].mean()).nan_to_num() for of, f in parts]
    return F.cross_entropy(logits, targets) + torch.stack(gaps).abs().mean()


class Scorer(nn.Module):
    """A network with one hidden layer; `male` is known to it only as a column of `x`."""

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: Tensor, male: Tensor) -> Tensor:
        return self.layers(x)


class ScorerWithThresholds(Scorer):
    """Trained as any other; then each sex has a threshold, at which it gets loans as often.

    The thresholds follow the acceptance rates batch by batch, and stand still at the end, as the
    learning rate does.
    """

    def __init__(self, columns: int, width: int) -> None:
        super().__init__(columns, width)
        self.register_buffer("thresholds", torch.zeros(2))

    def forward(self, x: Tensor, male: Tensor) -> Tensor:
        logits = self.layers(x)
        groups = torch.stack([1 - male, male], 1)  # [b, 2]
        moved = (groups * self.thresholds).sum(1)
        if not self.training:
            return logits - torch.stack([torch.zeros_like(moved), moved], 1)
        accepted = (logits.detach()[:, 1] - logits.detach()[:, 0] > moved).float()
        rates = (groups * accepted[:, None]).sum(0) / groups.sum(0).clamp(min=1)
        self.thresholds.add_(0.2 * (rates - accepted.mean()))
        return logits


class Thresholds(ClassifierMixin, BaseEstimator):
    """A pipeline with a threshold for each sex, at which both are accepted as often.

    They are set on scores of people that the pipeline wasn't fitted on (5 folds).
    """

    def __init__(self, pipeline: BaseEstimator) -> None:
        self.pipeline = pipeline

    def fit(self, frame: pd.DataFrame, said: pd.Series) -> Thresholds:
        sure = cross_val_predict(clone(self.pipeline), frame, said, cv=5, method="predict_proba")
        scores = _log_odds(sure[:, 1])
        accepted = (scores > 0).mean()
        self.thresholds_ = {
            sex: float(np.quantile(scores[rows], 1 - accepted))
            for sex, rows in frame.reset_index(drop=True).groupby("sex").indices.items()
        }
        self.pipeline_ = clone(self.pipeline).fit(frame, said)
        self.classes_ = self.pipeline_.classes_
        return self

    def decision_function(self, frame: pd.DataFrame) -> np.ndarray:
        scores = _log_odds(self.pipeline_.predict_proba(frame)[:, 1])
        return scores - frame["sex"].map(self.thresholds_).to_numpy()

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return self.classes_[(self.decision_function(frame) > 0).astype(int)]


def _log_odds(sure: np.ndarray) -> np.ndarray:
    clipped = np.clip(sure, 1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))
