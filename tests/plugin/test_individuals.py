"""Single samples through the user's door: the CSV, the JSON and the pages say the same."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from jsonschema import validate

from pytest_multiplicity.report import as_json

SUITE = """
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm

N = 24
rng = np.random.default_rng(0)
TARGETS = (np.arange(N) % 2)
FLIPS = rng.random((2, 3, N)) < 0.3          # by option and seed
FLIPS[:, :, :4] = [True, False, True, False] # everybody is wrong about samples 0 and 2
FLIPS[0, 0, 4:] = False                      # the best
FLIPS[1, 2] = True                           # rejected
SAID = np.where(FLIPS, 1 - TARGETS, TARGETS)
IDS = ["=cmd|' /C calc'!A1", "@SUM(A1)", "-2+3", "+1", "-5", "a;=b", "x, -y", "\\t=1",
       "<b>bold</b>", "|pipe|", "\\u202eevil", "\\uff1d1+1"] + [f"p{i}" for i in range(12)]

class Says(nn.Module):
    def __init__(self, said):
        super().__init__()
        self.said = nn.Parameter(torch.tensor(said, dtype=torch.float32))

    def forward(self, x):
        sure = 4 * self.said[x[:, 0].long()] - 2
        return torch.stack([-sure, sure], dim=1)

@pytest.fixture(scope="session")
def people():
    about = pd.DataFrame({"id": IDS, "same": 1, "holes": [None, *IDS[1:]],
                          "town": ["north"] * 10 + ["=south"] * 13 + [None]})
    names = np.array(["no", "yes"])[TARGETS]
    return pm.Data(torch.arange(float(N))[:, None], names, about, name="people", bounds=None)

@pm.family(default={"lr": 1}, vary={"lr": [2]}, seeds=3)
def candidate(config):
    return Says(SAID[config.lr - 1, config.seed])
"""
SPEC = """
def test_accuracy(candidate, people):
    assert candidate.accuracy(people) >= 0.3
