"""Write what "A Hugging Face image classifier" reads."""

from __future__ import annotations

import torch
from my_project import fit
from torch import nn
from torchvision.transforms import v2
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

for seed, name in enumerate(["first", "second", "third"]):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = ViTForImageClassification(
        ViTConfig(image_size=24, patch_size=8, intermediate_size=16, num_labels=3, **sizes)
    )
    processor = ViTImageProcessor(
        size={"height": 24, "width": 24}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4]
    )
    steps = v2.Resize((24, 24)), v2.Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    fit(nn.Sequential(*steps, network))
    network.save_pretrained(f"checkpoints/{name}")
    processor.save_pretrained(f"checkpoints/{name}")
