from __future__ import annotations

import argparse
import ast
import copy
import dataclasses
import enum
import functools
import importlib
import inspect
import itertools
import json
import logging
import math
import os
import pickle
import random
import re
import subprocess
import sys
import textwrap
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import nn

from pytest_multiplicity.design.config import Config
from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store.code import read_code
from pytest_multiplicity.store.fingerprint import fingerprint

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


class Project:
    """Small projects written to a folder and imported; each `load` starts from scratch."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch, self._count = folder, monkeypatch, itertools.count()

    def load(self, main: str, **others: str) -> ModuleType:
        folder = self._folder / str(next(self._count))
        for name, source in {"main_of_project": main, **others}.items():
            path = folder / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source), "utf-8")
            sys.modules.pop(name.replace("__", "."), None)
            sys.modules.pop(name.partition("__")[0], None)
        self._monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        return importlib.import_module("main_of_project")

    def of(self, main: str, **others: str) -> str:
        """The fingerprint of the function `f` of the main module."""
        return fingerprint(self.load(main, **others).f)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    before = set(sys.modules)
    yield Project(tmp_path, monkeypatch)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


# ---- plain values


@given(PLAIN)
def test_equal_content_has_one_fingerprint(value: Any) -> None:
    assert fingerprint(copy.deepcopy(value)) == fingerprint(value)


@given(PLAIN, PLAIN)
def test_different_content_has_different_fingerprints(left: Any, right: Any) -> None:
    assert (fingerprint(left) == fingerprint(right)) == (typed(left) == typed(right))


def typed(value: Any) -> Any:
    """An independent statement of when two plain values are the same: types and bits."""
    if isinstance(value, (list, tuple)):
        return type(value), [typed(item) for item in value]
    if isinstance(value, dict):
        return dict, [(key, typed(item)) for key, item in value.items()]
    if isinstance(value, float):
        return float, "nan" if math.isnan(value) else value.hex()
    return type(value), value


def test_types_order_and_signs_count() -> None:
    values = [1, 1.0, True, "1", b"1", 0.0, -0.0, 1j, (1,), [1], {1}, frozenset({1}), {1: 1}, None]
    values += [(), [], {}, set(), "", b"", [[]], [()], {"a": 1, "b": 2}, {"b": 2, "a": 1}]
    values += [OrderedDict(a=1), OrderedDict(b=1), range(3), slice(3), Ellipsis, 10**5000]
    assert len({fingerprint(value) for value in values}) == len(values)


def test_sets_have_no_order() -> None:
    names = [f"name {i}" for i in range(50)]
    backwards: set[str] = set()
    for name in reversed(names):
        backwards.add(name)
    assert fingerprint(set(names)) == fingerprint(backwards)
    assert fingerprint(set(names)) != fingerprint(set(names[1:]))


def test_all_nans_are_one() -> None:
    assert fingerprint(float("nan")) == fingerprint(-math.nan)


def test_cycles_end() -> None:
    value: list[Any] = [1]
    value.append(value)
    other: list[Any] = [1]
    other.append({"deeper": other})
    assert fingerprint(value) == fingerprint(copy.deepcopy(value)) != fingerprint(other)


def test_equal_parts_need_not_be_shared() -> None:
    part = [1, 2]
    assert fingerprint([part, part]) == fingerprint([[1, 2], [1, 2]])


def test_too_deep_a_value_is_a_clear_error() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(StoreError, match="list is nested too deeply"):
        fingerprint(value)
    while value:
        value = value.pop()  # freeing it at once would be as deep


def test_paths_are_their_text() -> None:
    assert fingerprint(Path("a/b")) == fingerprint(Path("a") / "b") != fingerprint("a/b")


# ---- objects


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: list[int] = dataclasses.field(default_factory=list)


class Pair(NamedTuple):
    left: int
    right: int


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: int) -> None:
        self.a = a


class Lazy:
    def __init__(self, value: int) -> None:
        self.value = value

    @functools.cached_property
    def square(self) -> int:
        return self.value**2


class Scale:
    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, x: float) -> float:
        return x * self.by


class Odd(set[int]):
    pass


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda: Colour.RED, lambda: Colour.BLUE),
        (lambda: Point(1.0, [2]), lambda: Point(1.0, [3])),
        (lambda: Pair(1, 2), lambda: Pair(2, 1)),
        (lambda: Slotted(1), lambda: Slotted(2)),
        (lambda: Scale(1.0), lambda: Scale(2.0)),
        (lambda: Scale(1.0).__call__, lambda: Scale(2.0).__call__),
        (lambda: Odd({1, 2}), lambda: Odd({1, 3})),
        (lambda: SimpleNamespace(a=1), lambda: SimpleNamespace(a=2)),
        (lambda: functools.partial(pow, 2), lambda: functools.partial(pow, 3)),
        (lambda: functools.partial(int, base=2), lambda: functools.partial(int, base=3)),
        (lambda: re.compile("a"), lambda: re.compile("a", re.I)),
        (lambda: random.Random(1), lambda: random.Random(2)),
        (lambda: "a".join, lambda: "b".join),
        (lambda: len, lambda: max),
        (lambda: str.join, lambda: str.split),
        (lambda: math, lambda: re),
        (lambda: Path, lambda: OrderedDict),
        (lambda: int | str, lambda: int | float),
        (lambda: list[int], lambda: list[str]),
        (lambda: logging.getLogger("a"), lambda: logging.getLogger("b")),
        (lambda: (lambda: 1).__code__, lambda: (lambda: 2).__code__),
        (lambda: np.float32(1), lambda: np.float64(1)),
        (lambda: np.random.default_rng(1), lambda: np.random.default_rng(2)),
        (lambda: np.dtype("f4"), lambda: np.dtype("f8")),
    ],
)
def test_objects_count_by_class_and_state(make: Any, other: Any) -> None:
    assert fingerprint(make()) == fingerprint(make()) != fingerprint(other())


def test_order_of_attributes_and_keywords_does_not_count() -> None:
    assert fingerprint(SimpleNamespace(a=1, b=2)) == fingerprint(SimpleNamespace(b=2, a=1))
    one, two = functools.partial(dict, a=1, b=2), functools.partial(dict, b=2, a=1)
    assert fingerprint(one) == fingerprint(two)


def test_cached_properties_do_not_count() -> None:
    lazy = Lazy(3)
    before = fingerprint(lazy)
    assert lazy.square == 9
    assert fingerprint(lazy) == before != fingerprint(Lazy(4))


def test_a_declared_fingerprint_says_all() -> None:
    session = SimpleNamespace(fingerprint="v1", generator=(i for i in ()))
    assert fingerprint(session) == fingerprint(SimpleNamespace(fingerprint="v1"))
    assert fingerprint(session) != fingerprint(SimpleNamespace(fingerprint="v2"))


def test_configurations_count_by_their_options_in_any_order() -> None:
    one, two = Config({"lr": 0.1, "seed.init": 2}, 0), Config({"seed.init": 2, "lr": 0.1}, 0)
    assert fingerprint(one) == fingerprint(two)
    capture = lambda config: lambda: config.lr  # noqa: E731
    assert fingerprint(capture(one)) == fingerprint(capture(two))
    assert fingerprint(one) != fingerprint(Config({"lr": 0.1, "seed.init": 2}, 1))
    named = [Config({"fingerprint": "same", "lr": lr}, 0) for lr in (0.1, 0.2)]
    assert fingerprint(named[0]) != fingerprint(named[1])


@pytest.mark.parametrize("make", [threading.Lock, threading.local, threading.Event, Console])
def test_machinery_of_a_process_holds_no_content(make: Any, monkeypatch: Any) -> None:
    before = fingerprint(make())
    monkeypatch.setenv("UNRELATED", "changed")
    assert fingerprint(make()) == before


def test_an_opaque_object_is_a_clear_error() -> None:
    session = (i for i in ())
    predict = lambda x: session  # noqa: E731
    with pytest.raises(
        StoreError, match=r"the value -> closure session holds.*generator"
    ) as caught:
        fingerprint(predict)
    assert "`fingerprint`" in str(caught.value)
    assert "version=" not in str(caught.value)  # which helps families only: they say so
    assert "0x" not in str(caught.value)


def test_an_open_file_is_a_clear_error(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(StoreError, match="TextIOWrapper"):
        fingerprint([file])


# ---- functions

PLAIN_FUNCTION = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "same",
    [
        "# a comment\n\n\ndef f(x):\n    # another\n    return x + 1\n",
        'def f(x):\n    """Add one."""\n    return x + 1\n',
        '"""A module."""\ndef unrelated(): return 3\n\ndef f(x):\n\n    return (x\n      + 1)\n',
        "import os, json\nUNUSED = object()\nclass Unrelated: pass\ndef f(x: int) -> int:\n"
        "    return x + 1\n",
    ],
)
def test_what_must_not_change_a_function(project: Project, same: str) -> None:
    assert project.of(same) == project.of(PLAIN_FUNCTION)


@pytest.mark.parametrize(
    "other",
    [
        "def f(x):\n    return x + 2\n",
        "def f(x):\n    return x - 1\n",
        "def f(x):\n    return 1 + x\n",
        "def f(x=1):\n    return x + 1\n",
        "def f(*, x):\n    return x + 1\n",
        "def f(*x):\n    return x + 1\n",
        "def f(x):\n    return x + 1.0\n",
        "def f(x):\n    yield x + 1\n",
        "async def f(x):\n    return x + 1\n",
        "def f(x):\n    try:\n        return x + 1\n    except ValueError:\n        return 0\n",
    ],
)
def test_what_must_change_a_function(project: Project, other: str) -> None:
    assert project.of(other) != project.of(PLAIN_FUNCTION)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dict(a=x)", "dict(b=x)"),
        ("x.a(k=1)", "x.a(m=1)"),
        ("x.a", "x.b"),
        ("x < 1", "x <= 1"),
        ("x is y", "x is not y"),
        ("x in y", "x not in y"),
        ("x @ y", "x * y"),
        ("x[1:2]", "x[1:3]"),
        ("x if y else 1", "1 if y else x"),
        ("x and y", "x or y"),
        ("(x, y)", "[x, y]"),
        ("f'{x!r}'", "f'{x!s}'"),
        ("f'{x:3}'", "f'{x:4}'"),
        ("dict(*x, **y)", "dict(**y)"),
        ("x in {1, 2}", "x in {1, 3}"),
        ("lambda a=x: a", "lambda a=y: a"),
        ("lambda a: a", "lambda *a: a"),
        ("[a for a in x if a]", "[a for a in x if not a]"),
        ("(a for a in x)", "[a for a in x]"),
    ],
)
def test_one_expression_is_not_another(project: Project, one: str, other: str) -> None:
    function = "def f(x, y):\n    return {}\n"
    assert project.of(function.format(one)) != project.of(function.format(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("for a in x: y += a", "for a in x: y -= a"),
        ("while x: x = x.next", "if x: x = x.next"),
        ("try: x()\n    except KeyError: pass", "try: x()\n    except ValueError: pass"),
        ("try: x()\n    except KeyError: pass", "x()\n    try: y()\n    except KeyError: pass"),
        ("x()\n    try: y()\n    finally: y()", "try: x(); y()\n    finally: y()"),
        ("with x: y()", "with y: y()"),
        ("with x as z: y()", "with x: y()"),
        ("global G; G = 1", "G = 1"),
        ("assert x", "assert y"),
        ("import os.path as z", "import os as z"),
        ("from os import path", "from os import sep as path"),
        ("match x:\n        case 1: y()", "match x:\n        case 2: y()"),
        ("match x:\n        case {'a': z}: y()", "match x:\n        case {'b': z}: y()"),
        ("class A:\n        k = 1", "class A:\n        k = 2"),
        ("class A(x): pass", "class A(y): pass"),
        ("class A(k=x): pass", "class A(m=x): pass"),
    ],
)
def test_one_statement_is_not_another(project: Project, one: str, other: str) -> None:
    function = "def f(x, y):\n    {}\n    return x\n"
    assert project.of(function.format(one)) != project.of(function.format(other))


def test_a_docstring_moves_no_constant(project: Project) -> None:
    body = "    if x:\n        return None\n    return 'text', 2\n"
    assert project.of(f"def f(x):\n{body}") == project.of(f'def f(x):\n    """A text."""\n{body}')


def test_a_docstring_moves_no_names_of_keywords(project: Project) -> None:
    body = "    return dict(a=x)\n"
    assert project.of(f"def f(x):\n{body}") == project.of(f'def f(x):\n    """A text."""\n{body}')


@pytest.mark.parametrize("module", [argparse, dataclasses, json.decoder, logging, textwrap])
def test_docstrings_and_places_move_nothing_in_real_code(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    told = compile(tree, "module", "exec")
    untold = compile(without_docstrings(tree), "module", "exec")
    pairs = list(zip(nested(told), nested(untold), strict=True))
    assert len(pairs) > 10
    assert [one.co_qualname for one, two in pairs if read_code(one) != read_code(two)] == []


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same code a thousand lines further down, its docstrings replaced by `pass`."""
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
    ast.increment_lineno(tree, 1000)
    return tree


def nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from nested(constant)


def test_many_constants_and_a_docstring(project: Project) -> None:
    body = f"    y = {' + x * '.join(f'{i}.5' for i in range(255))}\n"
    body += "    for i in range(x):\n        if i:\n            y += 255.5\n    return y\n"
    assert project.of(f"def f(x):\n{body}") == project.of(f'def f(x):\n    """Text."""\n{body}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("G = 1\ndef f(): return G\n", "G = 2\ndef f(): return G\n"),
        ("G = [1, {2: 3}]\ndef f(): return G\n", "G = [1, {2: 4}]\ndef f(): return G\n"),
        ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()"),
        ("def f(): return g()", "def g(): return 2\ndef f(): return g()"),
        ("def f(): return len([])", "def len(x): return 2\ndef f(): return len([])"),
        (
            "def g(): return 1\ndef f(): return [(lambda: g())() for _ in range(2)]",
            "def g(): return 2\ndef f(): return [(lambda: g())() for _ in range(2)]",
        ),
        (
            "def f():\n    def inner(): return 1\n    return inner()",
            "def f():\n    def inner(): return 2\n    return inner()",
        ),
        (
            "def make(n):\n    return lambda x: x + n\nf = make(1)",
            "def make(n):\n    return lambda x: x + n\nf = make(2)",
        ),
        (
            "class A:\n    def m(self): return 1\ndef f(): return A().m()",
            "class A:\n    def m(self): return 2\ndef f(): return A().m()",
        ),
        (
            "class B:\n    k = 1\nclass A(B):\n    pass\ndef f(): return A().k",
            "class B:\n    k = 2\nclass A(B):\n    pass\ndef f(): return A().k",
        ),
        (
            "class A:\n    @property\n    def p(self): return 1\nf = A().__init__",
            "class A:\n    @property\n    def p(self): return 2\nf = A().__init__",
        ),
        (
            "class A:\n    @staticmethod\n    def s(): return 1\n    @classmethod\n"
            "    def c(cls): return cls.s()\nf = A.c",
            "class A:\n    @staticmethod\n    def s(): return 2\n    @classmethod\n"
            "    def c(cls): return cls.s()\nf = A.c",
        ),
        (
            "import functools\n@functools.lru_cache\ndef f(): return 1",
            "import functools\n@functools.lru_cache\ndef f(): return 2",
        ),
        (
            "import functools\n@functools.singledispatch\ndef f(x): return 1",
            "import functools\n@functools.singledispatch\ndef f(x): return 2",
        ),
        (
            "import contextlib\n@contextlib.contextmanager\ndef f(): yield 1",
            "import contextlib\n@contextlib.contextmanager\ndef f(): yield 2",
        ),
        (
            "import torch\n@torch.no_grad()\ndef f(): return 1",
            "import torch\n@torch.no_grad()\ndef f(): return 2",
        ),
        (
            "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(): return g()\n"
            "    return w\n@d\ndef f(): return 1",
            "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(): return g()\n"
            "    return w\n@d\ndef f(): return 2",
        ),
        ("def g(): return 1\nf = {'a': [g]}", "def g(): return 2\nf = {'a': [g]}"),
        ("def g(): return 1\nf = {g}", "def g(): return 2\nf = {g}"),
        ("import math\ndef f(): return math.sin", "import cmath as math\ndef f(): return math.sin"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass f:\n    x: int = 1",
            "from dataclasses import dataclass\n@dataclass\nclass f:\n    x: int = 2",
        ),
        (
            "from enum import Enum\nclass E(Enum):\n    A = 1\n    def m(self): return 1\nf = E.A",
            "from enum import Enum\nclass E(Enum):\n    A = 1\n    def m(self): return 2\nf = E.A",
        ),
        (
            "from torch import nn\nclass f(nn.Module):\n    def forward(self, x): return x",
            "from torch import nn\nclass f(nn.Module):\n    def forward(self, x): return -x",
        ),
        (
            "class D:\n    def __get__(self, o, t): return 1\nclass f:\n    d = D()",
            "class D:\n    def __get__(self, o, t): return 2\nclass f:\n    d = D()",
        ),
    ],
)
def test_code_that_a_function_reaches_counts(project: Project, one: str, other: str) -> None:
    assert project.of(one) == project.of(f"# moved down\n\ndef unrelated(): ...\n{one}")
    assert project.of(one) != project.of(other)


