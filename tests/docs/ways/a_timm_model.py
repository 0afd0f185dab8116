"""Write what "A timm model" reads."""

from __future__ import annotations

import timm
import torch
from my_project import features, fit
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2

for name in ["resnet10t", "mobilenetv3_small_050"]:
    for seed in range(2):
        torch.manual_seed(seed)
        network = timm.create_model(name, num_classes=3)
        known = timm.data.resolve_model_data_config(network)
        whole = nn.Sequential(v2.Normalize(known["mean"], known["std"]), network)
        last = network.get_classifier()
        fit(last, inputs=features(whole, last))
        save_file(network.state_dict(), f"weights/{name}-{seed}.safetensors")
