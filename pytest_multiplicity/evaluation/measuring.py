"""Metrics of a whole family, made of its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_multiplicity.errors import guarded
from pytest_multiplicity.evaluation.comparing import (
    Compared,
    ComparedBy,
    Remembered,
    compare,
    right_of,
)
from pytest_multiplicity.evaluation.incumbent import Incumbent
from pytest_multiplicity.evaluation.measure import (
    Facing,
    Measure,
    Ours,
    apply_measure,
    bounded_noise,
    noise_of_measure,
    with_attributes,
)
from pytest_multiplicity.evaluation.membership import privacy, relative_to_references
from pytest_multiplicity.evaluation.metric import Metric, samples_of
from pytest_multiplicity.evaluation.noted import note_attributes
from pytest_multiplicity.evaluation.portable import Portable
from pytest_multiplicity.evaluation.reading import (
    answer_of,
    expected_correct,
    on_rows,
    sureness_of,
    with_outputs,
)
from pytest_multiplicity.inference import Asked, Logits, Models, Reader
from pytest_multiplicity.interventions import chain
from pytest_multiplicity.statistics import Noise, clusters
from pytest_multiplicity.store import fingerprint
from pytest_multiplicity.tasks import Named, to_record

Floats = npt.NDArray[np.float64]


class Measuring:
    """Measures the candidates at some positions, which have models; the others' scores are nan."""

    def __init__(self, models: Models) -> None:
        self._models, self._store = models, models.machine.store
        self.logits = Logits(models)
        self._compared = Remembered()

    @property
    def alive(self) -> list[int]:
        """Positions of the candidates that have a model: all but the diverged ones."""
        return self._models.alive

    def logits_of(self, index: int, asked: Asked, chosen: Sequence[int]) -> Tensor:
        """One candidate's logits on the rows asked about, `[n, C]`; all chosen are computed."""
        return answer_of(self.logits.of(asked, chosen), index, asked)

    def worst(self, measure: Callable[[Asked], Metric], asked: Asked, name: str) -> Metric:
        """Return a metric; where the worst of several groups is sought, each candidate's worst."""
        groups = asked.groups
        if groups[0] is asked:
            return measure(asked)
        metrics = [measure(group) for group in groups]
        pick = np.min if metrics[0].higher_is_better else np.max
        scores = pick([metric.scores for metric in metrics], axis=0)
        return replace(metrics[0].bare(), name=name, scores=scores, under=asked.under.name)

    def accuracies(self, asked: Asked, chosen: Sequence[int]) -> Metric:
        """Return the share of samples that each candidate classifies rightly."""
        key = self._outcomes_key(asked, chosen)
        within = "" if asked.judged_by is None else f" within {asked.task.judgement[0]:g}"
        name = f"accuracy{within} on {asked.name}"
        samples = self._samples(key, name, lambda: self._outcomes(asked, chosen))
        beside: dict[Incumbent, Compared] = {}

        @cache
        def right(incumbent: Incumbent) -> npt.NDArray[Any]:
            """Say how right an incumbent is, and remember that it was compared with."""
            beside.setdefault(incumbent, self._comparison(incumbent, asked, chosen)[0])
            return right_of(incumbent, asked)

        means = samples["outcomes"].mean(axis=0, dtype=np.float64)
        return self._metric(
            name,
            self._of_all(chosen, lambda index: float(means[index])),
            asked,
            n=len(asked.rows),
            key=key,
            logits=self.logits.keys(asked, chosen) if asked.plain else {},
            right_of=right,
            beside=beside,
            **samples,
        )

    def predictions(self, asked: Asked, chosen: Sequence[int]) -> Metric:
        """Return what each candidate predicts, of which none is known to be right: scores are 0."""
        said = self._predictions(asked, chosen, self.logits.of(asked, chosen))
        return self._metric(
            f"predictions on {asked.name}",
            self._of_all(chosen, lambda index: 0.0),
            asked,
            n=len(asked.rows),
            predictions=said.numpy(),
            targets=asked.targets.numpy(),
            logits=self.logits.keys(asked, chosen) if asked.plain else {},
        )

    def consistencies(self, asked: Asked, chosen: Sequence[int]) -> Metric:
        """Return the share of each candidate's predictions that the intervention leaves alone."""
        key = fingerprint(["consistency of units", self._outcomes_key(asked, chosen)])
        name = f"consistency on {asked.name}"
        samples = self._samples(key, name, lambda: self._left_alone(asked, chosen))
        means = samples["outcomes"].mean(axis=0, dtype=np.float64)
        scores = self._of_all(chosen, lambda index: float(means[index]))
        return self._metric(name, scores, asked, n=len(asked.rows), key=key, **samples)

    def _samples(
        self, key: str, name: str, measure: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Any]:
        """Return what a metric has of samples, from the store where that holds it."""
        if (entry := self._store.get("scores", key)) is None:
            self._put(key, name, tensors := measure())
        else:
            tensors = entry.tensors
            self._models.note_maker(entry.meta.get("machine"))
            for what, whose in entry.meta.get("odd", {}).items():
                for index in whose:
                    self._models.note_odd(index, what)
        return samples_of({name: tensor.numpy() for name, tensor in tensors.items()})

    def _put(
        self, key: str, name: str, tensors: dict[str, Tensor], incumbent: Incumbent | None = None
    ) -> None:
        """Keep what was measured, unless others are still trained: then it is measured again."""
        if self._models.weights.whole:
            odd = {what: sorted(whose) for what, whose in self._models.odd.items()}
            meta = {"name": name, "machine": str(self._models.machine.kind), "odd": odd}
            beside = None if incumbent is None else incumbent.run_of()
            run = self._models.made.run_of(self.alive) or beside
            self._store.put("scores", key, tensors, meta, run=run)

    def _left_alone(self, asked: Asked, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Return where predictions are the same as without intervention: `[K, n]`, shares."""
        task, clean = asked.data.task, asked._replace(under=chain(None))
        before, after = self.logits.of(clean, chosen), self.logits.of(asked, chosen)
        same = torch.zeros(len(self._models.made.all), len(asked.rows))
        counted = None
        for index in chosen:
            said = [
                task.predictions(answer_of(read, index, each))
                for read, each in ((before, clean), (after, asked))
            ]
            alike, counted = task.by_sample(~task.differ(*said)[None], asked.targets)
            same[index] = alike[0]
        if counted is None:
            return {"expected": same}
        weighed = clusters.weighed(same.numpy(), counted.numpy())
        return {"expected": torch.from_numpy(weighed.T.copy()), "counted": counted}

    def compared(
        self, kind: str, incumbent: Incumbent, asked: Asked, chosen: Sequence[int]
    ) -> Metric:
        """Return the flips, the churn or the gain of each candidate against an incumbent."""
        found, known = self._comparison(incumbent, asked, chosen)
        key, tensors, scores = fingerprint([kind, known]), found.tensors(kind), found.scores(kind)
        if not self._store.has("scores", key):
            self._put(key, kind, tensors, incumbent)
        return self._metric(
            f"{kind} against {incumbent.name} on {asked.name}",
            self._of_all(chosen, lambda index: float(scores[index])),
            asked,
            n=found.samples,
            key=key,
            higher_is_better=kind == "gain",
            behind=ComparedBy(found, kind),
            **samples_of({name: tensor.numpy() for name, tensor in tensors.items()}),
        )

    def _comparison(
        self, incumbent: Incumbent, asked: Asked, chosen: Sequence[int]
    ) -> tuple[Compared, str]:
        """Return all that is compared with an incumbent, and what it is known by."""
        key = fingerprint(["against", incumbent.key, self._outcomes_key(asked, chosen)])

        def anew() -> Compared:
            read, configs = self.logits.of(asked, chosen), self._models.design.configs
            said = self._predictions(asked, chosen, read)
            return compare(
                incumbent, said, asked, chosen, configs, lambda i: on_rows(read(i), asked)
            )

        return self._compared.get(key, anew), key

    def measured(
        self, fn: Any, asked: Asked, chosen: Sequence[int], name: str, *, higher_is_better: bool
    ) -> Metric:
        """`fn` of each candidate's answers and the targets."""
        unit = fn.unit if isinstance(fn, Named | Ours) else ""
        proportion = isinstance(fn, Ours) and fn.proportion
        fn = with_attributes(fn, asked.source, asked.rows, name)
        read, ids = self.logits.of(asked, chosen), self._models.design.ids

        def score(index: int) -> float:
            with guarded(name):
                return apply_measure(
                    fn, answer_of(read, index, asked), asked.targets, name, ids[index]
                )

        def noise(positions: npt.NDArray[np.intp]) -> Noise | None:
            read = self.logits.of(asked, positions.tolist())
            outputs = [answer_of(read, index, asked).numpy() for index in positions.tolist()]
            return noise_of_measure(fn, np.stack(outputs), asked.targets.numpy())

        return self._metric(
            name,
            self._of_all(chosen, score),
            asked,
            higher_is_better=higher_is_better,
            proportion=proportion,
            unit=unit,
            noise_of=noise,
            behind=fn.behind(lambda i: answer_of(read, i, asked), asked.targets, chosen)
            if isinstance(fn, Facing)
            else None,
            portable=self._portable(fn, asked, chosen),
            n=len(asked.rows) if proportion else None,
        )

    def _portable(
        self, fn: Measure, asked: Asked, chosen: Sequence[int]
    ) -> Callable[[], str | None] | None:
        """None where what was measured is not in the store: after a step on the output."""
        if asked.under.outputs:
            return None
        return Portable(fn, self.logits.keys(asked, chosen), asked.rows, asked.targets).to_text

    def privacy_between(
        self, members: Asked, nonmembers: Asked, chosen: Sequence[int], name: str
    ) -> Metric:
        """Return how well the members hide among the non-members, the same for all candidates."""
        trained = np.repeat([True, False], [len(members.rows), len(nonmembers.rows)])
        parts = [(asked, self.logits.of(asked, chosen)) for asked in (members, nonmembers)]
        sureness = {
            i: np.concatenate([sureness_of(read, i, asked) for asked, read in parts])
            for i in chosen
        }

        def noise(positions: npt.NDArray[np.intp]) -> Noise:
            chosen = np.stack([sureness[index] for index in positions.tolist()])
            return bounded_noise(
                lambda values, labels: privacy(values, labels == 1), chosen, trained.astype(int)
            )

        scores = self._of_all(chosen, lambda index: privacy(sureness[index], trained))
        return self._metric(name, scores, members, noise_of=noise)

    def privacy_in(
        self, pool: Asked, chosen: Sequence[int], name: str, *, references: bool
    ) -> Metric:
        """Return how well each candidate's half of the recipes' data hides in the whole."""
        read = self.logits.of(pool, chosen)
        sureness = np.stack([sureness_of(read, index, pool) for index in chosen])  # [chosen, n]
        trained = np.zeros(sureness.shape, dtype=bool)
        for row, index in enumerate(chosen):
            trained[row, self._models.made.trained_half(index, pool.data).numpy()] = True
        if references:
            sureness = relative_to_references(sureness, trained)
        found = {i: privacy(sureness[row], trained[row]) for row, i in enumerate(chosen)}
        return self._metric(name, self._of_all(chosen, found.__getitem__), pool)

    def _of_all(self, chosen: Sequence[int], score: Callable[[int], float]) -> Floats:
        scores = np.full(len(self._models.made.all), np.nan)
        scores[list(chosen)] = [score(index) for index in chosen]
        return scores

    def _metric(self, name: str, scores: Floats, asked: Asked, **more: Any) -> Metric:
        if asked.plain:
            note_attributes(self._store, asked.data)
        return Metric(
            name,
            scores,
            self._models.design,
            data=asked.data.name,
            data_key=asked.data.fingerprint,
            whole=asked.data.root is asked.data,
            under=asked.under.name,
            task=to_record(asked.task),
            **more,
        )

    def _outcomes(self, asked: Asked, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Predictions `[K, n]`, or expected correctness where it has a closed form.

        The rows of candidates that weren't chosen hold no prediction, and no correctness.
        """
        read, targets, task = self.logits.of(asked, chosen), asked.targets, asked.task
        task.right(targets[:0], targets[:0])  # says what is missing where nothing is right
        if (expected := self._expected(asked, chosen, read)) is not None:
            return {"expected": expected, "targets": targets}
        predictions = self._predictions(asked, chosen, read)
        right, counted = task.by_sample(task.right(predictions, targets), targets)
        found = {"predictions": predictions, "right": right, "targets": targets}
        return found if counted is None else {**found, "counted": counted}

    def _expected(self, asked: Asked, chosen: Sequence[int], read: Reader) -> Tensor | None:
        if len(asked.under.outputs) != 1 or not chosen:
            return None
        expected = torch.zeros(len(self._models.made.all), len(asked.rows))
        for index in chosen:
            if (correct := expected_correct(asked, on_rows(read(index), asked))) is None:
                return None
            expected[index] = correct
        return expected

    def _predictions(self, asked: Asked, chosen: Sequence[int], read: Reader) -> Tensor:
        """Return `[K, n, ...]`; the rows of those who weren't chosen hold no prediction."""
        task, all_of_them = asked.task, None
        size: tuple[int, ...] = len(self._models.made.all), len(asked.rows)
        for index in chosen:
            answers = on_rows(read(index), asked)
            task.check_answers(answers, asked.data.targets, asked.data.name)
            said = task.predictions(with_outputs(answers, asked))
            if all_of_them is None:
                size = size[0], *said.shape
                all_of_them = torch.full(size, task.no_prediction, dtype=task.kept_as or said.dtype)
            elif task.kept_as is None and said.dtype is not all_of_them.dtype:
                all_of_them = all_of_them.to(torch.promote_types(said.dtype, all_of_them.dtype))
            all_of_them[index] = said
        if all_of_them is None:  # nobody has a model
            return torch.full(size, task.no_prediction, dtype=task.kept_as)
        return all_of_them

    def _outcomes_key(self, asked: Asked, chosen: Sequence[int]) -> str:
        known = {i: self._models.known_by(i) for i in chosen}
        rows = [known.get(i) for i in range(len(self._models.made.all))]
        return fingerprint(
            ["right", rows, asked.data.fingerprint, list(asked.under.steps), *asked.task.judgement]
        )
