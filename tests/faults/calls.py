"""Forty ways to call pytest on the same suite: one verdict, one exit code.

    python tests/faults/calls.py            # all of them, each in a process of its own
    python tests/faults/calls.py pyargs     # those with this word in their name

Prints a line for each and exits with 1 when any differs from the first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CONFTEST = """
import pandas as pd
import pytest_multiplicity as pm

scores = pd.DataFrame({"lr": [1, 1, 2, 2], "seed": [0, 1, 0, 1], "a": [50.0, 60.0, 70.0, 80.0]})
candidate = pm.recorded(scores, default={"lr": 1})
"""
FILES = {
    "pytest.ini": "[pytest]\npythonpath = src\ntestpaths = src/acme/specs\n",
    "conf/other.ini": "[pytest]\n",
    "conf/tests.toml": "[pytest]\n",
    "src/acme/__init__.py": "",
    "src/acme/specs/__init__.py": "",
    "src/acme/specs/conftest.py": CONFTEST,
    "src/acme/specs/test_a.py": "def test_a(candidate):\n    assert candidate.score('a') >= 0.55\n",
    "src/acme/specs/deep/__init__.py": "",
    "src/acme/specs/deep/test_b.py": (
        "import pytest\n\nclass TestB:\n    @pytest.mark.parametrize('least', [0.1, 0.65])\n"
        "    def test_b(self, candidate, least):\n        assert candidate.score('a') >= least\n"
    ),
    "src/acme/specs/test_gates.py": (
        "def test_passes(survivors):\n    assert len(survivors) == 2\n\n"
        "def test_fails(survivors):\n    assert len(survivors) == 4\n"
    ),
}
EXPECTED = {
    "default-seed0": "rejected",
    "default-seed1": "rejected",
    "lr2-seed0": "survivor",
    "lr2-seed1": "survivor",
    "test_passes": "passed",
    "test_fails": "failed",
    "exit code": 1,
    "pairs": 12,
}


@dataclass(frozen=True)
class Call:
    """One way to call pytest; `{}` in an argument and a folder is where the project lies."""

    name: str
    args: tuple[str, ...] = ()
    folder: str = "{}"
    environment: dict[str, str] = field(default_factory=dict)
    needs: str = ""


SPECS = "src/acme/specs"
PLACES = {"PYTHONPATH": "{}/src"}
LINKED = {"PYTHONPATH": "{}/../links/src"}
CALLS = (
    Call("nothing: testpaths"),
    Call("relative", (SPECS,)),
    Call("relative with a slash", (SPECS + "/",)),
    Call("relative by dots", (f"./src/../{SPECS}",)),
    Call("above", ("src",)),
    Call("the root", (".",)),
    Call("absolute", ("{}/" + SPECS,)),
    Call("absolute by dots", ("{}/src/acme/../acme/specs",)),
    Call("twice", (SPECS, SPECS)),
    Call("the folder and one of its files", (SPECS, SPECS + "/test_a.py")),
    Call("a file of it and the folder", (SPECS + "/test_gates.py", SPECS)),
    Call("the folder and a test", (SPECS, SPECS + "/test_gates.py::test_fails")),
    Call("duplicates kept", ("--keep-duplicates", SPECS)),
    Call("by a link", ("../links/src/acme/specs",)),
    Call("by a link to the folder", ("../links/specs",)),
    Call("by an absolute link", ("{}/../links/src/acme/specs",)),
    Call("pyargs", ("--pyargs", "acme.specs")),
    Call("pyargs of the package", ("--pyargs", "acme")),
    Call("pyargs with a path", ("--pyargs", SPECS)),
    Call("pyargs from elsewhere", ("--pyargs", "acme.specs"), "{}/conf", PLACES),
    Call("pyargs by a link", ("--pyargs", "acme.specs"), "{}/conf", LINKED),
    Call("rootdir", ("--rootdir=.", SPECS)),
    Call("rootdir absolute", ("--rootdir={}", SPECS)),
    Call("rootdir is the folder", ("--rootdir=" + SPECS, SPECS)),
    Call("rootdir elsewhere", ("--rootdir=conf", SPECS)),
    Call("rootdir is a link", ("--rootdir={}-link", SPECS)),
    Call("rootdir is a link, path too", ("--rootdir={}-link", "{}-link/" + SPECS)),
    Call("rootdir is real, path a link", ("--rootdir={}", "{}-link/" + SPECS)),
    Call("root is a link", (SPECS,), "{}-link"),
    Call("root is a link, no arguments", (), "{}-link"),
    Call("root is a link, path real", ("{}/" + SPECS,), "{}-link"),
    Call("from the folder", (), "{}/" + SPECS),
    Call("from the folder by a dot", (".",), "{}/" + SPECS),
    Call("from a folder below", ("..",), "{}/" + SPECS + "/deep"),
    Call("from beside", ("../" + SPECS,), "{}/conf"),
    Call("from outside", ("{}/" + SPECS,), "/"),
    Call("config elsewhere", ("-c", "conf/other.ini", SPECS), "{}", PLACES),
    Call("config elsewhere, absolute", ("-c", "{}/conf/other.ini", "{}/" + SPECS), "/", PLACES),
    Call("config elsewhere, root", ("-c", "conf/other.ini", "--rootdir=.", SPECS), "{}", PLACES),
    Call("no config", ("-c", os.devnull, SPECS), "{}", PLACES),
    Call("ini overridden", ("-o", "testpaths=src", "-o", "pythonpath=src")),
    Call("importlib", ("--import-mode=importlib", SPECS)),
    Call("append", ("--import-mode=append", SPECS)),
    Call("confcutdir", ("--confcutdir=src/acme", SPECS)),
    Call("PYTEST_ADDOPTS", (), "{}", {"PYTEST_ADDOPTS": SPECS}),
    Call("arguments in a file", ("@arguments.txt",)),
    Call("no cache", ("-p", "no:cacheprovider", SPECS)),
    Call("no terminal", ("-p", "no:terminal", SPECS)),
    Call("failed first", ("--ff", SPECS)),
    Call("new first", ("--nf", SPECS)),
    Call("everything by -k", ("-k", "test", SPECS)),
    Call("strict", ("--strict-markers", "-W", "error", SPECS)),
    Call("in two processes", ("-n2", SPECS), needs="xdist"),
    Call("in two processes, pyargs", ("-n2", "--pyargs", "acme.specs"), needs="xdist"),
    Call("in two processes, root is a link", ("-n2", SPECS), "{}-link", needs="xdist"),
    Call("in random order", ("-p", "randomly", SPECS), needs="pytest_randomly"),
)  # fmt: skip


def prepare(root: Path) -> None:
    """Write the project, and the links to it."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "arguments.txt").write_text(SPECS + "\n")
    links = root.with_name("links")
    links.mkdir()
    (links / "src").symlink_to(root / "src")
    (links / "specs").symlink_to(root / SPECS)
    root.with_name(root.name + "-link").symlink_to(root)


