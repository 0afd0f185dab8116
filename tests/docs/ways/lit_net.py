"""The network of `my_project` as a Lightning module."""

from __future__ import annotations

import lightning
import torch
from my_project import net
from torch import nn


class LitNet(lightning.LightningModule):
    def __init__(self, width, seed):
        super().__init__()
        self.save_hyperparameters()
        self.net = net(width)

    def training_step(self, batch, number):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 10)]
