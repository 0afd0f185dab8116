from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from pytest_multiplicity.report import as_json

# Ten answers are right, but for as many as `wrong` says.
FAMILY = """
    from typing import NamedTuple

    import pandas as pd
    import pytest
    import pytest_multiplicity as pm
    import torch

    class Points(NamedTuple):
        select: pm.Data
        report: pm.Data

    @pytest.fixture(scope="session")
    def points():
        rng = torch.Generator().manual_seed(SEED)
        inputs, targets = torch.rand(2000, 3, generator=rng), torch.arange(500) % 2
        report = pm.Data(inputs[START:START + 500], targets, name="NAME")
        return Points(pm.Data(inputs[1500:], targets, name="select"), report)

    @pm.family(default={"wrong": 0}, vary={"wrong": [WRONG]}, seeds=1)
    def candidate(config):
        def answer(inputs):
            says = torch.arange(len(inputs)) % 2
            return torch.where(torch.arange(len(inputs)) < config.wrong, 1 - says, says)
        return answer
"""
PRODUCTION = """
    @pm.incumbent
    def production():
        return lambda inputs: torch.zeros(len(inputs), dtype=torch.int64)
"""
SPECS = """
    def test_accuracy(candidate, points):
        assert candidate.accuracy(points.select) >= 0.1

    def test_gate(survivors, points):
        assert survivors.ambiguity(points.report) <= 0.9
"""


def family(wrong=10, start=0, seed=0, name="report"):
    text = FAMILY.replace("WRONG", str(wrong)).replace("START", str(start))
    return text.replace("SEED", str(seed)).replace("NAME", name)


def looks(made, *args):
    result, report = made.report(*args)
    return result, report["families"][0]["looks"]


def test_a_change_is_a_look_and_a_warm_run_is_none(project):
    made = project(SPECS, family())
    result, first = looks(made)
    assert first == {"select": 1, "report": 1}
    result.stdout.fnmatch_lines(
        ["  looks at *report 1*: by chance an accuracy may be 6.6 points too good"]
    )
    assert looks(made)[1] == first
    assert looks(made, "-k", "accuracy")[1] == {"select": 1}
    made.pytester.makeconftest(family(wrong=11))  # another candidate
    _, report = made.report()
    assert report["families"][0]["looks"] == {"select": 2, "report": 2}
    (note,) = [each for each in report["families"][0]["notes"] if each.startswith("report: look 2")]
    assert "7.1 points too good" in note
    assert note.endswith("what gates answered; who read more has no bound")
    made.pytester.makepyfile(test_specs=SPECS.replace("0.9", "0.8"))  # another gate
    assert looks(made)[1]["report"] == 3
    made.pytester.makepyfile(test_specs=SPECS)  # as it was before
    assert looks(made)[1]["report"] == 3
    made.pytester.makeconftest(family(seed=1))  # other samples
    assert looks(made)[1] == {"select": 1, "report": 1}


def test_what_tests_leave_in_their_module_is_no_other_question(project):
    specs = """
    SEEN = []

    def test_accuracy(candidate, points):
        SEEN.append(candidate.id)
        assert candidate.accuracy(points.select) >= 0.1 * (len(SEEN) > 0)
    """
    made = project(specs, family())
    assert looks(made)[1] == {"select": 1}
    assert looks(made, "-k", "default")[1] == {"select": 1}  # which leaves less there
    assert looks(made, "-n2")[1] == {"select": 1}


def test_a_search_is_known_by_what_its_author_wrote(project, monkeypatch):
    search = """
    from hypothesis import given, settings
    from hypothesis import strategies as st

    @settings(max_examples=2)
    @given(word=st.sampled_from(["soup", "fish", "bread", "salad"]))
    def test_search(candidate, points, word):
        assert candidate.accuracy(points.select) >= len(word) / 100
    """
    made = project(search, family())

    def counted():
        made.pytester.runpytest_subprocess("-p", "no:randomly", "--multiplicity-json=told.json")
        return json.loads(Path("told.json").read_text())["families"][0]["looks"]["select"]

    for order in "12":  # of what processes keep in sets
        monkeypatch.setenv("PYTHONHASHSEED", order)
        assert counted() == 1
    made.pytester.makepyfile(test_specs=search.replace("soup", "rice"))  # searched elsewhere, too
    assert looks(made)[1] == {"select": 2}
    made.pytester.makepyfile(test_specs=search.replace("/ 100", "/ 200"))
    assert looks(made)[1] == {"select": 3}


def test_sets_that_share_half_of_their_samples_are_one_whatever_their_names(project):
    made = project(SPECS, family())
    looks(made)
    for start, times in ((200, 2), (600, 1)):  # of 500 samples 300 are the same, or none
        made.pytester.makeconftest(family(start=start, wrong=11 + start, name="other"))
        assert looks(made)[1]["other"] == times


