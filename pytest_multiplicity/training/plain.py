"""The plain way: one module after the other, as everybody would write it. The others must agree."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    Advance,
    Arithmetic,
    Graphs,
    Outside,
    changed,
    compile_mode,
    fetched,
    learnt,
    looking,
    outside_of,
    pixel_by_pixel,
    precision,
    preserved_rng,
    seed_everything,
    seed_step,
    snapshot,
    unrecorded,
    without_compiler,
)
from pytest_multiplicity.data import kinds
from pytest_multiplicity.errors import RecipeError
from pytest_multiplicity.training.augment import augmentation
from pytest_multiplicity.training.augmenting import Augmenting, is_own
from pytest_multiplicity.training.batches import Feed, StepBatch
from pytest_multiplicity.training.checkpoints import Checkpoint, Keeper
from pytest_multiplicity.training.jobs import (
    Diverged,
    Job,
    Trained,
    autocast,
    check_loss,
    criterion,
    divergence,
    epoch_row,
    fed,
    infinite,
    initial_module,
    other_dtype,
    sick_weights,
)
from pytest_multiplicity.training.own import own, stepped
from pytest_multiplicity.training.recipe import Recipe, build_optimizer, lr_factor
from pytest_multiplicity.training.seeds import (
    derive,
    epoch_order,
    training_rows,
)
from pytest_multiplicity.training.state import final_state, restore

PLAIN = Arithmetic()
HOW = ("fused", "foreach", "capturable", "lr")  # settings of an optimizer that its device decides
LOOKED_AT = 16  # samples on which answers are compared


def train_plain(
    job: Job,
    feed: Feed,
    device: torch.device,
    *,
    module: nn.Module | None = None,
    arithmetic: Arithmetic = PLAIN,
    keeper: Keeper | None = None,
    advance: Advance = lambda steps: None,
) -> Trained | Diverged:
    """Train one job, from its initial module where there is one already.

    `advance` is called with the number of steps done since the last call.

    Raises:
        RecipeError: what the recipe's functions give can't be trained.
    """
    with preserved_rng(), precision(job.recipe.precision, device), compiling(arithmetic.compiled):
        module = module or initial_module(job.recipe, job.seeds)
        allowed, before = infinite(final_state(module)), snapshot(module)
        training = PlainTraining(job, module, feed, device, arithmetic)
        keeper = keeper or Keeper()
        for saved in keeper.saved:
            training.restore(saved)
            advance(saved.epochs * job.steps_per_epoch)
        while training.epoch < job.recipe.epochs:
            diverged = training.run_epoch(advance)
            if diverged:
                advance(job.steps - training.epoch * job.steps_per_epoch)
                return diverged
            if training.epoch == 1:  # rather than when all is done
                final_state(module, training.learnt(before))
            if keeper.due() and not stepped(training.job.recipe, job.recipe):
                with suppress(RecipeError):  # of what it keeps, some can't be stored
                    keeper.keep(0, training.checkpoint(before))
        state = final_state(module, training.learnt(before))
        sick = sick_weights(training.epoch - 1, state, allowed)
        reason = training.graphs.reason if training.graphs else None
        return sick or Trained(state, training.history, unrecorded(str(arithmetic), reason))


@contextmanager
def compiling(compiled: bool) -> Iterator[None]:
    """Keep to itself what the compiler warns of while it is at work: it is not the user's doing."""
    with warnings.catch_warnings():
        if compiled:
            warnings.simplefilter("ignore")
        yield


