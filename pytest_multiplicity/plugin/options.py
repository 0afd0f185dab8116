# ruff: noqa: RUF009 - each row is a field of its own
"""Options, each with its ini twin, checked before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_multiplicity.compute import ENGINES, LOCAL
from pytest_multiplicity.plugin import readings
from pytest_multiplicity.report import FORMATS, NEEDS


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


class Check(Enum):
    """Whether a family's function is called twice for one candidate, and the answers compared."""

    OFF = "off"
    ON = "on"


class Independence(Enum):
    """Whether candidates that are trained side by side are first checked not to mind each other."""

    CHECK = "check"
    TRUST = "trust"


Choice = TypeVar("Choice", bound=Enum)
Reader = Callable[[str, str, pytest.Config], Any]
"""From a text, and the name it was given by, to the value. Raises pytest.UsageError."""

MARKERS = (
    "unforeseen: this specification is measured before and after selection and rejects nobody",
    "family(name): the family whose survivors this gate is about, where there are several",
)


@dataclass(frozen=True)
class Row:
    """What the table below says of one option beside its name."""

    help: str
    metavar: str = ""  # of an option of the command line that takes a value
    switch: bool = False  # one that takes none
    ini: str | None = None  # as if it stood in the ini file; None where it may not stand there
    read: Reader | None = None
    default: Any = None  # where nothing is given; a function is called with pytest's config

    def given(self, config: pytest.Config, name: str) -> Any:
        """Return what stands on the command line, else in the ini file, as it stands there."""
        key = f"multiplicity_{name}"
        found = config.getoption(key) if self.metavar or self.switch else None
        return config.getini(key) if found is None and self.ini is not None else found

    def value(self, config: pytest.Config, name: str) -> Any:
        """Return the option as it takes effect. Raises pytest.UsageError."""
        given = self.given(config, name)
        if self.switch:
            return bool(given)
        twin = self.ini is not None and config.getini(f"multiplicity_{name}")
        # an unset variable of a shell, say; or the only way to turn off what the ini file turns on
        if self.metavar and config.getoption(f"multiplicity_{name}") == "" and not twin:
            raise pytest.UsageError(
                f"--multiplicity-{name}: '' is no {self.metavar}: give one, or leave it out"
            )
        if (given or self.ini) and self.read is not None:
            shown = f"--multiplicity-{name}" if self.metavar else f"multiplicity_{name}"
            return self.read(str(given), shown, config)
        return self.default(config) if callable(self.default) else self.default


def option(read: Reader, metavar: str, text: str, default: Any = None) -> Any:
    """Return the row of an option that takes a value, with an ini twin."""
    return field(metadata={"row": Row(text, metavar, ini="", read=read, default=default)})


def report(name: str, default: Any = None) -> Any:
    """Return the row of a path to write a report of this format to."""
    (about,) = (each.about for each in FORMATS if each.name == name)
    return option(_path, "PATH", about, default)


def switch(text: str, *, ini: bool = True) -> Any:
    """Return the row of an option that is given or not."""
    return field(metadata={"row": Row(text, switch=True, ini="" if ini else None)})


def setting(read: Reader, default: str, text: str) -> Any:
    """Return the row of what only the ini file says."""
    return field(metadata={"row": Row(text, ini=default, read=read)})


def _choice(kind: type[Choice]) -> Reader:
    def read(text: str, shown: str, config: pytest.Config) -> Choice:
        try:
            return kind(text)
        except ValueError:
            valid = ", ".join(member.value for member in kind)
            raise pytest.UsageError(f"{shown}: {text!r} is not one of {valid}") from None

    return read


def _engine(text: str, shown: str, config: pytest.Config) -> str:
    if text not in (valid := (LOCAL, *ENGINES)):
        raise pytest.UsageError(f"{shown}: {text!r} is not one of {', '.join(valid)}")
    return text


def _text(text: str, shown: str, config: pytest.Config) -> str:
    return text


def _names(text: str, shown: str, config: pytest.Config) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _needs(text: str, shown: str, config: pytest.Config) -> tuple[str, ...]:
    found = _names(text, shown, config)
    if unknown := [name for name in found if name not in NEEDS]:
        raise pytest.UsageError(f"{shown}: {unknown[0]!r} is not one of {', '.join(NEEDS)}")
    return found


def _path(text: str, shown: str, config: pytest.Config) -> Path:
    return config.invocation_params.dir / Path(text).expanduser()


def _step_summary(config: pytest.Config) -> Path | None:
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(path) if path else None


