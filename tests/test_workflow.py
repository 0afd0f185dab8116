"""The workflow that people copy: valid, with options that exist, and files that are written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "docs" / "multiplicity.yml"

TEXTS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
STEP = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "id": {"type": "string"},
        "if": {"type": "string"},
        "uses": {"type": "string", "pattern": r"^[\w-]+/[\w-]+(/[\w-]+)*@v\d+$"},
        "run": {"type": "string", "minLength": 1},
        "with": TEXTS,
        "env": TEXTS,
    },
    "oneOf": [{"required": ["uses"]}, {"required": ["run"]}],
    "additionalProperties": False,
}
JOB = {
    "type": "object",
    "required": ["runs-on", "steps"],
    "properties": {
        "runs-on": {"type": "string"},
        "timeout-minutes": {"type": "integer"},
        "steps": {"type": "array", "minItems": 1, "items": STEP},
    },
    "additionalProperties": False,
}
WORKFLOW = {  # the part of GitHub's own schema that the template uses
    "type": "object",
    "required": ["on", "jobs"],
    "properties": {
        "name": {"type": "string"},
        "on": {
            "type": "object",
            "properties": {
                "pull_request": {"type": ["object", "null"]},
                "push": {
                    "type": "object",
                    "properties": {"branches": {"type": "array", "items": {"type": "string"}}},
                },
            },
            "additionalProperties": False,
        },
        "permissions": {
            "type": "object",
            "additionalProperties": {"enum": ["read", "write", "none"]},
        },
        "concurrency": {
            "type": "object",
            "required": ["group"],
            "properties": {
                "group": {"type": "string"},
                "cancel-in-progress": {"type": "boolean"},
            },
            "additionalProperties": False,
        },
        "jobs": {"type": "object", "minProperties": 1, "additionalProperties": JOB},
    },
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    loaded = yaml.safe_load(TEMPLATE.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in loaded.items()}  # as in YAML 1.1


@pytest.fixture(scope="module")
def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    (job,) = workflow["jobs"].values()
    return job["steps"]


def step(steps: list[dict[str, Any]], text: str) -> dict[str, Any]:
    (found,) = [s for s in steps if text in s.get("uses", "") + s.get("run", "")]
    return found


def test_it_is_a_workflow(workflow: dict[str, Any]) -> None:
    jsonschema.validate(workflow, WORKFLOW)


def test_it_may_only_read(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}


def test_expressions_are_of_contexts_that_exist() -> None:
    known = {"github.ref", "github.run_id", "github.run_attempt", "runner.os"}
    text = TEMPLATE.read_text("utf-8")
    assert set(re.findall(r"\$\{\{ ([\w.]+) \}\}", text)) == known
    assert text.count("${{") == len(re.findall(r"\$\{\{ [\w.]+ \}\}", text))


def test_the_store_is_kept_also_after_a_failed_gate(steps: list[dict[str, Any]]) -> None:
    restore, save = step(steps, "cache/restore@"), step(steps, "cache/save@")
    assert save["if"] == "always()"
    assert save["with"]["path"] == restore["with"]["path"] == ".multiplicity"
    assert save["with"]["key"] == restore["with"]["key"]
    assert restore["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert steps.index(restore) < steps.index(step(steps, "pytest specs")) < steps.index(save)


def test_its_command_runs_and_writes_what_is_published(
    steps: list[dict[str, Any]], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (pytester.path / "specs").mkdir()
    (pytester.path / "specs/conftest.py").write_text(
        "import pandas as pd, pytest_multiplicity as pm\n"
        "table = pd.DataFrame({'lr': [1, 2], 'seed': [0, 0], 'group': [50.0, 90.0]})\n"
        "candidate = pm.recorded(table, default={'lr': 1})\n"
    )
    (pytester.path / "specs/test_specs.py").write_text(
        "def test_group(candidate):\n    assert candidate.score('group') > 0.6\n\n"
        "def test_gate(survivors):\n    assert len(survivors) == 2\n"
    )
    command, *args = shlex.split(step(steps, "pytest specs")["run"])
    assert command == "pytest"
    result = pytester.runpytest_inprocess("-p", "no:randomly", *args)
    assert result.ret == pytest.ExitCode.TESTS_FAILED  # the gate's
    assert "::error file=specs/test_specs.py,line=5" in result.stdout.str()
    assert "gates" in (pytester.path / "summary.md").read_text()
    published = pytester.path / step(steps, "upload-artifact@")["with"]["path"]
    assert {path.name for path in published.iterdir()} == {
        "index.html",
        "junit.xml",
        "run.json",
        "survivors",
    }
    assert step(steps, "upload-artifact@")["if"] == "always()"


def test_options_in_its_comments_exist_too(pytestconfig: pytest.Config) -> None:
    added = pytestconfig._parser.getgroup("multiplicity").options
    known = {name for option in added for name in option.names()}
    named = set(re.findall(r"--multiplicity-[\w-]+", TEMPLATE.read_text("utf-8")))
    assert "--multiplicity-lock" in named
    assert named <= known