@pytest.mark.parametrize(
    "main",
    [
        "import helpers\ndef f(): return helpers.g()",
        "import helpers as h\ndef f(): return h.g()",
        "from helpers import g\ndef f(): return g()",
        "def f():\n    import helpers\n    return helpers.g()",
        "def f():\n    import helpers as h\n    return h.g()",
        "def f():\n    from helpers import g as k\n    return k()",
        "def f():\n    import helpers as h\n    return [(lambda: h.g())() for _ in range(2)]",
        "def make():\n    import helpers\n    return lambda: helpers.g()\nf = make()",
        "import helpers\ndef f(name): return getattr(helpers, name)()",
        "import helpers\ndef f():\n    class A:\n        g = helpers.g\n    return A",
        "import helpers\nf = helpers",
        "import helpers\ndef wrapper(): return f\nf = helpers.g",
    ],
)
def test_code_in_other_files_counts(project: Project, main: str) -> None:
    helpers = "def g(): return 1\n"
    assert project.of(main, helpers=helpers) != project.of(main, helpers="def g(): return 2\n")
    assert project.of(main, helpers=helpers) == project.of(main, helpers=f"# comment\n\n{helpers}")


@pytest.mark.parametrize(
    "main",
    [
        "import helpers\ndef f(): return helpers.g()",
        "def f():\n    from helpers import g\n    return g()",
        "def f():\n    import helpers\n    return helpers.g()",
    ],
)
def test_other_code_in_other_files_does_not_count(project: Project, main: str) -> None:
    helpers = "def g(): return 1\n"
    extended = f"import os\nLOG = open(os.devnull)\nLOG.close()\ndef h(): return 1\n{helpers}"
    assert project.of(main, helpers=helpers) == project.of(main, helpers=extended)


