"""Who gets a loan: pipelines and networks on the German Credit data, with five ways to be fair.

Half of the thousand applicants train, a quarter selects, and a quarter is reported on. README.md
says where the data are from.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pytest_multiplicity as pm

from . import applicants, fair


class Parts(NamedTuple):
    """Disjoint applicants: to train on, to select by, and to report on."""

    train: pm.Data
    select: pm.Data
    report: pm.Data


def parts_of(inputs, name):
    """The three parts, of inputs that are made of frames."""
    frame, risk, groups = applicants.read()
    trained, judged = applicants.halves(len(frame))
    known = frame.drop(columns="sex").fillna("not known").join(groups)
    weight = applicants.reweighing(groups["sex"].iloc[trained], risk.iloc[trained])
    train, rest = (
        pm.Data(
            inputs(frame.iloc[rows].reset_index(drop=True)),
            risk.iloc[rows].reset_index(drop=True),
            known.iloc[rows].reset_index(drop=True).assign(**more),
            name=f"{name}{part}",
        )
        for rows, part, more in (
            (trained, "-train", {"weight": weight.to_numpy()}),
            (judged, "", {}),
        )
    )
    return Parts(train, *rest.split())


@pytest.fixture(scope="session")
def people():
    """The applicants as a frame, with what is missing."""
    return parts_of(lambda frame: frame, "people")


@pytest.fixture(scope="session")
def coded():
    """The same applicants as tensors: a module gets ``x`` and ``male``."""
    known = applicants.read()[0].iloc[applicants.halves(1000)[0]]
    return parts_of(lambda frame: applicants.encoded(frame, known), "coded")


@pytest.fixture(scope="session")
def published():
    """The ambiguity that was published, by method."""
    table = pd.read_csv(applicants.FILE.with_name("published.csv"))
    return dict(zip(table["method"], table["ambiguity"], strict=True))


MODELS = {
    "logistic": lambda seed: LogisticRegression(max_iter=1000),
    "forest": lambda seed: RandomForestClassifier(60, min_samples_leaf=3, random_state=seed),
    "boosting": lambda seed: GradientBoostingClassifier(n_estimators=40, random_state=seed),
}


def pipeline_of(model, seed):
    """Impute, scale, encode, and fit one of `MODELS`."""
    columns = make_column_transformer(
        (StandardScaler(), applicants.NUMBERS),
        (
            Pipeline(
                [
                    ("missing", SimpleImputer(strategy="constant", fill_value="not known")),
                    ("columns", OneHotEncoder(handle_unknown="ignore")),
                ]
            ),
            applicants.WORDS,
        ),
    )
    return Pipeline([("columns", columns), ("model", MODELS[model](seed))])


def fitted(model, mitigation, seed, people):
    """A pipeline with one of the mitigations, fitted on the draw that the seed makes."""
    rows = people.train.attributes.sample(400, random_state=seed).index
    frame = people.train.inputs.iloc[rows]
    said = applicants.read()[1].iloc[applicants.halves(1000)[0]].iloc[rows]
    weight = people.train.attributes["weight"].iloc[rows]
    made = pipeline_of(model, seed)
    if mitigation == "thresholds":
        return fair.Thresholds(made).fit(frame, said)
    chosen = {"model__sample_weight": weight} if mitigation == "reweighing" else {}
    return made.fit(frame, said, **chosen)


@pm.family(
    default={"mitigation": "none", "model": "logistic"},
    vary={"mitigation": ["reweighing", "thresholds"], "model": ["forest", "boosting"]},
    design="grid",
    seeds=4,
    keep=True,
)
def pipeline(config, people):
    """A scikit-learn pipeline, fitted on a draw of 400 of the 500: other customers, other model."""
    return fitted(config.model, config.mitigation, config.seed, people)


@pm.incumbent
def bank(people):
    """What decides today: a logistic regression, fitted once on all 500."""
    said = applicants.read()[1].iloc[applicants.halves(1000)[0]]
    return pipeline_of("logistic", 0).fit(people.train.inputs, said)


SETTINGS = {
    "none": {},
    "reweighing": {"weight": "weight"},
    "parity": {"loss": fair.parity},
    "odds": {"loss": fair.odds},
    "thresholds": {},
}


@pm.family(
    default={"mitigation": "none", "width": 16, "lr": 0.1},
    vary={
        "mitigation": ["reweighing", "parity", "odds", "thresholds"],
        "width": [64],
        "lr": [0.03],
    },
    design="grid",
    seeds=5,
)
def network(config, coded):
    """A network with one hidden layer, 25 times through the 500 applicants."""
    columns = coded.train.inputs["x"].shape[1]
    kind = fair.ScorerWithThresholds if config.mitigation == "thresholds" else fair.Scorer
    return pm.Recipe(
        model=lambda: kind(columns, config.width),
        data=coded.train,
        epochs=25,
        batch_size=100,
        lr=config.lr,
        **SETTINGS[config.mitigation],
    )
