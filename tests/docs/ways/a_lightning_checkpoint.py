"""Write what "A Lightning checkpoint" reads."""

from __future__ import annotations

import lightning
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from my_project import LitNet, load
from torch.utils.data import DataLoader, TensorDataset

for width, seed in [(8, 0), (8, 1), (16, 0)]:
    lightning.seed_everything(seed, verbose=False)
    batches = DataLoader(TensorDataset(*load("train")), 30)
    best = ModelCheckpoint(
        f"lightning_logs/{width}-{seed}/checkpoints", monitor="loss", save_last=False
    )
    lightning.Trainer(
        max_epochs=12,
        accelerator="cpu",
        logger=False,
        callbacks=[best, EarlyStopping("loss")],
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(LitNet(width=width, seed=seed), batches)
