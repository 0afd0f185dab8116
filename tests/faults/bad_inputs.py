"""Generated bad inputs: options, ini values, tables, configurations, checkpoints.

    python tests/faults/bad_inputs.py [--examples 2000] [--seed 0]

Each runs in this process, most of them through pytest, and must end in a clean error: an exit code
of pytest's own, no INTERNALERROR, no traceback from inside the plugin, nothing written outside the
folder of the run but what an option names. hypothesis draws the inputs and shrinks what fails.
Exits with 1 when anything did.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import string
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

import pytest_multiplicity as pm
import pytest_multiplicity.findings.assemble
from pytest_multiplicity.errors import MultiplicityError

PLUGINS = (
    "randomly",
    "xdist",
    "cacheprovider",
    "html",
    "timeout",
    "rerunfailures",
    "cov",
    "benchmark",
)
QUIET = ["-q", *(argument for name in PLUGINS for argument in ("-p", f"no:{name}"))]
CLEAN = {0, 1, 2, 4, 5}
SLOW = 60.0  # seconds: nothing here takes one
RECORDED = (
    "import pytest_multiplicity as pm\ncandidate = pm.recorded('scores.csv', default={default})\n"
)
TABLE = "lr,seed,accuracy\n0.1,0,90\n0.1,1,91\n0.01,0,92\n0.01,1,93\n"
SPECS = """
def test_accuracy(candidate):
    assert candidate.score("accuracy") >= 0.5

def test_gate(survivors):
    assert survivors
"""
BUILT = """
import pytest_multiplicity as pm

nan, inf = float("nan"), float("inf")

@pm.family(default={default}, vary={vary}, seeds={seeds}, design={design})
def candidate(config):
    return None
"""

words = st.text(string.printable, max_size=8) | st.text(max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
OPTIONS = ("sheets", "seeds", "device", "lock-tolerance", "partial", "undecided", "nonsense")
INIS = (
    "sheets",
    "seeds",
    "device",
    "partial",
    "undecided",
    "same_data",
    "lock_tolerance",
    "store_size",
    "timeout",
    "update_lock",
)


class FaultyError(Exception):
    """An input that did not end in a clean error."""


def study(folder: Path, conftest: str, ini: str = "", table: str = TABLE) -> None:
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n", "utf-8", "replace")
    (folder / "conftest.py").write_text(conftest, "utf-8", "replace")
    (folder / "test_specs.py").write_text(SPECS)
    (folder / "scores.csv").write_text(table, "utf-8", "replace")


def run(folder: Path, *arguments: str) -> None:
    """Run pytest there, in this process. Raises FaultyError when it doesn't end cleanly."""
    said = io.StringIO()
    before, began = set(sys.modules), time.monotonic()
    here = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = int(pytest.main([*QUIET, "--import-mode=importlib", *arguments]))
    except SystemExit as error:  # what pytest's own parser of options does
        code = int(error.code or 0)
    finally:
        os.chdir(here)
        for name in set(sys.modules) - before:
            if name.startswith(("conftest", "test_specs")):
                del sys.modules[name]
    text = said.getvalue()
    if code not in CLEAN or "INTERNALERROR" in text or "Traceback (most" in text:
        raise FaultyError(f"exit code {code}:\n{text[-3000:]}")
    if time.monotonic() - began > SLOW:
        raise FaultyError(f"took {time.monotonic() - began:.0f} s")
    strangers = {path.name for path in folder.iterdir()} - KNOWN
    if strangers:
        raise FaultyError(f"wrote {strangers}")


KNOWN = {"pytest.ini", "conftest.py", "test_specs.py", "scores.csv", ".multiplicity", "__pycache__"}


