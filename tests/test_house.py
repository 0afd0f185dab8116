"""The house itself: arrows between stages, lint exceptions, modules that import cleanly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
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
    "keeping",
    "inference",
    "reach",
    "evaluation",
    "findings",
    "report",
    "plugin",
)
PURE = {"design", "statistics", "report"}
SOURCES = sorted(PACKAGE.rglob("*.py"))
# who imports past another room's face, and why
PAST_THE_FACE: dict[str, tuple[str, ...]] = {}
# functions whose keywords are the public contract
CONTRACT = {
    "data/dataset.py:__init__",
    "data/dataset.py:from_dataset",
    "plugin/fixtures.py:answers",
}

NAME = PACKAGE.name
TREES = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES}


def statements(tree: ast.AST, *, deferred: bool) -> Iterator[ast.AST]:
    """Walk a tree, without what is deferred until a function is called where so asked."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if deferred or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(node, deferred=deferred)


def imported(path: Path, *, deferred: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each import, also of those for typing only."""
    for node in statements(TREES[path], deferred=deferred):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parent.parts
                base = ".".join((*package[: len(package) - node.level + 1], base)).rstrip(".")
            yield from ((base, alias.name) for alias in node.names)


def imports(path: Path) -> Iterator[str]:
    for base, name in imported(path):
        yield base
        if name:
            yield f"{base}.{name}"


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


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in SOURCES}


def behind(face: str) -> dict[str, str]:
    """Return the module behind each name of a room's face, which is a lazy one."""
    stub = MODULES[face].with_suffix(".pyi")
    if not stub.exists():
        return {}
    return {
        alias.asname or alias.name: f"{face}.{node.module or alias.name}"
        for node in ast.walk(ast.parse(stub.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def where_from(path: Path, *, at_once: bool = False) -> set[str]:
    """Return the modules of the house that a module imports from, faces among them.

    `at_once`: only those that it imports when it is imported itself, and not faces but what is
    behind them.
    """
    found = set()
    for base, name in imported(path, deferred=not at_once):
        names = behind(base) if base in MODULES else {}
        if name in names and at_once:
            base = names[name]
        elif name not in names and f"{base}.{name}" in MODULES:
            base = f"{base}.{name}"
        if base.startswith(f"{NAME}."):
            found.add(base)
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_another_room_is_entered_by_its_face(path):
    here = room(dotted(path))
    entered = {
        module
        for module in where_from(path)
        if room(module) not in {here, "errors"} and module.count(".") > 1
    }
    assert entered - set(PAST_THE_FACE.get(str(path.relative_to(PACKAGE)), ())) == set()


def test_who_is_let_past_a_face_needs_it():
    for name, modules in PAST_THE_FACE.items():
        assert set(modules) <= where_from(PACKAGE / name), name


def test_no_circle_of_imports_even_for_typing():
    arrows = {module: where_from(path, at_once=True) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_no_public_class_name_twice():
    homes = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield str(path.relative_to(PACKAGE)), node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return len([each for each in every if each.arg not in {"self", "cls"}])


def test_no_function_takes_more_than_seven_parameters():
    """But those whose keywords are the public contract, which users write by name."""
    many = {f"{where}:{each.name}" for where, each in functions() if parameters(each) > 7}
    assert many == CONTRACT


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_longer_than_350_lines(path):
    assert lines(path) <= 350


def test_training_stays_small():
    assert sum(lines(path) for path in SOURCES if room(dotted(path)) == "training") < 3500


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_devices_are_named_in_one_place(path):
    if path == PACKAGE / "compute" / "devices.py":
        return
    for node in ast.walk(TREES[path]):
        match node:
            case ast.Constant(value=str(text)):
                assert not text.startswith(("cuda", "CUDA_", "mps", "xpu"))
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name):
                assert name not in ("cuda", "cudnn", "mps", "xpu", "GPU", "fork_rng", "accelerator")


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
