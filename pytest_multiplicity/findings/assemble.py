"""From the ledger to the one model of the run that every report renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_multiplicity.design import option_text
from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.findings.conflicts import divided
from pytest_multiplicity.findings.records import PairRecord
from pytest_multiplicity.plugin import gates
from pytest_multiplicity.plugin.completeness import partial
from pytest_multiplicity.plugin.families import Family, Spec
from pytest_multiplicity.plugin.state import State
from pytest_multiplicity.report import model as report
from pytest_multiplicity.statistics import DEFINITIONS, Sheet, chance, selection, sources

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Metric
    from pytest_multiplicity.statistics import Noise

Bools = npt.NDArray[np.bool_]
PREDICTIVE = ("ambiguity", "discrepancy", "disagreement")
PACKAGES = ("pytest-multiplicity", "pytest", "torch", "torchvision", "numpy")
TRAINING = "training"
MOST_AGREEING = 500  # survivors that are compared pair by pair
MOST_LOGITS = 50_000_000  # numbers that the means over probabilities are made of


def assemble(state: State) -> report.Run:
    """Everything the run has to say, as plain builtins."""
    gated = {state.gate_families[nodeid] for nodeid in state.selected_gates}
    families = [family for family in state.families if family.specs or family.key in gated]
    reasons = {family.key: partial(state, family) for family in families}
    titles = state.families.titles()
    missing = next((reason for reason in reasons.values() if reason), None)
    return report.Run(
        complete=missing is None,
        partial_reason=missing,
        device=_device(state),
        versions={name: metadata.version(name) for name in PACKAGES},
        families=[FamilyReport(state, f, titles[f.key]).build() for f in families],
        gates=_gates(state, titles),
        warnings=_warnings(state),
        settings=state.options.describe(),
    )


def _device(state: State) -> str:
    facts = [facts.get("device") for facts in state.ledger.facts.values()]
    return next((device for device in facts if device), "none")


def _warnings(state: State) -> list[str]:
    """Each warning once, whichever process met it."""
    told = [text for facts in state.ledger.facts.values() for text in facts.get("warnings", ())]
    return list(dict.fromkeys([*told, *state.warnings]))


def _gates(state: State, titles: Mapping[str, str]) -> list[report.Gate]:
    records = {nodeid: state.ledger.gates.get(nodeid) for nodeid in state.selected_gates}
    stopped = {record.nodeid: record for record in gates.unreached(state)}
    found = []
    for nodeid, record in records.items():
        record = record or stopped[nodeid]
        found.append(
            report.Gate(
                name=nodeid.rpartition("::")[2],
                nodeid=nodeid,
                family=titles[state.gate_families[nodeid]],
                outcome=record.outcome,
                message=record.message,
                path=record.path,
                line=record.line,
            )
        )
    return found


@dataclass(frozen=True)
class Predictions:
    """What every candidate said of every sample of a data set: ``[K, n]``."""

    data: str
    predictions: npt.NDArray[np.integer[Any]]
    targets: npt.NDArray[np.integer[Any]] | None
    logits: Mapping[int, str]
    optimistic: bool
    measured: Bools


@dataclass(frozen=True)
class FamilyReport:
    """One family's part of the report."""

    state: State
    family: Family
    title: str

    def build(self) -> report.Family:
        """The family as reports see it."""
        design = self.family.design
        work = self.facts.get("work", {})
        return report.Family(
            name=self.title,
            design=design.kind,
            default=_plain(design.default),
            axes={axis: tuple(map(plain, options)) for axis, options in design.axes.items()},
            seeds=design.seeds,
            candidates=[self._candidate(i) for i in range(len(design.ids))],
            specs=self._specs(),
            sheets=[self._pair(name) for name in self.metrics],
            predictive=self._predictive(),
            agreement=self._agreement(),
            conflicts=self._conflicts(),
            trained=work.get("trained", 0),
            from_store=work.get("stored", 0),
            notes=self._notes(),
        )

    def _notes(self) -> list[str]:
        """How the candidates were trained: ``20 fused in workers, 5 plain``."""
        ways = self.facts.get("ways", {})
        told = ", ".join(f"{count} {way}" for way, count in ways.items())
        return [*([f"trained {told}"] if told else []), *self._screened()]

    def _screened(self) -> list[str]:
        """How much was screened, and what that doesn't change."""
        left_out = sum(
            record.verdict == "screened"
            for spec in self.family.specs
            for record in self._records(spec).values()
        )
        if not left_out:
            return []
        return [
            f"screened: {left_out} of {self.family.pairs} pairs were not judged, since another "
            "specification had rejected the candidate; comparisons within the family were made "
            "with all of it"
        ]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the population said of itself; before the first verdict, what it knows by now."""
        population = self.family.population
        known = {} if population is None else population.facts()
        return self.state.ledger.facts.get(self.family.key) or known

    @cached_property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Every metric that was measured, in the order of the specs."""
        known = self.state.ledger.metrics.get(self.family.key, {})
        ordered = dict.fromkeys(name for spec in self.family.specs for name in self._metrics(spec))
        return {name: known[name] for name in ordered if name in known}

    @cached_property
    def names(self) -> dict[str, str]:
        """Spec's node id -> its name in the report: as short as is unique."""
        short = [spec.name for spec in self.family.specs.values()]
        return {
            nodeid: spec.name if short.count(spec.name) == 1 else nodeid
            for nodeid, spec in self.family.specs.items()
        }

    def _records(self, spec: str) -> dict[int, PairRecord]:
        return self.state.ledger.pairs.get((self.family.key, spec), {})

    def _metrics(self, spec: str) -> list[str]:
        records = self._records(spec).values()
        return list(dict.fromkeys(name for record in records for name in record.metrics))

    # --- verdicts

    @cached_property
    def verdicts(self) -> selection.Verdicts:
        """What every spec said of every candidate, divergence apart."""
        specs = list(self.family.specs)
        shape = len(specs), len(self.family.design.ids)
        judged, rejected, undecided, screened = (np.zeros(shape, dtype=bool) for _ in range(4))
        for row, spec in enumerate(specs):
            for index, record in self._records(spec).items():
                decided = record.verdict in ("kept", "rejected")
                judged[row, index] = decided and not record.training
                screened[row, index] = record.verdict == "screened" and index not in self.diverged
                objected = record.objected and self.family.specs[spec].unforeseen
                rejected[row, index] = record.verdict == "rejected" or objected
                undecided[row, index] = record.undecided
        return selection.Verdicts(
            names=tuple(self.names[spec] for spec in specs),
            enforced=np.array([not s.unforeseen for s in self.family.specs.values()], dtype=bool),
            judged=judged,
            rejected=rejected,
            undecided=undecided,
            screened=screened,
        )

    @cached_property
    def survivors(self) -> Bools:
        """Candidates that no enforced spec rejected and that failed nowhere."""
        return np.array([self._status(i) == "survivor" for i in range(len(self.family.design.ids))])

    @cached_property
    def alive(self) -> Bools:
        """Candidates that have a model or recorded scores."""
        return np.array([i not in self.diverged for i in range(len(self.family.design.ids))])

    @cached_property
    def diverged(self) -> dict[int, str]:
        """Candidates whose training diverged, and how."""
        return {int(index): reason for index, reason in self.facts.get("diverged", {}).items()}

    def _of(self, index: int) -> dict[str, PairRecord]:
        """The records of one candidate, by spec."""
        found = {spec: self._records(spec).get(index) for spec in self.family.specs}
        return {spec: record for spec, record in found.items() if record is not None}

    def _status(self, index: int) -> report.Status:
        records = self._of(index).values()
        if index in self.diverged or any(record.verdict == "rejected" for record in records):
            return "rejected"
        if any(record.verdict in ("failed", "screened") for record in records):
            return "failed"
        return "survivor" if records else "not judged"

    def _candidate(self, index: int) -> report.Candidate:
        config = dict(vars(self.family.design.configs[index]))
        seed = config.pop("seed")
        records = self._of(index)
        rejected = [
            self.names[spec]
            for spec, record in records.items()
            if record.verdict == "rejected" and not record.training
        ]
        return report.Candidate(
            id=self.family.design.ids[index],
            seed=seed,
            config=_plain(config),
            status=self._status(index),
            rejected_by=[TRAINING] if index in self.diverged else rejected,
            reasons={
                self.names[spec]: record.reason for spec, record in records.items() if record.reason
            },
            undecided=[self.names[spec] for spec, record in records.items() if record.undecided],
            failed_in=[
                self.names[spec] for spec, record in records.items() if record.verdict == "failed"
            ],
            screened=[
                self.names[spec] for spec, record in records.items() if record.verdict == "screened"
            ],
            diverged=self.diverged.get(index),
            scores={name: metric["scores"][index] for name, metric in self.metrics.items()},
            history=self.facts.get("history", {}).get(index, ()),
        )

    def _specs(self) -> list[report.Spec]:
        redundant = selection.redundant(self.verdicts)
        conflicts = selection.conflicting(self.verdicts)
        return [
            self._spec(
                spec,
                row,
                redundant=row.name in redundant,
                conflicts_with=[
                    other
                    for pair in conflicts
                    if row.name in pair
                    for other in pair
                    if other != row.name
                ],
            )
            for spec, row in zip(
                self.family.specs.values(), selection.funnel(self.verdicts), strict=True
            )
        ]

    def _spec(self, spec: Spec, row: selection.FunnelRow, **relations: Any) -> report.Spec:
        records = self._records(spec.nodeid).values()
        return report.Spec(
            name=row.name,
            nodeid=spec.nodeid,
            kind="enforced" if row.enforced else "unforeseen",
            text=spec.text,
            judged=row.judged,
            kept=row.kept if row.enforced else row.judged,
            rejected=row.rejected if row.enforced else 0,
            undecided=row.undecided,
            failed=sum(record.verdict == "failed" for record in records),
            screened=row.screened,
            only_here=row.only_here,
            would_reject=0 if row.enforced else row.rejected,
            metrics=self._metrics(spec.nodeid),
            **relations,
        )

    # --- sheets

    def _pair(self, name: str) -> report.SheetPair:
        before = self._sheet(name)
        metric = self.metrics[name]
        screened = int((self.alive & ~before.present).sum())
        after = _sheet(before.subset(self.survivors), before)
        return report.SheetPair(
            metric=name,
            before=_unknown(_sheet(before)) if screened else _sheet(before),
            after=_without_chance(after) if screened else after,
            screened=screened,
            kind="enforced" if name in self._enforced_metrics else "unforeseen",
            definition=_definition(name, metric),
            sources="" if screened else _sources(before),
            optimistic=name in self._enforced_metrics,
            percent=metric["proportion"],
            higher_is_better=metric["higher_is_better"],
        )

    @cached_property
    def _enforced_metrics(self) -> set[str]:
        return {
            name
            for nodeid, spec in self.family.specs.items()
            if not spec.unforeseen
            for name in self._metrics(nodeid)
        }

    def _sheet(self, name: str) -> Sheet:
        metric = self.metrics[name]
        here = self.state.metrics.get(self.family.key, {}).get(name)
        return Sheet(
            name,
            self.family.design,
            np.array([np.nan if s is None else s for s in metric["scores"]]),
            outcomes=self._outcomes(name),
            unit="fraction" if metric["proportion"] else "number",
            samples=metric["n"],
            noise_of=here.noise_of if here is not None else self._noise_of(metric),
        )

    def _noise_of(self, metric: Mapping[str, Any]) -> Callable[[Any], Noise | None] | None:
        """What finds the noise of a measure that another process took."""
        from pytest_multiplicity.evaluation import Portable

        if metric["portable"] is None:
            return None
        measure = Portable.from_text(metric["portable"])
        return lambda positions: measure.noise(self.state.store, positions)

    def _outcomes(self, name: str) -> npt.NDArray[np.generic] | None:
        tensors = self._tensors(name)
        if "predictions" in tensors:
            correct: Bools = tensors["predictions"] == tensors["targets"]
            return correct.T
        return tensors["expected"].T if "expected" in tensors else None

    def _tensors(self, name: str) -> dict[str, Any]:
        """What the store holds of a metric: arrays by name; nothing for recorded scores."""
        key = self.metrics[name]["key"]
        entry = self.state.store.get("scores", key) if key else None
        return {} if entry is None else {n: t.numpy() for n, t in entry.tensors.items()}

    # --- predictive multiplicity

    def _predictive(self) -> list[report.Predictive]:
        return [
            number
            for each in self._predictions
            for number in (*self._numbers(each), *self._sureness(each))
            if self.alive.sum() > 1
        ]

    @cached_property
    def _predictions(self) -> list[Predictions]:
        """On whole data sets that specs measured without intervention, and that gates asked."""
        found = []
        for name, metric in self.metrics.items():
            tensors = self._tensors(name)
            if "predictions" in tensors and metric["whole"] and not metric["under"]:
                said, targets = tensors["predictions"], tensors["targets"]
                selected = name in self._enforced_metrics
                measured = np.array([score is not None for score in metric["scores"]])
                found.append(
                    Predictions(metric["data"], said, targets, metric["logits"], selected, measured)
                )
        return found + [
            Predictions(
                metric.where,
                metric.predictions,
                metric.targets,
                metric.logits,
                optimistic=False,
                measured=~np.isnan(metric.scores),
            )
            for metric in self._gated
            if metric.predictions is not None
        ]

    @property
    def _gated(self) -> list[Metric]:
        """What gates looked at and no spec did."""
        population = self.family.population
        measured = {} if population is None else population.metrics
        return [metric for name, metric in measured.items() if name not in self.metrics]

    def _agreement(self) -> report.Agreement | None:
        """How often survivors agree, on the first data set that nobody selected by, else any.

        The first survivors: of many the matrix would be larger than all else that is reported.
        """
        from pytest_multiplicity.statistics import agreement

        chosen = min(self._predictions, key=lambda each: each.optimistic, default=None)
        if chosen is None or self.survivors.sum() < 2:
            return None
        first = np.flatnonzero(self.survivors)[:MOST_AGREEING]
        return report.Agreement(
            data=chosen.data,
            ids=[self.family.design.ids[index] for index in first],
            values=agreement(chosen.predictions[first]).tolist(),
        )

    def _conflicts(self) -> list[report.Conflicts]:
        population = self.family.population
        seen = getattr(population, "data_by_name", {})
        ids = np.array(self.family.design.ids)[self.survivors].tolist()
        return [
            divided(each.predictions[self.survivors], ids, each.targets, each.data, seen)
            for each in self._predictions
            if len(ids) > 1 and each.targets is not None
        ]

    def _sureness(self, on: Predictions) -> list[report.Predictive]:
        """What the probabilities say, as means over samples; nothing where they are too many."""
        logits = [self.state.store.get("logits", on.logits[i]) for i in sorted(on.logits)]
        tensors = [entry.tensors["logits"] for entry in logits if entry is not None]
        size = sum(each.numel() for each in tensors)
        if on.targets is None or len(tensors) != on.measured.sum() or not 0 < size <= MOST_LOGITS:
            return []
        probabilities = np.stack([each.softmax(dim=1).numpy() for each in tensors])
        kept = self.survivors[on.measured]
        before = means(probabilities, on.targets) if self._whole(on) else {}
        after = means(probabilities[kept], on.targets) if kept.any() else {}
        return [
            report.Predictive(
                metric=name,
                data=on.data,
                before=before.get(name),
                after=after.get(name),
                definition=f"mean over the samples of: {DEFINITIONS[name]}",
                optimistic=on.optimistic and self._selected,
                percent=name == "viable_prediction_range",
            )
            for name in before | after
        ]

    def _whole(self, on: Predictions) -> bool:
        """Whether everybody who has a model was measured."""
        return not (self.alive & ~on.measured).any()

    @property
    def _selected(self) -> bool:
        """Whether anybody was rejected: where nobody was, nothing after is optimistic."""
        return bool((self.alive & ~self.survivors).any())

    def _numbers(self, on: Predictions) -> list[report.Predictive]:
        from pytest_multiplicity.statistics import predictive

        before = on.predictions[self.alive] if self._whole(on) else None
        after = on.predictions[self.survivors]
        expected: dict[str, float] = {}
        if before is not None and len(after):
            expected["ambiguity"] = float(chance.expected_ambiguity(before, len(after)))
        if before is not None and len(after) > 1:  # a mean over pairs: random candidates keep it
            expected["disagreement"] = float(predictive.disagreement(before))
        return [
            report.Predictive(
                metric=name,
                data=on.data,
                before=None if before is None else float(getattr(predictive, name)(before)),
                after=float(getattr(predictive, name)(after)) if len(after) else None,
                expected_after=expected.get(name),
                definition=DEFINITIONS[name],
                optimistic=on.optimistic and self._selected,
            )
            for name in PREDICTIVE
        ]


