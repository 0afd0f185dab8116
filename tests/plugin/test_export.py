"""``--multiplicity-export``: the survivors in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open

import pytest_multiplicity as pm

EXPORT = "--multiplicity-export=out/chosen"
SPECS = """
    import pytest

    def test_rate(candidate, points):
        "Only one rate."
        candidate.accuracy(points.test)
        assert candidate.config.lr == 0.1

    @pytest.mark.unforeseen
    def test_elder(candidate, points):
        assert candidate.accuracy(points.test.where("age > 20")) >= 2

    def test_gate(survivors, points):
        torch.save([each.logits(points.test) for each in survivors], "logits.pt")
"""
NO_GATE = SPECS[: SPECS.index("    def test_gate")]


def selection(made):
    folder = made.pytester.path / "out/chosen"
    return folder, json.loads((folder / "selection.json").read_text())


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


FILES = [
    "candidate/default-seed0.safetensors",
    "candidate/default-seed1.safetensors",
    "candidate/sheet.csv",
    "selection.json",
]


@pytest.fixture
def exported(trained):
    made = trained("    import torch\n" + SPECS)
    assert made.run(EXPORT).ret == pytest.ExitCode.OK
    return made


def test_the_survivors_are_written(exported):
    folder, found = selection(exported)
    assert files_below(folder) == FILES
    assert len({(folder / name).stat().st_mode for name in FILES}) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["chosen"]
    assert found["schema"] == "pytest-multiplicity-selection/1"
    assert found["gates"] == [{"name": "test_gate", "outcome": "passed"}]
    (family,) = found["families"]
    assert [each["id"] for each in family["survivors"]] == ["default-seed0", "default-seed1"]
    assert family["rejected"] == {
        "lr0.05-seed0": ["test_rate"],
        "lr0.05-seed1": ["test_rate"],
    }
    first = family["survivors"][0]
    assert first["config"] == {"lr": 0.1}
    assert first["seed"] == 0
    assert first["verdicts"] == {"test_rate": "kept", "test_elder": "would be rejected"}
    assert 0 < first["scores"]["accuracy on test"] <= 1


def test_the_weights_are_those_that_were_judged(exported):
    folder, found = selection(exported)
    numbers = torch.arange(40)
    rng = torch.Generator().manual_seed(2)
    inputs = (torch.rand(40, 1, 2, 2, generator=rng) + (numbers % 2)[:, None, None, None]) / 2
    judged = torch.load(exported.pytester.path / "logits.pt", weights_only=True)
    for survivor, logits in zip(found["families"][0]["survivors"], judged, strict=True):
        path = folder / survivor["weights"]
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        pm.load(path, into=net)
        torch.testing.assert_close(net(inputs).detach(), logits)
        with safe_open(path, "pt") as file:
            known = json.loads(file.metadata()["candidate"])
        assert known == {key: survivor[key] for key in ("id", "seed", "config")}


def test_the_sheet_can_be_read_as_a_recorded_family(exported, pytester):
    folder, found = selection(exported)
    sheet = folder / found["families"][0]["sheet"]
    frame = pd.read_csv(sheet)
    assert list(frame.columns[:2]) == ["lr", "seed"]
    assert len(frame) == 4
    pytester.makeconftest(
        f"""
        import pytest_multiplicity as pm
        candidate = pm.recorded({str(sheet)!r}, default={{"lr": 0.1}}, unit="fraction")
        """
    )
    pytester.makepyfile(
        test_specs="def test_it(candidate):\n    assert candidate.score('accuracy on test') >= 0\n"
    )
    result = pytester.runpytest_inprocess("-p", "no:randomly")
    assert result.parseoutcomes() == {"passed": 4}


def test_an_export_takes_the_place_of_another_as_a_whole(exported):
    folder, _ = selection(exported)
    (folder / "candidate/left-over.safetensors").write_text("x")
    assert exported.run(EXPORT).ret == pytest.ExitCode.OK
    assert files_below(folder) == FILES


@pytest.mark.parametrize("made_by", ["file", "folder"])
def test_what_is_no_export_is_left_alone(project, made_by):
    made = project()
    path = made.pytester.path / "out/chosen"
    if made_by == "file":
        path.parent.mkdir()
        path.write_text("mine")
    else:
        path.mkdir(parents=True)
        (path / "mine").write_text("mine")
    result = made.run(EXPORT)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--multiplicity-export: * holds something else than an export*"])
    assert path.exists()


def test_nothing_is_exported_of_a_partial_run(exported):
    folder, before = selection(exported)
    result = exported.run(EXPORT, "-k", "seed0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["multiplicity: --multiplicity-export: nothing was written, since *(4 of 8 pairs)"]
    )
    assert selection(exported) == (folder, before)


@pytest.mark.parametrize("specs", [SPECS, NO_GATE], ids=["gate", "no gate"])
def test_under_workers(trained, specs):
    made = trained("    import torch\n" + specs)
    assert made.run(EXPORT, "-n2").ret == pytest.ExitCode.OK
    folder, _ = selection(made)
    assert files_below(folder) == FILES


def test_recorded_candidates_have_no_weights(project):
    made = project()
    made.run(EXPORT)
    folder, found = selection(made)
    assert {each["weights"] for each in found["families"][0]["survivors"]} == {None}
    assert files_below(folder) == ["candidate/sheet.csv", "selection.json"]


def test_modules_have_weights_and_callables_none(trained):
    old = "return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)"
    made = trained(NO_GATE, (old, "return net()"))
    made.run(EXPORT)
    folder, found = selection(made)
    assert files_below(folder) == FILES
    made = trained(NO_GATE, (old, "return lambda batch: batch.flatten(1)[:, :2]"))
    made.run(EXPORT)
    folder, found = selection(made)
    assert {each["weights"] for each in found["families"][0]["survivors"]} == {None}


def test_nobody_survives(trained):
    made = trained(NO_GATE.replace("== 0.1", "== 7"))
    assert made.run(EXPORT).ret == pytest.ExitCode.OK
    folder, found = selection(made)
    assert found["families"][0]["survivors"] == []
    assert files_below(folder) == ["candidate/sheet.csv", "selection.json"]
