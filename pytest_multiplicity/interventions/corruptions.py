"""Common corruptions of images, with severities 1 to 5.

The parameters are those of CIFAR-10-C (Hendrycks and Dietterich, arXiv 1903.12261), which were
chosen for 32 x 32 pixels, with two exceptions: fog is smooth noise in several octaves instead of
their fractal, and pixels grow up to four times as large, where theirs grow by at most a half and
leave the picture nearly as it was.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError

SEVERITIES = range(1, 6)
LEAST = {"blur": 4, "fog": 2}  # pixels of height and width: what is reflected, an octave of clouds

Corruption = Callable[[Tensor, int], Tensor]


def named(name: str, parameters: Mapping[str, Any]) -> Corruption:
    """Return the corruption of a name, after checking that `parameters` is a severity."""
    if name not in CORRUPTIONS:
        known = ", ".join(map(repr, sorted(CORRUPTIONS)))
        raise InterventionError(f"there is no corruption named {name!r}: there are {known}")
    if list(parameters) != ["severity"] or parameters["severity"] not in SEVERITIES:
        raise InterventionError(
            f"Corrupt({name!r}) takes severity=1 to severity=5, and nothing else: "
            f"got {dict(parameters)}"
        )
    return CORRUPTIONS[name]


def levels(values: Sequence[Any]) -> Callable[[Callable[[Tensor, Any], Tensor]], Corruption]:
    """Make a corruption of a function, by the five values that its severities stand for."""

    def decorate(function: Callable[[Tensor, Any], Tensor]) -> Corruption:
        @functools.wraps(function)
        def corruption(images: Tensor, severity: int) -> Tensor:
            _check_images(images, function.__name__)
            return function(images, values[severity - 1]).clamp(0, 1)

        return corruption

    return decorate


def _check_images(images: Tensor, name: str) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise InterventionError(
            f"the corruption {name!r} is for images, floats in [0, 1], and inputs are "
            f"{kinds.NAMES[kinds.kind(images)]} ({kinds.described(images)}): give Corrupt a "
            "function of yours"
        )
    low, high = (float(value) for value in torch.aminmax(images))
    if images.ndim != 4 or low < 0 or high > 1:
        raise InterventionError(
            f"the corruption {name!r} is for images [b, channels, height, width] in [0, 1]: got a "
            f"batch of shape {tuple(images.shape)} from {low:.4g} to {high:.4g}"
        )
    least = LEAST.get(name, 1)
    if min(images.shape[2:]) < least:
        raise InterventionError(
            f"the corruption {name!r} needs images of {least} x {least} pixels or more, and these "
            f"have {images.shape[2]} x {images.shape[3]}: resize them, or choose another"
        )
    if name == "jpeg" and images.shape[1] not in (1, 3):
        raise InterventionError(
            f"the corruption 'jpeg' is for images of 1 or 3 channels, and these have "
            f"{images.shape[1]}: choose another"
        )


@levels([0.04, 0.06, 0.08, 0.09, 0.10])
def noise(images: Tensor, deviation: float) -> Tensor:
    """Gaussian noise, as of a sensor in low light."""
    return images + deviation * torch.randn(images.shape)


@levels([500, 250, 100, 75, 50])
def shot(images: Tensor, photons: float) -> Tensor:
    """Poisson noise: that of counting photons."""
    return torch.poisson(images * photons) / photons


@levels([0.01, 0.02, 0.03, 0.05, 0.07])
def impulse(images: Tensor, share: float) -> Tensor:
    """Salt and pepper: a share of all values becomes 0 or 1."""
    hit = torch.rand(images.shape) < share
    return torch.where(hit, torch.randint(0, 2, images.shape).to(images), images)


@levels([0.4, 0.6, 0.7, 0.8, 1.0])
def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, of a deviation in pixels."""
    from torchvision.transforms.v2 import functional as v2  # takes a second

    blurred: Tensor = v2.gaussian_blur(images, kernel_size=[7, 7], sigma=[sigma, sigma])
    return blurred


@levels([0.05, 0.10, 0.15, 0.20, 0.30])
def brightness(images: Tensor, offset: float) -> Tensor:
    """More light everywhere."""
    return images + offset


@levels([0.75, 0.50, 0.40, 0.30, 0.15])
def contrast(images: Tensor, factor: float) -> Tensor:
    """Less contrast, around the mean of each channel."""
    mean = images.mean(dim=(2, 3), keepdim=True)
    return mean + factor * (images - mean)


@levels([(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)])
def fog(images: Tensor, density_and_decay: tuple[float, float]) -> Tensor:
    """Bright, smooth noise over the image, as if seen through fog."""
    density, decay = density_and_decay
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    return (images + density * _clouds(images, decay)) * brightest / (brightest + density)


def _clouds(images: Tensor, decay: float) -> Tensor:
    """Return smooth noise from 0 to 1 [b, 1, height, width]: octaves, each finer and fainter."""
    size = images.shape[-2:]
    clouds = torch.zeros(len(images), 1, *size)
    for octave in range(1, min(size).bit_length()):
        coarse = torch.rand(len(images), 1, 2**octave, 2**octave)
        clouds += F.interpolate(coarse, size, mode="bilinear") / decay**octave
    low = clouds.amin(dim=(2, 3), keepdim=True)
    high = clouds.amax(dim=(2, 3), keepdim=True)
    return (clouds - low) / (high - low)


@levels([0.75, 0.625, 0.5, 0.375, 0.25])
def pixelate(images: Tensor, share: float) -> Tensor:
    """Fewer, larger pixels: a share of the height and of the width."""
    height, width = images.shape[-2:]
    size = (math.ceil(share * height), math.ceil(share * width))
    small = F.interpolate(images, size, mode="bilinear", antialias=True)
    return F.interpolate(small, (height, width), mode="nearest-exact")


@levels([80, 65, 58, 50, 40])
def jpeg(images: Tensor, quality: int) -> Tensor:
    """Lossy compression, of a JPEG quality. For images of 1 or 3 channels."""
    pixels = (images * 255).round().to(torch.uint8)
    return torch.stack([_compressed(image, quality) for image in pixels]) / 255


def _compressed(pixels: Tensor, quality: int) -> Tensor:
    from torchvision.transforms.v2 import functional as v2  # takes a second

    file = io.BytesIO()
    v2.to_pil_image(pixels).save(file, format="jpeg", quality=quality)
    decoded: Tensor = v2.pil_to_tensor(Image.open(file))
    return decoded


CORRUPTIONS: dict[str, Corruption] = {
    corruption.__name__: corruption
    for corruption in (blur, brightness, contrast, fog, impulse, jpeg, noise, pixelate, shot)
}