@contextlib.contextmanager
def folders() -> Any:
    """A folder for one run, in a folder of its own, where nothing else may appear."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "study"
        folder.mkdir()
        yield folder
        strangers = [path.name for path in Path(name).iterdir() if path != folder]
        if strangers:
            raise FaultyError(f"wrote {strangers} outside its folder")


@given(st.sampled_from(OPTIONS), words)
def options(name: str, value: str) -> None:
    with folders() as folder:
        study(folder, RECORDED.format(default={"lr": 0.1}))
        run(folder, f"--multiplicity-{name}={value}")


@given(st.sampled_from(("json", "html", "markdown", "store", "lock", "export")), words)
def unwritable_paths(name: str, value: str) -> None:
    """Below a file no path can be written, whatever its name."""
    with folders() as folder:
        study(folder, RECORDED.format(default={"lr": 0.1}))
        run(folder, f"--multiplicity-{name}=scores.csv/{value}")


@given(st.sampled_from(INIS), words)
def ini_values(name: str, value: str) -> None:
    value = " ".join(value.split())
    with folders() as folder:
        study(folder, RECORDED.format(default={"lr": 0.1}), f"multiplicity_{name} = {value}")
        run(folder)


cells = st.sampled_from(["lr", "seed", "accuracy", "nan", "", "0", "1e309", "-1", "9" * 400, '"'])


@given(
    st.lists(st.lists(cells | words, min_size=1, max_size=4), min_size=1, max_size=5),
    st.booleans(),
)
def tables(rows: list[list[str]], headed: bool) -> None:
    text = "\n".join(",".join(row) for row in rows)
    with folders() as folder:
        header = "lr,seed,accuracy\n" if headed else ""
        study(folder, RECORDED.format(default={"lr": 0.1}), table=header + text)
        run(folder)


@given(anything)
def defaults_of_tables(default: Any) -> None:
    with folders() as folder:
        study(folder, "nan, inf = float('nan'), float('inf')\n" + RECORDED.format(default=default))
        run(folder)


@given(
    st.dictionaries(words, anything, max_size=3) | anything,
    st.dictionaries(words, st.lists(anything, max_size=3), max_size=3) | anything,
    st.integers(-2, 5) | st.lists(st.integers(), max_size=3) | anything,
    st.sampled_from(["star", "grid"]) | anything,
)
def configurations(default: Any, vary: Any, seeds: Any, design: Any) -> None:
    with folders() as folder:
        made = BUILT.format(default=default, vary=vary, seeds=repr(seeds), design=repr(design))
        study(folder, made)
        run(folder)


class Evil:
    """What would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("was-run",)


def _pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": Evil()}, buffer)
    return buffer.getvalue()


def _saved() -> bytes:
    buffer = io.BytesIO()
    torch.save(nn.Linear(3, 2).state_dict(), buffer)
    return buffer.getvalue()


def _header(found: Any) -> bytes:
    text = json.dumps(found).encode("utf-8", "replace")
    return len(text).to_bytes(8, "little") + text


WHOLE = {
    ".safetensors": save(nn.Linear(3, 2).state_dict()),
    ".pt": _saved(),
}
huge = {"weight": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
contents = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([_pickled(), pickle.dumps(Evil()), b"", _header(huge)]),
    st.builds(_header, anything),
    st.builds(lambda whole, end: whole[:end], st.sampled_from([*WHOLE.values()]), st.integers(0)),
    st.builds(
        lambda whole, at, byte: whole[: at % len(whole)] + byte + whole[at % len(whole) + 1 :],
        st.sampled_from([*WHOLE.values()]),
        st.integers(0, 10**6),
        st.binary(min_size=1, max_size=1),
    ),
)


@given(contents, st.sampled_from([".safetensors", ".pt", ".pth", ".ckpt", ""]))
def checkpoints(content: bytes, suffix: str) -> None:
    with folders() as folder:
        path = folder / f"weights{suffix}"
        path.write_bytes(content)
        here = Path.cwd()
        os.chdir(folder)
        try:
            with contextlib.suppress(MultiplicityError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pm.load(path, into=nn.Linear(3, 2))
        finally:
            os.chdir(here)
        if [each.name for each in folder.iterdir()] != [path.name]:
            raise FaultyError("a checkpoint ran code")


PARTS: tuple[tuple[Callable[[], None], float], ...] = (
    (options, 0.15),
    (unwritable_paths, 0.1),
    (ini_values, 0.15),
    (tables, 0.15),
    (defaults_of_tables, 0.1),
    (configurations, 0.15),
    (checkpoints, 0.2),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", help="only this one")
    chosen = parser.parse_args()
    failed = 0
    for part, share in PARTS:
        if chosen.part not in (None, part.__name__):
            continue
        count = max(1, round(chosen.examples * share))
        limits = settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        began = time.monotonic()
        try:
            limits(seed(chosen.seed)(part))()
        except Exception as error:
            failed += 1
            print(f"{part.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
            print(*getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        print(f"{part.__name__}: {count} inputs, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{failed} of {len(PARTS)} parts failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
