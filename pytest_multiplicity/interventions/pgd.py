"""Accuracy under an attack with the gradients of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import checks
from pytest_multiplicity.interventions.base import JointIntervention, Model
from pytest_multiplicity.interventions.front import Box, Front, inside, of_samples, without
from pytest_multiplicity.interventions.geometry import NORMS
from pytest_multiplicity.interventions.randomness import Stream

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data


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
            watched = clean.device.type == "cpu"  # elsewhere the host would wait for every answer
            whole = whole or not watched
            sick = right.new_zeros(())
            for attempt in range(self.restarts * max(1, self.targeted)):
                if (attempt or watched) and not right.any():
                    break
                left = slice(None) if whole else right.any(dim=0).nonzero()[:, 0]
                restart, rank = divmod(attempt, max(1, self.targeted))
                aim = aims[:, left, rank] if self.targeted else None
                box = self._box(clean[:, left], data)
                start = self._start(clean[:, left], rows[left], restart, box)
                if whole:
                    start = torch.where(of_samples(right, start), start, result)
                front = Front.of(start, clean[:, left], targets[left], aim, right[:, left], box)
                front = replace(front, whole=whole, watched=watched).narrowed(front.right, start)[0]
                reached, still, ill = self._climb(models, front, start, data)
                sick |= ill
                moved = of_samples(right[:, left], reached)
                result[:, left] = torch.where(moved, reached, result[:, left])
                right[:, left] = still
            if not watched and bool(sick):
                raise self._sick()
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
        aims = without(logits, every).topk(self.targeted, dim=-1).indices
        return data.task.right(data.task.predictions(logits), every), aims

    def _box(self, clean: Tensor, data: Data) -> Box | None:
        """Return what bounds each value: the data's bounds, and those of the ball if it has any.

        A value that is outside of the data's bounds already goes no further.
        """
        ball = NORMS[self.norm].box(clean, self.eps)
        if data.bounds is None:
            return ball
        low, high = data.bounds
        least, most = ball or (clean.new_full((), -torch.inf), clean.new_full((), torch.inf))
        return least.clamp(min=clean.clamp(max=low)), most.clamp(max=clean.clamp(min=high))

    def _start(self, clean: Tensor, rows: Tensor, restart: int, box: Box | None) -> Tensor:
        if not self.random_start:
            return clean
        stream = Stream(f"PGD restart {restart}", self.seed)
        drawn = NORMS[self.norm].random(stream, rows, clean.shape[2:])
        offset: Tensor = kinds.to(drawn.to(clean.dtype), clean.device)
        return inside(clean + self.eps * offset, box)

    def _climb(
        self, models: Model, front: Front, start: Tensor, data: Data
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return where an attempt ends [K, b, ...], and which samples are still right [K, b].

        And whether there was a gradient that is no number, where that is not asked at once.

        Samples that are fooled leave the batch, which is as wide as the model with the most left
        needs. That is exact: they stay fooled, and in eval mode samples don't act on each other.
        """
        result = start.clone()
        right = torch.zeros(start.shape[:2], dtype=torch.bool, device=start.device)
        sick = right.new_zeros(())
        for step in range(self.steps + 1):
            iterate = front.iterate.requires_grad_()
            with torch.set_grad_enabled(step < self.steps):
                logits = models(iterate)
                if step == 0:
                    data.task.check_answers(logits, data.targets, data.name)
                still = front.right & data.task.right(data.task.predictions(logits), front.targets)
                if step == self.steps or (front.watched and not still.any()):
                    front.write(result, iterate.detach(), front.right)
                    front.write(right, still, front.right)
                    break
                slope = front.slope(logits.detach(), still)
                gradient = self._gradient(logits, iterate, slope)
                sick |= self._is_sick(gradient, still, front)
            front.write(result, iterate.detach(), front.right & ~still)
            front, gradient = front.narrowed(still, gradient)
            front = replace(front, iterate=self._step(front, gradient))
        return result, right, sick

    def _gradient(self, logits: Tensor, iterate: Tensor, slope: Tensor) -> Tensor:
        """Return the gradients of all samples."""
        gradient = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits, iterate, slope, allow_unused=True)
        if gradient is None:
            raise InterventionError(
                f"{self!r} follows the gradients of a model, and this one has none with respect "
                "to its input: return a torch module, or attack it by Attack(make)"
            )
        return gradient

    def _is_sick(self, gradient: Tensor, right: Tensor, front: Front) -> Tensor | bool:
        """Say whether a gradient of a rightly classified sample is no number.

        Raises InterventionError for it, where that can be seen without waiting.
        """
        if not front.watched:
            return (~gradient.isfinite() & of_samples(right, gradient)).any()
        # the fast way first
        if not (gradient.sum().isfinite() or bool(gradient[right].isfinite().all())):
            raise self._sick()
        return False

    def _sick(self) -> InterventionError:
        return InterventionError(
            f"{self!r} met gradients that are nan or infinite: look for divisions by zero, "
            "logarithms and roots in the model"
        )

    def _step(self, front: Front, gradient: Tensor) -> Tensor:
        size = 2.5 * self.eps / self.steps if self.step_size is None else self.step_size
        iterate, clean = front.iterate.detach(), front.clean
        flat, slopes, around = (x.flatten(0, 1) for x in (iterate, gradient, clean))
        moved = NORMS[self.norm].climbed(flat, slopes, size, around, self.eps)
        moved = inside(moved.view(clean.shape), front.box)
        if front.whole:
            moved = torch.where(of_samples(front.right, moved), moved, iterate)
        return moved
