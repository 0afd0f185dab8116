"""Write what "A torchvision model" reads."""

from __future__ import annotations

import torch
from my_project import features, fit
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model
from torchvision.transforms import v2

normalise = v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
for name in ["resnet18", "shufflenet_v2_x0_5"]:
    for seed in range(2):
        torch.manual_seed(seed)
        network = get_model(name, num_classes=3)
        fit(network.fc, inputs=features(nn.Sequential(normalise, network), network.fc))
        save_file(network.state_dict(), f"weights/{name}-{seed}.safetensors")
