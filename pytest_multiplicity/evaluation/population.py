"""The candidates of one family at run time: whatever is measured is measured for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.data import Data, check_classes
from pytest_multiplicity.errors import DataError, MeasurementError
from pytest_multiplicity.evaluation.candidate import Candidate
from pytest_multiplicity.evaluation.guard import guarded
from pytest_multiplicity.evaluation.inference import BATCH, Infer
from pytest_multiplicity.evaluation.leakage import ENFORCED, GATE, TRAINING, Leakage
from pytest_multiplicity.evaluation.measure import Measure, apply_measure, measure_name
from pytest_multiplicity.evaluation.metric import Metric
from pytest_multiplicity.evaluation.score import Score
from pytest_multiplicity.evaluation.sources import Models
from pytest_multiplicity.interventions import Chain, Intervention, chain
from pytest_multiplicity.store import Store, fingerprint

NO_CLASS = -1  # the prediction of a candidate that has no model
CHUNK_BYTES = 1 << 30  # parameters of the models that are held at once

Under = Intervention | Chain | None
Observer = Callable[[Metric], None]


class Asked(NamedTuple):
    """What logits are computed for, and which of their rows a metric is about.

    Groups, and views of data under interventions that need no model, are rows of logits that are
    computed once for all of ``source``.
    """

    data: Data
    under: Chain
    source: Data
    rows: Tensor  # positions in source
    positions: Tensor  # the same samples' positions in data

    @property
    def name(self) -> str:
        """``test`` or ``test under PGD(0.005)``."""
        return f"{self.data.name} under {self.under.name}" if self.under.name else self.data.name

    @property
    def targets(self) -> Tensor:
        """The targets of the rows."""
        return self.source.targets[self.rows]


def ask(data: Data | str, under: Under) -> Asked:
    """Check the question and find the rows it is about. Raises DataError, InterventionError."""
    if not isinstance(data, Data):
        raise DataError(f"{data!r} is no pm.Data: give the data set the score is measured on")
    steps = chain(under)
    steps.check(data)
    positions = torch.isin(data.rows, steps.restrict(data).rows).nonzero().flatten()
    if steps.needs_model:
        return Asked(data, steps, data, positions, positions)
    return Asked(data, steps, data.root, data.rows[positions], positions)


class Population:
    """A family's candidates, their logits and metrics, each computed once."""

    def __init__(self, models: Models, names: dict[str, str], leakage: Leakage) -> None:
        self.models, self.design = models, models.design
        self.candidates = tuple(Candidate(self, i) for i in range(len(self.design.ids)))
        self.metrics: dict[str, Metric] = {}
        self.observer: Observer = lambda metric: None
        self._names = names  # data set name -> fingerprint, shared by all families of the run
        self.leakage, self.role = leakage, ENFORCED  # what is measured now is measured for this
        for data in {id(d): d for d in models.training_data}.values():
            leakage.use(TRAINING, data)
        self._measures: dict[str, str] = {}
        self._searching = False
        self._infer = Infer(models.device, models.work)

    @property
    def store(self) -> Store:
        """Where weights, logits and outcomes are kept."""
        return self.models.store

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Inside, only outcomes are stored, not logits: a search visits many interventions once."""
        before, self._searching = self._searching, True
        try:
            yield
        finally:
            self._searching = before

    # --- what a candidate answers with

    def module(self, index: int) -> nn.Module:
        """The module of one candidate."""
        return self.models.module(index)

    def logits(self, index: int, data: Data, under: Under) -> Tensor:
        """The logits of one candidate; those of the whole family are computed with them."""
        self.models.ready()
        self.models.refuse_diverged(index)
        asked = self.ask(data, under)
        return self._rows_of(self._logits(asked)(index), asked)

    def accuracy(self, index: int, data: Data, under: Under) -> Score:
        """One candidate's accuracy, after measuring it for the family."""
        self.models.ready()
        self.models.refuse_diverged(index)
        return self._observed(self.accuracies(data, under), index)

    def measure(
        self,
        index: int,
        fn: Measure,
        data: Data,
        under: Under,
        *,
        name: str | None,
        higher_is_better: bool,
    ) -> Score:
        """One candidate's value of ``fn``, after measuring it for the family."""
        self.models.ready()
        self.models.refuse_diverged(index)
        asked = self.ask(data, under)
        full = f"{measure_name(fn, name)} on {asked.name}"
        self._check_measure(fn, full)
        metric = self._once(full, lambda: self._measured(fn, asked, full, higher_is_better))
        return self._observed(metric, index)

    def recorded(self, index: int, name: str) -> Score:
        """A trained family has no recorded scores: raises MeasurementError."""
        raise MeasurementError(
            f"score({name!r}) reads a recorded family; these candidates are models: "
            "use accuracy(data) or measure(fn, data)"
        )

    def accuracies(self, data: Data | str, under: Under = None) -> Metric:
        """The accuracy of every candidate that has a model, as a metric."""
        self.models.ready()
        asked = self.ask(data, under)
        name = f"accuracy on {asked.name}"
        groups = asked.under.expand(asked.data)
        if len(groups) == 1:
            return self._once(name, lambda: self._accuracies(asked, name))
        return self._once(name, lambda: self._worst([ask(asked.data, g) for g in groups], name))

    @property
    def alive(self) -> list[int]:
        """Positions of the candidates that have a model: all but the diverged ones."""
        self.models.ready()
        return [i for i in range(len(self.candidates)) if i not in self.models.diverged]

    def prepare_gates(self, selected_on: dict[str, str]) -> None:
        """From now on gates measure; enforced specs used these data sets (name -> fingerprint)."""
        self.role = GATE
        self.leakage.selected(selected_on)

    def facts(self) -> dict[str, Any]:
        """What reports say of the family beside its scores, as builtins."""
        return {
            "device": str(self.models.device),
            "work": self.models.work.as_dict(),
        }

    def facts_of_training(self) -> dict[str, Any]:
        """What training left to tell, as builtins; nothing before it is done."""
        if not self.models.history and not self.models.diverged:
            return {}
        return {
            "diverged": {i: each.reason for i, each in self.models.diverged.items()},
            "history": {i: [dict(row) for row in rows] for i, rows in self.models.history.items()},
        }

    # --- how it is computed

    def _once(self, name: str, measure: Callable[[], Metric]) -> Metric:
        if name in self.metrics:
            return self.metrics[name]
        metric = measure()
        if self._searching:  # one of many, told apart by what was drawn: not worth keeping
            return replace(metric, searched=True)
        return self.metrics.setdefault(name, metric)

    def _observed(self, metric: Metric, index: int) -> Score:
        self.observer(metric)
        return Score(metric, index)

    def ask(self, data: Data | str, under: Under) -> Asked:
        """The question, checked; a name that two data sets bear raises DataError."""
        asked = ask(data, under)
        data = asked.data
        known = self._names.setdefault(data.name, data.fingerprint)
        if known != data.fingerprint:
            raise DataError(
                f"two data sets of this run are named {data.name!r} and differ in content: "
                "give each a name of its own"
            )
        self.leakage.use(self.role, data)
        return asked

    def _check_measure(self, fn: Measure, name: str) -> None:
        known = self._measures.setdefault(name, fingerprint(fn))
        if known != fingerprint(fn):
            raise MeasurementError(
                f"two different measures are named {name!r}: tell them apart with name="
            )

    def _accuracies(self, asked: Asked, name: str) -> Metric:
        key = self._outcomes_key(asked)
        if (entry := self.store.get("scores", key)) is None:
            tensors = self._outcomes(asked)
            self.store.put("scores", key, tensors, {"name": name})
        else:
            tensors = entry.tensors
        targets = asked.targets.numpy()
        if "expected" in tensors:
            outcomes, predictions = tensors["expected"].numpy().T, None
        else:
            predictions = tensors["predictions"].numpy()
            outcomes = (predictions == targets).T
        scores = outcomes.mean(axis=0, dtype=np.float64)
        scores[list(self.models.diverged)] = np.nan
        return Metric(
            name,
            scores,
            self.design,
            n=len(targets),
            data=asked.data.name,
            data_key=asked.data.fingerprint,
            whole=asked.data.root is asked.data,
            under=asked.under.name,
            key=key,
            outcomes=outcomes,
            predictions=predictions,
        )

    def _worst(self, groups: Sequence[Asked], name: str) -> Metric:
        """For each candidate the accuracy of the group that it serves worst."""
        metrics = [self._accuracies(group, f"accuracy on {group.name}") for group in groups]
        scores = np.min([metric.scores for metric in metrics], axis=0)
        return replace(
            metrics[0],
            name=name,
            scores=scores,
            n=None,
            key=None,
            outcomes=None,
            predictions=None,
        )

    def _outcomes(self, asked: Asked) -> dict[str, Tensor]:
        """Predictions ``[K, n]``, or expected correctness where it has a closed form.

        The rows of diverged candidates hold no class, and no correctness.
        """
        read = self._logits(asked)
        targets = asked.targets
        size = len(self.candidates), len(targets)
        predictions = torch.full(size, NO_CLASS, dtype=torch.int32)
        expected = torch.zeros(size)
        exact = False
        for index in self.alive:
            logits = read(index)[asked.rows]
            check_classes(asked.data, logits.shape[1])
            correct = _expected_correct(asked.under, logits, targets)
            if correct is not None:
                expected[index], exact = correct, True
            else:
                predictions[index] = self._with_outputs(logits, asked).argmax(dim=1)
        outcomes = {"expected": expected} if exact else {"predictions": predictions}
        return {**outcomes, "targets": targets}

    def _measured(self, fn: Measure, asked: Asked, name: str, higher_is_better: bool) -> Metric:
        read = self._logits(asked)
        scores = np.full(len(self.candidates), np.nan)
        for index in self.alive:
            logits = self._rows_of(read(index), asked)
            with guarded(name):
                scores[index] = apply_measure(
                    fn, logits, asked.targets, name, self.design.ids[index]
                )
        return Metric(
            name,
            scores,
            self.design,
            higher_is_better=higher_is_better,
            proportion=False,
            data=asked.data.name,
            data_key=asked.data.fingerprint,
            whole=asked.data.root is asked.data,
            under=asked.under.name,
        )

    def _rows_of(self, logits: Tensor, asked: Asked) -> Tensor:
        return self._with_outputs(logits[asked.rows], asked)

    def _with_outputs(self, logits: Tensor, asked: Asked) -> Tensor:
        for step in asked.under.outputs:
            logits = step.apply(logits, asked.source.rows[asked.rows], asked.source)
        return logits

    def _logits(self, asked: Asked) -> Callable[[int], Tensor]:
        """A reader of each candidate's logits on ``asked.source``, computed where missing."""
        keys = {i: self._logits_key(i, asked) for i in self.alive}
        computed: dict[int, Tensor] = {}
        missing = [i for i in keys if not self.store.has("logits", keys[i])]
        if missing:
            with self.store.lock("compute"):
                missing = [i for i in missing if not self.store.has("logits", keys[i])]
                for index, logits in self._compute(missing, asked):
                    if self._searching:
                        computed[index] = logits
                    else:
                        self.store.put("logits", keys[index], {"logits": logits})

        def read(index: int) -> Tensor:
            if index in computed:
                return computed[index]
            if (entry := self.store.get("logits", keys[index])) is not None:
                return entry.tensors["logits"]
            return next(logits for _, logits in self._compute([index], asked))

        return read

    def _compute(self, missing: Sequence[int], asked: Asked) -> Iterator[tuple[int, Tensor]]:
        batches = -(-len(asked.source) // BATCH)
        what = f"{self.models.name}: {asked.source.name}"
        if asked.under.inputs:
            what += f" under {' | '.join(map(repr, asked.under.inputs))}"
        with self.models.progress.task(what, len(missing) * batches) as task, guarded(what):
            for chunk in self._chunks(missing):
                models = [self.models.model(i) for i in chunk]
                yield from zip(
                    chunk,
                    self._infer(models, asked.source, asked.under, task.advance),
                    strict=True,
                )

    def _chunks(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """Candidates whose parameters fit in memory together, at least one at a time."""
        if not indices:
            return
        model = self.models.model(indices[0])
        size = 0
        if isinstance(model, nn.Module):
            size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
        step = max(1, CHUNK_BYTES // max(1, size))
        for start in range(0, len(indices), step):
            yield list(indices[start : start + step])

    def _logits_key(self, index: int, asked: Asked) -> str:
        return fingerprint(
            ["logits", self.models.keys[index], asked.source.fingerprint, list(asked.under.inputs)]
        )

    def _outcomes_key(self, asked: Asked) -> str:
        keys = [self.models.keys[i] for i in self.alive]
        return fingerprint(["outcomes", keys, asked.data.fingerprint, list(asked.under.steps)])


def _expected_correct(under: Chain, logits: Tensor, targets: Tensor) -> Tensor | None:
    """The chance ``[n]`` that each prediction is right, where one output step has a closed form."""
    if len(under.outputs) != 1:
        return None
    return under.outputs[0].expected_correct(logits, targets)
