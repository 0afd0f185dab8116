"""Linear layers after each other, with their ReLUs, as one operation where numpy multiplies.

Bits are those of one after the other. Small networks take as long for what is around products:
calls of Python, of which threads do one at a time, and values that have left the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from pytest_multiplicity.compute.forms import linear_layers


class InARow(nn.Module):
    """Linear layers after each other, some with a ReLU after them."""

    def __init__(self, layers: Sequence[nn.Linear], rectified: Sequence[bool]) -> None:
        super().__init__()
        self.layers, self.rectified = nn.ModuleList(layers), tuple(rectified)

    def forward(self, x: Any) -> Any:
        """Return what the last one gives."""
        several = [(layer.weight, layer.bias) for layer in self.layers]
        return linear_layers(x, several, self.rectified)


def join_rows(module: nn.Module) -> None:
    """Put layers together that follow each other in a sequence, of which none is trained.

    Only of a module that is a sequence itself: another one's code may use parts of those it has.
    """
    if type(module) is not nn.Sequential:
        return
    for part in module.children():
        join_rows(part)
    joined = {str(place): part for place, part in enumerate(_joined(module))}
    module._modules = joined


def _joined(parts: nn.Sequential) -> Iterator[nn.Module]:
    """Yield the parts of a sequence, with layers put together."""
    layers: list[nn.Linear] = []
    rectified: list[bool] = []
    for part in (*parts, None):
        if type(part) is nn.Linear:
            layers.append(part)
            rectified.append(False)
        elif type(part) is nn.ReLU and layers:
            rectified[-1] = True
        elif not (layers and type(part) is nn.Dropout and not part.training):
            if layers:
                yield InARow(layers, rectified)
                layers, rectified = [], []
            if part is not None:
                yield part