def test_the_next_look_is_an_error(project):
    made = project(SPECS, family())
    made.pytester.makeini("[pytest]\nmultiplicity_looks = 1\n")
    assert made.run().ret == pytest.ExitCode.OK
    assert made.run().ret == pytest.ExitCode.OK
    made.pytester.makeconftest(family(wrong=11))
    result, report = made.report()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*'select' has been looked at 1 times, and specifications or candidates are new*"]
    )
    assert all(each["status"] == "failed" for each in report["families"][0]["candidates"])


def test_the_lock_knows_of_looks_too_and_an_older_one_is_upgraded(project):
    made = project(SPECS, family())
    lock, update = "--multiplicity-lock=lock.json", "--multiplicity-update-lock"
    made.run(lock, update)
    path = made.pytester.path / "lock.json"
    written = json.loads(path.read_text())
    assert {name: each["looks"] for name, each in written.pop("looks").items()} == {
        "select": 1,
        "report": 1,
    }
    path.write_text(json.dumps(written))
    result, _ = looks(made, lock)
    result.stdout.fnmatch_lines(["*it has no ledger of looks yet: --multiplicity-update-lock add*"])
    result, _ = looks(made, lock, update)
    result.stdout.fnmatch_lines(["*upgraded: it had no ledger of looks, and has one now*"])
    before = path.read_text()
    assert looks(made, lock, update, "--multiplicity-store=elsewhere")[1]["report"] == 1
    assert path.read_text() == before
    many = json.loads(before)
    many["looks"]["report"]["looks"] = 7
    path.write_text(json.dumps(many))
    result, counted = looks(made, lock)
    assert result.ret == pytest.ExitCode.OK
    assert counted == {"select": 1, "report": 7}


def test_a_spoilt_ledger_in_a_lock_is_refused(project):
    made = project(SPECS, family())
    lock = "--multiplicity-lock=lock.json"
    made.run(lock, "--multiplicity-update-lock")
    path = made.pytester.path / "lock.json"
    found = json.loads(path.read_text())
    found["looks"]["report"]["sketch"] = "?"
    path.write_text(json.dumps(found))
    made.run(lock).stderr.fnmatch_lines(["*can't read*its looks are no ledger*"])


def test_a_limit_is_a_count(project):
    made = project()
    made.pytester.makeini("[pytest]\nmultiplicity_looks = -1\n")
    made.run().stderr.fnmatch_lines(["*multiplicity_looks: '-1' is no count: give 0 or more*"])


def test_a_ladder_announces_a_new_best_and_withholds_all_else(project):
    specs = (
        SPECS.replace("0.9", "0.001")
        + """
    import pytest

    @pytest.mark.unforeseen
    def test_report(candidate, points, production):
        assert candidate.accuracy(points.report) >= 0.9
        assert candidate.accuracy(points.report.where("odd == 1")) >= 0.9
        assert candidate.churn(production, points.report) <= 0.9

    @pytest.mark.unforeseen
    def test_doubt(candidate, points):
        assert candidate.accuracy(points.report).beyond_doubt >= 0.97

    def test_another_gate(survivors):
        assert len(survivors) == 2
    """
    )

    def known(wrong):
        text = family(wrong=wrong).replace('"wrong": 0', '"wrong": 20') + PRODUCTION
        return text.replace("targets, name=", 'targets, pd.DataFrame({"odd": targets}), name=', 1)

    made = project(specs, known(10))
    made.pytester.makeini("[pytest]\nmultiplicity_ladder = on\n")
    # of 500 samples, in two batches, 20 are wrong, then 22, and 6
    runs = ((10, 0.96, "wrong10-seed0"), (11, 0.96, ""), (3, 0.988, "wrong3-seed0"))
    for wrong, best, new in runs:
        made.pytester.makeconftest(known(wrong))
        result, report = made.report("--multiplicity-individuals=people.csv")
        (told,) = report["families"]
        assert told["ladder"] == {"report": best}
        (note,) = [each for each in told["notes"] if each.startswith("ladder")]
        assert f"announced is {best:.4f} ({f'new: {new}' if new else 'nothing new'})" in note
        assert [pair["metric"] for pair in told["sheets"]] == ["accuracy on select"]
        assert {row["data"] for row in told["predictive"]} == {"select"}
        assert {each["data"] for each in told["individuals"]} == {"select"}
        assert told["comparisons"] == told["regions"] == []
        jsonschema.validate(report, as_json.schema())
        counted = {s["name"]: (s["would_reject"], s["undecided"]) for s in told["specs"]}
        assert counted["test_report"] == counted["test_doubt"] == (None, None)
        assert counted["test_accuracy"] == (0, 0)
        assert not any(each["reasons"] or each["undecided"] for each in told["candidates"])
        assert not any("distinct on report" in each for each in told["notes"])
        assert set(told["candidates"][0]["scores"]) == {"accuracy on select"}
        assert [gate["outcome"] for gate in report["gates"]] == ["failed", "passed"]
        assert "withheld" in report["gates"][0]["message"]
        result.stdout.no_fnmatch_line("*assert 0.0* <= 0.001*")
