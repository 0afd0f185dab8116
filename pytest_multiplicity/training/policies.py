"""RandAugment and TrivialAugment: a draw for every sample, an operation for all that it fell to.

torchvision's own draw once for a whole batch, and image by image they would keep a GPU waiting.
What each operation does, and how strong it may be, is as there: RandAugment (Cubuk et al., arXiv
1909.13719) does two operations of one strength to a sample, TrivialAugment (Müller and Hutter,
arXiv 2103.10158) one of any strength.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 31  # strengths of an operation
MOVED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
BLENDS = ("Brightness", "Color", "Contrast", "Sharpness")
OPERATIONS = (
    "Identity",
    *MOVED,
    *BLENDS,
    *("Posterize", "Solarize", "AutoContrast", "Equalize"),
)
LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue, as torchvision weighs them


@dataclass(frozen=True)
class Policy:
    """How many operations a sample gets, and how strong the strongest ones are.

    `translate` is a fraction of the width or height, or where `pixels` a number of them;
    `level` the one strength that is used, None for any.
    """

    operations: int
    shear: float
    translate: float
    rotate: float
    blend: float
    posterize: int
    pixels: bool = False
    level: int | None = None

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Transform float images [b, C, H, W] of 1 or 3 channels in [0, 1].

        The generator is the CPU's.
        """
        for chosen, strengths in self.draws(len(inputs), inputs.shape[1:], generator):
            inputs = operated(inputs, chosen, strengths)
        return inputs

    def draws(
        self, count: int, shape: Sequence[int], generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield operations and strengths [count] for images of a shape, as often as there are."""
        for _ in range(self.operations):
            chosen = torch.randint(len(OPERATIONS), (count,), generator=generator)
            levels = torch.randint(BINS, (count,), generator=generator)
            signs = torch.randint(2, (count,), generator=generator) * 2 - 1
            if self.level is not None:
                levels.fill_(self.level)
            strengths = self.strengths(*shape[1:])[chosen, levels]
            signed = chosen <= OPERATIONS.index(BLENDS[-1])
            yield chosen, torch.where(signed, signs * strengths, strengths)

    def strengths(self, height: int, width: int) -> Tensor:
        """Return strengths [operations, bins] for images of a size, all without their sign."""
        rising = torch.linspace(0.0, 1.0, BINS)
        across, down = (1, 1) if self.pixels else (width, height)
        table = {
            "ShearX": self.shear * rising,
            "ShearY": self.shear * rising,
            "TranslateX": self.translate * across * rising,
            "TranslateY": self.translate * down * rising,
            "Rotate": self.rotate * rising,
            **dict.fromkeys(BLENDS, self.blend * rising),
            "Posterize": (8 - torch.arange(BINS) / ((BINS - 1) / self.posterize)).round(),
            "Solarize": 1 - rising,
        }
        return torch.stack([table.get(name, torch.zeros(BINS)) for name in OPERATIONS])


RAND = Policy(2, shear=0.3, translate=150 / 331, rotate=30, blend=0.9, posterize=4, level=9)
TRIVIAL = Policy(
    1, shear=0.99, translate=32, rotate=135, blend=0.99, posterize=6, pixels=True, level=None
)


def operated(inputs: Tensor, chosen: Tensor, strengths: Tensor) -> Tensor:
    """Do to each image [b, C, H, W] the operation of its number [b], as strongly as told [b]."""
    outputs = inputs.clone()
    moved = (chosen >= 1) & (chosen <= len(MOVED))
    rows = moved.nonzero()[:, 0]
    if len(rows):
        there = rows.to(inputs.device)
        outputs[there] = _warped(
            inputs[there], maps(chosen[rows], strengths[rows], *inputs.shape[2:])
        )
    for number in range(1 + len(MOVED), len(OPERATIONS)):
        rows = (chosen == number).nonzero()[:, 0]
        if len(rows):
            there = rows.to(inputs.device)
            each = strengths[rows].to(inputs).view(-1, 1, 1, 1)
            outputs[there] = _PIXELS[OPERATIONS[number]](inputs[there], each)
    return outputs


def operation(name: str, images: Tensor, strengths: Tensor, moves: Tensor) -> Tensor:
    """Do one operation to images [b, C, H, W], by strengths [b, 1, 1, 1], or moves [b, 2, 3]."""
    if name == "Identity":
        return images
    return _warped(images, moves) if name in MOVED else _PIXELS[name](images, strengths)


def maps(chosen: Tensor, strengths: Tensor, height: int, width: int) -> Tensor:
    """Return the maps [b, 2, 3] of operations that move pixels, in coordinates from -1 to 1.

    They shear about the upper left corner, translate by whole pixels, rotate about the centre.
    """
    zero, one = torch.zeros_like(strengths), torch.ones_like(strengths)
    angle, pixels = strengths.deg2rad(), strengths.trunc()
    rows = {  # from pixels of the output, counted from the centre, to those of the input
        "ShearX": (one, strengths, strengths * height / 2, zero, one, zero),
        "ShearY": (one, zero, zero, strengths, one, strengths * width / 2),
        "TranslateX": (one, zero, -pixels, zero, one, zero),
        "TranslateY": (one, zero, zero, zero, one, -pixels),
        "Rotate": (angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero),
    }
    each = torch.stack([torch.stack(rows[name], 1) for name in MOVED])  # [operations, b, 6]
    own = each[chosen - 1, torch.arange(len(chosen))].view(-1, 2, 3)
    # The same map in coordinates from -1 to 1, as the grid of samples has them.
    size = torch.tensor([width / 2, height / 2, 1.0])
    return own * size / size[:2, None]


def _warped(images: Tensor, moves: Tensor) -> Tensor:
    grid = F.affine_grid(moves.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def _blended(images: Tensor, others: Tensor, strengths: Tensor) -> Tensor:
    """Go from the other images to these ones, and on."""
    factor = 1 + strengths
    return (factor * images + (1 - factor) * others).clamp(0, 1)


@cache
def _luma(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(LUMA).to(device, dtype).view(3, 1, 1)


def _gray(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return (images * _luma(images.dtype, images.device)).sum(1, keepdim=True)


def _contrasted(images: Tensor, strengths: Tensor) -> Tensor:
    return _blended(images, _gray(images).mean((1, 2, 3), keepdim=True), strengths)


def _coloured(images: Tensor, strengths: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else _blended(images, _gray(images), strengths)


def _sharpened(images: Tensor, strengths: Tensor) -> Tensor:
    """Blend with the mean of the pixels around, of which the middle counts five times."""
    if min(images.shape[2:]) <= 2:
        return images
    kernel = torch.full((1, 1, 3, 3), 1 / 13, dtype=images.dtype, device=images.device)
    kernel[..., 1, 1] = 5 / 13
    channels = images.shape[1]
    blurred = images.clone()
    blurred[..., 1:-1, 1:-1] = F.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return _blended(images, blurred, strengths)


def _posterized(images: Tensor, bits: Tensor) -> Tensor:
    levels = 2**bits
    return torch.minimum((images * levels).floor(), levels - 1) / levels


def _solarized(images: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(images >= threshold, 1 - images, images)


def _autocontrasted(images: Tensor, strengths: Tensor) -> Tensor:
    low, high = (f(images, (2, 3), keepdim=True) for f in (torch.amin, torch.amax))
    flat = low == high
    return torch.where(flat, images, (images - low) / torch.where(flat, 1, high - low))


def _equalized(images: Tensor, strengths: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional  # takes seconds, most trainings don't need it

    equalized: Tensor = functional.equalize(images)
    return equalized


_PIXELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": lambda images, strengths: ((1 + strengths) * images).clamp(0, 1),
    "Color": _coloured,
    "Contrast": _contrasted,
    "Sharpness": _sharpened,
    "Posterize": _posterized,
    "Solarize": _solarized,
    "AutoContrast": _autocontrasted,
    "Equalize": _equalized,
}
