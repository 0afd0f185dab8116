"""The examples of docs/losses.md run, and its losses do what they are for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.recorded_suite import run

PAGE = (Path(__file__).parents[2] / "docs/losses.md").read_text("utf-8")
FAMILY, WEIGHTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

REWEIGHED = """
def test_reweighing_makes_group_and_target_independent():
    shares = people.assign(repaid=repaid.numpy()).groupby(["sex", "repaid"])["weight"].sum()
    assert (shares["female"] / shares["female"].sum()).round(9).equals(
        (shares["male"] / shares["male"].sum()).round(9)
    )
    assert fair.weight == "weight"
"""


def test_each_loss_narrows_the_gap(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_page=FAMILY + WEIGHTS + REWEIGHED)
    _, report = run(pytester)
    (family,) = report["families"]
    assert family["trained"] == 8
    tables = {each["metric"]: each["before"]["tables"]["loss"] for each in family["sheets"]}
    table = tables["positive rate gap by sex on loans-report-select"]
    assert table["options"] == ["none", "parity", "odds", "independence"]
    assert all(max(row[1:]) < row[0] for row in table["scores"])
    assert [gate["outcome"] for gate in report["gates"]] == ["passed"]


def test_losses_are_five_lines_each() -> None:
    bodies = re.findall(r"^def \w+\(logits.*?(?=\n\n)", FAMILY, re.MULTILINE | re.DOTALL)
    assert len(bodies) == 3
    assert max(body.count("\n") for body in bodies) <= 5