def means(
    probabilities: npt.NDArray[np.floating[Any]], targets: npt.NDArray[np.integer[Any]]
) -> dict[str, float]:
    """Of ``[m, n, C]``: what each per-sample metric is on average; a range as its width."""
    from pytest_multiplicity.statistics import predictive, rashomon_capacity

    limits = predictive.viable_prediction_range(probabilities, targets)
    found = {
        "rashomon_capacity": rashomon_capacity(probabilities).values.mean(),
        "viable_prediction_range": (limits[:, 1] - limits[:, 0]).mean(),
    }
    if len(probabilities) > 1:
        found["score_variance"] = predictive.score_variance(probabilities, targets).mean()
    return {name: float(value) for name, value in found.items()}


def _sheet(sheet: Sheet, before: Sheet | None = None) -> report.Sheet:
    """A sheet as builtins; ``before`` is given for the sheet of the survivors."""
    noise = sheet.noise
    at_most = sheet.noise_floor_at_most if noise is None else None
    present = sheet.scores[sheet.present]
    expected = None
    if before is not None and 0 < sheet.count <= before.count:
        expected = chance.expected_range(before.scores[before.present], sheet.count)
    return report.Sheet(
        count=sheet.count,
        delta_all=float(sheet.delta_all) if sheet.count else None,
        low=float(present.min()) if len(present) else None,
        high=float(present.max()) if len(present) else None,
        noise_floor=at_most if noise is None else noise.floor,
        noise_95=None if noise is None else noise.level_95,
        floor_at_most=at_most is not None,
        p_value=None if noise is None else noise.p_value,
        real_share=None if noise is None else noise.real_share,
        expected_delta_all=None if expected is None else float(expected.high - expected.low),
        expected_low=None if expected is None else float(expected.low),
        expected_high=None if expected is None else float(expected.high),
        tables={axis: _table(sheet, axis) for axis in (before or sheet).tables},
    )


