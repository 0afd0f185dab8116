"""Options, each with its ini twin, checked before anything is trained."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_multiplicity.plugin import paths as places
from pytest_multiplicity.report import FORMATS


class Sheets(Enum):
    """How much of the sheets the terminal shows."""

    NONE = "none"
    SUMMARY = "summary"
    FULL = "full"


class Partial(Enum):
    """What becomes of gates when the matrix is incomplete."""

    SKIP = "skip"
    FAIL = "fail"


class SameData(Enum):
    """What to do when samples that selected also report."""

    WARN = "warn"
    ERROR = "error"


class Undecided(Enum):
    """What becomes of a pair that the data don't decide."""

    KEEP = "keep"
    REJECT = "reject"
    FAIL = "fail"


class Independence(Enum):
    """Whether candidates that are trained side by side are first checked not to mind each other."""

    CHECK = "check"
    TRUST = "trust"


class Engine(Enum):
    """Who trains and evaluates."""

    LOCAL = "local"
    RAY = "ray"


Choice = TypeVar("Choice", bound=Enum)

PATHS = {each.name: each.about for each in FORMATS}
VALUES = {
    "sheets": ("{none,summary,full}", "how much of the sheets the terminal shows"),
    "seeds": ("N", "use the first N seeds of every family"),
    "device": ("{auto,cpu,cuda,...}", "where candidates are trained and evaluated"),
    "engine": ("{local,ray}", "who does it: this machine, or a Ray cluster, that of RAY_ADDRESS"),
    "store": ("DIR", "where trained candidates and logits are kept (default: .multiplicity)"),
    "lock": ("PATH", "compare the run with this committed file; what drifted fails the run"),
    "export": ("DIR", "write the survivors to this folder: weights, scores, verdicts, the sheet"),
}
PLAN = "say what would be trained, how and how long, and train nothing"
SCREEN = "judge cheap specs first, and no candidate again that was rejected"
UPDATE_LOCK = "write the file of --multiplicity-lock anew, where the run drifted from it"
INIS = {
    "multiplicity_partial": ("gates on a partial run: skip or fail", "skip"),
    "multiplicity_undecided": ("pairs the data don't decide: keep, reject or fail", "keep"),
    "multiplicity_same_data": ("data that both selects and reports: warn or error", "warn"),
    "multiplicity_independence": (
        "of candidates that are trained side by side, before they are: check or trust",
        "check",
    ),
    "multiplicity_lock_tolerance": ("how far a score may drift from the lock, a fraction", "0.005"),
    "multiplicity_store_size": ("how big the store may grow, least recently used goes", "20 GB"),
    "multiplicity_timeout": ("seconds without progress to give up after; 0 for never", "3600"),
}
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
MARKERS = (
    "unforeseen: this specification is measured before and after selection and rejects nobody",
    "family(name): the family whose survivors this gate is about, where there are several",
)


@dataclass(frozen=True)
class Options:
    """The options as they took effect."""

    json: Path | None
    html: Path | None
    markdown: Path | None
    sheets: Sheets | None
    seeds: int | None
    device: str
    engine: Engine
    store: Path
    store_size: int  # bytes
    timeout: float  # seconds
    export: Path | None
    lock: Path | None
    update_lock: bool
    plan: bool
    screen: bool
    lock_tolerance: float
    partial: Partial
    undecided: Undecided
    same_data: SameData
    independence: Independence

    @property
    def files(self) -> dict[str, Path]:
        """Reports to write: kind -> path."""
        wanted = {name: getattr(self, name) for name in PATHS}
        return {kind: path for kind, path in wanted.items() if path is not None}

    def describe(self) -> dict[str, str]:
        """The options as text, for the reports."""
        values = {name: getattr(value, "value", value) for name, value in vars(self).items()}
        return {name: str(value) for name, value in values.items() if value is not None}


