"""The logits of a family, computed once per (candidate, data, intervention) and kept."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pytest_multiplicity.compute import StalledError, as_new, named, others_like, watched
from pytest_multiplicity.errors import Attempt, DataError, MeasurementError, guarded
from pytest_multiplicity.inference.answers import toward
from pytest_multiplicity.inference.attacked import attacked
from pytest_multiplicity.inference.choice import Forms
from pytest_multiplicity.inference.executors import size_of
from pytest_multiplicity.inference.infer import BATCH, Infer, Model
from pytest_multiplicity.inference.models import Models
from pytest_multiplicity.inference.on_cluster import FarInfer
from pytest_multiplicity.inference.question import Asked
from pytest_multiplicity.inference.spread import SpreadInfer
from pytest_multiplicity.inference.told import ToldAnswers
from pytest_multiplicity.store import fingerprint
from pytest_multiplicity.training import LACKING

CHUNK_BYTES = 1 << 30  # parameters of the models that are held at once
OTHERWISE = (
    "its function was called again with the same configuration, and gave a model that answers "
    "otherwise: have it draw all that is random from config.seed"
)
APART = (
    f"{LACKING} for evaluating it as the rule says, which can change last bits: free memory, run "
    "fewer processes at once (-n), or measure on smaller inputs"
)
KEPT_BYTES = 1 << 28  # logits of one question that need not be read back from the store
LATELY_BYTES = 1 << 25  # logits that were read from it, and need not be read again

Reader = Callable[[int], Tensor]


@dataclass(eq=False)
class Computed:
    """Logits that were computed for one question, by position, as long as somebody reads them."""

    logits: dict[int, Tensor] = field(default_factory=dict)


class Logits:
    """Reads each candidate's logits from the store, and computes what is missing there."""

    def __init__(self, models: Models) -> None:
        self._models, self._made, self._machine = models, models.made, models.machine
        self._store = models.machine.store
        device, cluster = self._machine.device, self._machine.cluster
        forms = Forms(device, self._made.alike, self._machine.seen)
        self._infer = Infer(device, models.counts, forms)
        self._infer_all: Callable[..., list[Tensor]] = self._infer
        if cluster is not None:
            self._infer_all = FarInfer(self._infer, cluster, self._machine.patience)
        elif others := others_like(device):
            self._infer_all = SpreadInfer(self._infer, others)
        self._stalled: list[int] = []  # candidates that hang: they are not asked again
        self._given_up: set[str] = set()  # data and interventions that hang
        self._attempts: dict[str, Attempt] = {}  # at data and interventions
        self._forms: dict[int, str] = {}  # in which candidates were evaluated last
        self._odd: dict[int, str] = {}  # what is said of the answers that were computed last
        self._latest: Callable[[], Computed | None] = lambda: None  # of the question asked last
        self._read_lately: dict[tuple[int, str], Tensor] = {}
        self._lately_bytes = 0
        self.searching = False

    @contextmanager
    def unkept(self) -> Iterator[None]:
        """Inside, logits are not kept: a search visits many interventions, each once."""
        before, self.searching = self.searching, True
        try:
            yield
        finally:
            self.searching = before

    def of(self, asked: Asked, indices: Sequence[int]) -> Reader:
        """Return a reader of the candidates at `indices`: position -> answers about `source`.

        All that are missing are computed now, together. Raises StalledError where candidates hang,
        with all others computed.
        """
        keys = self.keys(asked, indices)
        computed = Computed()
        if self._missing(keys):
            if not self.searching:
                self._let_go_of_latest()
                self._latest = weakref.ref(computed)
            room = KEPT_BYTES
            with self._machine.alone(everywhere=False), as_new():  # another process may be faster
                for index, logits in self._compute(self._missing(keys), asked):
                    if not self.searching:
                        self._put(index, keys[index], logits)
                        room -= logits.nbytes
                    if self.searching or room > 0:
                        computed.logits[index] = logits

        def read(index: int) -> Tensor:
            if index in computed.logits:
                return computed.logits[index]
            if (known := self._read_lately.get((index, keys[index]))) is not None:
                return known
            if (entry := self._store.get("logits", keys[index])) is not None:
                self._models.note_maker(entry.meta.get("machine"))
                self._models.note_odd(index, entry.meta.get("odd"))
                return self._held((index, keys[index]), entry.tensors["logits"])
            with as_new():
                ((_, logits),) = self._compute([index], asked)  # a sick file, put aside just now
            return logits

        return read

    def _let_go_of_latest(self) -> None:
        """Leave what was computed for the question before to the store.

        Its reader may live as long as a metric does, and would hold this for every question.
        """
        if (before := self._latest()) is not None:
            before.logits.clear()

    def let_go(self) -> None:
        """Leave to the store what waits in memory for further questions, but for what is small."""
        self._let_go_of_latest()
        self._infer.shelf.clear()

    def _held(self, key: tuple[int, str], logits: Tensor) -> Tensor:
        """Return logits, and hold small ones for a while: many metrics ask for the same."""
        if logits.nbytes <= LATELY_BYTES >> 5:
            self._read_lately[key] = logits
            self._lately_bytes += logits.nbytes
            while self._lately_bytes > LATELY_BYTES:
                oldest = next(iter(self._read_lately))
                self._lately_bytes -= self._read_lately.pop(oldest).nbytes
        return logits

    def _put(self, index: int, key: str, logits: Tensor) -> None:
        """Keep logits, with what computed them."""
        meta: dict[str, str | None] = {"machine": str(self._machine.kind)}
        meta["form"] = self._forms.get(index)
        if index in self._odd:
            meta["odd"] = self._odd[index]
        self._store.put("logits", key, {"logits": logits}, meta, run=self._made.run_of([index]))

    def _missing(self, keys: dict[int, str]) -> list[int]:
        return [i for i, key in keys.items() if not self._store.has("logits", key)]

    def _compute(self, missing: Sequence[int], asked: Asked) -> Iterator[tuple[int, Tensor]]:
        where = asked.source.name
        if asked.under.inputs:
            where += f" under {' | '.join(map(repr, asked.under.inputs))}"
        what = f"{self._models.name}: {where}"
        if where in self._given_up:
            raise StalledError(what, self._machine.patience)
        attempt = self._attempts.setdefault(where, Attempt(f"evaluating {what}", again=True))
        batches = -(-len(asked.source) // BATCH)
        with attempt, self._machine.progress.task(what, len(missing) * batches) as task:
            waiting = deque(self._chunks([i for i in missing if i not in self._stalled]))
            while waiting:
                chunk = waiting.popleft()
                try:
                    logits = self._inferred(chunk, asked, what, task.advance)
                except StalledError:
                    if not (hung := self._hung(chunk)):
                        self._given_up.add(where)
                        raise
                    self._stalled += hung
                    rest = [i for i in chunk if i not in hung]
                    waiting.extend([rest] if rest else [])
                else:
                    yield from zip(chunk, logits, strict=True)
        if stalled := [i for i in missing if i in self._stalled]:
            ids = named([self._models.design.ids[i] for i in stalled])
            raise StalledError(f"{ids} on {where}", self._machine.patience)

    def _inferred(
        self, chunk: Sequence[int], asked: Asked, what: str, advance: Callable[[int], None]
    ) -> list[Tensor]:
        if any(isinstance(self._made.all[i], ToldAnswers) for i in chunk):
            return [self._looked_up(i, asked) for i in chunk]
        with guarded(what):
            models = [toward(self._models.model(i), asked.source) for i in chunk]
            with watched(what, self._machine.patience, advance) as noted:
                self._infer.anew()
                given = self._compute_all(models, asked, noted)
        alike = self._infer.alike
        self._forms = {chunk[i]: str(form) for positions, form in alike for i in positions}
        return [self._read(*each, asked) for each in zip(chunk, models, given, strict=True)]

    def _compute_all(
        self, models: Sequence[Model], asked: Asked, advance: Callable[[int], None]
    ) -> list[Tensor]:
        given = models, asked.source, asked.under, advance
        if asked.under.needs_model:
            return attacked(self._infer_all, *given)
        return self._infer_all(*given)

    def _looked_up(self, index: int, asked: Asked) -> Tensor:
        """Return what a candidate of a table said."""
        told = self._made.all[index]
        assert isinstance(told, ToldAnswers)
        try:
            given = told.about(asked.source, asked.under)
        except DataError as error:
            raise DataError(f"{self._models.design.ids[index]}: {error}") from None
        return self._read(index, told, given, asked)

    def _read(self, index: int, model: Model, given: Tensor, asked: Asked) -> Tensor:
        """Return what a candidate gave as the task of the data reads it."""
        data = asked.source
        try:
            answers = data.task.read_answers(given, data.targets, data.name)
            odd = data.task.doubts_about(
                given, data.name, network=isinstance(model, nn.Module), targets=data.targets
            )
        except MeasurementError as error:
            raise MeasurementError(f"{self._models.design.ids[index]}: {error}") from None
        odd = APART if odd is None and id(model) in self._infer.lacking else odd
        if odd != APART and (twin := self._models.twin(index)) is not None:
            model = toward(twin, data)
            (other,) = self._compute_all([model], asked, lambda steps: None)
            odd = odd if torch.equal(other, given) else OTHERWISE
        self._odd.pop(index, None)
        if odd is not None:
            self._odd[index] = odd
            self._models.note_odd(index, odd)
        return answers

    def _hung(self, chunk: Sequence[int]) -> list[int]:
        """Candidates of a chunk that were computing when it was given up."""
        return [chunk[i] for i in sorted(self._infer.hung)]

    def _chunks(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """Candidates whose parameters fit in memory together, at least one at a time."""
        if not indices:
            return
        model = self._models.model(indices[0])
        size = 0
        if isinstance(model, nn.Module):
            size = size_of(model)
        step = max(1, CHUNK_BYTES // max(1, size))
        for start in range(0, len(indices), step):
            yield list(indices[start : start + step])

    def keys(self, asked: Asked, indices: Sequence[int]) -> dict[int, str]:
        """Return what the store knows the logits on `asked.source` by, for these candidates."""
        return {index: self._key(index, asked) for index in indices}

    def _key(self, index: int, asked: Asked) -> str:
        steps = list(asked.under.inputs)
        known = self._models.known_by(index)
        return fingerprint(["logits", *known, asked.source.fingerprint, steps])
