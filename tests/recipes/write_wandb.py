"""Log runs with Weights & Biases, offline."""

from __future__ import annotations

import json
from pathlib import Path

import wandb
from my_project import RUNS, fitted
from safetensors.torch import save_file

for logged in RUNS:
    with wandb.init(project="patients", mode="offline", config=logged) as run:
        Path(run.dir, "config.json").write_text(json.dumps(dict(run.config)))
        save_file(fitted(**logged), Path(run.dir, "model.safetensors"))
Path("verdicts").mkdir()