def add(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    group = parser.getgroup("multiplicity", "model multiplicity")
    described = {name: ("PATH", text) for name, text in PATHS.items()} | VALUES
    for name, (metavar, text) in described.items():
        group.addoption(
            f"--multiplicity-{name}", dest=f"multiplicity_{name}", metavar=metavar, help=text
        )
        parser.addini(f"multiplicity_{name}", f"{text} (--multiplicity-{name})", default="")
    for name, text in {"update_lock": UPDATE_LOCK, "screen": SCREEN}.items():
        group.addoption(
            f"--multiplicity-{name.replace('_', '-')}",
            dest=f"multiplicity_{name}",
            action="store_true",
            default=None,
            help=text,
        )
        parser.addini(f"multiplicity_{name}", text, type="bool", default=False)
    group.addoption(
        "--multiplicity-plan",
        dest="multiplicity_plan",
        action="store_true",
        default=None,
        help=PLAN,
    )
    for name, (text, default) in INIS.items():
        parser.addini(name, text, default=default)


def given(config: pytest.Config) -> bool:
    """Whether any option is set, on the command line or in the ini file."""
    named = [*VALUES, *PATHS, "update_lock", "screen"]
    if any(config.getoption(f"multiplicity_{name}") is not None for name in [*named, "plan"]):
        return True
    if any(config.getini(f"multiplicity_{name}") for name in named):
        return True
    return any(config.getini(name) != default for name, (_, default) in INIS.items())


def read(config: pytest.Config) -> Options:
    """Read and check every option. Raises pytest.UsageError with the value and the remedy."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    sheets = _value(config, "sheets")
    options = Options(
        json=_path(config, "json"),
        html=_path(config, "html"),
        markdown=_path(config, "markdown") or (Path(summary) if summary else None),
        sheets=_choice(Sheets, "--multiplicity-sheets", sheets) if sheets else None,
        seeds=_seeds(_value(config, "seeds")),
        device=_value(config, "device") or "auto",
        engine=_choice(Engine, "--multiplicity-engine", _value(config, "engine") or "local"),
        store=_path(config, "store") or config.rootpath / ".multiplicity",
        store_size=_size(config.getini("multiplicity_store_size")),
        timeout=_seconds(config.getini("multiplicity_timeout")),
        export=_path(config, "export"),
        lock=_path(config, "lock"),
        update_lock=_flag(config, "update_lock"),
        plan=bool(config.getoption("multiplicity_plan")),
        screen=_flag(config, "screen"),
        lock_tolerance=_tolerance(config.getini("multiplicity_lock_tolerance")),
        partial=_choice(Partial, "multiplicity_partial", config.getini("multiplicity_partial")),
        undecided=_choice(
            Undecided, "multiplicity_undecided", config.getini("multiplicity_undecided")
        ),
        same_data=_choice(
            SameData, "multiplicity_same_data", config.getini("multiplicity_same_data")
        ),
        independence=_choice(
            Independence, "multiplicity_independence", config.getini("multiplicity_independence")
        ),
    )
    if not hasattr(config, "workerinput"):  # once is enough
        places.check(options)
    return options


def _value(config: pytest.Config, name: str) -> str:
    given = config.getoption(f"multiplicity_{name}")
    return str(config.getini(f"multiplicity_{name}") if given is None else given)


def _path(config: pytest.Config, name: str) -> Path | None:
    text = _value(config, name)
    return config.invocation_params.dir / Path(text).expanduser() if text else None


def _flag(config: pytest.Config, name: str) -> bool:
    given = config.getoption(f"multiplicity_{name}")
    return bool(config.getini(f"multiplicity_{name}") if given is None else given)


def _choice(kind: type[Choice], option: str, text: Any) -> Choice:
    try:
        return kind(text)
    except ValueError:
        valid = ", ".join(member.value for member in kind)
        raise pytest.UsageError(f"{option}: {text!r} is not one of {valid}") from None


def _seeds(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise pytest.UsageError(f"--multiplicity-seeds: {text!r} is no count: give 1 or more")
    return int(text)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise pytest.UsageError(
            f"multiplicity_lock_tolerance: {text!r} is no fraction: give one from 0 to 1, as 0.005"
        )
    return value


def _size(text: str) -> int:
    """Bytes. Decimal units, as disks are sold in."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?([KMGT]?B)", text.strip(), re.ASCII)
    if found is None:
        raise pytest.UsageError(
            f"multiplicity_store_size: {text!r} is no size: give a number and one of "
            f"{', '.join(UNITS)}, such as 20 GB"
        )
    return int(float(found[1]) * UNITS[found[2]])


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text.strip(), re.ASCII):
        raise pytest.UsageError(
            f"multiplicity_timeout: {text!r} is no number of seconds: give one of 0 or more"
        )
    return float(text)
