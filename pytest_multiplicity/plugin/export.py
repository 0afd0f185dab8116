"""The export: a folder with the survivors, to ship or to look at elsewhere."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.errors import MeasurementError, StoreError
from pytest_multiplicity.findings import plain_config
from pytest_multiplicity.plugin.paths import SELECTION
from pytest_multiplicity.plugin.state import State
from pytest_multiplicity.report import as_json

if TYPE_CHECKING:
    from torch import Tensor

    from pytest_multiplicity.findings import (
        CandidateReport,
        ComparisonReport,
        FamilyReport,
        RunReport,
        SpecReport,
    )
    from pytest_multiplicity.plugin.families import Family

SCHEMA = "pytest-multiplicity-selection/1"
SHEET = "sheet.csv"
BESIDE = ("flips", "churn", "gain", "trust", "flips_per_error")
FLOORS = ("flips_floor", "churn_floor")
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")


def write(state: State, run: RunReport, path: Path) -> None:
    """Write the survivors of a complete run to a folder, whole or not at all.

    `selection.json` says who they are, with configuration, scores and verdicts; each has its
    weights in a safetensors file beside it, and each family a sheet that `pm.recorded` reads.
    Raises OSError, and StoreError for a partial run, of which nobody knows the survivors.
    """
    if not run.complete:
        raise StoreError(
            "--multiplicity-export: nothing was written, since a partial run doesn't know its "
            f"survivors ({run.partial_reason})"
        )
    families = {state.families.titles()[family.key]: family for family in state.families}
    with _replacing(path) as folder:
        told = [
            _family(state, families[each.name], each, folder, _safe(each.name, f"family{number}"))
            for number, each in enumerate(run.families)
        ]
        document = {
            "schema": SCHEMA,
            "device": run.device,
            "versions": run.versions,
            "gates": [{"name": gate.name, "outcome": gate.outcome} for gate in run.gates],
            "families": told,
        }
        text = json.dumps(as_json.plain(document), indent=2, allow_nan=False)
        (folder / SELECTION).write_text(text + "\n", "utf-8")


def _family(
    state: State, family: Family, told: FamilyReport, folder: Path, name: str
) -> dict[str, Any]:
    """Write one family's files; give its part of `selection.json`."""
    (folder / name).mkdir()
    _sheet(told, folder / name / SHEET)
    survivors = []
    for index, candidate in enumerate(told.candidates):
        if candidate.status == "survivor":
            weights = f"{name}/{_safe(candidate.id, f'candidate{index}')}.safetensors"
            written = _weights(state, family, index, candidate, folder / weights)
            survivors.append(
                {
                    **_survivor(candidate, told.specs, weights if written else None),
                    "comparisons": [_beside(each, index) for each in told.comparisons],
                }
            )
    return {
        "name": told.name,
        "design": told.design,
        "default": told.default,
        "axes": told.axes,
        "seeds": told.seeds,
        "sheet": f"{name}/{SHEET}",
        "specs": [{"name": s.name, "kind": s.kind, "text": s.text} for s in told.specs],
        "comparisons": [
            {name: getattr(each, name) for name in ("incumbent", "data", *FLOORS)}
            for each in told.comparisons
        ],
        "survivors": survivors,
        "twins": list(_twins(family, folder, name)),
        "rejected": {c.id: c.rejected_by for c in told.candidates if c.status == "rejected"},
    }


def _twins(family: Family, folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Write the models that nobody trained and that gates asked for; yield what is told of each."""
    made = {} if family.population is None else family.population.beside.twins
    for number, built in enumerate(made.values()):
        twin = built.candidate
        weights: str | None = f"{name}/twin{number}.safetensors"
        options = {axis: option for axis, option in vars(twin.config).items() if axis != "seed"}
        known = {"id": twin.id, "seed": twin.seed, "config": plain_config(options)}
        try:
            _save(twin.module.state_dict(), known, folder / str(weights))
        except MeasurementError:  # an estimator: it has no weights
            weights = None
        yield {**known, "select": built.select, "within": built.within, "weights": weights}


def _survivor(
    candidate: CandidateReport, specs: Sequence[SpecReport], weights: str | None
) -> dict[str, Any]:
    return {
        "id": candidate.id,
        "seed": candidate.seed,
        "config": candidate.config,
        **({} if candidate.run is None else {"run": candidate.run}),
        "weights": weights,
        "scores": candidate.scores,
        "verdicts": {spec.name: _verdict(candidate, spec) for spec in specs},
    }


def _beside(compared: ComparisonReport, index: int) -> dict[str, Any]:
    """Return what one survivor does otherwise than an incumbent, with its intervals."""
    values = {name: getattr(compared, name) for name in BESIDE}
    known = {name: each[index] for name, each in values.items() if each}
    return {"incumbent": compared.incumbent, "data": compared.data, **known}


def _verdict(candidate: CandidateReport, spec: SpecReport) -> str:
    if spec.name in candidate.undecided:
        return "undecided"
    if spec.kind == "enforced":
        return "kept"
    return "would be rejected" if spec.name in candidate.reasons else "measured"


def _sheet(told: FamilyReport, path: Path) -> None:
    """Write the family as a table: a row per candidate that has all scores."""
    metrics = [pair.metric for pair in told.sheets]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*told.default, "seed", *metrics])
        for candidate in told.candidates:
            scores = [candidate.scores.get(metric) for metric in metrics]
            if None not in scores:
                table.writerow([*candidate.config.values(), candidate.seed, *scores])


def _weights(
    state: State, family: Family, index: int, candidate: CandidateReport, path: Path
) -> bool:
    """Write one candidate's weights; False where there are none to be had."""
    tensors = _tensors(state, family, index)
    if tensors is None:
        return False
    known = {"id": candidate.id, "seed": candidate.seed, "config": candidate.config}
    _save(tensors, known, path)
    return True


def _save(tensors: Mapping[str, Tensor], known: Mapping[str, Any], path: Path) -> None:
    from safetensors.torch import save

    apart = {name: each.detach().cpu().clone().contiguous() for name, each in tensors.items()}
    path.write_bytes(save(apart, {"candidate": json.dumps(as_json.plain(known))}))


def _tensors(state: State, family: Family, index: int) -> Mapping[str, Tensor] | None:
    """From the store, where every process finds what was trained, or from the module itself."""
    training = state.ledger.training.get(family.key)
    key = None if training is None else training.weights.get(index)
    if key is not None and (entry := state.resources.store.get("weights", key)) is not None:
        return entry.tensors
    if family.population is None:
        return None
    try:
        return family.population.module(index).state_dict()
    except MeasurementError:  # a callable, or recorded: it has no weights
        return None


def _safe(name: str, otherwise: str) -> str:
    """Return the name where every file system takes it."""
    return name if _SAFE.fullmatch(name) else otherwise


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes the place of `path` in the end."""
    fresh, old = (path.with_name(f".{path.name}.{kind}-{os.getpid()}") for kind in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
