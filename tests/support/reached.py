"""Small families to build on, one of each task, and a second way to build what is claimed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn import datasets
from sklearn.feature_extraction.text import CountVectorizer
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.evaluation.survivors import Survivors
from specs.credit import applicants
from specs.reviews import texts

Array = npt.NDArray[Any]
CASES = ("digits", "cancer", "one logit", "labels", "diabetes")
SETS = ("digits", "credit", "reviews", "diabetes", "cancer")
CLASSES = ("digits", "cancer", "credit", "reviews")


class Case(NamedTuple):
    """Three data sets, and a network for them."""

    train: pm.Data
    select: pm.Data
    report: pm.Data
    network: Callable[[], nn.Module]
    loss: str | None = None
    lr: float = 0.02


def case(name: str, size: int = 150) -> Case:
    """Return what is made of one of scikit-learn's data sets, or of those of `specs`."""
    raw, targets = tables(name)
    inputs = (raw - raw.mean(0)) / (raw.std(0) + 1e-9)
    settings: dict[str, Any] = {}
    if name == "labels":
        targets = np.column_stack([targets % 2, targets > 4, np.isin(targets, [2, 3, 5, 7])])
        targets = targets.astype(int)
    if name == "diabetes":
        targets = ((targets - targets.mean()) / targets.std()).astype("float32")
        settings = {"tolerance": 1.0}
    outputs = {"digits": 10, "labels": 3, "one logit": 1, "diabetes": 1}.get(name, 2)
    order = np.random.default_rng(0).permutation(len(inputs))
    if name == "diabetes":
        size = min(size, 140)

    def part(which: int) -> pm.Data:
        rows = order[which * size : (which + 1) * size]
        names = ["train", "select", "report"]
        given = torch.tensor(inputs[rows], dtype=torch.float32)
        return pm.Data(given, targets[rows], name=names[which], bounds=None, **settings)

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(inputs.shape[1], 12), nn.ReLU(), nn.Linear(12, outputs))

    loss = "binary_cross_entropy" if name == "one logit" else None
    return Case(part(0), part(1), part(2), network, loss)


def tables(name: str) -> tuple[Array, Any]:
    """Return inputs and targets: of applicants, of words in reviews, or scikit-learn's."""
    if name == "credit":
        frame, risk, _ = applicants.read()
        coded = pd.get_dummies(frame, dummy_na=True).fillna(0).to_numpy(dtype=float)
        return coded, pd.factorize(risk, sort=True)[0]
    if name == "reviews":
        drawn = pd.DataFrame(texts.write(1200))
        words = CountVectorizer(min_df=10).fit_transform(drawn["text"]).toarray()
        return words.astype(float), pd.factorize(drawn["opinion"], sort=True)[0]
    load = {"digits": "digits", "labels": "digits", "diabetes": "diabetes"}
    raw = getattr(datasets, f"load_{load.get(name, 'breast_cancer')}")()
    return raw.data, raw.target


def survivors(bench: Any, case: Case, seeds: int = 3, **settings: Any) -> Survivors:
    """Train some networks, all of which survive."""
    wanted = {"epochs": 25, "batch_size": 32, "optimizer": "adam", "weight_decay": 1e-3}

    def recipe(config: Any) -> pm.Recipe:
        return pm.Recipe(
            case.network, case.train, lr=case.lr, loss=case.loss, **{**wanted, **settings}
        )

    population = bench.family(recipe, default={"net": "mlp"}, vary={}, seeds=seeds)
    return Survivors(population, range(seeds))


def probabilities(outputs: Array) -> Array:
    """Return the softmax of outputs `[n, k]`."""
    sure = np.exp(outputs - outputs.max(1, keepdims=True))
    return sure / sure.sum(1, keepdims=True)


def curvatures(name: str, outputs: Array, targets: Array) -> Array:
    """Return the second derivatives of each sample's loss, `[n, k, k]`, by hand."""
    n, k = outputs.shape
    if name in CLASSES:
        sure = probabilities(outputs)
        return np.stack([np.diag(p) - np.outer(p, p) for p in sure])
    if name == "diabetes":
        return np.full((n, 1, 1), 2.0)
    sure = 1 / (1 + np.exp(-outputs))
    return np.stack([np.diag(p * (1 - p)) / k for p in sure])


def head(module: Any, data: pm.Data) -> tuple[Array, Array]:
    """Return features with a one, `[n, F]`, and weights `[k, F]`, float64."""
    with torch.no_grad():
        features = module[:-1](data.inputs).double().numpy()
    last = module[-1]
    weights = torch.cat([last.weight, last.bias[:, None]], dim=1).double().numpy()
    return np.column_stack([features, np.ones(len(features))]), weights


def hessian(name: str, module: Any, case: Case) -> Array:
    """Return the whole system of a head, sample by sample."""
    features, weights = head(module, case.train)
    bends = curvatures(name, features @ weights.T, case.train.targets.numpy())
    rows = zip(features, bends, strict=True)
    found = sum(np.kron(bend, np.outer(phi, phi)) for phi, bend in rows) / len(features)
    return found + (1e-3 + 1e-4) * np.eye(weights.size)


def rebuilt(name: str, module: Any, case: Case, row: int, change: Array) -> Array:
    """Return the weights that turn a sample, by a dense solve of the whole system.

    `change` `[k]` is how the sample's outputs changed in the model that is to be rebuilt: along it
    the one with the least loss is unique.
    """
    _, weights = head(module, case.train)
    v = np.kron(change, head(module, case.report)[0][row])
    u = np.linalg.solve(hessian(name, module, case), v)
    return weights + (u / (v @ u)).reshape(weights.shape)


def all_rebuilt(
    name: str, module: Any, case: Case, found: Any, rows: Sequence[int]
) -> Iterator[Array]:
    """Yield the weights that turn each of some samples as far as was found, by dense solves."""
    features, weights = head(module, case.report)[0], head(module, case.train)[1]
    turns = found.turn[list(rows)].numpy()
    v = np.einsum("bk,bf->bkf", turns, features[list(rows)]).reshape(len(rows), -1)
    u = np.linalg.solve(hessian(name, module, case), v.T).T
    amounts = found.amount[list(rows)].numpy() / (v * u).sum(1)
    yield from weights + (amounts[:, None] * u).reshape(-1, *weights.shape)


def rows_of(frame: pd.DataFrame, most: int) -> Sequence[int]:
    """Return some reachable rows, spread over all."""
    found = np.flatnonzero(frame.reachable)
    return found[:: max(1, len(found) // most)][:most].tolist()
