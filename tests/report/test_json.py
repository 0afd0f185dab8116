from __future__ import annotations

import json
import math
from dataclasses import replace
from types import MappingProxyType, ModuleType

import jsonschema
import pytest

from pytest_multiplicity.findings import RunReport, SheetReport
from pytest_multiplicity.report import as_json


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_every_report_is_valid(samples: ModuleType, build: str) -> None:
    text = as_json.render(getattr(samples, build)())
    jsonschema.Draft202012Validator.check_schema(as_json.schema())
    jsonschema.validate(json.loads(text), as_json.schema())


def test_an_empty_run_is_valid() -> None:
    run = RunReport(complete=True, device="cpu", families=[])
    jsonschema.validate(as_json.document(run), as_json.schema())


def test_the_contract_s_keys(samples: ModuleType) -> None:
    document = as_json.document(samples.paper_run())
    assert next(iter(document)) == "schema"
    assert document["schema"] == "pytest-multiplicity/1"
    (family,) = document["families"]
    candidate, spec, pair = (family[key][0] for key in ("candidates", "specs", "sheets"))
    assert {"id", "seed", "config", "status", "rejected_by"} <= candidate.keys()
    assert {"judged", "kept", "rejected", "undecided", "only_here", "metrics"} <= spec.keys()
    assert pair["before"]["delta_all"] == pytest.approx(0.0112, abs=2e-4)
    assert pair["before"]["count"] == 45
    assert pair["after"]["count"] == 19
    table = pair["before"]["tables"]["learning_rate"]
    assert table["options"] == ["0.1", "0.05", "0.01"]
    assert len(table["scores"]) == len(table["seeds"]) == len(table["delta_by_seed"]) == 5
    assert len(table["delta_by_option"]) == 3


def test_a_rejected_candidate_s_score_is_null_after(samples: ModuleType) -> None:
    (family,) = as_json.document(samples.paper_run())["families"]
    alive = {each["id"]: each["status"] == "survivor" for each in family["candidates"]}
    column = [row[0] for row in family["sheets"][1]["after"]["tables"]["learning_rate"]["scores"]]
    assert [score is not None for score in column] == [
        alive[f"default-seed{seed}"] for seed in family["seeds"]
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_null(bad: float) -> None:
    sheet = as_json.plain(SheetReport(count=1, delta_all=bad, noise_floor=0.1))
    assert sheet["delta_all"] is None
    assert sheet["noise_floor"] == 0.1


def test_the_text_is_stable_and_ascii(samples: ModuleType) -> None:
    text = as_json.render(samples.hostile_run())
    assert text == as_json.render(samples.hostile_run())
    assert text.isascii()
    assert "\x1b" not in text


def test_pictures_stay_out(samples: ModuleType) -> None:
    (family,) = as_json.document(samples.large_run())["families"]
    assert "thumbnail" not in family["conflicts"][0]["rows"][0]


def test_any_mapping_and_sequence_will_do(samples: ModuleType) -> None:
    run = samples.paper_run()
    proxied = replace(run, versions=MappingProxyType(dict(run.versions)), gates=tuple(run.gates))
    assert as_json.render(proxied) == as_json.render(run)
