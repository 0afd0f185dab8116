"""Run a short study."""

from __future__ import annotations

import optuna
from my_project import boosted, half
from sklearn.model_selection import cross_val_score

X, y = half().inputs.numpy(), half().targets.numpy()


def objective(trial):
    depth = trial.suggest_int("depth", 1, 3)
    lr = trial.suggest_float("lr", 0.05, 0.5, log=True)
    return cross_val_score(boosted(depth, lr, 0), X, y, cv=2).mean()


sampler = optuna.samplers.RandomSampler(seed=0)
study = optuna.create_study(
    storage="sqlite:///study.db", study_name="patients", direction="maximize", sampler=sampler
)
study.optimize(objective, n_trials=6)
