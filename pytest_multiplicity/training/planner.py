"""Which way each group is trained: a probe decides once, the store remembers."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pytest_multiplicity.compute import (
    FEWEST_LANES,
    Crashed,
    Crew,
    Done,
    Failed,
    Outcome,
    Stalled,
    UnsharableError,
    Work,
    device_class,
    keeping_pages,
    named,
    watched,
)
from pytest_multiplicity.training.batches import feed
from pytest_multiplicity.training.groups import Group
from pytest_multiplicity.training.jobs import Job, initial_module
from pytest_multiplicity.training.probe import (
    LEAST_STEPS,
    MOST_STEPS,
    PROBE_SECONDS,
    Probe,
    probe,
    why_not,
)
from pytest_multiplicity.training.remote import check_task, probe_task
from pytest_multiplicity.training.ways import Probed, Way

if TYPE_CHECKING:
    from pytest_multiplicity.store import Store

KIND = "plans"
VERSION = 2  # of what a plan means: a new one forgets the recorded ones
WORKERS_COST = 3.0  # seconds to start worker processes, and to probe in them
WORKERS_GAIN = 1.4  # of speed by workers, where too few steps are to do to find out
PROBE_SHARE = 0.02  # of a group's plain training, spent at most on probing here, or one way there
COMPILES = {"cuda"}  # devices; on a CPU it won less than a tenth where it won anything
COMPILE_SECONDS = 30.0  # that compiling takes, about: 22 for a small residual network
COMPILE_SHARE = 0.1  # of a group's training, that compiling may cost in vain
TRIAL_SHARE = 1 / 40  # of all steps, that a try may cost
MOST_LANES = 16
MEMORY_SHARE = 0.5
WORKERS = Way("plain", in_workers=True)


@dataclass(frozen=True)
class Plan:
    """How one group is trained, with estimates of its time and memory.

    ``reason`` says why it isn't fused, where it can't be; ``recorded`` whether the store knew.
    """

    group: Group
    way: Way
    seconds: float
    bytes: int
    reason: str | None = None
    recorded: bool = False

    def bytes_of_a_task(self, workers: int) -> int:
        """Estimate the memory that each of the tasks needs, of which so many run at once."""
        tasks = math.ceil(len(self.group.jobs) / self.way.lanes)
        return self.bytes // (min(workers, tasks) if self.way.in_workers else 1)

    def __str__(self) -> str:
        text = f"{len(self.group.jobs)} {self.way}"
        return f"{text} ({self.reason})" if self.reason else text


def describe(plans: Sequence[Plan]) -> str:
    """Sum plans up in a line: "20 fused by 4 in workers, 5 plain, 4 threads (custom optimizer)"."""
    counts: Counter[tuple[str, str | None]] = Counter()
    for plan in plans:
        counts[str(plan.way), plan.reason] += len(plan.group.jobs)
    parts = [f"{n} {way}" + (f" ({why})" if why else "") for (way, why), n in counts.items()]
    return "; ".join(parts)


@dataclass(frozen=True)
class Planner:
    """Decides for groups on one device, by what the store knows or by probing."""

    device: torch.device
    store: Store
    crew: Crew
    check: bool = True

    def plan(self, groups: Sequence[Group]) -> list[Plan]:
        """Give a plan for each group, in their order."""
        known = {group: self._recorded(group) for group in groups}
        unknown = [group for group in groups if known[group] is None]
        made = self._made(unknown)
        for plan in made.values():
            self._record(plan)
        return [known[group] or made[group] for group in groups]

    def _made(self, groups: Sequence[Group]) -> dict[Group, Plan]:
        threads = torch.get_num_threads()
        probes = {group: self._probe_here(group, self._first(group, threads)) for group in groups}
        best = {group: self._best(group, probes[group], alone=True) for group in groups}
        if self.device.type in COMPILES:
            best = {group: self._compiled(plan, probes[group]) for group, plan in best.items()}
        if self.device.type != "cpu":
            return best
        for group in groups if threads > 1 else ():
            if _is_affordable(threads, group.steps * len(group.jobs)):
                probes[group].probed.extend(self._probe_here(group, [Way("plain")]).probed)
                best[group] = self._best(group, probes[group], alone=True)
        if self.crew.possible and self._saved_by_workers(probes) > WORKERS_COST:
            share = {
                group: min(PROBE_SECONDS, PROBE_SHARE * p.seconds) for group, p in best.items()
            }
            return self._made_with_workers(probes, share)
        return best

    def _saved_by_workers(self, probes: dict[Group, Probe]) -> float:
        """Estimate the seconds that plain workers of one thread would save, once they are there."""
        at_once = min(self.crew.count, sum(len(group.jobs) for group in probes))
        saved = 0.0
        for group, found in probes.items():
            steps = group.steps * len(group.jobs)
            here = min(probed.seconds for probed in found.probed)
            alone = [probed.seconds for probed in found.probed if probed.way.threads == 1]
            there = alone[0] / at_once if alone else here / WORKERS_GAIN
            saved += steps * (here - there)
        return saved

    def _first(self, group: Group, threads: int) -> list[Way]:
        """Give the ways to try first: what everybody does, and what an accelerator may like."""
        plain = Way("plain", threads=threads)
        return [plain] if self.device.type == "cpu" else self._ways(group, plain, 1)

    def _compiled(self, plan: Plan, found: Probe) -> Plan:
        """Try the compiler too, where there is so much to do that it may pay."""
        if COMPILE_SHARE * plan.seconds < COMPILE_SECONDS:
            return plan
        way = replace(plan.way, kind="plain", lanes=1, compiled=True)
        found.probed.extend(self._probe_here(plan.group, [way]).probed)
        return self._best(plan.group, found, alone=True)

    def _made_with_workers(
        self, probes: dict[Group, Probe], seconds: dict[Group, float]
    ) -> dict[Group, Plan]:
        """Probe in workers, and check the best way of each group until one is right."""
        alone = len(probes) == 1
        usual = {group: self._ways(group, WORKERS, self.crew.count) for group in probes}
        for group, found in self._probe_in_workers(usual, seconds).items():
            other = _by_numpy(group, found.probed)
            probes[group] = Probe(probes[group].probed + found.probed, found.obstacle)
            usual[group] = [other] if other else []
        others = {group: ways for group, ways in usual.items() if ways}
        for group, found in self._probe_in_workers(others, seconds).items():
            probes[group].probed.extend(found.probed)
        best: dict[Group, Plan] = {}
        unchecked = set(probes)
        while unchecked:
            best |= {group: self._best(group, probes[group], alone=alone) for group in unchecked}
            reasons = self._check_in_workers([best[group] for group in unchecked])
            for group, reason in reasons.items():
                left = [p for p in probes[group].probed if p.way != best[group].way]
                obstacle = reason if best[group].way.kind == "fused" else probes[group].obstacle
                probes[group] = Probe(left, obstacle)
            unchecked = set(reasons)
        return best

    def _check_in_workers(self, plans: Sequence[Plan]) -> dict[Group, str]:
        """Give the reasons not to take those of the plans that are wrong."""
        waiting = deque(p for p in plans if p.way.in_workers)
        reasons = {}
        for plan, outcome in self.crew.workers.perform(waiting, self._check_task):
            reason = _value(outcome)
            if reason is not None:
                reasons[plan.group] = reason
        return reasons

    def _check_task(self, plan: Plan) -> Work:
        jobs = plan.group.jobs[: plan.way.lanes]
        portable = [self.crew.portable(job) for job in jobs]
        return check_task(jobs, portable, plan.way, self.check)

    def _probe_here(self, group: Group, ways: Sequence[Way]) -> Probe:
        """Probe ways that need no worker process.

        Raises:
            StalledError: a job hangs; it names the jobs that were tried.
        """
        jobs = group.jobs[:MOST_LANES]
        modules = [initial_module(job.recipe, job.seeds) for job in jobs]
        source = feed(jobs[0].recipe.data, self.device)
        most = int(PROBE_SHARE / len(ways) * group.steps * len(group.jobs))
        tried = jobs if self.device.type != "cpu" else jobs[:1]
        what = f"planning to train {named([job.id for job in tried])}"
        with watched(what, self.crew.patience, lambda steps: None, tried), keeping_pages():
            found = probe(
                jobs, modules, ways, source, self.device, most_steps=min(MOST_STEPS, max(1, most))
            )
        if self.device.type == "cpu":
            return found
        reasons = {
            p.way: why_not(jobs, modules, p.way, source, self.device, check=self.check)
            for p in found.probed
        }
        right = [p for p in found.probed if reasons[p.way] is None]
        obstacle = next((reason for reason in reasons.values() if reason), None)
        return Probe(right, found.obstacle or obstacle)

    def _probe_in_workers(
        self, ways: dict[Group, list[Way]], seconds: dict[Group, float]
    ) -> dict[Group, Probe]:
        """Probe in all workers at once: what they cost one another is part of the truth."""
        copies = max(1, self.crew.count // max(1, len(ways)))
        waiting = deque([group for group in ways for _ in range(copies)])
        found: dict[Group, list[Probe]] = {group: [] for group in ways}

        def make(group: Group) -> Work:
            jobs = group.jobs[:MOST_LANES]
            portable = [self.crew.portable(job) for job in jobs]
            return probe_task(jobs, portable, ways[group], seconds[group])

        for group, outcome in self.crew.workers.perform(waiting, make):
            value = _value(outcome)
            found[group].append(Probe([], value) if isinstance(value, str) else value)
        return {group: _mean(probes) for group, probes in found.items()}

    def _ways(self, group: Group, plain: Way, workers: int) -> list[Way]:
        """Give the ways to try, given the plain one: fused, and each with channels last."""
        lanes = [] if group.obstacle else _lanes(group, workers)
        ways = [plain, *[replace(plain, kind="fused", lanes=count) for count in lanes]]
        if _has_images(group):
            ways += [replace(way, channels_last=True) for way in ways]
        steps = group.steps * len(group.jobs) / workers
        return [way for way in ways if way is plain or _is_affordable(way.lanes, steps)]

    def _best(self, group: Group, found: Probe, *, alone: bool) -> Plan:
        """Take the fastest way that fits the memory."""
        jobs, workers = len(group.jobs), self.crew.count
        room = MEMORY_SHARE * self.crew.room

        def seconds(probed: Probed) -> float:
            spread = self.crew.takes(probed.way) and not probed.way.in_workers  # over GPUs
            needed = probed.total_seconds(jobs, group.steps, workers, alone=alone)
            return needed / workers if spread else needed

        fitting = [p for p in found.probed if p.peak_bytes(jobs, workers) <= room]
        best = min(fitting or found.probed[:1], key=seconds)
        reason = group.obstacle or (found.obstacle if best.way.kind == "plain" else None)
        return Plan(group, best.way, seconds(best), best.peak_bytes(jobs, workers), reason)

    def _recorded(self, group: Group) -> Plan | None:
        entry = self.store.get(KIND, self._key(group))
        if entry is None:
            return None
        meta: dict[str, Any] = entry.meta
        way = Way(**meta["way"])
        if way.in_workers and not self.crew.possible:
            return None
        seconds = meta["seconds"] * len(group.jobs)
        return Plan(group, way, seconds, meta["bytes"], meta["reason"], recorded=True)

    def _record(self, plan: Plan) -> None:
        meta = {
            "way": plan.way.to_meta(),
            "seconds": plan.seconds / len(plan.group.jobs),
            "bytes": plan.bytes,
            "reason": plan.reason,
        }
        self.store.put(KIND, self._key(plan.group), {}, meta)

    def _key(self, group: Group) -> str:
        """Know a plan by the group's signature and by what it was measured on."""
        device, threads = device_class(self.device), torch.get_num_threads()
        where = [VERSION, self.check, device, self.crew.cores, threads, os.name]
        text = json.dumps([group.signature, *where, torch.__version__])
        return hashlib.sha256(text.encode()).hexdigest()


