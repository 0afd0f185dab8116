"""How each group is trained: in which arithmetic, by rule, and how many at once and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from pytest_multiplicity.compute import (
    BACKWARD,
    FEWEST_LANES,
    MOST_LANES,
    Arithmetic,
    Machine,
    Shape,
    StalledError,
    WorkerPool,
    fewest_lanes,
    keeping_pages,
    let_go,
    named,
    of_training,
    out_of_memory,
    unrecorded,
    watched,
)
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.checks import Trial
from pytest_multiplicity.training.groups import JobGroup, group_jobs
from pytest_multiplicity.training.jobs import Job, initial_module

# What a step takes about, as benchmarks/README.md has it: estimates, which change no bits.
DISPATCH_SECONDS = 300e-6  # of a step, however little it computes
RATE = {"cpu": 2e10}  # operations a second, by one core
ACCELERATOR_RATE = 1e13
WORKERS_SECONDS = 2.5  # to start worker processes, nearly all of it importing torch
MEMORY_SHARE = 0.5  # of what is free, for all tasks together
LACKING = "memory ran out"
COPIES = 5  # of a candidate's state, in training: gradients, momenta, and what steps leave


@dataclass(frozen=True)
class Declared:
    """The jobs of a family, also those that the store has, and what the declared design counts.

    Args:
        jobs: of the whole family, in the design's order.
        size: how many recipes the declared design has: before `--multiplicity-seeds`.
        added: jobs that were added to the design, which decide nothing.
    """

    jobs: Sequence[Job]
    size: int
    added: Sequence[Job] = ()

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Declared:
        """Take jobs for a whole design."""
        return cls(jobs, len(jobs))


@dataclass(frozen=True)
class Plan:
    """How one group is trained, with estimates of its time and memory.

    Args:
        group: what is to be trained of it.
        arithmetic: what its bits depend on.
        lanes: how many are trained side by side, at most.
        in_workers: whether worker processes do it.
        seconds: that all of it takes, about.
        bytes: that each of its tasks needs, about.
        reason: why it is not fused, or not as the rule says, where that failed.
        fewer: lanes that give the same bits as the usual, where memory runs out.
        unrecorded: why its steps are not recorded as graphs, where the rule says so.
        lacking: whether memory ran out for what the rule says when that was looked at.
    """

    group: JobGroup
    arithmetic: Arithmetic
    lanes: int = 1
    in_workers: bool = False
    seconds: float = 0.0
    bytes: int = 0
    reason: str | None = None
    fewer: tuple[int, ...] = ()
    lacking: bool = False
    unrecorded: str | None = None

    @property
    def tasks(self) -> int:
        """How many tasks it makes."""
        return math.ceil(len(self.group.jobs) / self.lanes)

    def __str__(self) -> str:
        side_by_side = f", {self.lanes} at once" if self.lanes > 1 else ""
        text = f"{len(self.group.jobs)} {self.arithmetic}{side_by_side}"
        text += ", steps as graphs" * self.arithmetic.recorded + " in workers" * self.in_workers
        text = f"{text} ({self.reason})" if self.reason else text
        return unrecorded(text, self.unrecorded)


@dataclass(frozen=True)
class Planner:
    """Plans on one machine. Nothing here reads a clock."""

    machine: Machine
    pool: WorkerPool

    def plans(
        self, jobs: Sequence[Job], declared: Declared, *, forgiving: bool = False
    ) -> list[Plan]:
        """Return a plan for each group that has jobs to train.

        Args:
            jobs: what is to be trained.
            declared: the design they belong to.
            forgiving: whether groups that hang while they are looked at are planned as plain ones.

        Raises:
            StalledError: jobs hang, unless that is forgiven.
            RecipeError: a job can't be trained as its recipe is written.
        """
        wanted, added = {job.key for job in jobs}, {job.key for job in declared.added}
        made = []
        for group in group_jobs([*declared.jobs, *declared.added]):
            missing = tuple(job for job in group.jobs if job.key in wanted)
            if missing:
                own = tuple(job for job in group.jobs if job.key not in added) or group.jobs[:1]
                looked_at = replace(group, jobs=own)
                plan, shape = self._decided(looked_at, declared, forgiving)
                plan = replace(plan, group=replace(group, jobs=missing))
                made.append(replace(plan, seconds=self._seconds(plan, shape)))
        return self._shared_out(made)

    def _decided(self, group: JobGroup, declared: Declared, forgiving: bool) -> tuple[Plan, Shape]:
        """Return a group's arithmetic and what failed, and the shape that it follows from."""
        jobs = group.jobs[:MOST_LANES]
        try:
            what = f"planning to train {named([job.id for job in jobs])}"
            with watched(what, self.machine.patience, lambda steps: None, jobs), keeping_pages():
                return self._looked_at(group, declared)
        except StalledError:
            if not forgiving:
                raise
            return Plan(group, Arithmetic(), reason="it hangs"), Shape(math.inf)

    def _looked_at(self, group: JobGroup, declared: Declared) -> tuple[Plan, Shape]:
        jobs, device = group.jobs[:MOST_LANES], self.machine.device
        recipe = jobs[0].recipe
        modules = [initial_module(job.recipe, job.seeds) for job in jobs]
        shape = Shape.of(modules[0], recipe.data.take(torch.arange(min(2, len(recipe.data)))))
        share = declared.size / len(declared.jobs)
        wanted = of_training(
            shape,
            batch_size=recipe.batch_size,
            steps=group.steps,
            alike=round(len(group.jobs) * share),
            declared=declared.size,
            machine=self.machine.kind,
            precision=recipe.precision,
        )
        reason = group.obstacle if wanted.fused else None
        trial = Trial(jobs, modules, feed(recipe.data, device), device)
        lacking = False
        for arithmetic in _simpler(wanted.alone if reason else wanted):
            why = self._why_not(partial(trial.why_not, check=self.machine.check), arithmetic)
            if why is None:
                break
            lacking, reason = lacking or why == LACKING, reason or why
        fewer = trial.fewer_lanes(arithmetic) if self.machine.check else ()
        steps = self._why_not(trial.why_unrecorded, arithmetic) if arithmetic.recorded else None
        arithmetic = replace(arithmetic, recorded=arithmetic.recorded and steps is None)
        plan = Plan(group, arithmetic, reason=reason, fewer=fewer, lacking=lacking)
        return replace(plan, unrecorded=steps), shape

    def _why_not(
        self, look: Callable[[Arithmetic], str | None], arithmetic: Arithmetic
    ) -> str | None:
        """Return the reason not to take an arithmetic; want of memory must come up twice."""
        for _ in range(2):
            try:
                return look(arithmetic)
            except Exception as error:
                if not out_of_memory(error):
                    raise
            let_go()
        return LACKING

    def _shared_out(self, plans: list[Plan]) -> list[Plan]:
        """Say where groups are trained, and how many candidates at once."""
        apart = {plan for plan in plans if self.pool.takes_all or self._may_leave(plan)}
        if not self.pool.takes_all:
            there = [self._with_lanes(plan, self.pool.count) for plan in apart]
            at_once = min(self.pool.count, sum(plan.tasks for plan in there))
            saved = sum(plan.seconds for plan in there) * (1 - 1 / max(1, at_once))
            apart = apart if saved > WORKERS_SECONDS else set()
        workers = {plan: self.pool.count if plan in apart else 1 for plan in plans}
        return [
            replace(
                self._with_lanes(plan, workers[plan]),
                in_workers=plan in apart,
                seconds=plan.seconds / workers[plan],
            )
            for plan in plans
        ]

    def _may_leave(self, plan: Plan) -> bool:
        is_cpu = self.machine.device.type == "cpu"
        return is_cpu and plan.arithmetic.threads == 1 and self.pool.possible

    def _with_lanes(self, plan: Plan, workers: int) -> Plan:
        """Choose how many candidates are trained side by side: it changes no bits."""
        one = COPIES * plan.group.state_bytes
        if not plan.arithmetic.fused:
            return replace(plan, bytes=one)
        jobs, room = len(plan.group.jobs), MEMORY_SHARE * self.pool.room / workers
        rounds = math.ceil(jobs / (workers * MOST_LANES))
        fewest = fewest_lanes(self.machine.device)
        lanes = max(fewest, math.ceil(jobs / (workers * rounds)))
        while lanes > fewest and lanes * one > room:
            lanes = max(fewest, lanes // 2)
        return replace(plan, lanes=lanes, bytes=lanes * one)

    def _seconds(self, plan: Plan, shape: Shape) -> float:
        """Estimate what one process takes for a group."""
        jobs, recipe = plan.group.jobs, plan.group.jobs[0].recipe
        step = BACKWARD * min(shape.flops, UNCOUNTED) * recipe.batch_size
        rate = RATE.get(self.machine.device.type, ACCELERATOR_RATE)
        dispatch = DISPATCH_SECONDS / (FEWEST_LANES if plan.arithmetic.fused else 1)
        each = dispatch + step / (rate * plan.arithmetic.threads)
        return len(jobs) * plan.group.steps * each


UNCOUNTED = 1e9  # operations of a sample, where nothing could count them


def _simpler(arithmetic: Arithmetic) -> Iterator[Arithmetic]:
    """Yield an arithmetic and, each simpler than the one before, what to try where it is wrong."""
    plain = Arithmetic(threads=arithmetic.threads)
    usual = replace(arithmetic, channels_last=False)
    alone = replace(arithmetic.alone, compiled=False)
    yield from dict.fromkeys([arithmetic, usual, arithmetic.alone, alone, plain])