"""
NAMESPACE: dict[str, Any] = {}
exec(SUITE, NAMESPACE)  # the same tables, for the slow definitions
SAID, TARGETS, IDS, N = (NAMESPACE[name] for name in ("SAID", "TARGETS", "IDS", "N"))
KEPT = [(lr, seed) for lr in (0, 1) for seed in range(3) if (lr, seed) != (1, 2)]


def run(pytester: pytest.Pytester, suite: str = SPEC, *args: str, **ini: str) -> Any:
    options = "\n".join(f"multiplicity_individuals_{name} = {value}" for name, value in ini.items())
    pytester.makeini(f"[pytest]\n{options}\n")
    pytester.makepyfile(test_people=SUITE + suite)
    return pytester.runpytest_inprocess(
        "-p", "no:randomly", "--multiplicity-individuals=people.csv",
        "--multiplicity-json=report.json", "--multiplicity-html=page.html",
        "--multiplicity-markdown=run.md", *args,
    )  # fmt: skip


def report_of(pytester: pytest.Pytester) -> Any:
    report = json.loads((pytester.path / "report.json").read_text())
    validate(report, as_json.schema())
    return report["families"][0]["individuals"]


def lines_of(pytester: pytest.Pytester) -> list[dict[str, str]]:
    with (pytester.path / "people.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {}


@pytest.fixture
def found(pytester: pytest.Pytester, shared: dict[str, Any]) -> dict[str, Any]:
    """What one run wrote, for several tests."""
    if not shared:
        result = run(pytester, id="id", groups="town", positive="yes")
        result.assert_outcomes(passed=5)
        shared |= {
            "lines": lines_of(pytester), "json": report_of(pytester)[0],
            "csv": (pytester.path / "people.csv").read_text("utf-8"),
            "html": (pytester.path / "page.html").read_text("utf-8"),
            "markdown": (pytester.path / "run.md").read_text("utf-8"),
            "terminal": result.stdout.str(),
        }  # fmt: skip
    return shared


def test_every_sample_by_slow_definitions(found: dict[str, Any]) -> None:
    lines, pick = found["lines"], (0, 0)
    assert found["json"]["pick"] == "default-seed0"
    assert found["json"]["picked_by"] == "accuracy on people"
    assert len(lines) == N
    for i, line in enumerate(lines):
        says = {k: SAID[k][i] for k in KEPT}
        others = [k for k in KEPT if k != pick]
        assert float(line["conflict"]) == pytest.approx(
            sum(says[k] != says[pick] for k in others) / len(others)
        )
        pairs = list(combinations(KEPT, 2))
        agree = sum(says[a] == says[b] for a, b in pairs) / len(pairs)
        assert float(line["consistency"]) == pytest.approx(agree)
        assert float(line["rejecting"]) == pytest.approx(
            sum(says[k] == 0 for k in KEPT) / len(KEPT)
        )
        assert line["rejected_by_pick"] == str(int(says[pick] == 0))
        assert line["answer"] == ("yes" if says[pick] else "no")
        assert line["target"] == ("yes" if TARGETS[i] else "no")
        by_axis = {}
        for axis, same in (("lr", 1), ("seed", 0)):
            alone = [(a, b) for a, b in pairs if a[same] == b[same]]
            by_axis[axis] = sum(says[a] != says[b] for a, b in alone) / len(alone)
        most = max(by_axis.values())
        expected = next((axis for axis, v in by_axis.items() if v == most), "") if most else ""
        assert line["turned_by"] == expected, (i, by_axis)
    turned = found["json"]["turned"]
    assert list(turned) == ["lr", "seed"]


def test_the_json_is_what_the_file_says(found: dict[str, Any]) -> None:
    lines, report = found["lines"], found["json"]
    town = np.array(["north"] * 10 + ["=south"] * 13 + [""])
    assert [(each["attribute"], each["group"]) for each in report["people"]] == [
        (None, None), ("town", "=south"), ("town", "north"),
    ]  # fmt: skip
    for each in report["people"]:
        rows = [i for i in range(N) if each["group"] in (None, town[i])]
        own = [lines[i] for i in rows]
        consistency = [float(line["consistency"]) for line in own]
        assert each["samples"] == len(own)
        assert each["consistency"] == np.mean(consistency)
        assert each["contested"] == np.mean([value < 1 for value in consistency])
        assert each["conflict"] == pytest.approx(
            np.mean([float(x["conflict"]) for x in own]), 1e-15
        )
        assert each["rejected_by_everybody"] == np.mean([float(x["rejecting"]) == 1 for x in own])
        assert each["rejected_by_pick_only"] == np.mean(
            [x["rejected_by_pick"] == "1" and float(x["rejecting"]) == 1 / len(KEPT) for x in own]
        )
        assert each["quantiles"][0] == min(consistency)
        assert each["quantiles"][3] == np.median(consistency)
        assert each["quantiles"][-1] == max(consistency)
    assert report["most"][0]["consistency"] == min(float(line["consistency"]) for line in lines)
    for each in report["most"]:
        line = lines[each["sample"]]
        assert each["conflict"] == float(line["conflict"])
        assert each["consistency"] == float(line["consistency"])
        assert each["id"] == IDS[each["sample"]]
        assert (each["turned_by"] or "") == line["turned_by"]


def test_pages_say_what_the_json_says(found: dict[str, Any]) -> None:
    everybody = found["json"]["people"][0]
    for text in (found["html"], found["markdown"], found["terminal"]):
        for name in ("contested", "conflict", "consistency", "rejected_by_everybody"):
            assert f"{100 * everybody[name]:.1f}%" in text
    assert "Individuals on people" in found["html"]
    assert "&lt;b&gt;bold" in found["html"]
    assert "<b>bold" not in found["html"]
    assert "5 distinct survivors; the pick is default-seed0" in " ".join(found["terminal"].split())


def test_no_cell_is_a_formula(found: dict[str, Any]) -> None:
    assert [line["id"] for line in found["lines"][:8]] == [
        "'=cmd|' /C calc'!A1", "'@SUM(A1)", "'-2+3", "+1", "-5", "a;'=b", "x, '-y", "'=1",
    ]  # fmt: skip
    assert "\u202e" not in found["csv"]
    for delimiter in ",;\t|":
        for row in csv.reader(found["csv"].splitlines(), delimiter=delimiter):
            for cell in row:
                bare = cell.strip("\"' ")
                formula = bare[:1] in "=@\uff1d" and not cell.strip('" ').startswith("'")
                assert not (bare and formula), cell


def test_ids_are_left_out_unless_asked_for(pytester: pytest.Pytester) -> None:
    result = run(pytester)
    result.assert_outcomes(passed=5)
    lines = lines_of(pytester)
    assert {line["id"] for line in lines} == {""}
    (report,) = report_of(pytester)
    assert all(each["id"] is None for each in report["most"])
    assert report["positive"] == "yes"  # of two classes the second
    for name in ("people.csv", "report.json", "run.md"):
        assert "p7" not in (pytester.path / name).read_text("utf-8")


def test_one_survivor_differs_from_nobody(pytester: pytest.Pytester) -> None:
    suite = SPEC.replace(">= 0.3", ".in_top(1e-9)")
    run(pytester, suite, "--multiplicity-card=card.md").assert_outcomes(passed=1)
    (report,) = report_of(pytester)
    everybody = report["people"][0]
    unknown = ("contested", "conflict", "consistency")
    assert [everybody[name] for name in unknown] == [None] * 3
    assert everybody["rejected_by_everybody"] is not None
    assert report["most"] == []
    assert {line["consistency"] + line["conflict"] for line in lines_of(pytester)} == {""}
    assert "nobody is there to differ from" in (pytester.path / "run.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("ini", "told"),
    [
        ({"id": "same"}, "ids repeat: 24 samples of 'people' have same '1'"),
        ({"id": "holes"}, "1 samples of 'people' have no 'holes': an id names every sample"),
        ({"id": "name"}, "'people' has no attribute 'name'"),
        ({"groups": "town, tonw"}, "no attribute 'tonw' (did you mean 'town'?)"),
        ({"positive": "maybe"}, "got 'maybe': say multiplicity_individuals_positive="),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_what_cannot_be_told_fails_the_run(
    pytester: pytest.Pytester, ini: dict[str, str], told: str
) -> None:
    result = run(pytester, **ini)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert told in " ".join(result.stdout.str().split())
    assert lines_of(pytester) == []


@pytest.mark.parametrize(
    ("ini", "told"),
    [
        ("id = agee", "'test' has no attribute 'agee' (did you mean 'age'?)"),
        ("groups = age, sex", "'test' has no attribute 'sex'"),
        ("positive = no\nmultiplicity_individuals_id = aeg", "'test' has no attribute 'aeg'"),
    ],
)
def test_an_attribute_that_is_not_there_is_known_before_anybody_is_trained(
    trained: Callable[..., Any], pytester: pytest.Pytester, ini: str, told: str
) -> None:
    made = trained("""
        def test_accurate(candidate, points):
            assert candidate.accuracy(points.test) >= 0
    """)
    pytester.makeini(f"[pytest]\nmultiplicity_individuals_{ini}\n")
    result, work = made.work("--multiplicity-individuals=people.csv")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert told in " ".join(result.stdout.str().split())
    assert "(multiplicity_individuals_id or _groups)" in result.stdout.str()
    assert work["trained"] == 0
    pytester.makeini("[pytest]\nmultiplicity_individuals_id = age\n")
    result, work = made.work("--multiplicity-individuals=people.csv")
    assert result.ret == pytest.ExitCode.OK
    assert work["trained"] == 4


def test_of_data_that_nothing_is_told_of_nothing_is_asked(
    trained: Callable[..., Any], pytester: pytest.Pytester
) -> None:
    made = trained("""
        import pytest_multiplicity as pm

        def test_even(candidate, points):
            assert candidate.accuracy(points.test, under=pm.InputNoise(0.1)) >= 0
    """)
    pytester.makeini("[pytest]\nmultiplicity_individuals_id = agee\n")
    result, work = made.work("--multiplicity-individuals=people.csv")
    assert result.ret == pytest.ExitCode.OK
    assert work["trained"] == 4


def test_a_path_that_cannot_be_written_is_known_before(pytester: pytest.Pytester) -> None:
    (pytester.path / "file").write_text("")
    pytester.makepyfile(test_people=SUITE + SPEC)
    result = pytester.runpytest_inprocess("--multiplicity-individuals=file/people.csv")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--multiplicity-individuals: can't write *"])


INCUMBENT = """
@pm.incumbent
def production():
    return Says(SAID[1, 2])

