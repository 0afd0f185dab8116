"""Garbage is looked for rarely while modules are imported, and not where nobody needs it."""

from __future__ import annotations

import gc
import json

import pytest
from _pytest import unraisableexception

FAMILY = """
import gc
import json
from pathlib import Path
import pandas as pd
import pytest_multiplicity as pm

def note(when):
    with open("garbage.jsonl", "a") as file:
        print(json.dumps([when, *gc.get_threshold(), gc.get_freeze_count()]), file=file)

note("conftest")
scores = pd.DataFrame({"seed": [0, 1], "accuracy": [90.0, 91.0]})
candidate = pm.recorded(scores)

def pytest_collection_modifyitems():
    note("collected")

def pytest_unconfigure():
    note("done")
"""
LAST = """
import atexit
atexit.register(note, "exit")

def pytest_configure(config):
    config.add_cleanup(lambda: note("cleanup"))
    gc.callbacks.append(lambda phase, info: info["generation"] == 2 and looked(phase))

def looked(phase, seen=[]):
    if phase == "start" and not seen and Path("collected").exists():
        seen.append(phase)
        note("first look")

def pytest_sessionfinish():
    Path("collected").touch()
"""
# newer releases look for what was left behind before and after their plugins clean up
TWICE = hasattr(unraisableexception, "pytest_unconfigure")
SPECS = """
from conftest import note

note("test")

def test_it(candidate):
    note("runs")
    assert candidate.score("accuracy") >= 0.5
"""
PLAIN = """
from conftest import note

def test_it():
    note("runs")
"""


@pytest.fixture
def noted(pytester, monkeypatch):
    """Run such files; return (thresholds, count of spared objects) by when they were noted."""
    monkeypatch.chdir(pytester.path)

    def run(conftest, specs, *options, process=False):
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_it=specs)
        way = pytester.runpytest_subprocess if process else pytester.runpytest_inprocess
        outcome = way("-q", "-p", "no:cacheprovider", *options).ret
        assert outcome in (0, 2)
        lines = (pytester.path / "garbage.jsonl").read_text().splitlines()
        return {when: (tuple(often), spared) for when, *often, spared in map(json.loads, lines)}

    return run


@pytest.fixture
def as_usual():
    """Collection as it is where nobody chose, whatever the run of these tests does."""
    before, spared = gc.get_threshold(), gc.get_freeze_count()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    yield 700, 10, 10
    gc.set_threshold(*before)
    if spared:
        gc.freeze()


@pytest.mark.parametrize("specs", [SPECS, PLAIN])
def test_imports_are_hardly_looked_through_and_tests_as_usual(noted, as_usual, specs):
    found = noted(FAMILY, specs)
    often = {when: each for when, (each, _) in found.items()}
    assert often["conftest"][0] == often["collected"][0] == 1_000_000
    assert often["runs"] == often["done"] == gc.get_threshold() == as_usual


def test_what_somebody_chose_holds(noted, as_usual):
    chosen = noted(FAMILY.replace("\nnote(", "\ngc.set_threshold(50)\nnote("), SPECS)
    assert chosen["runs"][0][0] == gc.get_threshold()[0] == 50
    gc.set_threshold(0)
    assert noted(FAMILY, SPECS)["conftest"][0][0] == gc.get_threshold()[0] == 0


def test_a_run_that_ends_early_leaves_all_as_it_was(noted, as_usual):
    noted(FAMILY, "import nothing_there")
    assert gc.get_threshold() == as_usual
    assert not gc.get_freeze_count()


@pytest.mark.usefixtures("new_interpreters")
def test_pytest_looks_through_all_and_the_end_of_the_process_through_nothing(noted):
    last = f"{FAMILY}{LAST}"
    found = {when: spared for when, (_, spared) in noted(last, SPECS, process=True).items()}
    assert not found["collected"]
    assert found["runs"]
    assert not found["done"]
    assert found["first look"] == found["done"]
    assert bool(found["cleanup"]) == TWICE  # of what was looked through a moment before
    assert found["exit"]
    without = {when: spared for when, (_, spared) in noted(last, PLAIN, process=True).items()}
    assert not without["runs"]
    assert not without["exit"]
