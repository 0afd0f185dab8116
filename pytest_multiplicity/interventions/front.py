"""The samples that several models are attacked with at the moment, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Box = tuple[Tensor, Tensor]
WIDTHS = 32  # of a batch that several models share


@dataclass(frozen=True)
class Front:
    """What K models are attacked with at the moment: samples at `place` [K, w] of the batch.

    `right` says which of them count: the others fill up. `box` is the least and the most of each
    value. A `whole` batch keeps its samples, and those that don't count stay where they are. One
    that is not `watched` is on a device that is asked for nothing on the way.
    """

    place: Tensor
    iterate: Tensor
    clean: Tensor
    targets: Tensor
    right: Tensor
    aims: Tensor | None
    box: Box | None
    whole: bool = False
    watched: bool = True

    @classmethod
    def of(
        cls,
        start: Tensor,
        clean: Tensor,
        targets: Tensor,
        aims: Tensor | None,
        right: Tensor,
        box: Box | None,
    ) -> Front:
        """Begin with the samples [K, b, ...] that are right; targets are [b]."""
        place = torch.arange(len(targets), device=targets.device).expand(right.shape)
        return cls(place, start, clean, targets.expand(right.shape), right, aims, box)

    def narrowed(self, right: Tensor, gradient: Tensor) -> tuple[Front, Tensor]:
        """Leave out what is not right for any model, also of the gradient."""
        order = None if self.whole else _order(right)
        if order is None:
            return replace(self, right=right), gradient
        return Front(
            self.place.gather(1, order),
            _picked(self.iterate.detach(), order),
            _picked(self.clean, order),
            self.targets.gather(1, order),
            right.gather(1, order),
            None if self.aims is None else self.aims.gather(1, order),
            self.box and (_picked(self.box[0], order), _picked(self.box[1], order)),
        ), _picked(gradient, order)

    def slope(self, logits: Tensor, right: Tensor) -> Tensor:
        """Return the gradient of the loss by the logits [K, w, C], 0 for samples that aren't right.

        The loss is by how much other classes, or the one aimed at, lead the target's. Its gradient
        is written down: to have it derived would take as long as a small network.
        """
        if self.aims is None:
            leads = without(logits, self.targets)
            slope = leads.transpose(1, 2).softmax(dim=1).transpose(1, 2)  # ten times as fast
        else:
            slope = torch.zeros_like(logits).scatter_(-1, self.aims[..., None], 1.0)
        slope.scatter_(-1, self.targets[..., None], -1.0)
        return slope.masked_fill_(~right[..., None], 0.0)

    def write(self, into: Tensor, values: Tensor, where: Tensor) -> None:
        """Set in [K, b, ...] those of the values [K, w, ...] that `where` says."""
        if not self.watched:
            into.copy_(torch.where(of_samples(where, values), values, into))
            return
        lane, slot = where.nonzero(as_tuple=True)
        if len(lane):
            into[lane, self.place[lane, slot]] = values[lane, slot]


def without(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logits with the targets' replaced by minus infinity."""
    return logits.scatter(-1, targets[..., None], -torch.inf)


def _order(keep: Tensor) -> Tensor | None:
    """Return places [K, w] with what each model keeps [K, b] in front, cut off where none needs.

    None where all stay as they are.

    Several models have a width in common, so a width is a multiple of `WIDTHS`: the rests of
    kernels' blocks would let the last bits depend on the other models. Samples fill up for that,
    some twice where there are too few.
    """
    width = int(keep.sum(dim=1).max())
    if len(keep) > 1:
        width = -(-width // WIDTHS) * WIDTHS
    if width == keep.shape[1]:
        return None
    slots = torch.arange(width, device=keep.device) % keep.shape[1]
    return keep.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, slots]


def _picked(values: Tensor, place: Tensor) -> Tensor:
    """Return for each model the values [K, b, ...] at its places [K, w]."""
    return values[torch.arange(len(place), device=place.device)[:, None], place]


def of_samples(values: Tensor, samples: Tensor) -> Tensor:
    """Return one value per sample [K, b] in a shape that broadcasts with [K, b, ...]."""
    return values.reshape(*values.shape, *[1] * (samples.ndim - 2))


def inside(samples: Tensor, box: Box | None) -> Tensor:
    """Return samples within what bounds each value, if anything does."""
    return samples if box is None else samples.clamp(*box)