def _value(outcome: Outcome) -> Any:
    """Give a task's result, or a sentence on why it could not be sent or how its process ended.

    Raises:
        Exception: what the task raised.
    """
    match outcome:
        case Done(value):
            return value
        case Failed(UnsharableError() as error):
            return str(error)
        case Failed(error):
            raise error
        case Crashed(why):
            return f"a worker process died trying it ({why})"
        case Stalled(seconds):
            return f"a worker process trying it made no progress in {seconds:g} s"


def _is_affordable(plain_steps: int, steps: float) -> bool:
    """Say whether to try a way of which a step may take as long as so many plain ones.

    ``steps``: the plain steps that there are to do, for each process.
    """
    return LEAST_STEPS * plain_steps <= TRIAL_SHARE * steps


def _lanes(group: Group, workers: int) -> list[int]:
    """Give the numbers of lanes to try: the fewest, and the most that leave no worker idle."""
    jobs = len(group.jobs)
    if jobs < 2:
        return []
    rounds = math.ceil(jobs / (workers * MOST_LANES))
    most = max(FEWEST_LANES, math.ceil(jobs / (workers * rounds)))
    return sorted({FEWEST_LANES, max(FEWEST_LANES, math.ceil(most / 2)), most})


def _has_images(group: Group) -> bool:
    """Say whether channels last could matter: inputs [C, H, W] to a model that convolves."""
    job: Job = group.jobs[0]
    module = initial_module(job.recipe, job.seeds)
    convolves = any(isinstance(part, nn.Conv2d) for part in module.modules())
    return convolves and len(job.recipe.data.shape) == 3


def _by_numpy(group: Group, probed: Sequence[Probed]) -> Way | None:
    """Give the best of the fused ways with numpy's products, where there could be any."""
    recipe = group.jobs[0].recipe
    fused = [p for p in probed if p.way.kind == "fused"]
    if not fused or recipe.precision == "bf16":
        return None
    module = initial_module(recipe, group.jobs[0].seeds)
    if not any(isinstance(part, nn.Linear) for part in module.modules()):
        return None
    best = min(fused, key=lambda p: p.seconds / p.way.lanes)
    return replace(best.way, by_numpy=True)


def _mean(probes: Sequence[Probe]) -> Probe:
    """Average the probes of one group by ways that all of them offer."""
    obstacle = next((p.obstacle for p in probes if p.obstacle), None)
    rows: dict[Way, list[Probed]] = {}
    for found in probes:
        for probed in found.probed:
            rows.setdefault(probed.way, []).append(probed)
    complete = {way: row for way, row in rows.items() if len(row) == len(probes)}
    means = [
        Probed(way, sum(p.seconds for p in row) / len(row), max(p.bytes for p in row))
        for way, row in complete.items()
    ]
    return Probe(means, obstacle)
