"""Images as they lie in memory."""

from __future__ import annotations

from torch import Tensor


def pixel_by_pixel(images: Tensor) -> Tensor:
    """Return images `[b, 1, h, w]` as ones that lie pixel by pixel; others as they are.

    Of a single channel they lie both ways, which torch takes for channel by channel: then the first
    convolution on a CPU is a multiple slower, and the next one puts what it gives in order.
    """
    if images.ndim != 4 or images.shape[1] != 1 or images.device.type != "cpu":
        return images
    count, _, height, width = images.shape
    return images.reshape(count, height, width, 1).permute(0, 3, 1, 2)
