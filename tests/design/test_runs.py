"""What a tracker knows of runs, as a design: parsing, reruns, layouts on disk."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_multiplicity as pm
from pytest_multiplicity.design import make_design, run_of
from pytest_multiplicity.design.run_configurations import parsed
from pytest_multiplicity.errors import DefinitionError

LOGGED = {
    "c": {"lr": "0.1", "width": "16", "seed": "1", "epochs": "3"},
    "b": {"lr": "0.1", "width": "8", "seed": "0", "epochs": "3"},
    "a": {"lr": "0.1", "width": "16", "seed": "1", "epochs": "3"},
}


def ids(configurations: list[dict[str, Any]]) -> list[Any]:
    return [each["run"] for each in configurations]


def test_a_mapping_becomes_configurations_whose_text_is_parsed():
    first, second = pm.runs(LOGGED)
    assert first == {"lr": 0.1, "width": 16, "seed": 1, "epochs": 3, "run": "c"}
    assert second == {"lr": 0.1, "width": 8, "seed": 0, "epochs": 3, "run": "b"}


@pytest.mark.parametrize(("keep", "kept"), [("newest", ["c", "b"]), ("oldest", ["a", "b"])])
def test_reruns_are_resolved(keep, kept):
    assert ids(pm.runs(LOGGED, keep=keep)) == kept


def test_reruns_can_be_refused():
    with pytest.raises(DefinitionError, match="runs 'c', 'a' have the same parameters"):
        pm.runs(LOGGED, keep="error")


def test_the_run_is_no_axis_and_what_all_share_is_in_no_id():
    design = make_design({}, {}, (0, 1), pm.runs(LOGGED))
    assert design.axes == {"width": (16, 8)}
    assert design.default == {"lr": 0.1, "epochs": 3}
    assert design.ids == ("width16-seed1", "width8-seed0")
    assert [config.run for config in design.configs] == ["c", "b"]
    assert ["run" in vars(config) for config in design.configs] == [False, False]
    assert design.reruns == 1


def test_seeds_of_one_configuration_stand_together():
    runs = pm.runs({f"r{seed}": {"lr": 0.1, "seed": seed} for seed in (2, 0, 1)})
    design = make_design({"lr": 0.1}, {}, (0, 1, 2), runs)
    assert design.ids == ("default-seed0", "default-seed1", "default-seed2")
    assert [config.run for config in design.configs] == ["r0", "r1", "r2"]
    assert {type(config.run) for config in design.configs} == {str}


def test_a_run_that_has_logged_less_is_named_and_completed_by_the_default():
    logged = {**LOGGED, "old": {"width": "16", "seed": "7"}}
    with pytest.raises(DefinitionError, match=r"run 'old', configuration .* has no 'epochs'"):
        make_design({}, {}, (0, 1, 7), pm.runs(logged))
    design = make_design({"lr": 0.2, "epochs": 1}, {}, (0, 1, 7), pm.runs(logged))
    assert design.axes == {"lr": (0.2, 0.1), "epochs": (1, 3), "width": (16, 8)}
    assert design.ids[-1] == "width16-seed7"


@pytest.mark.parametrize("seed", [3, 3.0, "3", "3.0", " 3. ", "3e0", np.float64(3), np.int32(3)])
def test_a_seed_may_come_as_a_float_or_as_text(seed):
    (run,) = pm.runs({"r": {"lr": 0.1, "seed": seed}})
    assert (run["seed"], type(run["seed"])) == (3, int)


def test_runs_whose_seeds_are_one_number_have_the_same():
    kept = pm.runs({"new": {"lr": 0.1, "seed": 1.0}, "old": {"lr": 0.1, "seed": "1"}})
    assert kept == [{"lr": 0.1, "seed": 1, "run": "new"}]


def test_the_configuration_of_a_run_can_be_tried_with_other_seeds():
    again = [
        {name: value for name, value in configuration.items() if name != "seed"}
        for configuration in pm.runs(LOGGED)
    ]
    design = make_design({}, {}, 2, again)
    assert [config.run for config in design.configs] == ["c", "c", "b", "b"]


def test_a_configuration_keeps_its_run_when_it_travels():
    config = make_design({}, {}, (0, 1), pm.runs(LOGGED)).configs[0]
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert run_of(again) == again.run == "c"


def test_run_can_still_name_an_axis():
    design = make_design({"run": "first"}, {"run": ["second"]}, 1)
    assert [config.run for config in design.configs] == ["first", "second"]
    assert run_of(design.configs[0]) is None
    with pytest.raises(AttributeError, match="no axis 'run'"):
        make_design({"lr": 1}, {}, 1).configs[0].run  # noqa: B018


def test_configurations_of_runs_and_others_do_not_mix():
    with pytest.raises(DefinitionError, match="has no run, which others have"):
        make_design({}, {}, 1, [*pm.runs(LOGGED), {"lr": 1, "seed": 1}])


def test_without_seeds_the_newest_is_one_candidate_and_all_are_seeds():
    logged = {number: {"lr": "1e-3"} for number in (2, 1, 0)}
    assert pm.runs(logged) == [{"lr": 0.001, "seed": 0, "run": 2}]
    everyone = pm.runs(logged, keep="all")
    assert [(each["seed"], each["run"]) for each in everyone] == [(0, 0), (1, 1), (2, 2)]
    assert make_design({}, {}, 3, everyone).configs[2].run == 2


def test_only_what_matters_counts_and_the_seed():
    logged = {
        "b": {"optim.lr": "0.1", "date": "2026-02-02", "seed": "0"},
        "a": {"optim.lr": "0.1", "date": "2026-01-01", "seed": "0"},
    }
    assert ids(pm.runs(logged)) == ["b", "a"]
    wanted = [{"optim_lr": 0.1, "seed": 0, "run": "b"}]
    assert pm.runs(logged, only=["optim.lr"]) == pm.runs(logged, only=["optim_lr"]) == wanted
    assert pm.runs(logged, only="optim.lr") == wanted


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("16", 16), ("-3", -3), ("0.10", 0.1), ("1e-3", 0.001), (".5", 0.5), ("5.", 5.0)],
        *[("True", True), ("false", False), ("None", None), ("(8, 8)", (8, 8)), ("[]", ())],
        *[("['a', [1]]", ("a", (1,))), ("'16'", "16"), ("adam", "adam"), ("", "")],
        *[("007", "007"), ("1e999", "1e999"), ("nan", "nan"), ("2024-01-01", "2024-01-01")],
        *[("none", "none"), ("[1, {}]", "[1, {}]"), ("(8, 8", "(8, 8"), ("1_000", "1_000")],
        *[(3, 3), ([1, "2"], (1, 2)), (None, None), (True, True)],
    ],
    ids=repr,
)
def test_text_is_parsed(text, value):
    found = parsed(text)
    assert found == value
    assert type(found) is type(value)


def test_values_of_numpy_are_builtins():
    assert parsed(np.array([8, 8])) == (8, 8)
    assert parsed(np.array("16")) == parsed(np.int64(16)) == 16
    assert type(parsed(np.int64(16))) is int


def test_digits_that_are_too_many_for_a_number_stay_text():
    assert parsed("9" * 4300) == 10**4300 - 1
    assert parsed("9" * 4301) == "9" * 4301
    assert parsed("-" + "9" * 4301) == "-" + "9" * 4301


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
def test_numbers_come_back_as_they_were(value):
    assert parsed(str(value)) == value
    assert type(parsed(str(value))) is type(value)


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ({}, {}, "empty family"),
        ({"a": "lr=1"}, {}, "runs['a']='lr=1': give the run's parameters"),
        (LOGGED, {"keep": "best"}, "keep='best': choose one of newest, oldest, error, all"),
        (LOGGED, {"only": ["lrr"]}, "no run has a parameter 'lrr'"),
        ({"a": {"seed": "x"}}, {}, "run 'a' has the seed 'x'"),
        ({"a": {"seed": "0.5"}}, {}, "run 'a' has the seed 0.5"),
        ({"a": {"seed": 1e16}}, {}, "run 'a' has the seed 1e+16"),
        ({"a": {"seed": "-1.0"}}, {}, "run 'a' has the seed -1"),
        ({"a": {"seed": True}}, {}, "run 'a' has the seed True"),
        ({"a": {"seed": 0}, "b": {"lr": 1}}, {}, "1 of 2 runs have logged no seed, such as 'b'"),
        ({"a": {"l.r": 0, "l_r": 1}}, {}, "'l.r' and 'l_r', which would both be the axis 'l_r'"),
        ({"a": {"run": 0}}, {}, "config.run is the run's id"),
        (LOGGED, {"keep": "all"}, "keep='all' is for runs that have logged no seed"),
        ("nowhere", {}, "is no folder"),
        ([LOGGED], {}, "runs() got list: give a folder, or a mapping from a run's id"),
    ],
    ids=lambda each: None,
)
def test_what_is_wrong_is_said(given, options, said):
    with pytest.raises(DefinitionError) as caught:
        pm.runs(given, **options)
    assert said in str(caught.value)


# --- on disk


def write(path: Path, content: object, age: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(path, (1000 - age, 1000 - age))


def mlflow_run(folder: Path, begun: int, parameters: dict[str, str], **meta: object) -> None:
    lines = {"run_id": folder.name, "status": 3, "lifecycle_stage": "active", "start_time": begun}
    write(folder / "meta.yaml", "".join(f"{n}: {v}\n" for n, v in (lines | meta).items()))
    (folder / "params").mkdir()
    for name, value in parameters.items():
        write(folder / "params" / name, value)


def test_the_file_store_of_mlflow(tmp_path):
    experiment = tmp_path / "mlruns" / "17"
    write(experiment / "meta.yaml", "name: digits\nexperiment_id: '17'\n")
    mlflow_run(experiment / "bb", 1, {"lr": "0.1", "seed": "0"})
    mlflow_run(experiment / "aa", 2, {"lr": "0.1", "seed": "0"})
    mlflow_run(experiment / "cc", 3, {"lr": "0.1", "seed": "0"}, status=4)
    mlflow_run(experiment / "dd", 4, {"lr": "0.1", "seed": "0"}, lifecycle_stage="deleted")
    mlflow_run(experiment / "ee", 0, {"lr": "0.2", "seed": "0", "net/depth": "2"})
    found = pm.runs(tmp_path / "mlruns")
    assert found == pm.runs(str(experiment))
    assert ids(found) == ["ee", "aa"]
    assert found[0] == {"lr": 0.2, "net_depth": 2, "seed": 0, "run": "ee"}
    write(tmp_path / "mlruns" / "18" / "meta.yaml", "name: more\n")
    mlflow_run(tmp_path / "mlruns" / "18" / "ff", 0, {})
    with pytest.raises(DefinitionError, match=r"2 experiments.*17 \(digits\).*18 \(more\)"):
        pm.runs(tmp_path / "mlruns")


def test_the_database_of_mlflow(tmp_path):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.executescript("""
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
            CREATE TABLE runs (run_uuid TEXT, experiment_id INTEGER, start_time INTEGER,
                               status TEXT, lifecycle_stage TEXT);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            INSERT INTO experiments VALUES (0, 'Default'), (1, 'digits');
            INSERT INTO runs VALUES ('new', 1, 9, 'FINISHED', 'active'),
                                    ('old', 1, 5, 'FINISHED', 'active'),
                                    ('bad', 1, 11, 'FAILED', 'active');
            INSERT INTO params VALUES ('lr', '0.1', 'new'), ('seed', '3', 'new'),
                                      ('lr', '0.1', 'old'), ('seed', '3', 'old');
        """)
    assert pm.runs(path) == [{"lr": 0.1, "seed": 3, "run": "new"}]
    write(tmp_path / "other.db", "text")
    with pytest.raises(DefinitionError, match="no database of MLflow's"):
        pm.runs(tmp_path / "other.db")


def test_a_folder_for_each_run(tmp_path):
    write(tmp_path / "run9" / "params.json", {"lr": 0.1, "net": {"width": 8}, "seed": 1}, age=2)
    write(tmp_path / "run10" / "config.yaml", "lr: 1e-1\nnet: {width: 8}\nseed: 1\n", age=2)
    write(tmp_path / "run1" / "hparams.yaml", "lr: 0.2\nnet: {width: 8}\nseed: 1\n", age=1)
    write(tmp_path / "w" / "files" / "config.yaml", "_wandb: {value: {}}\nseed: {value: 5}\n")
    write(tmp_path / "notes" / "readme.txt", "")
    (tmp_path / "latest-run").symlink_to("w")
    found = pm.runs(tmp_path)
    assert ids(found) == ["run10", "run1", "w"]  # of one age the later name
    assert found[0] == {"lr": 0.1, "net_width": 8, "seed": 1, "run": "run10"}
    assert found[2] == {"seed": 5, "run": "w"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("params.json", "{", "can't read the parameters in"),
        ("params.json", "[1]", "holds list: a run's parameters are names with values"),
        ("params.yaml", "a: [", "can't read the parameters in"),
        ("notes.txt", "", "has no finished run"),
    ],
)
def test_what_is_wrong_on_disk_is_said(tmp_path, name, content, said):
    write(tmp_path / "a" / name, content)
    with pytest.raises(DefinitionError) as caught:
        pm.runs(tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_yaml_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "a" / "params.yaml", "lr: 1")
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(DefinitionError, match="pip install pyyaml"):
        pm.runs(tmp_path)
