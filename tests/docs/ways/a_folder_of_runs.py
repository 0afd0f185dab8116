"""Write what "A folder of runs" reads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from my_project import fit, net
from safetensors.torch import save_file

configurations = [(0.1, 8, 0), (0.1, 8, 1), (0.01, 8, 0), (0.1, 16, 0), (0.1, 16, 1)]
for number, (lr, width, seed) in enumerate(configurations):
    torch.manual_seed(seed)
    run = Path(f"runs/{number:03}")
    run.mkdir(parents=True)
    written = {"lr": lr, "width": width, "seed": seed, "started": f"2026-11-{number + 1:02}"}
    (run / "config.json").write_text(json.dumps(written))
    save_file(fit(net(width), lr=lr / 10).state_dict(), run / "weights.safetensors")
