"""Write folders of experiments, with the files that DVCLive writes."""

from __future__ import annotations

import json
from pathlib import Path

from my_project import RUNS, fitted
from safetensors.torch import save_file

for number, logged in enumerate(RUNS):
    folder = Path(f"experiments/exp-{number}")
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text("".join(f"{n}: {v}\n" for n, v in logged.items()))
    (folder / "metrics.json").write_text(json.dumps({"loss": 0.1}))
    save_file(fitted(**logged), folder / "model.safetensors")
