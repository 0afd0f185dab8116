"""The house itself: arrows between stages, lint exceptions, modules that import cleanly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_multiplicity"
STAGES = (
    "design",
    "statistics",
    "tasks",
    "data",
    "interventions",
    "store",
    "compute",
    "training",
    "inference",
    "evaluation",
    "findings",
    "report",
    "plugin",
)
PURE = {"design", "statistics", "report"}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parent.parts
                base = ".".join((*package[: len(package) - node.level + 1], base)).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_stage_imports_only_from_stages_before_it(path):
    stage = path.relative_to(PACKAGE).parts[0]
    if stage not in STAGES:
        return  # __init__ and errors belong to all
    allowed = {*STAGES[: STAGES.index(stage) + 1], "errors", "__version__"}
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "pytest_multiplicity" and len(parts) > 1:
            assert parts[1] in allowed, f"{stage} imports {name}"
        if stage in PURE:
            assert parts[0] not in {"torch", "pytest", "_pytest"}, f"{stage} is pure: {name}"


def test_every_stage_is_there():
    assert {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()} == set(STAGES)


def needs_ray(path: Path) -> bool:
    return any(name.partition(".")[0] == "ray" for name in imports(path))


def test_every_module_imports_without_a_warning():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in SOURCES
        if path.name != "__main__.py" and not (needs_ray(path) and find_spec("ray") is None)
    ]
    code = "import importlib\n" + "\n".join(f"importlib.import_module({m!r})" for m in modules)
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:pytest_multiplicity", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_recorded_scores_need_no_torch() -> None:
    """It takes a second to import, and makes pytest's logging slower in every test."""
    code = (
        "import sys, pytest_multiplicity.evaluation.recorded as recorded\n"
        "assert recorded.RecordedPopulation and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