def perform(call: Call, root: Path) -> dict[str, Any]:
    """Call pytest in a process of its own. Returns what became of everything."""
    report = root / "report.json"
    report.unlink(missing_ok=True)
    added = {name: value.format(root) for name, value in call.environment.items()}
    inherited = os.environ.get("PYTHONPATH", "")
    added["PYTHONPATH"] = os.pathsep.join(filter(None, [added.get("PYTHONPATH"), inherited]))
    args = [each.format(root) for each in call.args]
    if "randomly" not in args:
        args = ["-p", "no:randomly", *args]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"--multiplicity-json={report}", *args],
        cwd=call.folder.format(root), env={**os.environ, **added},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = json.loads(report.read_text()) if report.exists() else {}
    return {**verdicts(said), "exit code": done.returncode}


def verdicts(report: dict[str, Any]) -> dict[str, Any]:
    """Return what became of every candidate and gate, and how many pairs were judged."""
    families = report.get("families", [])
    candidates = {each["id"]: each["status"] for of in families for each in of["candidates"]}
    gates = {each["name"]: each["outcome"] for each in report.get("gates", [])}
    pairs = sum(each["judged"] for of in families for each in of["specs"])
    return {**candidates, **gates, "pairs": pairs}


def chosen(word: str) -> Iterator[Call]:
    """Yield the calls with this word whose plugin is installed."""
    for call in CALLS:
        if word in call.name and (not call.needs or find_spec(call.needs)):
            yield call


def main(word: str = "") -> int:
    """Perform the calls, print a line for each. Returns the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="calls-")).resolve()
    root = folder / "project"
    prepare(root)
    differ = 0
    for call in chosen(word):
        found = perform(call, root)
        odd = {name: found.get(name) for name in EXPECTED if found.get(name) != EXPECTED[name]}
        differ += bool(odd)
        print(f"{'differs' if odd else 'same   '}  {call.name}  {odd or ''}", flush=True)
    print(f"{differ} differ")
    shutil.rmtree(folder)
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
