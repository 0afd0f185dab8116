"""Runs as they lie on disk: MLflow's files and database, folders with a file of parameters.

Read without the tracker's own package.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_multiplicity.errors import DefinitionError

PLACES = (
    "params.json",  # Ray Tune
    "params.yaml",  # DVC
    "dvclive/params.yaml",
    "config.json",
    "config.yaml",
    "hparams.yaml",  # Lightning
    ".hydra/config.yaml",  # Hydra
    "files/config.json",
    "files/config.yaml",  # Weights & Biases
    "params.yml",
    "config.yml",
)
"""Where a run's folder may have its parameters; the first that is there counts."""
FINISHED = ("3", "FINISHED")  # in MLflow's files, in its database
META = "meta.yaml"


@dataclass(frozen=True)
class Tracked:
    """A run as it was found."""

    id: str | int
    parameters: Mapping[Any, Any]
    begun: int = 0
    """When, in the tracker's own unit."""


def read_tracked(path: Path) -> list[Tracked]:
    """Return the runs in a folder, or in MLflow's database, from the oldest to the newest.

    Raises DefinitionError where there is none, or where it isn't clear which.
    """
    if path.is_file():
        found = _database(path)
    elif not path.is_dir():
        raise DefinitionError(
            f"{str(path)!r} is no folder: give MLflow's (mlruns/ID, or the file mlflow.db), one "
            "with a folder for each run, or a mapping from a run's id to its parameters"
        )
    elif any(path.glob(f"*/{META}")) or (path / META).exists():
        found = _file_store(path)
    else:
        found = [each for folder in sorted(path.iterdir()) for each in _folder(folder)]
    if not found:
        raise DefinitionError(
            f"{str(path)!r} has no finished run: each has a folder with one of "
            f"{', '.join(PLACES[:6])}, or is MLflow's"
        )
    # of equal times the later name: such as run10 after run9
    return sorted(found, key=lambda each: (each.begun, _natural(str(each.id))))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which run10 comes after run9."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts]


def _folder(folder: Path) -> list[Tracked]:
    """Return the run in a folder; none where it has no file of parameters."""
    if folder.is_symlink() and folder.resolve().parent == folder.parent.resolve():
        return []  # W&B's latest-run is one of the others
    file = next((folder / each for each in PLACES if (folder / each).is_file()), None)
    if file is None:
        return []
    parameters = _read(file)
    if file.match("files/config.yaml"):  # W&B writes {"lr": {"value": 0.1}, "_wandb": ...}
        parameters = {
            name: told["value"]
            for name, told in parameters.items()
            if not name.startswith("_") and isinstance(told, Mapping) and "value" in told
        }
    return [Tracked(folder.name, parameters, file.stat().st_mtime_ns)]


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
        found = json.loads(text) if file.suffix == ".json" else _yaml(text, file)
    except (OSError, ValueError) as error:
        raise DefinitionError(f"can't read the parameters in {str(file)!r}: {error}") from None
    if not isinstance(found, dict):
        raise DefinitionError(
            f"{str(file)!r} holds {type(found).__name__}: a run's parameters are names with values"
        )
    return {str(name): value for name, value in found.items()}


def _yaml(text: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise DefinitionError(f"{str(file)!r} needs PyYAML: pip install pyyaml") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


# --- MLflow


def _file_store(path: Path) -> list[Tracked]:
    """Return the runs of one experiment: of this folder, or of the only one in it that has any."""
    if (runs := _experiment(path)) or (path / META).exists():
        return runs
    experiments = {each: _experiment(each) for each in sorted(path.iterdir()) if each.is_dir()}
    return _only({f"{each} ({_meta(each).get('name')})": r for each, r in experiments.items()})


def _only(experiments: Mapping[str, Sequence[Tracked]]) -> list[Tracked]:
    """Return the runs of the only experiment that has any."""
    known = {name: runs for name, runs in experiments.items() if runs}
    if len(known) > 1:
        raise DefinitionError(
            f"there are runs of {len(known)} experiments, {', '.join(known)}: give the folder of "
            "one, or a mapping from its runs' ids to their parameters"
        )
    return [run for runs in known.values() for run in runs]


def _experiment(folder: Path) -> list[Tracked]:
    """Return the finished runs in an experiment's folder, without those that were deleted."""
    found = []
    for run in sorted(folder.iterdir()):
        meta = _meta(run)
        finished = meta.get("status") in FINISHED and meta.get("lifecycle_stage") == "active"
        if "run_id" in meta and finished:
            files = sorted(each for each in (run / "params").rglob("*") if each.is_file())
            parameters = {
                each.relative_to(run / "params").as_posix(): each.read_text("utf-8")
                for each in files
            }
            found.append(Tracked(run.name, parameters, int(meta.get("start_time") or 0)))
    return found


def _meta(folder: Path) -> dict[str, str]:
    """Return what MLflow wrote of a run: flat lines, `name: value`."""
    try:
        lines = (folder / META).read_text("utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


_QUERY = """
    SELECT e.experiment_id || ' (' || e.name || ')', r.run_uuid, r.start_time, p.key, p.value
    FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id
    LEFT JOIN params p ON p.run_uuid = r.run_uuid
    WHERE r.status = 'FINISHED' AND r.lifecycle_stage = 'active' ORDER BY r.start_time, p.key
"""


def _database(path: Path) -> list[Tracked]:
    """Return the runs in MLflow's SQLite database, opened for reading only."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            rows = opened.execute(_QUERY).fetchall()
    except sqlite3.Error as error:
        raise DefinitionError(
            f"{str(path)!r} is no database of MLflow's ({error}): give a folder, or a mapping from "
            "a run's id to its parameters"
        ) from None
    experiments: dict[str, dict[str, Tracked]] = {}
    for experiment, name, begun, key, value in rows:
        runs = experiments.setdefault(experiment, {})
        run = runs.setdefault(name, Tracked(name, {}, begun or 0))
        if key is not None:
            runs[name] = Tracked(name, {**run.parameters, key: value}, run.begun)
    return _only({name: list(runs.values()) for name, runs in experiments.items()})
