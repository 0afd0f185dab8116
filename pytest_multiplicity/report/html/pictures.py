"""Small pictures without a library: thumbnails as PNG, training curves as SVG paths."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_multiplicity.findings import SaidValues, Thumbnail, known
from pytest_multiplicity.report.facts import bounds
from pytest_multiplicity.report.html import limits

_GREY, _RGB = 0, 2  # PNG's colour types


def data_uri(thumbnail: Thumbnail) -> str:
    """Return the thumbnail as `data:image/png;base64,...`, no larger than `limits.SIDE`.

    Raises:
        ValueError: the pixels are neither grey nor RGB of the stated size.
    """
    return uri(_reduced(thumbnail))


def uri(picture: Thumbnail) -> str:
    """Return a picture as `data_uri` does, of whatever size it is."""
    return "data:image/png;base64," + base64.b64encode(_png(picture)).decode("ascii")


def _channels(thumbnail: Thumbnail) -> int:
    area = thumbnail.width * thumbnail.height
    if area <= 0 or len(thumbnail.pixels) not in (area, 3 * area):
        raise ValueError(
            f"{len(thumbnail.pixels)} bytes are no picture of {thumbnail.width} x "
            f"{thumbnail.height}: pass one byte a pixel (grey) or three (RGB)"
        )
    return len(thumbnail.pixels) // area


def _reduced(thumbnail: Thumbnail) -> Thumbnail:
    """Every n-th pixel of a picture that is too large."""
    step = -(-max(thumbnail.width, thumbnail.height) // limits.SIDE)
    channels = _channels(thumbnail)
    if step == 1:
        return thumbnail
    rows, columns = range(0, thumbnail.height, step), range(0, thumbnail.width, step)
    starts = [(row * thumbnail.width + column) * channels for row in rows for column in columns]
    pixels = b"".join(thumbnail.pixels[start : start + channels] for start in starts)
    return Thumbnail(width=len(columns), height=len(rows), pixels=pixels)


def _png(picture: Thumbnail) -> bytes:
    """Return the picture in the Portable Network Graphics format (ISO/IEC 15948)."""
    channels = _channels(picture)
    stride = picture.width * channels
    lines = (picture.pixels[i * stride : (i + 1) * stride] for i in range(picture.height))
    colour = _RGB if channels == 3 else _GREY
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


@dataclass(frozen=True)
class Curve:
    """One quantity over the epochs, scaled to a box of 100 by 30."""

    name: str
    points: str
    """For an SVG polyline: `0,30 50,10 100,0`."""
    first: float
    last: float


def curves(history: Sequence[Mapping[str, float]]) -> list[Curve]:
    """Return the training curves, one for each quantity but the epoch itself."""
    names = list(dict.fromkeys(name for row in history for name in row if name != "epoch"))
    found = (_curve(name, [row.get(name) for row in history]) for name in names[: limits.CURVES])
    return [curve for curve in found if curve is not None]


def _curve(name: str, values: Sequence[float | None]) -> Curve | None:
    numbers = [value for value in values if known(value)]
    extent = bounds(numbers)
    if extent is None:
        return None
    step = -(-len(numbers) // limits.EPOCHS)
    shown = [*numbers[:-1:step], numbers[-1]]
    low, height = extent[0], (extent[1] - extent[0]) or 1.0
    width = max(1, len(shown) - 1)
    scaled = [(100 * i / width, 30 - 30 * (v - low) / height) for i, v in enumerate(shown)]
    points = " ".join(f"{x:.4g},{y:.3g}" for x, y in scaled)
    return Curve(name, points, numbers[0], numbers[-1])


@dataclass(frozen=True)
class ValueStrip:
    """Values of one sample on the scale from the least to the largest, in a box of 100 by 30."""

    marks: Sequence[str]
    """For SVG paths: of each survivor a stroke, or a line over its several values."""
    target: str
    """The path of the target; "" where there is none."""
    low: float
    high: float


def scale(said: SaidValues) -> ValueStrip | None:
    """Return what survivors said on one scale; None where no number is finite."""
    numbers = [value for each in (*said.values, said.target) for value in each if known(value)]
    extent = bounds(numbers)
    if extent is None:
        return None
    low, span = extent[0], (extent[1] - extent[0]) or 1.0

    def path(values: Sequence[float], top: int, bottom: int) -> str:
        shares = [(value - low) / span for value in values if known(value)]
        if len(values) == 1:
            return " ".join(f"M{100 * share:.4g},{top}V{bottom}" for share in shares)
        width = max(1, len(shares) - 1)
        points = [f"{100 * i / width:.4g},{30 - 30 * share:.3g}" for i, share in enumerate(shares)]
        return "M" + "L".join(points) if points else ""

    several = max(map(len, said.values))
    shown = limits.POINTS if several == 1 else max(1, limits.STRIP_POINTS // several)
    marks = [path(each, 8, 30) for each in said.values[:shown]]
    return ValueStrip(marks, path(said.target, 0, 30), low, extent[1])
