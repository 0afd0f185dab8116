"""The fused way: several candidates of one structure trained in the same steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import (
    Advance,
    Arithmetic,
    Graphs,
    Lanes,
    Outside,
    changed,
    fetched,
    fewest_lanes,
    learnt,
    looking,
    outside_of,
    precision,
    preserved_rng,
    put,
    snapshot,
    stack,
    unrecorded,
)
from pytest_multiplicity.data import kinds
from pytest_multiplicity.training.augment import augmentation
from pytest_multiplicity.training.augmenting import Augmenting, is_own
from pytest_multiplicity.training.batches import BLOCK_BYTES, Feed, StepBatch, parts
from pytest_multiplicity.training.checkpoints import Checkpoint, Keeper
from pytest_multiplicity.training.fused_optimizer import fused_optimizer
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
    sick_weights,
)
from pytest_multiplicity.training.losses import of_lanes
from pytest_multiplicity.training.own import own, stepped
from pytest_multiplicity.training.recipe import lr_factor
from pytest_multiplicity.training.seeds import derive, epoch_order, training_rows
from pytest_multiplicity.training.state import final_state, restore

FUSED = Arithmetic(fused=True)
LOOKED_AT = 16  # samples on which answers are compared


def train_fused(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    feed: Feed,
    device: torch.device,
    arithmetic: Arithmetic = FUSED,
    *,
    keeper: Keeper | None = None,
    advance: Advance = lambda steps: None,
) -> list[Trained | Diverged]:
    """Train jobs side by side in no fewer lanes than is usual on a device; see `train_filled`."""
    lanes = fewest_lanes(device)
    return train_filled(jobs, modules, feed, lanes, arithmetic, keeper=keeper, advance=advance)


def train_filled(
    jobs: Sequence[Job],
    modules: Sequence[nn.Module],
    feed: Feed,
    lanes: int,
    arithmetic: Arithmetic,
    *,
    keeper: Keeper | None,
    advance: Advance,
) -> list[Trained | Diverged]:
    """Train jobs of one structure side by side, each from its initial module.

    Few are filled up with copies of the first: other numbers of lanes pick other kernels, and a
    result must not depend on how many jobs there happened to be.
    `advance` is called with the number of job-steps done.

    Raises:
        Unfusable: the modules can't run side by side.
        RecipeError: what the recipes' functions give can't be trained.
    """
    padding, device = max(0, lanes - len(jobs)), feed.targets.device
    padded = [*jobs, *[jobs[0]] * padding]
    with preserved_rng(), precision(jobs[0].recipe.precision, device):
        filled = [*modules, *[modules[0]] * padding]
        training = FusedTraining(padded, filled, feed, device, arithmetic)
        keeper = keeper or Keeper()
        if keeper.saved:
            training.restore([*keeper.saved, *[keeper.saved[0]] * padding])
            advance(training.epoch * jobs[0].steps_per_epoch * len(jobs))
        while training.epoch < jobs[0].recipe.epochs:
            training.run_epoch(lambda steps: advance(steps * len(jobs)))
            if keeper.due():
                for lane, job in enumerate(jobs):
                    lost = stepped(training.jobs[lane].recipe, job.recipe)
                    lost = lost or bool(training.outside(lane, modules[lane]))
                    if not (training.diverged[lane] or lost):
                        keeper.keep(lane, training.checkpoint(lane))
        way = unrecorded(str(arithmetic), training.graphs.reason if training.graphs else None)
        return [training.result(lane, way, modules[lane]) for lane in range(len(jobs))]


class FusedTraining:
    """Candidates in training, side by side."""

    def __init__(
        self,
        jobs: Sequence[Job],
        modules: Sequence[nn.Module],
        feed: Feed,
        device: torch.device,
        arithmetic: Arithmetic = FUSED,
    ) -> None:
        jobs = [own(job, device) for job in jobs]
        self.jobs, self.device = jobs, device
        self.recipe = jobs[0].recipe  # what all of them share is read from the first
        self.feed = fed(self.recipe, feed)
        self.modules = stack([module.to(device) for module in modules]).train()
        deck = self.modules.deck
        deck.channels_last, deck.by_numpy = arithmetic.channels_last, arithmetic.by_numpy
        deck.generators = [torch.Generator(device) for _ in jobs]
        self.graphs = Graphs(device, deck.generators, None) if arithmetic.recorded else None
        self.params = [p for p in self.modules.parameters.values() if p.requires_grad]
        self.optimizer = fused_optimizer([job.recipe for job in jobs], self.params)
        self.losses = [criterion(job.recipe) for job in jobs]
        self.augments = [augmentation(job.recipe) for job in jobs]
        if any(map(is_own, self.augments)):
            self.feed = self.feed.hosted
        seeds = [job.seeds for job in jobs]
        self.augmenting = Augmenting(list(zip(self.augments, seeds, strict=True)), jobs[0], device)
        self.rows = [training_rows(len(job.recipe.data), job.seeds) for job in jobs]
        self.histories: list[list[dict[str, float]]] = [[] for _ in jobs]
        self.diverged: list[Diverged | None] = [None for _ in jobs]
        self.lrs: list[float] = []  # of the last step
        self.uploaded: tuple[int, Tensor] | None = None  # those of an epoch's steps
        self.steps_per_epoch = jobs[0].steps_per_epoch
        self.epoch = 0
        self.checked = False

    @property
    def tensors(self) -> list[Tensor]:
        """What steps change."""
        return [*self.modules.parameters.values(), *self.modules.buffers.values()]

    def run_epoch(self, advance: Advance) -> None:
        """Train one epoch and add its rows to the histories."""
        lanes = zip(self.rows, self.jobs, strict=True)
        orders = torch.stack([epoch_order(rows, job.seeds, self.epoch) for rows, job in lanes])
        losses, predictions = [], []
        batches = self.augmenting.ahead(self.batches(orders), self.epoch)
        for step, batch in enumerate(batches):
            loss, predicted = self.step(self.epoch, step, batch)
            losses.append(loss)
            predictions.append(predicted)
            advance(1)
        found = fetched(torch.stack(losses).float(), torch.cat(predictions, 1))
        self._record(found[0], found[1], orders)
        self.epoch += 1

    def batches(self, orders: Tensor) -> Iterator[StepBatch]:
        """Yield batches of K lanes, of consecutive rows of orders [K, n].

        Batches lie in memory sample by sample, which is how wide layers want them.
        """
        count, size = len(orders), self.recipe.batch_size
        steps = max(1, self.feed.samples_of(BLOCK_BYTES) // (size * count))
        for taken in self.feed.blocks(orders.T.flatten(), steps * size * count):
            lanes = taken.changed(lambda x: x.view(-1, count, *x.shape[1:]).transpose(0, 1))
            yield from parts(lanes, size, dim=1)

    def step(self, epoch: int, step: int, batch: StepBatch) -> tuple[Tensor, Tensor]:
        """Take one step; give the losses [K] and the predictions [K, b] before it."""
        batch = self._prepared(epoch, step, batch)
        if self.graphs is None:
            return self._taken(batch, lambda: self._lrs(epoch, step))

        def work(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
            return self._taken(batch.of(tensors[:-1]), lambda: tensors[-1])

        inputs = [*batch.tensors, self._lrs(epoch, step)]
        look = partial(looking, self.modules.template, [job.recipe.loss for job in self.jobs])
        losses, predicted = self.graphs(inputs, work, look)
        return losses, predicted

    def _taken(self, batch: StepBatch, lrs: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Take a step on a batch that is prepared: all of it that a graph may do."""
        losses, logits = self._forward(batch)
        grads = torch.autograd.grad(losses.sum(), self.params)
        self.optimizer.step(grads, lrs())
        rows = logits.detach().flatten(0, 1), batch.targets.flatten(0, 1)
        predicted = self.recipe.data.task.predictions_in_training(*rows)
        return losses.detach(), predicted.reshape(batch.targets.shape)

    def forward(self, epoch: int, step: int, batch: StepBatch) -> tuple[Tensor, Tensor]:
        """Augment a batch and compute losses [K] and logits [K, b, C] under the step's seeds."""
        return self._forward(self._prepared(epoch, step, batch))

    def _prepared(self, epoch: int, step: int, batch: StepBatch) -> StepBatch:
        """Augment a batch, and seed what the lanes draw from."""
        inputs = batch.inputs if batch.ready else self._augmented(batch.inputs, epoch, step)
        for generator, job in zip(self.modules.deck.generators, self.jobs, strict=True):
            generator.manual_seed(derive(job.seeds.noise, "step", epoch, step))
        return batch if inputs is batch.inputs else batch._replace(inputs=inputs)

    def _forward(self, batch: StepBatch) -> tuple[Tensor, Tensor]:
        with autocast(self.recipe, self.device):
            logits = self.modules(batch.inputs)
            if not self.checked:
                for job, lane, wanted in zip(self.jobs, logits, batch.targets, strict=True):
                    data = job.recipe.data
                    data.task.check_trainable(lane, wanted, data.targets)
            losses = self._losses(logits, batch)
        self.checked = True
        return losses, logits

    def result(self, lane: int, way: str, initial: nn.Module) -> Trained | Diverged:
        """Return what one candidate's training came to, from its initial module."""
        diverged = self.diverged[lane]
        if diverged:
            return diverged
        state = self.modules.state(lane)
        sick = sick_weights(self.epoch - 1, state, infinite(initial.state_dict()))
        outside = {} if sick else self.outside(lane, initial)
        if outside:
            before = snapshot(initial)
            restore(initial, state)
            put(initial, outside)
            rows = torch.arange(min(LOOKED_AT, len(self.recipe.data)))
            state = final_state(
                initial, learnt(initial, before, kinds.to(self.feed.inputs(rows), self.device))
            )
        return sick or Trained(state, self.histories[lane], way)

    def outside(self, lane: int, initial: nn.Module) -> Outside:
        """Return what a candidate has outside its state dict and had not in its initial module."""
        now = {
            place: value.stacked[lane].detach() if isinstance(value, Lanes) else value
            for place, value in outside_of(self.modules.template)
        }
        return changed(now, snapshot(initial))

    def checkpoint(self, lane: int) -> Checkpoint:
        """Return all that one candidate needs to go on from here."""
        state, optimizer = self.modules.state(lane), self.optimizer.lane_state(lane)
        return Checkpoint(self.epoch, state, optimizer, list(self.histories[lane]))

    def restore(self, saved: Sequence[Checkpoint]) -> None:
        """Go on from checkpoints of all candidates, all after as many epochs."""
        self.modules.load_states([checkpoint.state for checkpoint in saved])
        self.optimizer.restore([checkpoint.optimizer for checkpoint in saved])
        self.histories = [list(checkpoint.history) for checkpoint in saved]
        self.epoch = saved[0].epochs

    def _augmented(self, inputs: kinds.Batch, epoch: int, step: int) -> kinds.Batch:
        if not any(self.augments):
            return inputs
        return torch.stack(self.augmenting.augmented(list(inputs), epoch, step), 1).transpose(0, 1)

    def _losses(self, logits: Tensor, batch: StepBatch) -> Tensor:
        at_once = of_lanes(self.losses, logits, batch)
        if at_once is not None:
            return at_once
        lanes = enumerate(zip(self.losses, logits, strict=True))
        losses = [loss.of_batch(answers, batch.lane(lane)) for lane, (loss, answers) in lanes]
        if not self.checked:
            for loss in losses:
                check_loss(loss)
        return torch.stack(losses)

    def _lrs(self, epoch: int, step: int) -> Tensor:
        """Return the learning rates [K] of a step; a device gets those of an epoch at once."""
        first = epoch * self.steps_per_epoch
        if self.device.type == "cpu":
            return self._rates(first + step)
        if self.uploaded is None or self.uploaded[0] != epoch:
            rates = [self._rates(first + i) for i in range(self.steps_per_epoch)]
            self.uploaded = epoch, kinds.to(torch.stack(rates), self.device)
        return self.uploaded[1][step]

    def _rates(self, step: int) -> Tensor:
        steps = self.recipe.epochs * self.steps_per_epoch
        self.lrs = [job.recipe.lr * lr_factor(job.recipe, step, steps) for job in self.jobs]
        return torch.tensor(self.lrs)

    def _record(self, losses: Tensor, predictions: Tensor, orders: Tensor) -> None:
        for lane, job in enumerate(self.jobs):
            if self.diverged[lane] is None:
                self.diverged[lane] = divergence(self.epoch, losses[:, lane])
            wanted = job.recipe.data.targets[orders[lane]]
            lr, mine = self.lrs[lane], losses[:, lane]
            row = epoch_row(job.recipe, self.epoch, mine, predictions[lane], wanted, lr)
            self.histories[lane].append(row)