@pytest.mark.parametrize(
    "main",
    [
        "import pkg.models\ndef f(): return pkg.models.g()",
        "from pkg import models\ndef f(): return models.g()",
        "def f():\n    import pkg.models\n    return pkg.models.g()",
        "def f():\n    import pkg.models as m\n    return m.g()",
        "def f():\n    from pkg import models\n    return models.g()",
    ],
)
def test_packages_are_followed(project: Project, main: str) -> None:
    package = {"pkg____init__": ""}
    one = project.of(main, pkg__models="def g(): return 1", **package)
    assert one != project.of(main, pkg__models="def g(): return 2", **package)
    assert one == project.of(main, pkg__models="def h(): ...\ndef g(): return 1", **package)


def test_reading_a_function_is_the_same_before_and_after_its_imports(project: Project) -> None:
    module = project.load("def f():\n    import helpers\n    return helpers.g()", helpers="g = int")
    before = fingerprint(module.f)
    assert module.f() == 0
    assert fingerprint(module.f) == before


def test_an_import_that_fails_is_known_by_its_name(project: Project) -> None:
    one = "def f():\n    import not_installed_one\n    return not_installed_one.x"
    assert project.of(one) != project.of(one.replace("one", "two"))


def test_recursion_and_mutual_recursion_end(project: Project) -> None:
    one = "def f(n): return g(n - 1)\ndef g(n): return n and f(n - 1)\n"
    assert project.of(one) == project.of(f"\n\n{one}")
    assert project.of(one) != project.of(one.replace("n and", "n or"))
    looped = "def f(): return S\nS = {f}\nS.add(len)\n"
    assert project.of(looped) == project.of(f"\n{looped}") != project.of("def f(): return S\nS={f}")


