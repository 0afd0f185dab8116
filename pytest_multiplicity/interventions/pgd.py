"""Accuracy under an attack with the gradients of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pytest_multiplicity.data.checks import check_classes
from pytest_multiplicity.errors import InterventionError
from pytest_multiplicity.interventions import checks
from pytest_multiplicity.interventions.base import Model, ModelIntervention
from pytest_multiplicity.interventions.geometry import NORMS
from pytest_multiplicity.interventions.randomness import Stream

if TYPE_CHECKING:
    from pytest_multiplicity.data import Data


@dataclass(frozen=True, repr=False)
class PGD(ModelIntervention):
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

    def check(self, data: Data) -> None:
        """Raise an InterventionError where eps is more than the bounds of `data` leave room for."""
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
        self.check(data)
        if self.eps == 0:
            return inputs
        with torch.inference_mode(False):
            clean = inputs.detach().clone()
            result = clean.clone()
            left, aims = self._begin(model, clean, targets, data)
            for attempt in range(self.restarts * max(1, self.targeted)):
                if len(left) == 0:
                    break
                restart, rank = divmod(attempt, max(1, self.targeted))
                start = self._start(clean[left], rows[left.cpu()], restart, data)
                aim = aims[left, rank] if self.targeted else None
                found, right = self._climb(model, clean[left], start, targets[left], aim, data)
                result[left] = found
                left = left[right]
        return result

    def _begin(
        self, model: Model, clean: Tensor, targets: Tensor, data: Data
    ) -> tuple[Tensor, Tensor]:
        """Return the positions of what is left to fool, and the classes to aim at [b, targeted].

        Where every attempt starts at the input, its first iterate shows what is fooled already.
        """
        left = torch.arange(len(clean), device=clean.device)
        if not (self.random_start or self.targeted):
            return left, left.new_empty(len(clean), 0)
        with torch.no_grad():
            logits = model(clean)
        check_classes(data, logits.shape[1])
        if self.targeted >= logits.shape[1]:
            raise InterventionError(
                f"{self!r}: there are {logits.shape[1] - 1} other classes to aim at, "
                f"not {self.targeted}"
            )
        aims = _without(logits, targets).topk(self.targeted, dim=1).indices
        return left[logits.argmax(dim=1) == targets], aims

    def _start(self, clean: Tensor, rows: Tensor, restart: int, data: Data) -> Tensor:
        if not self.random_start:
            return clean
        stream = Stream(f"PGD restart {restart}", self.seed)
        offset = NORMS[self.norm].random(stream, rows, clean.shape[1:]).to(clean)
        return _inside(clean + self.eps * offset, clean, data)

    def _climb(
        self,
        model: Model,
        clean: Tensor,
        start: Tensor,
        targets: Tensor,
        aims: Tensor | None,
        data: Data,
    ) -> tuple[Tensor, Tensor]:
        """Return the iterates that this attempt ends at, and the positions of those not fooled.

        Samples that are fooled leave the batch. That is exact: they stay fooled, and in eval mode
        samples don't act on each other.
        """
        result = start.clone()
        left = torch.arange(len(start), device=start.device)
        iterate = start
        for step in range(self.steps + 1):
            iterate = iterate.detach().requires_grad_()
            with torch.set_grad_enabled(step < self.steps):
                logits = model(iterate)
                check_classes(data, logits.shape[1])
                right = logits.argmax(dim=1) == targets[left]
                result[left] = iterate.detach()
                if step == self.steps or not right.any():
                    break
                loss = _loss(logits, targets[left], None if aims is None else aims[left])
                gradient = self._gradient(loss, iterate, right)
            left = left[right]
            iterate = self._step(iterate.detach()[right], gradient, clean[left], data)
        return result, left[right]

    def _gradient(self, loss: Tensor, iterate: Tensor, right: Tensor) -> Tensor:
        """Return the gradients for the samples that are still classified rightly."""
        gradient = None
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss[right].sum(), iterate, allow_unused=True)
        if gradient is None:
            raise InterventionError(
                f"{self!r} follows the gradients of a model, and this one has none with respect "
                "to its input: return a torch module, or attack it by Attack(make)"
            )
        gradient = gradient[right]
        if not torch.isfinite(gradient).all():
            raise InterventionError(
                f"{self!r} met gradients that are nan or infinite: look for divisions by zero, "
                "logarithms and roots in the model"
            )
        return gradient

    def _step(self, iterate: Tensor, gradient: Tensor, clean: Tensor, data: Data) -> Tensor:
        norm = NORMS[self.norm]
        size = 2.5 * self.eps / self.steps if self.step_size is None else self.step_size
        moved = iterate + size * norm.direction(gradient)
        return _inside(clean + norm.project(moved - clean, self.eps), clean, data)


def _loss(logits: Tensor, targets: Tensor, aims: Tensor | None) -> Tensor:
    """Return by how much the other classes, or the one aimed at, lead the target's [b]."""
    own = logits.gather(1, targets[:, None])[:, 0]
    if aims is not None:
        return logits.gather(1, aims[:, None])[:, 0] - own
    return _without(logits, targets).logsumexp(dim=1) - own


def _without(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logits with the targets' replaced by minus infinity."""
    return logits.scatter(1, targets[:, None], -torch.inf)


def _inside(samples: Tensor, clean: Tensor, data: Data) -> Tensor:
    """Return samples clamped to the bounds; a value that is outside already goes no further."""
    if data.bounds is None:
        return samples
    low, high = data.bounds
    return samples.clamp(clean.clamp(max=low), clean.clamp(min=high))