def test_churn(candidate, people, production):
    assert candidate.churn(production, people) <= 1

def test_gate(survivors, people):
    robust = survivors.self_consistency(
        people, of=lambda each: each.predictions(people) == people.targets
    )
    assert robust.tolist() == pytest.approx(survivors.self_consistency(people).tolist())
"""


def test_conflict_is_with_the_incumbent_where_there_is_one(pytester: pytest.Pytester) -> None:
    run(pytester, SPEC + INCUMBENT).assert_outcomes(passed=12)
    (report,) = report_of(pytester)
    assert report["against"] == "the incumbent, production"
    for i, line in enumerate(lines_of(pytester)):
        apart = sum(SAID[k][i] != SAID[1, 2][i] for k in KEPT) / len(KEPT)
        assert float(line["conflict"]) == pytest.approx(apart)


MASKS = """
import torch
from torch import nn
import pytest
import pytest_multiplicity as pm

SAID = torch.randint(2, (4, 8, 5), generator=torch.Generator().manual_seed(0))
MASK = torch.randint(2, (8, 5), generator=torch.Generator().manual_seed(1))
MASK[0], MASK[1, :3] = -100, -100

class Says(nn.Module):
    def __init__(self, said):
        super().__init__()
        self.said = nn.Parameter(4 * nn.functional.one_hot(said, 2).float().movedim(-1, 1))

    def forward(self, x):
        return self.said[x[:, 0].long()]