def _unknown(sheet: report.Sheet) -> report.Sheet:
    """A sheet in which candidates are missing: its scores, and nothing of what all would show."""
    tables = {
        axis: replace(
            table,
            delta_by_seed=[None] * len(table.seeds),
            delta_by_option=[None] * len(table.options),
        )
        for axis, table in sheet.tables.items()
    }
    return report.Sheet(count=sheet.count, delta_all=None, tables=tables)


def _without_chance(sheet: report.Sheet) -> report.Sheet:
    """What random candidates would show takes the scores of all."""
    return replace(sheet, expected_delta_all=None, expected_low=None, expected_high=None)


def _definition(name: str, metric: Mapping[str, Any]) -> str:
    """What the number means: formula in words, on which data."""
    if metric["data"] is None:
        return f"{name}, as recorded" + (f" on {metric['n']} samples" if metric["n"] else "")
    samples = f", {metric['n']:,} samples" if metric["n"] else ""
    measure = name.removeprefix("worst ").partition(" on ")[0]
    own = measure in ("accuracy", "membership privacy")
    text = DEFINITIONS[measure] if own else f"{measure} of the logits and targets"
    if metric["searched"]:
        return f"the worst that a search found; of one example: {text}"
    return f"{text}; on {metric['data']}{samples}"


def _sources(sheet: Sheet) -> str:
    """Where the multiplicity comes from, in a line; empty where that can't be told apart."""
    try:
        return sources(sheet).summary
    except ScoresError:
        return ""


def _table(sheet: Sheet, axis: str) -> report.Table:
    table = sheet.tables[axis]
    return report.Table(
        options=[plain(option) for option in table.columns],
        seeds=[int(seed) for seed in table.index],
        scores=[[_number(score) for score in row] for row in table.to_numpy().tolist()],
        delta_by_seed=[_number(delta) for delta in sheet.delta_by_seed(axis).tolist()],
        delta_by_option=[_number(delta) for delta in sheet.delta_by_option(axis).tolist()],
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {axis: plain(option) for axis, option in options.items()}


def plain(option: Any) -> Any:
    """An option as a builtin: itself, or the text that stands for it in ids."""
    if option is None or type(option) in (str, int, float, bool):
        return option
    if isinstance(option, tuple | list):
        return tuple(plain(each) for each in option)
    return option_text(option)
