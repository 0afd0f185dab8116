"""A study of values: how far diabetes will have come in a year, from what scikit-learn bundles.

Two families foretell it for the same 442 patients: pipelines, which take a table as it was filled
in, and small networks, which take its numbers. Both are judged on one scale: the share of patients
for whom a candidate is at most 60 off, of progress that ranges from 25 to 346.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import resample
from torch import nn

import pytest_multiplicity as pm

MOST_OFF = 60


class Parts(NamedTuple):
    """Disjoint patients: half of all to train on, a quarter to select by, one to report on."""

    train: pm.Data
    select: pm.Data
    report: pm.Data


def table() -> tuple[pd.DataFrame, pd.Series]:
    """What was measured of each patient, and the progress of the disease a year later.

    The sex is a category, since nobody says which is which, and every fiftieth blood sugar ("s6")
    is missing, as it is where a form was filled in.
    """
    frame, progress = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    frame["sex"] = pd.Categorical(frame["sex"].map({1: "one", 2: "other"}))
    frame.loc[frame.index % 50 == 7, "s6"] = None
    return frame, progress


def divided(inputs: pd.DataFrame | torch.Tensor, name: str) -> Parts:
    """The parts, of the same patients in the same order whatever their inputs are."""
    frame, progress = table()
    order = torch.randperm(len(frame), generator=torch.Generator().manual_seed(0))
    count = len(frame) // 4
    rows = order[: 2 * count], order[2 * count : 3 * count], order[3 * count :]
    return Parts(
        *(
            pm.Data(
                inputs.iloc[chosen] if isinstance(inputs, pd.DataFrame) else inputs[chosen],
                progress.iloc[chosen],
                frame[["age", "sex"]].iloc[chosen],
                name=f"{name} to {part}",
                tolerance=MOST_OFF,
            )
            for part, chosen in zip(Parts._fields, rows, strict=True)
        )
    )


@pytest.fixture(scope="session")
def patients() -> Parts:
    """The table itself: numbers, a category, gaps."""
    return divided(table()[0], "patients")


@pytest.fixture(scope="session")
def numbers() -> Parts:
    """The same patients as rows of ten numbers, gaps filled: what a network takes."""
    frame = table()[0]
    plain = frame.assign(sex=frame["sex"].cat.codes, s6=frame["s6"].fillna(frame["s6"].median()))
    return divided(torch.tensor(plain.to_numpy(), dtype=torch.float32), "numbers")


def estimator(model: str, seed: int) -> object:
    """A regression that takes the table, whatever is missing in it."""
    if model == "boosting":
        return HistGradientBoostingRegressor(
            max_iter=25, learning_rate=0.1, categorical_features="from_dtype", random_state=seed
        )
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (OneHotEncoder(drop="if_binary"), ["sex"]),
    )
    if model == "ridge":
        return make_pipeline(columns, Ridge(10))
    return make_pipeline(columns, RandomForestRegressor(30, min_samples_leaf=4, random_state=seed))


@pm.family(default={"model": "ridge"}, vary={"model": ["forest", "boosting"]}, seeds=5, keep=True)
def pipeline(config, patients):
    """A pipeline fitted to patients who were drawn again, with replacement.

    Which of them had come is chance, and for a regression without chance of its own, all there is.
    """
    inputs, targets = patients.train.inputs, patients.train.targets.numpy()
    drawn = resample(range(len(targets)), random_state=config.seed)
    return estimator(config.model, config.seed).fit(inputs.iloc[drawn], targets[drawn])


class Network(nn.Module):
    """A hidden layer between numbers in their own units and progress in its."""

    def __init__(self, width: int, rows: torch.Tensor, progress: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", rows.mean(0))
        self.register_buffer("spread", rows.std(0))
        self.middle, self.scale = float(progress.mean()), float(progress.std())
        self.layers = nn.Sequential(nn.Linear(10, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        answers = self.layers((rows - self.mean) / self.spread)
        return self.middle + self.scale * answers.squeeze(1)


@pm.family(
    default={"width": 16, "loss": "mse", "weight_decay": 0.0},
    vary={"width": [64], "loss": ["huber"], "weight_decay": [0.3]},
    seeds=5,
)
def network(config, numbers):
    """A small network, trained on all of the half."""
    train = numbers.train
    return pm.Recipe(
        model=lambda: Network(config.width, train.inputs, train.targets),
        data=train,
        epochs=40,
        batch_size=32,
        optimizer="adamw",
        lr=0.01,
        loss=config.loss,
        weight_decay=config.weight_decay,
    )