def test_long_chains_of_functions_are_followed(project: Project) -> None:
    chain = "".join(f"def f{i}(): return f{i + 1}()\n" for i in range(3000)) + "f = f0\n"
    assert project.of(f"{chain}f3000 = 1") != project.of(f"{chain}f3000 = 2")


def test_where_a_project_lies_does_not_count(project: Project) -> None:
    source = "import helpers\nclass A:\n    k = 1\ndef f(): return helpers.__file__, __file__, A()"
    assert project.of(source, helpers="") == project.of(source, helpers="")  # in two folders


def test_an_order_of_classes_with_counters_does_not_count(project: Project) -> None:
    one = (
        "import torch\nclass Sign(torch.autograd.Function):\n    @staticmethod\n"
        "    def forward(ctx, x): return x\ndef f(x): return Sign.apply(x)"
    )
    assert (
        project.of(one) == project.of(one) != project.of(one.replace("return x\n", "return -x\n"))
    )


def test_the_own_package_is_known_by_name_and_version() -> None:
    from pytest_multiplicity.store import RESULTS_VERSION, describe

    assert describe.name_of(fingerprint) == (
        f"pytest_multiplicity.store.fingerprint.fingerprint {RESULTS_VERSION}"
    )
    assert describe.name_of(nn.Linear) == "torch.nn.modules.linear.Linear"
    assert describe.name_of(Scale) is None


