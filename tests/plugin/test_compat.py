"""Names of pytest, pytest-xdist and hypothesis that aren't public stand in one file."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_multiplicity.plugin import compat

COMPAT = Path(compat.__file__)
PACKAGE = COMPAT.parents[1]
UNDOCUMENTED = {
    "capturemanager",
    "dsession",
    "global_force_seed",
    "is_hypothesis_test",
    "lastfailed",
    "lfplugin",
    "nodemanager",
    "reprcrash",
    "teardown_exact",
    "testrunuid",
    "wasxfail",
    "workerinput",
    "workeroutput",
}


def touched(path: Path) -> Iterator[str]:
    """Attributes of anything but an object of the file's own, and names that are texts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        ):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def private(path: Path) -> set[str]:
    """Names of theirs that a file touches."""
    own = {name for name in touched(COMPAT) if name.startswith("_") and name.isidentifier()}
    own -= set(dir(compat))  # `__name__` and the like are everybody's
    return {name for name in touched(path) if name in own | UNDOCUMENTED or "_hypothesis" in name}


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if path != COMPAT],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_no_other_file_touches_a_private_name(path: Path) -> None:
    assert not {name for name in private(path) if "\n" not in name}


def test_each_is_a_function_that_says_why() -> None:
    functions = [
        node for node in ast.parse(COMPAT.read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    assert all(ast.get_docstring(function) for function in functions)
    assert {*UNDOCUMENTED} <= {*touched(COMPAT)}


def test_pytest_is_imported_as_its_users_do() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            theirs = [name for name in names if name.startswith(("_pytest", "xdist"))]
            assert path == COMPAT or not theirs, path


def test_examples_find_the_shared_generators_as_hypothesis_leaves_them():
    seen = []

    @settings(max_examples=2, database=None)
    @given(st.booleans())
    def by_hypothesis(_):
        seen.append((random.random(), np.random.random()))  # noqa: NPY002

    by_hypothesis()
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with compat.examples() as begin:
        for _ in range(2):
            begin()
            seen.append((random.random(), np.random.random()))  # noqa: NPY002
    assert len(set(seen)) == 1
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