@dataclass(frozen=True)
class Options:
    """The options as they took effect: a row each, with all that there is to say of one."""

    json: Path | None = report("json")
    html: Path | None = report("html")
    markdown: Path | None = report("markdown", default=_step_summary)
    individuals: Path | None = report("individuals")
    card: Path | None = report("card")
    sheets: Sheets | None = option(
        _choice(Sheets), "{none,summary,full}", "how much of the sheets the terminal shows"
    )
    seeds: int | str | None = option(
        readings.seeds_or_auto,
        "{N,auto}",
        "use the first N seeds of every family, or add seeds until configurations are decided",
    )
    device: str = option(
        _text, "{auto,cpu,cuda,...}", "where candidates are trained and evaluated", default="auto"
    )
    engine: str = option(
        _engine,
        f"{{{','.join((LOCAL, *ENGINES))}}}",
        "who does it: this machine, or a cluster, such as Ray's at RAY_ADDRESS",
        default=LOCAL,
    )
    store: Path = option(
        _path,
        "DIR",
        "where trained candidates and logits are kept (default: .multiplicity)",
        default=lambda config: config.rootpath / ".multiplicity",
    )
    lock: Path | None = option(
        _path, "PATH", "compare the run with this committed file; what drifted fails the run"
    )
    export: Path | None = option(
        _path, "DIR", "write the survivors to this folder: weights, scores, verdicts, the sheet"
    )
    profile: Path | None = option(
        _path, "PATH", "write where the time went, by stage and test, to this file, as JSON"
    )
    update_lock: bool = switch(
        "write the file of --multiplicity-lock anew, where the run drifted from it"
    )
    screen: bool = switch("judge cheap specs first, and no candidate again that was rejected")
    plan: bool = switch("say what would be trained, how and how long, and train nothing", ini=False)
    partial: Partial = setting(_choice(Partial), "skip", "gates on a partial run: skip or fail")
    undecided: Undecided = setting(
        _choice(Undecided), "keep", "pairs the data don't decide: keep, reject or fail"
    )
    same_data: SameData = setting(
        _choice(SameData), "warn", "data that both selects and reports: warn or error"
    )
    independence: Independence = setting(
        _choice(Independence),
        "check",
        "of candidates that are trained side by side, before they are: check or trust",
    )
    check: Check = setting(
        _choice(Check), "off", "call one candidate's function twice and compare: on or off"
    )
    lock_tolerance: float = setting(
        readings.fraction, "0.005", "how far a score may drift from the lock, a fraction"
    )
    individuals_id: str | None = setting(
        _text, "", "the attribute that identifies a sample in what is told of individuals"
    )
    individuals_groups: tuple[str, ...] = setting(
        _names, "", "attributes, with commas between, by whose values individuals are grouped"
    )
    individuals_positive: str | None = setting(
        _text, "", "the class that individuals want; anything else rejects them"
    )
    card_needs: tuple[str, ...] = setting(
        _needs, "", f"numbers a card must have, of {', '.join(NEEDS)}"
    )
    store_size: int = setting(
        readings.size, "20 GB", "how big the store may grow, least recently used goes"
    )  # bytes
    most_seeds: int = setting(
        readings.seeds, "40", "seeds of a configuration, at most, with --multiplicity-seeds=auto"
    )
    reliable: float = setting(
        readings.share, "0.8", "the share of seeds that have to pass, which auto is to decide about"
    )
    looks: int = setting(
        readings.count,
        "0",
        "looks at a data set, after which another one is an error; 0 for no limit",
    )
    ladder: Check = setting(
        _choice(Check), "off", "withhold what reporting data say but a new best: on or off"
    )
    timeout: float = setting(
        readings.seconds, "3600", "seconds without progress to give up after; 0 for never"
    )

    @property
    def auto(self) -> bool:
        """Whether seeds are added to the declared ones."""
        return self.seeds == readings.AUTO

    @property
    def first_seeds(self) -> int | None:
        """How many of the declared seeds are used; None: all."""
        return self.seeds if isinstance(self.seeds, int) else None

    @property
    def files(self) -> dict[str, Path]:
        """Reports to write: kind -> path."""
        wanted = {each.name: getattr(self, each.name) for each in FORMATS}
        return {kind: path for kind, path in wanted.items() if path is not None}

    def describe(self) -> dict[str, str]:
        """Return the options as text, for the reports."""
        values = {name: getattr(value, "value", value) for name, value in vars(self).items()}
        shown = {n: ", ".join(v) if isinstance(v, tuple) else v for n, v in values.items()}
        return {name: str(value) for name, value in shown.items() if value not in (None, "")}


ROWS: dict[str, Row] = {each.name: each.metadata["row"] for each in fields(Options)}


def add(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    group = parser.getgroup("multiplicity", "model multiplicity")
    for name, row in ROWS.items():
        shown, key = f"--multiplicity-{name.replace('_', '-')}", f"multiplicity_{name}"
        if row.switch:
            group.addoption(shown, dest=key, action="store_true", default=None, help=row.help)
            if row.ini is not None:
                parser.addini(key, row.help, type="bool", default=False)
        elif row.metavar:
            group.addoption(shown, dest=key, metavar=row.metavar, help=row.help)
            parser.addini(key, f"{row.help} ({shown})", default=row.ini)
        else:
            parser.addini(key, row.help, default=row.ini)


def given(config: pytest.Config) -> bool:
    """Return whether any option is set, on the command line or in the ini file."""
    return any((row.given(config, name) or "") != (row.ini or "") for name, row in ROWS.items())


def early(config: pytest.Config, name: str) -> bool:
    """Return whether an option is given, before pytest has read all of them."""
    given = getattr(config.known_args_namespace, f"multiplicity_{name}", None)
    return bool(given or config.getini(f"multiplicity_{name}"))


def read(config: pytest.Config) -> Options:
    """Read and check every option. Raises pytest.UsageError with the value and the remedy."""
    return Options(**{name: row.value(config, name) for name, row in ROWS.items()})
