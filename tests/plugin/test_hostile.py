"""Hostile options, data names and docstrings through pytest: inert in every form of report."""

from __future__ import annotations

import html
import io
import json
import re
from contextlib import nullcontext
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from pytest_multiplicity.plugin import progress

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LINK = "](http://evil.example) [x](javascript:alert(3)) **b** `c` | d"
ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\x08"
COMMAND = "\n::error file=x::boo\n::set-output name=a::b"
RIGHT_TO_LEFT = "\u202eabc\u2066\u05d0\u05d1"
LONG = "y" * 10_000
NAME = f"{SCRIPT}{LINK}{ESCAPES}{COMMAND}{RIGHT_TO_LEFT}{{{{ 7 * 7 }}}}[red]r[/red]"
FAMILY = """
    import pytest
    import torch
    import pytest_multiplicity as pm

    NAME, LONG = {name!r}, {long!r}

    @pytest.fixture(scope="session")
    def data():
        inputs = torch.arange(60.0).reshape(60, 1) / 60
        return pm.Data(inputs, torch.arange(60) % 2, name=NAME)

    @pm.family(default={{"א": NAME}}, vary={{"א": [LONG, LONG + NAME]}}, seeds=2)
    def candidate(config):
        model = torch.nn.Linear(1, 2)
        torch.nn.init.constant_(model.weight, config.seed)
        torch.nn.init.constant_(model.bias, 0.1)
        return model
"""
SPECS = """
    def test_spec(candidate, data):
        assert candidate.accuracy(data) >= 0.4
        assert candidate.config.א != data.name

    def test_gate(survivors, data):
        assert survivors.pick(data).score >= 2

    test_spec.__doc__ = {name!r} + {long!r}
"""


@pytest.fixture
def made(project, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    made = project("", "")
    for name, text in (("conftest.py", FAMILY), ("test_specs.py", SPECS)):
        text = _dedent(text.format(name=NAME, long=LONG))
        (made.pytester.path / name).write_text(text, "utf-8")
    return made


def _dedent(text):
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())


class Page(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.handlers = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_every_form(made):
    root = made.pytester.path
    result = made.run(
        "--multiplicity-json=run.json",
        "--multiplicity-html=run.html",
        "--multiplicity-markdown=run.md",
        "--multiplicity-lock=run.lock",
        "--multiplicity-update-lock",
        "--multiplicity-export=out",
        "--multiplicity-sheets=full",
        "--junitxml=junit.xml",
        "-rx",
        "--tb=no",
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    _check_terminal(result.stdout.str())
    _check_page((root / "run.html").read_text("utf-8"))
    _check_markdown((root / "run.md").read_text("utf-8"))
    report = json.loads((root / "run.json").read_text("ascii"))
    assert report["families"][0]["default"] == {"א": NAME}
    ElementTree.parse(root / "junit.xml")
    (root / "run.lock").read_text("ascii")
    found = [path.relative_to(root / "out") for path in (root / "out").rglob("*") if path.is_file()]
    assert all(re.fullmatch(r"[\w./+-]+", str(path)) for path in found)
    assert any(path.suffix == ".safetensors" for path in found)
    again = made.run("--multiplicity-lock=run.lock")
    again.stdout.fnmatch_lines(["*passed  run.lock", "*no drift"])


@pytest.mark.parametrize("args", [["-v"], ["-vv"], ["-q"], ["-rA"], ["-n2"]])
def test_the_terminal(made, args):
    _check_terminal(made.run("--tb=no", "-s", *args).stdout.str())


def _check_terminal(text):
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert len(re.findall(r"^\s*::", text, re.MULTILINE)) == 1  # the failed gate's
    assert max(map(len, text.splitlines())) < 6_000


def _check_page(text):
    page = Page()
    page.feed(text)
    clean = {"html", "head", "body", "table", "td", "th", "tr", "script", "style", "svg"}
    assert clean & set(page.tags)
    assert not page.handlers
    assert not [link for link in page.links if "evil" in link or "javascript:" in link]
    assert SCRIPT not in text
    assert "\x1b" not in text
    assert "\u202e" not in html.unescape(text).split("<script", 1)[0]


def _check_markdown(text):
    assert "<script" not in text
    assert "<img" not in text
    assert "](http" not in text
    assert "](javascript" not in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", text)
    assert len(text.encode()) < 1_000_000


def test_progress(capfd):
    stream = io.StringIO()
    shown = progress.Shown(stream, nullcontext, lambda: None, progress._Lines)
    with shown.task(NAME, 10) as task:
        task._next = 0.0
        task.advance()
    assert "10%" in stream.getvalue()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", stream.getvalue())