@pytest.fixture(scope="session")
def masks():
    return pm.Data(torch.arange(8.0)[:, None], MASK, name="masks", bounds=None)

@pm.incumbent
def production():
    return Says(SAID[3])

@pm.family(default={"lr": 1}, seeds=3)
def candidate(config):
    return Says(SAID[config.seed])

def test_churn(candidate, masks, production):
    assert candidate.churn(production, masks) <= 1

def test_accuracy(candidate, masks):
    assert candidate.accuracy(masks) >= 0
"""


def test_positions_count_within_their_sample(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_masks=MASKS)
    path = "--multiplicity-individuals=people.csv"
    result = pytester.runpytest_inprocess("-p", "no:randomly", path, "-k", "churn")
    assert lines_of(pytester) == []
    result.stdout.fnmatch_lines(["*nothing is told of individuals: *"])
    pytester.runpytest_inprocess("-p", "no:randomly", path).assert_outcomes(passed=6)
    space: dict[str, Any] = {}
    exec(MASKS, space)
    said, mask = space["SAID"].numpy(), space["MASK"].numpy()
    for i, line in enumerate(lines_of(pytester)):
        there = mask[i] != -100
        apart = [(said[k, i] != said[3, i])[there] for k in range(3)]
        assert float(line["conflict"]) == pytest.approx(np.mean(apart) if there.any() else 0)
        pairs = [(said[a, i] == said[b, i])[there] for a, b in combinations(range(3), 2)]
        assert float(line["consistency"]) == pytest.approx(np.mean(pairs) if there.any() else 1)
        assert line["rejecting"] == ""
    assert lines_of(pytester)[0]["turned_by"] == ""
