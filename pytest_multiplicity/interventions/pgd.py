"""Accuracy under an attack with the gradients of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import checks
from pytest_multiplicity.interventions.base import JointIntervention, Model
from pytest_multiplicity.interventions.geometry import NORMS
from pytest_multiplicity.interventions.randomness import Stream

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data

Box = tuple[Tensor, Tensor]
WIDTHS = 32  # of a batch that several models share


@dataclass(frozen=True, repr=False)
class PGD(JointIntervention):
    """Inputs that projected gradient descent found to mislead the model: `PGD(0.005)`.

    Stands for security: accuracy under attack (Madry et al., arXiv 1706.06083; Ganesh, arXiv
    2311.14859). A sample is fooled when any iterate is, the clean input included, so accuracy
    never exceeds the clean one. The loss is the log-odds of the other classes,
    `logsumexp(z[k != y]) - z[y]`: the direction of cross-entropy's gradient without its
    saturation in float32 where margins are large.

    Args:
        eps: radius around the input, in its units (images: of [0, 1]); 0 is clean.
        steps: gradient steps, 1 or more.
        step_size: length of a step; None for 2.5 * eps / steps.
        random_start: start anywhere in the ball, not at the input.
        norm: "linf", every value moves by at most eps; or "l2", the Euclidean length.
        restarts: attacks from as many random starts; each tries what is not fooled yet.
        targeted: instead of away from the true class, go for each of this many other classes in
            turn, the likeliest first (as in arXiv 2003.01690). More evaluations, stronger.
        seed: of random starts, which are the same for every candidate.

    Raises:
        InterventionError: a parameter makes no sense; or, when measured, `eps` exceeds the width
            of the data's bounds, or the model gives no gradients.
        DataError: when measured, a label is out of the model's range.
    """

    eps: float
    steps: int = 10
    step_size: float | None = None
    random_start: bool = False
    norm: Literal["linf", "l2"] = "linf"
    restarts: int = 1
    targeted: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checks.number("PGD", "eps", self.eps))
        checks.count("PGD", "steps", self.steps, least=1)
        checks.count("PGD", "restarts", self.restarts, least=1)
        checks.count("PGD", "targeted", self.targeted, least=0)
        checks.count("PGD", "seed", self.seed, least=0)
        if self.step_size is not None:
            size = checks.number("PGD", "step_size", self.step_size, positive=True)
            object.__setattr__(self, "step_size", size)
        if self.norm not in NORMS:
            raise InterventionError(f"PGD: there is no norm={self.norm!r}: use 'linf' or 'l2'")
        if self.restarts > 1 and not self.random_start:
            raise InterventionError(
                f"PGD: restarts={self.restarts} from the same point find the same: "
                "add random_start=True"
            )

    @property
    def passes(self) -> int:
        """One forwards and one backwards a step, of every attempt."""
        return 2 * self.steps * self.restarts * max(1, self.targeted)

    def check(self, data: Data) -> None:
        """Raise where inputs are no floats, or eps is more than their bounds leave room for."""
        checks.acts_on_gradients(self, data)
        if data.bounds is None:
            return
        low, high = data.bounds
        if self.eps > (high - low) * NORMS[self.norm].diameter(data.shape):
            raise InterventionError(
                f"{self!r}: eps is more than the bounds of {data.name!r}, ({low:g}, {high:g}), "
                "leave room for: it is in units of the input, 8/255 and not 8 for images in [0, 1]"
            )

    def perturb(
        self, model: Model, inputs: Tensor, targets: Tensor, rows: Tensor, data: Data
    ) -> Tensor:
        """Return for each sample the first iterate that is misclassified, else the last one.

        See `ModelIntervention.perturb`. No gradients are computed for the model's parameters.
        """
        return self.perturb_all(
            lambda batch: model(batch[0])[None], inputs[None], targets, rows, data
        )[0]

    def perturb_all(
        self,
        models: Model,
        inputs: Tensor,
        targets: Tensor,
        rows: Tensor,
        data: Data,
        *,
        whole: bool = False,
    ) -> Tensor:
        """Do what `perturb` does for K models at once, [K, b, ...]; see `JointIntervention`."""
        self.check(data)
        if self.eps == 0:
            return inputs
        with torch.inference_mode(False):
            clean = inputs.detach().clone(memory_format=torch.contiguous_format)
            result = clean.clone()
            right, aims = self._begin(models, clean, targets, data)
            for attempt in range(self.restarts * max(1, self.targeted)):
                if not right.any():
                    break
                left = (right.any(dim=0) | whole).nonzero()[:, 0]  # that a model still gets right
                restart, rank = divmod(attempt, max(1, self.targeted))
                aim = aims[:, left, rank] if self.targeted else None
                box = self._box(clean[:, left], data)
                start = self._start(clean[:, left], rows[left.cpu()], restart, box)
                if whole:
                    start = torch.where(_of_samples(right, start), start, result)
                front = _Front.of(start, clean[:, left], targets[left], aim, right[:, left], box)
                front = replace(front, whole=whole).narrowed(front.right, start)[0]
                reached, still = self._climb(models, front, start, data)
                moved = _of_samples(right[:, left], reached)
                result[:, left] = torch.where(moved, reached, result[:, left])
                right[:, left] = still
        return result

    def _begin(
        self, models: Model, clean: Tensor, targets: Tensor, data: Data
    ) -> tuple[Tensor, Tensor]:
        """Return which samples are left to fool [K, b], and classes to aim at [K, b, targeted].

        Where every attempt starts at the input, its first iterate shows what is fooled already.
        """
        right = torch.ones(clean.shape[:2], dtype=torch.bool, device=clean.device)
        if not (self.random_start or self.targeted):
            return right, targets.new_empty(*clean.shape[:2], 0)
        with torch.no_grad():
            logits = models(clean)
        data.task.check_answers(logits, data.targets, data.name)
        if self.targeted >= logits.shape[-1]:
            raise InterventionError(
                f"{self!r}: there are {logits.shape[-1] - 1} other classes to aim at, "
                f"not {self.targeted}"
            )
        every = targets.expand(right.shape)
        aims = _without(logits, every).topk(self.targeted, dim=-1).indices
        return data.task.right(data.task.predictions(logits), every), aims

    def _box(self, clean: Tensor, data: Data) -> Box | None:
        """Return what bounds each value: the data's bounds, and those of the ball if it has any.

        A value that is outside of the data's bounds already goes no further.
        """
        ball = NORMS[self.norm].box(clean, self.eps)
        if data.bounds is None:
            return ball
        low, high = data.bounds
        least, most = ball or (clean.new_tensor(-torch.inf), clean.new_tensor(torch.inf))
        return least.clamp(min=clean.clamp(max=low)), most.clamp(max=clean.clamp(min=high))

    def _start(self, clean: Tensor, rows: Tensor, restart: int, box: Box | None) -> Tensor:
        if not self.random_start:
            return clean
        stream = Stream(f"PGD restart {restart}", self.seed)
        offset = NORMS[self.norm].random(stream, rows, clean.shape[2:]).to(clean)
        return _inside(clean + self.eps * offset, box)

    def _climb(
        self, models: Model, front: _Front, start: Tensor, data: Data
    ) -> tuple[Tensor, Tensor]:
        """Return where an attempt ends [K, b, ...], and which samples are still right [K, b].

        Samples that are fooled leave the batch, which is as wide as the model with the most left
        needs. That is exact: they stay fooled, and in eval mode samples don't act on each other.
        """
        result = start.clone()
        right = torch.zeros(start.shape[:2], dtype=torch.bool, device=start.device)
        for step in range(self.steps + 1):
            iterate = front.iterate.requires_grad_()
            with torch.set_grad_enabled(step < self.steps):
                logits = models(iterate)
                if step == 0:
                    data.task.check_answers(logits, data.targets, data.name)
                still = front.right & data.task.right(data.task.predictions(logits), front.targets)
                if step == self.steps or not still.any():
                    front.write(result, iterate.detach(), front.right)
                    front.write(right, still, front.right)
                    break
                slope = front.slope(logits.detach(), still)
                gradient = self._gradient(logits, iterate, slope, still)
            front.write(result, iterate.detach(), front.right & ~still)
            front, gradient = front.narrowed(still, gradient)
            front = replace(front, iterate=self._step(front, gradient))
        return result, right

    def _gradient(self, logits: Tensor, iterate: Tensor, slope: Tensor, right: Tensor) -> Tensor:
        """Return the gradients, of which those of rightly classified samples are good."""
        gradient = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits, iterate, slope, allow_unused=True)
        if gradient is None:
            raise InterventionError(
                f"{self!r} follows the gradients of a model, and this one has none with respect "
                "to its input: return a torch module, or attack it by Attack(make)"
            )
        if not (
            gradient.sum().isfinite() or gradient[right].isfinite().all()
        ):  # the fast way first
            raise InterventionError(
                f"{self!r} met gradients that are nan or infinite: look for divisions by zero, "
                "logarithms and roots in the model"
            )
        return gradient

    def _step(self, front: _Front, gradient: Tensor) -> Tensor:
        size = 2.5 * self.eps / self.steps if self.step_size is None else self.step_size
        iterate, clean = front.iterate.detach(), front.clean
        flat, slopes, around = (x.flatten(0, 1) for x in (iterate, gradient, clean))
        moved = NORMS[self.norm].climbed(flat, slopes, size, around, self.eps)
        moved = _inside(moved.view(clean.shape), front.box)
        if front.whole:
            moved = torch.where(_of_samples(front.right, moved), moved, iterate)
        return moved


@dataclass(frozen=True)
class _Front:
    """What K models are attacked with at the moment: samples at `place` [K, w] of the batch.

    `right` says which of them count: the others fill up. `box` is the least and the most of each
    value. A `whole` batch keeps its samples, and those that don't count stay where they are.
    """

    place: Tensor
    iterate: Tensor
    clean: Tensor
    targets: Tensor
    right: Tensor
    aims: Tensor | None
    box: Box | None
    whole: bool = False

    @classmethod
    def of(
        cls,
        start: Tensor,
        clean: Tensor,
        targets: Tensor,
        aims: Tensor | None,
        right: Tensor,
        box: Box | None,
    ) -> _Front:
        """Begin with the samples [K, b, ...] that are right; targets are [b]."""
        place = torch.arange(len(targets), device=targets.device).expand(right.shape)
        return cls(place, start, clean, targets.expand(right.shape), right, aims, box)

    def narrowed(self, right: Tensor, gradient: Tensor) -> tuple[_Front, Tensor]:
        """Leave out what is not right for any model, also of the gradient."""
        order = None if self.whole else _order(right)
        if order is None:
            return replace(self, right=right), gradient
        return _Front(
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
            leads = _without(logits, self.targets)
            slope = leads.transpose(1, 2).softmax(dim=1).transpose(1, 2)  # ten times as fast
        else:
            slope = torch.zeros_like(logits).scatter_(-1, self.aims[..., None], 1.0)
        slope.scatter_(-1, self.targets[..., None], -1.0)
        return slope.masked_fill_(~right[..., None], 0.0)

    def write(self, into: Tensor, values: Tensor, where: Tensor) -> None:
        """Set in [K, b, ...] those of the values [K, w, ...] that `where` says."""
        lane, slot = where.nonzero(as_tuple=True)
        if len(lane):
            into[lane, self.place[lane, slot]] = values[lane, slot]


def _without(logits: Tensor, targets: Tensor) -> Tensor:
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


def _of_samples(values: Tensor, samples: Tensor) -> Tensor:
    """Return one value per sample [K, b] in a shape that broadcasts with [K, b, ...]."""
    return values.reshape(*values.shape, *[1] * (samples.ndim - 2))


def _inside(samples: Tensor, box: Box | None) -> Tensor:
    return samples if box is None else samples.clamp(*box)
