"""Log runs in MLflow's database, the first of them twice."""

from __future__ import annotations

import mlflow
from my_project import RUNS, fitted
from safetensors.torch import save_file

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("patients")
for logged in [RUNS[0], *RUNS]:
    with mlflow.start_run():
        mlflow.log_params(logged)
        save_file(fitted(**logged), "model.safetensors")
        mlflow.log_artifact("model.safetensors")
