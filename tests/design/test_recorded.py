from __future__ import annotations

import pandas as pd
import pytest

from pytest_multiplicity.design import Recorded
from pytest_multiplicity.errors import DefinitionError, ScoresError

TABLE = pd.DataFrame(
    {
        "lr": [0.1, 0.1, 0.01, 0.01],
        "seed": [0, 1, 0, 1],
        "accuracy": [90.0, 91.0, 92.0, 93.0],
    }
)


def recorded(table=TABLE, *, default=None, seed="seed", unit="percent", n=None) -> Recorded:
    return Recorded(table, default or {"lr": 0.1}, seed, unit, n or {}, __file__ + ":1")


def test_columns_are_axes_seed_and_metrics():
    family = recorded()
    design = family.design()
    assert design.kind == "star"
    assert design.ids == ("default-seed0", "default-seed1", "lr0.01-seed0", "lr0.01-seed1")
    assert list(family.metrics) == ["accuracy"]
    assert family.metrics["accuracy"][design.configs[3]] == 0.93


def test_fractions_stay():
    assert next(iter(recorded(unit="fraction").metrics["accuracy"].values())) == 90.0


def test_equal_rows_may_repeat_and_the_default_comes_first():
    table = pd.concat([TABLE.iloc[2:], TABLE])
    assert recorded(table).design().ids == recorded().design().ids


def test_a_file_is_found_beside_the_one_that_calls(tmp_path):
    TABLE.to_csv(tmp_path / "scores.csv", index=False)
    family = Recorded("scores.csv", {"lr": 0.1}, "seed", "percent", {}, f"{tmp_path}/conftest.py:3")
    assert len(family.design().ids) == 4


def test_fewer_seeds_can_be_asked_for():
    assert recorded().design(1).ids == ("default-seed0", "lr0.01-seed0")


def test_a_full_cross_is_a_grid():
    table = pd.DataFrame(
        {"a": [0, 0, 1, 1], "b": [0, 1, 0, 1], "seed": 0, "m": [1.0, 2.0, 3.0, 4.0]}
    )
    assert recorded(table, default={"a": 0, "b": 0}).design().kind == "grid"
    assert recorded(table.drop(1), default={"a": 0, "b": 0}).design().kind == "explicit"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": {"width": 1}}, "no column 'width'; it has lr, seed, accuracy"),
        ({"seed": "s"}, "no column 's'"),
        ({"unit": "permille"}, "unit='permille': choose one of percent, fraction"),
        ({"n": {"acc": 5}}, "n names 'acc', which is no metric"),
        ({"table": TABLE.iloc[:0]}, "no rows"),
        ({"table": TABLE.drop(columns="accuracy")}, "no metric"),
        ({"table": TABLE.assign(note="good")}, "column 'note' holds 'good'"),
        ({"table": TABLE.assign(accuracy=[1, None, 3, 4])}, "column 'accuracy' holds nan in row 2"),
        ({"table": TABLE.assign(accuracy=float("inf"))}, "holds inf"),
        ({"table": TABLE.assign(seed=[0, 0, 0, 1])}, "stands twice with different scores"),
        ({"table": TABLE.assign(seed=0.5)}, "seed 0.5"),
        ({"table": "no/such.csv"}, "can't read the scores"),
    ],
)
def test_bad_tables_name_the_value_and_the_remedy(change, message):
    with pytest.raises(ScoresError) as caught:
        recorded(change.pop("table", TABLE), **change).design()
    assert message in str(caught.value)


def test_the_default_must_be_in_the_table():
    with pytest.raises(DefinitionError, match="no row of the table has the default"):
        recorded(default={"lr": 0.5}).design()


@pytest.mark.parametrize(
    ("scale", "unit", "doubt"),
    [
        (1, "percent", None),
        (0.01, "fraction", None),
        (0.01, "percent", "say unit='fraction'"),
        (1, "fraction", "say unit='percent'"),
    ],
)
def test_a_unit_that_looks_wrong_is_told_of(scale, unit, doubt):
    family = recorded(TABLE.assign(accuracy=TABLE["accuracy"] * scale), unit=unit)
    told = family.doubts_about_unit()
    assert (doubt in told[0]) if doubt else told == []