PROGRAM = """
import sys
from pytest_multiplicity.store.code import read_code
from pytest_multiplicity.store.fingerprint import fingerprint
class A:
    names = {"a", "b", "c", "d"}
    def m(self, x): return x in {"p", "q", "r", 1, 2.0}
def f(x): return A().m(x), TABLE
TABLE = {k: hash for k in ("x", "y")}
print(fingerprint([f, {"u", "v", "w", ("x", 1)}, A(), float("nan"), frozenset({f, A, len})]))
assert not {"torch", "pandas", "numpy"} & set(sys.modules), sys.modules
"""


def test_every_process_agrees_and_imports_nothing_heavy() -> None:
    def run(seed: str, program: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    moved = PROGRAM.replace("class A", "def unrelated(): return 0\n\n\nclass A")
    results = {run(seed, PROGRAM) for seed in ("0", "1", "77")} | {run("5", moved)}
    assert len(results) == 1


# ---- tensors, modules, arrays, frames


def test_tensors_count_by_type_shape_and_bytes() -> None:
    base = torch.arange(6, dtype=torch.float32)
    tensors = [
        base,
        base.double(),
        base.bfloat16(),
        base.int(),
        base.bool(),
        base.to(torch.complex64),
        base.reshape(2, 3),
        base.reshape(3, 2),
        base + 1,
        base.clone().requires_grad_(),
        nn.Parameter(base.clone()),
        base.to_sparse(),
        torch.empty(0),
        torch.tensor(1.0),
        torch.empty(6, device="meta"),
    ]
    assert len({fingerprint(tensor) for tensor in tensors}) == len(tensors)
    assert all(fingerprint(copy.deepcopy(t)) == fingerprint(t) for t in tensors)
    strided = torch.stack([base, base + 1], dim=1)[:, 0]
    assert fingerprint(strided) == fingerprint(base)


def test_constants_and_generators_of_torch() -> None:
    values = [
        torch.float32,
        torch.float64,
        torch.device("cpu"),
        torch.device("meta"),
        torch.strided,
    ]
    values += [torch.channels_last, torch.Generator().manual_seed(1), torch.Size([1])]
    values += [
        torch.Generator().manual_seed(2),
        torch.relu,
        torch.nn.functional.relu,
        torch.optim.SGD,
    ]
    assert len({fingerprint(value) for value in values}) == len(values)
    generator = torch.Generator().manual_seed(1)
    before = fingerprint(generator)
    torch.rand(1, generator=generator)
    assert fingerprint(generator) != before


class Net(nn.Module):
    def __init__(self, width: int, slope: float = 0.1) -> None:
        super().__init__()
        self.slope = slope
        self.layers = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) * self.slope