def _update(recipe: Recipe, optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """Return the optimizer's step: of torch's own ones without the wrappers for the compiler.

    Those import the compiler, which takes a second in every process, and some time in every step.
    """
    if not isinstance(recipe.optimizer, str):
        return optimizer.step
    step = inspect.unwrap(type(optimizer).step)
    return torch.no_grad()(partial(step, optimizer))


def _compiled(module: nn.Module, device: torch.device) -> nn.Module:
    """Return the module's forward pass compiled, once for all modules of one code and shape."""
    compiled: Any = torch.compile(module, mode=compile_mode(device))
    assert isinstance(compiled, nn.Module)
    return compiled


class PlainTraining:
    """A module in training: it can stop after any epoch and go on from there."""

    def __init__(
        self,
        job: Job,
        module: nn.Module,
        feed: Feed,
        device: torch.device,
        arithmetic: Arithmetic = PLAIN,
    ) -> None:
        job = own(job, device)
        self.job, self.device = job, device
        self.feed = fed(job.recipe, feed)
        self.format = torch.channels_last if arithmetic.channels_last else torch.preserve_format
        self.module = module.to(device).to(memory_format=self.format)
        self.model = _compiled(self.module, device) if arithmetic.compiled else self.module
        with without_compiler():
            self.optimizer = build_optimizer(job.recipe, self.module)
        self.params = list(self.module.parameters())
        self.update = _update(job.recipe, self.optimizer)
        built_in = isinstance(job.recipe.optimizer, str)
        groups = self.optimizer.param_groups
        self.lrs = [job.recipe.lr if built_in else float(group["lr"]) for group in groups]
        at_once = built_in and isinstance(groups[0]["lr"], Tensor)
        self.rates = [group["lr"] for group in groups] if at_once else []  # on the device
        self.lr = 0.0  # what the first of these is
        many = "an optimizer of many launches" if built_in else "custom optimizer"
        why = None if at_once else many
        self.graphs = Graphs(device, [], why) if arithmetic.recorded else None
        self.loss = criterion(job.recipe)
        self.augment = augmentation(job.recipe)
        if is_own(self.augment):
            self.feed = self.feed.hosted
        self.augmenting = Augmenting([(self.augment, job.seeds)], job, device)
        self.rows = training_rows(len(job.recipe.data), job.seeds)
        self.steps_per_epoch = job.steps_per_epoch
        self.history: list[dict[str, float]] = []
        self.checked = False

    @property
    def tensors(self) -> list[Tensor]:
        """What steps change."""
        return [*self.module.parameters(), *self.module.buffers()]

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def run_epoch(self, advance: Advance) -> Diverged | None:
        """Train one epoch and add its row to the history, unless it diverged."""
        epoch = self.epoch
        seed_everything(derive(self.job.seeds.noise, "epoch", epoch))
        order = epoch_order(self.rows, self.job.seeds, epoch)
        losses, hits = [], []
        batches = self.feed.batches(order, self.job.recipe.batch_size)
        for step, batch in enumerate(self.augmenting.ahead(batches, epoch)):
            loss, predicted = self.step(epoch, step, batch)
            losses.append(loss)
            hits.append(predicted)
            advance(1)
        all_losses, predicted = fetched(torch.stack(losses).float(), torch.cat(hits))
        diverged = divergence(epoch, all_losses)
        if diverged is None:
            targets = self.job.recipe.data.targets[order]
            lr = self.lr if self.rates else self.optimizer.param_groups[0]["lr"]
            self.history.append(
                epoch_row(self.job.recipe, epoch, all_losses, predicted, targets, lr)
            )
        return diverged

    def step(self, epoch: int, step: int, batch: StepBatch) -> tuple[Tensor, Tensor]:
        """Take one step; give the loss (a scalar) and the predictions [b] before it."""
        batch = self._prepared(epoch, step, batch)
        position = epoch * self.steps_per_epoch + step
        if self.graphs is None:
            return self._taken(batch, partial(self._set_lr, position))
        self._set_lr(position)
        loss, predicted = self.graphs(
            batch.tensors,
            lambda tensors: self._taken(batch.of(tensors), lambda: None),
            partial(looking, self.module, [self.job.recipe.loss]),
        )
        return loss, predicted

    def _taken(self, batch: StepBatch, set_lr: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """Take a step on a batch that is prepared: all of it that a graph may do."""
        loss, logits = self._forward(batch)
        for parameter in self.params:
            parameter.grad = None  # as `zero_grad` does, but for a record of it for the profiler
        loss.backward()  # type: ignore[no-untyped-call]
        set_lr()
        self.update()
        task = self.job.recipe.data.task
        return loss.detach(), task.predictions_in_training(logits.detach(), batch.targets)

    def forward(self, epoch: int, step: int, batch: StepBatch) -> tuple[Tensor, Tensor]:
        """Augment a batch and compute loss and logits under the step's seed."""
        return self._forward(self._prepared(epoch, step, batch))

    def _prepared(self, epoch: int, step: int, batch: StepBatch) -> StepBatch:
        """Augment a batch, and seed what the step draws from."""
        inputs = batch.inputs
        if self.augment and not batch.ready:
            inputs = self.augmenting.augmented([inputs], epoch, step)[0]
        if self.format is torch.channels_last and isinstance(inputs, Tensor) and inputs.ndim == 4:
            inputs = pixel_by_pixel(inputs.contiguous(memory_format=self.format))
        seed_step(derive(self.job.seeds.noise, "step", epoch, step), self.device)
        return batch if inputs is batch.inputs else batch._replace(inputs=inputs)

    def _forward(self, batch: StepBatch) -> tuple[Tensor, Tensor]:
        with autocast(self.job.recipe, self.device):
            logits = self._logits(batch.inputs)
            if not self.checked:
                data = self.job.recipe.data
                data.task.check_trainable(logits, batch.targets, data.targets)
            loss = self.loss.of_batch(logits, batch)
        if not self.checked:
            check_loss(loss)
            self.checked = True
        return loss, logits

    def learnt(self, before: Outside) -> Outside:
        """Return what its answers rest on outside the state dict and has changed."""
        rows = torch.arange(min(LOOKED_AT, len(self.job.recipe.data)))
        return learnt(self.module, before, kinds.to(self.feed.inputs(rows), self.device))

    def checkpoint(self, before: Outside | None = None) -> Checkpoint:
        """Return all that is needed to go on from here."""
        outside = {} if before is None else changed(dict(outside_of(self.module)), before)
        state = final_state(self.module, outside)
        return Checkpoint(self.epoch, state, self.optimizer.state_dict(), list(self.history))

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint."""
        restore(self.module, saved.state)
        # whether a step is one launch is this device's business, not that of the checkpoint's
        pairs = zip(saved.optimizer["param_groups"], self.optimizer.param_groups, strict=True)
        groups = [{**kept, **{k: own[k] for k in HOW if k in own}} for kept, own in pairs]
        self.optimizer.load_state_dict({**saved.optimizer, "param_groups": groups})
        self.rates = [group["lr"] for group in self.optimizer.param_groups] if self.rates else []
        self.history = list(saved.history)

    def _logits(self, inputs: kinds.Batch) -> Tensor:
        try:
            logits: Tensor = kinds.answers(kinds.call(self.model, inputs))
        except ValueError as error:
            if kinds.length(inputs) > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise RecipeError(
                f"batch_size={self.job.recipe.batch_size} leaves 1 of {len(self.rows)} samples for "
                "the last batch of an epoch, from which batch norm can't learn: choose another one"
            ) from error
        except RuntimeError as error:
            floats = [t.dtype for t in kinds.tensors(inputs).values() if t.is_floating_point()]
            if torch.float32 not in floats or (wider := other_dtype(self.module)) is None:
                raise
            raise RecipeError(
                f"the model has parameters of {wider} and data are float32 ({error}): build it in "
                "float32, as with .float(), or let it convert its inputs"
            ) from error
        return logits

    def _set_lr(self, step: int) -> None:
        steps = self.job.recipe.epochs * self.steps_per_epoch
        factor = lr_factor(self.job.recipe, step, steps)
        self.lr = self.lrs[0] * factor
        if self.rates:
            for rate, lr in zip(self.rates, self.lrs, strict=True):
                rate.fill_(lr * factor)
            return
        for group, lr in zip(self.optimizer.param_groups, self.lrs, strict=True):
            group["lr"] = lr * factor
