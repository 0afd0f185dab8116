"""Families that keep: their function is called once for each candidate that is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.kept_forged import bomb

from pytest_multiplicity.keeping.entries import KEPT, PICKLE
from pytest_multiplicity.store.files import encode, read

FAMILY = """
    import pytest
    import torch
    from torch import nn

    import pytest_multiplicity as pm

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))

        def forward(self, batch):
            return self.layers(batch)

    @pytest.fixture(scope="session")
    def points():
        rng = torch.Generator().manual_seed(1)
        targets = torch.arange(60) % 2
        inputs = (torch.rand(60, 4, generator=rng) + targets[:, None]) / 2
        return pm.Data(inputs, targets, name="points")

    @pytest.fixture(scope="session")
    def settings():
        return {"steps": 5}

    @pm.family(default={"width": 4}, vary={"width": [8]}, seeds=2, keep=True)
    def candidate(config, points, settings, run):
        with open("calls.txt", "a") as stream:
            print(config.width, config.seed, file=stream)
        model = Net(config.width)
        optimizer = torch.optim.Adam(model.parameters(), 0.05)
        for step in range(settings["steps"]):
            loss = nn.functional.cross_entropy(model(points.inputs), points.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.progress(step + 1, settings["steps"])
            run.log("loss", loss.item())
        return model
"""

SPECS = """
    def test_accuracy(candidate, points):
        assert candidate.accuracy(points).within(0.5)

    def test_somebody(survivors):
        assert len(survivors) == 4
"""

Make = Callable[..., Any]


@pytest.fixture
def kept(project: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A project of ``FAMILY``, of which parts may be replaced."""
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")

    def make(*changes: tuple[str, str], specs: str = SPECS) -> Any:
        family = FAMILY
        for old, new in changes:
            assert old in family
            family = family.replace(old, new)
        return project(specs, family)

    return make


STORED = ".multiplicity/v1/kept/*/*"


def calls(project: Any) -> list[str]:
    """Return the calls of the family's function so far, and forget them."""
    path = Path(project.pytester.path / "calls.txt")
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(found)


def test_a_function_is_called_once_and_what_it_returned_is_kept(kept):
    project = kept()
    result = project.run("--multiplicity-plan")
    result.stdout.fnmatch_lines(["candidate: 4 candidates, 4 to train by its own function"])
    assert calls(project) == []

    result, report = project.report("-k", "default-seed1")
    assert calls(project) == ["4 1"]
    (warning,) = report["warnings"]
    assert "1 of 4 candidates were selected" in warning

    _, first = project.report()
    assert calls(project) == ["4 0", "8 0", "8 1"]
    (family,) = first["families"]
    assert (family["trained"], family["stored"]) == (3, 1)
    assert len(family["candidates"][0]["history"]) == 5  # what was logged

    result, second = project.report()
    assert calls(project) == []
    result.stdout.fnmatch_lines(["candidate  4 candidates: 0 trained, 4 from the store"])
    assert second["families"][0]["sheets"] == first["families"][0]["sheets"]
    assert second["gates"][0]["outcome"] == "passed"

    result = project.run("--multiplicity-plan")
    result.stdout.fnmatch_lines(["candidate: 4 candidates, 0 to train by its own function"])


def test_forged_and_damaged_entries_are_trained_again_with_one_warning(kept):
    project = kept()
    project.run()
    calls(project)
    fired = Path(project.pytester.path / "fired")
    entries = sorted(Path(project.pytester.path).glob(STORED))
    assert len(entries) == 4
    for path in entries:
        entry = read(path, KEPT, path.stem)
        meta = {**entry.meta, "signature": "0" * 64}
        path.write_bytes(encode(KEPT, path.stem, {**entry.tensors, PICKLE: bomb(fired)}, meta))
    _, report = project.report()
    assert len(calls(project)) == 4
    (warning,) = report["warnings"]
    assert "4 kept models in the store had no signature of this user's key" in warning
    assert not fired.exists()


@pytest.mark.parametrize(("number", "code"), [(9, -9), (2, 2)], ids=["kill -9", "Ctrl-C"])
def test_what_was_finished_is_not_called_again(kept, number, code):
    dies = f"""
        Path(run.folder, "was here").touch()
        stored = [each for each in Path.cwd().glob("{STORED}") if each.suffix != ".tmp"]
        if len(stored) >= 2 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(int(Path("of pytest").read_text()), {number})
            time.sleep(60)
        model = Net("""
    project = kept(
        ("\n        model = Net(", dies),
        (
            "import pytest\n",
            "import os\n    import time\n    from pathlib import Path\n    import pytest\n\n"
            '    Path("of pytest").write_text(str(os.getpid()))\n',
        ),
    )
    result = project.pytester.runpytest_subprocess("-p", "no:randomly")
    assert result.ret == code
    calls(project)
    left = list(Path(project.pytester.path / ".multiplicity" / "unfinished").iterdir())
    assert 1 <= len(left) <= 3  # those in flight, in a worker each, and one just stored
    finished = [each for each in project.pytester.path.glob(STORED) if each.suffix != ".tmp"]
    assert len(finished) >= 2
    (left[0].parent / finished[0].stem).mkdir(exist_ok=True)  # it was about to go
    result = project.pytester.runpytest_subprocess("-p", "no:randomly")
    assert result.ret == 0
    assert len(calls(project)) == 4 - len(finished)
    assert not list(Path(project.pytester.path / ".multiplicity" / "unfinished").iterdir())


def test_a_candidate_that_its_function_skips_is_skipped(kept):
    skips = (
        "model = Net(config.width)",
        "if config.seed: pytest.skip('no GPU')\n        model = Net(config.width)",
    )
    result, report = kept(skips).report("-rs")
    result.assert_outcomes(passed=2, skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED * no GPU"])
    assert not report["complete"]
    assert report["gates"][0]["outcome"] == "not evaluated"


def test_functions_that_fail_or_hang_are_named_and_the_others_kept(kept):
    fails = "assert config.seed != 1, 'no convergence'"
    hangs = "import time; time.sleep(60 * (config.seed // 2))"
    project = kept(("model = Net(", f"{fails}; {hangs}; model = Net("), ("seeds=2", "seeds=3"))
    result = project.run("-o", "multiplicity_timeout=5")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "*EvaluationError: training default-seed1: AssertionError: no convergence*",
            "*width8-seed1 failed, too*",
            "*default-seed2, width8-seed2: no progress in 5 s*",
        ]
    )
    assert len(list(Path(project.pytester.path).glob(STORED))) == 2