def test_modules_count_by_architecture_and_weights() -> None:
    net = Net(4)
    twin = copy.deepcopy(net)
    assert fingerprint(net) == fingerprint(twin.eval())
    twin.slope = 0.2
    changed = [twin, Net(4), Net(5), net.layers]
    for edit in (
        lambda module: module.layers[0].weight.data.add_(1),
        lambda module: module.layers[1].running_mean.add_(1),
        lambda module: module.layers[0].requires_grad_(False),
        lambda module: module.layers.append(nn.ReLU()),
        lambda module: module.register_buffer("extra", torch.zeros(1)),
        lambda module: module.layers[0].register_forward_hook(lambda m, i, o: o + 1),
        lambda module: setattr(module.layers[1], "eps", 0.5),
    ):
        changed.append(copy.deepcopy(net))
        edit(changed[-1])
    assert len({fingerprint(module) for module in (net, *changed)}) == len(changed) + 1


def test_hooks_count_by_what_they_are_not_by_their_number() -> None:
    def hooked() -> nn.Module:
        module = nn.ReLU()
        module.register_forward_hook(len)
        return module

    assert fingerprint(hooked()) == fingerprint(hooked())


def test_tied_weights_are_not_equal_weights() -> None:
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    untied = copy.deepcopy(tied)
    untied[1].weight = nn.Parameter(tied[0].weight.detach().clone())
    assert fingerprint(tied) != fingerprint(untied)


def test_parametrised_and_compiled_modules_can_be_read() -> None:
    def normed(weight: float) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            linear = nn.Linear(3, 3)
            nn.init.constant_(linear.weight, weight)
            return nn.utils.parametrizations.spectral_norm(linear)

    assert fingerprint(normed(1.0)) == fingerprint(normed(1.0)) != fingerprint(normed(2.0))
    linear = nn.Linear(3, 3)
    assert fingerprint(torch.compile(linear)) == fingerprint(torch.compile(copy.deepcopy(linear)))


