"""What one sample is, for readers: a picture, a text, the columns that matter, a strip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_multiplicity.findings.pictured import Thumbnail

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_multiplicity.data import Data

LARGEST = 64  # pixels a side of a thumbnail
STRIP = 8  # pixels of the height of a strip
COLUMNS, VALUES, LENGTH = 6, 12, 200  # that are shown of a sample


@dataclass(frozen=True)
class Example:
    """A sample as text and as a picture, as far as its kind has them."""

    text: str = ""
    thumbnail: Thumbnail | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def examples(data: Data, rows: Sequence[int]) -> Callable[[int], Example]:
    """Return what shows a sample of `data`; `rows` are those that will be shown.

    Of a frame it shows the columns in which those differ most from all.
    """
    import torch  # here: recorded families have no samples, and do without

    from pytest_multiplicity.data import kinds

    columns = _that_matter(data.inputs, rows) if data.kind == kinds.FRAME else []

    def shown(row: int) -> Example:
        batch = data.take(torch.tensor([row]))
        known = _attributes(data, row)
        match kinds.kind(batch):
            case "frame":
                told = {str(name): _value(batch[name].iloc[0]) for name in columns[:COLUMNS]}
                text = " · ".join(f"{name} {value}" for name, value in told.items())
                known = {name: value for name, value in known.items() if name not in batch}
                return Example(text, None, known)
            case "list":
                return Example(_object(batch[0]), _picture(batch[0]), known)
            case "tensor":
                picture = _image(batch[0], data.bounds) or _strip(batch[0])
                return Example("" if picture else _values(batch[0]), picture, known)
        parts = kinds.tensors(batch).items()
        named = (f"{name.strip('[]').strip(chr(39))} {_values(part[0])}" for name, part in parts)
        return Example(" · ".join(named), None, known)

    return shown


def _attributes(data: Data, row: int) -> dict[str, str]:
    if data.attributes is None:
        return {}
    return {str(name): str(value) for name, value in data.attributes.iloc[row].items()}


def _that_matter(frame: Any, rows: Sequence[int]) -> list[Any]:
    """Return the columns, those first in which some rows differ most from all.

    Numbers by how far the means are apart, in standard deviations; others by the share of values
    that would have to change (total variation).
    """
    from pytest_multiplicity.data import kinds

    some, spreads = frame.iloc[list(rows)], kinds.spreads(frame)

    def apart(name: Any) -> float:
        if name in spreads:
            distance = float(abs(some[name].mean() - frame[name].mean()))
            return distance / spreads[name] if spreads[name] else 0.0
        shares = [part[name].astype(str).value_counts(normalize=True) for part in (some, frame)]
        return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)

    found = {name: apart(name) for name in frame}
    return sorted(found, key=lambda name: -(found[name] if np.isfinite(found[name]) else 0))


def _value(value: Any) -> str:
    if value is None or value != value or str(value) in ("<NA>", "NaT"):
        return "missing"
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def _values(sample: Tensor) -> str:
    """Return the first values of a tensor."""
    flat = sample.flatten()
    told = " ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in flat[:VALUES].tolist())
    return told + " …" * (len(flat) > VALUES)


def _object(value: Any) -> str:
    """Return a text, a file's name, or what an object says of itself where that is all it is."""
    if isinstance(value, str):
        text = value
    elif hasattr(value, "parts") and hasattr(value, "name"):  # a path
        text = value.name
    elif _picture(value) is not None:
        text = ""
    else:
        text = repr(value)
        text = type(value).__name__ if " at 0x" in text else text
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"


def _picture(value: Any) -> Thumbnail | None:
    """Return the thumbnail of a PIL image."""
    if not (hasattr(value, "convert") and hasattr(value, "thumbnail")):
        return None
    small = value.convert("RGB")
    small.thumbnail((LARGEST, LARGEST))
    return Thumbnail(width=small.width, height=small.height, pixels=small.tobytes())


def _image(sample: Tensor, bounds: tuple[float, float] | None) -> Thumbnail | None:
    """Return a picture of an image, `[1 or 3, height, width]`; None for anything else."""
    import torch

    if sample.dtype is torch.uint8:
        bounds = (0.0, 255.0)
    if bounds is None or sample.ndim != 3 or sample.shape[0] not in (1, 3):
        return None
    low, high = bounds
    image = (sample.float() - low) / (high - low)
    if max(image.shape[1:]) > LARGEST:
        scale = LARGEST / max(image.shape[1:])
        image = torch.nn.functional.interpolate(
            image.unsqueeze(0), scale_factor=scale, mode="area"
        )[0]
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    height, width = pixels.shape[:2]
    return Thumbnail(width=width, height=height, pixels=pixels.numpy().tobytes())


def _strip(sample: Tensor) -> Thumbnail | None:
    """Return the values of a vector of floats side by side; few of them are read as numbers."""
    if sample.ndim != 1 or not sample.is_floating_point() or len(sample) <= VALUES:
        return None
    values = sample.numpy()
    if len(values) > LARGEST:
        values = np.array([part.mean() for part in np.array_split(values, LARGEST)])
    low, high = float(values.min()), float(values.max())
    grey = ((values - low) / ((high - low) or 1.0) * 255).round().astype(np.uint8)
    return Thumbnail(width=len(grey), height=STRIP, pixels=grey.tobytes() * STRIP)