def test_run_is_for_families_that_keep(kept):
    result = kept((", keep=True", "")).run()
    result.stdout.fnmatch_lines(["*has a parameter 'run'*say keep=True*"])


IN_EVERY_RUN = (
    ("points, settings, run", "points, settings"),
    (", keep=True", ""),
    ('run.progress(step + 1, settings["steps"])', "pass"),
    ('run.log("loss", loss.item())', "pass"),
)


def test_a_plan_calls_a_function_that_does_not_keep_once(kept, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    project = kept(*IN_EVERY_RUN)
    result = project.run("--multiplicity-plan")
    result.stdout.fnmatch_lines(
        ["candidate: 4 candidates, which its function returns in every run; keep=True *"]
    )
    assert len(calls(project)) == 1


def test_a_run_that_waits_long_for_a_function_says_what_keeping_would_do(kept, monkeypatch):
    monkeypatch.setattr("pytest_multiplicity.plugin.factory.PATIENCE", 0.0)
    _, report = kept(*IN_EVERY_RUN).report()
    assert any("with keep=True it would be called once" in each for each in report["warnings"])


def test_a_function_that_gives_another_model_when_called_again_is_named(kept):
    moody = "import os, time; torch.manual_seed(os.getpid() + time.time_ns()); model = Net("
    project = kept(("seeds=2", "seeds=1"), ("model = Net(", moody))
    _, report = project.report("-o", "multiplicity_check=on")
    assert sum("answers otherwise" in each for each in report["warnings"]) == 1
    assert report["families"][0]["trained"] == 2
    project.run("-o", "multiplicity_check=on")
    assert calls(project) == ["4 0", "4 0", "8 0"]


def test_workers_begin_to_come_up_with_the_first_test_where_nothing_is_kept(kept, monkeypatch):
    ready = []
    monkeypatch.setattr("pytest_multiplicity.plugin.meanwhile.get_ready", ready.append)
    monkeypatch.setattr("pytest_multiplicity.plugin.meanwhile.available_cores", lambda: 2)
    made = kept(specs=f"{SPECS}\n    def test_other(): pass\n")
    for unneeded in ("--co", "--multiplicity-plan", "-k test_other"):
        made.run(*unneeded.split(" "))
    assert not ready
    made.run()
    assert ready == [("pytest_multiplicity.keeping", "sklearn")]
    made.run()
    assert len(ready) == 1  # all are kept


def test_a_store_that_cannot_be_looked_into_is_told_by_who_needs_it(kept):
    result = kept().run(f"--multiplicity-store={'x' * 300}")
    assert "INTERNALERROR" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*File name too long*"])
    assert result.parseoutcomes() == {"errors": 4, "skipped": 1}