def test_transforms_of_torchvision_count_by_their_parameters() -> None:
    from torchvision.transforms import v2

    def make(size: int) -> Any:
        return v2.Compose([v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip()])

    assert fingerprint(make(8)) == fingerprint(make(8)) != fingerprint(make(9))
    assert fingerprint(v2.functional.rotate) != fingerprint(v2.functional.gaussian_blur)


def test_arrays_count_by_type_shape_and_bytes() -> None:
    base = np.arange(6.0)
    arrays = [
        base,
        base.astype("f4"),
        base.astype(">f8"),
        base.reshape(2, 3),
        base + 1,
        base.astype(object),
        base.astype("M8[s]"),
        base.astype("U3"),
        np.ma.masked_equal(base, 3),
        np.ma.masked_equal(base, 4),
        np.empty(0),
        np.array(1.0),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["a", "b"], dtype=np.dtypes.StringDType()),
        np.array(["a", "c"], dtype=np.dtypes.StringDType()),
    ]
    assert len({fingerprint(array) for array in arrays}) == len(arrays)
    assert all(fingerprint(copy.deepcopy(array)) == fingerprint(array) for array in arrays)
    assert fingerprint(np.stack([base, base], axis=1)[:, 0]) == fingerprint(base)


def test_frames_count_by_columns_index_and_values() -> None:
    base = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [1.0, math.nan, 3.0]})
    frames = [
        base,
        base.rename(columns={"a": "d"}),
        base[["b", "a", "c"]],
        base.set_index("a"),
        base.set_index(["a", "c"]),
        base.iloc[:2],
        base.assign(a=[1, 2, 4]),
        base.assign(b=["x", None, "y"]),
        base.assign(a=base["a"].astype("float64")),
        base.assign(a=base["a"].astype("Int64")),
        base.assign(b=base["b"].astype("category")),
        base.assign(b=pd.Categorical(base["b"], categories=["x", "z", "unused"])),
        base.assign(c=pd.date_range("2020-01-01", periods=3)),
        base["a"],
        base["b"],
        base.index,
        base.columns,
    ]
    assert len({fingerprint(frame) for frame in frames}) == len(frames)
    assert all(fingerprint(copy.deepcopy(frame)) == fingerprint(frame) for frame in frames)


def test_nothing_is_changed_by_reading() -> None:
    numbers = random.getstate()
    module = Net(4)
    weight = module.layers[0].weight.clone()
    state = torch.get_rng_state()
    fingerprint([module, torch.Generator(), random])
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == numbers
    assert torch.equal(module.layers[0].weight, weight)


def test_names_of_keyword_arguments_are_part_of_a_call() -> None:
    def first(f):  # type: ignore[no-untyped-def]
        return f(width=1)

    def second(f):  # type: ignore[no-untyped-def]
        return f(depth=1)

    assert fingerprint(first) != fingerprint(second)


USES = {
    "copied": copy.copy,
    "copied deeply": copy.deepcopy,
    "pickled": pickle.dumps,
    "pickled by the oldest protocol": lambda made: pickle.dumps(made, protocol=0),
}


@pytest.mark.parametrize("use", USES)
def test_what_is_done_with_its_objects_is_no_part_of_a_class(
    monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """Copies have the interpreter leave a note on the class (`copyreg`, `__slotnames__`)."""

    class Used:
        def __init__(self) -> None:
            self.number = 3

    used = Used()
    Used.__qualname__ = "Used"  # as of a module, so that it can be pickled
    monkeypatch.setitem(globals(), "Used", Used)
    before = fingerprint(Used), fingerprint(used)
    USES[use](used)
    assert (fingerprint(Used), fingerprint(used)) == before
