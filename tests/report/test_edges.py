"""What every renderer must cope with: designs without tables, nobody left, nothing measured."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType

import jsonschema
import pytest

from pytest_multiplicity.findings import (
    Agreement,
    CandidateReport,
    FamilyReport,
    GateReport,
    Predictive,
    RunReport,
    SheetPair,
    SheetReport,
)
from pytest_multiplicity.report import annotations, as_json, html, markdown
from pytest_multiplicity.report.terminal import Level, render

RENDERERS: dict[str, Callable[[RunReport], str]] = {
    "json": as_json.render,
    "annotations": annotations.render,
    "markdown": markdown.render,
    "html": html.render,
    **{level.name: partial(render, width=80, level=level) for level in Level},
}
NOTHING = FamilyReport(name="f", design="explicit", default={}, axes={}, seeds=())


def without_tables() -> FamilyReport:
    ids = ("a-seed0", "b-seed0")
    return replace(
        NOTHING,
        candidates=[
            CandidateReport(id=id_, seed=0, config={}, status="survivor", scores={"m": 0.5})
            for id_ in ids
        ],
        sheets=[
            SheetPair(
                metric="m",
                before=SheetReport(count=2, delta_all=0.0, low=0.5, high=0.5),
                after=SheetReport(count=2, delta_all=0.0, low=0.5, high=0.5),
                percent=False,
            )
        ],
        predictive=[Predictive(metric="ambiguity", data="test", before=None, after=float("nan"))],
        agreement=Agreement(data="test", ids=ids, values=[[1.0, 1.0], [1.0, 1.0]]),
    )


def nobody_left(samples: ModuleType) -> FamilyReport:
    family: FamilyReport = samples.paper_run().families[0]
    gone = [replace(each, status="rejected", rejected_by=("a",)) for each in family.candidates]
    pairs = []
    for pair in family.sheets:
        tables = {
            axis: replace(
                table,
                scores=[[None] * len(row) for row in table.scores],
                delta_by_seed=[None] * len(table.seeds),
                delta_by_option=[None] * len(table.options),
            )
            for axis, table in pair.before.tables.items()
        }
        pairs.append(replace(pair, after=SheetReport(count=0, delta_all=None, tables=tables)))
    return replace(family, candidates=gone, sheets=pairs)


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("case", ["nothing", "no tables", "nobody left"])
def test_every_renderer_copes(samples: ModuleType, renderer: str, case: str) -> None:
    cases = {
        "nothing": lambda: NOTHING,
        "no tables": without_tables,
        "nobody left": lambda: nobody_left(samples),
    }
    gate = GateReport(name="g", nodeid="t.py::g", family=None, outcome="failed")
    run = RunReport(complete=True, device="none", families=[cases[case]()], gates=[gate])
    text = RENDERERS[renderer](run)
    assert not re.search(r"\b(nan|None)\b", text)
    if renderer == "json":
        jsonschema.validate(as_json.document(run), as_json.schema())
