"""`@pm.incumbent` from the conftest to all reports."""

from __future__ import annotations

import json

import jsonschema
import pytest

from pytest_multiplicity.report import as_json

PRODUCTION = """
    @pm.incumbent
    def production(points):
        torch.manual_seed(3)
        return net()

    @pm.incumbent
    def recorded(points):
        frame = points.test.attributes.assign(says=points.test.targets.numpy())
        return frame.sample(frac=1, random_state=0)

    @pm.incumbent
    def nobody():
        return None

    @pm.family("""
SPECS = """
    import pytest_multiplicity as pm

    def test_flips(candidate, production, recorded, points):
        assert candidate.flips(production, points.test) <= 0.9
        assert candidate.churn(recorded, points.test, under=pm.Group("age < 30")) <= 0.9

    def test_not_worse(candidate, recorded, points):
        assert candidate.accuracy(points.test).not_worse_than(recorded, by=0.2)

    def test_nobody(candidate, nobody, points):
        assert candidate.flips(nobody, points.test) <= -1

    def test_fair(candidate, points):
        assert candidate.gap(points.test, by="odd", minimum=10) <= 0.9

    def test_gate(survivors, production, recorded, nobody, points):
        assert survivors.pick(points.test, keep=nobody).candidate in survivors
        assert all(c.gain(production, points.test) >= -1 for c in survivors)
        assert survivors.ambiguity(points.test, baseline=production) <= 1
"""


def made(trained, specs=SPECS, *changes):
    return trained(specs, ("@pm.family(", PRODUCTION.strip()), ("epochs=2", "epochs=30"), *changes)


def test_all_reports_tell_of_it(trained):
    odd = ('{"age": range(n)}', '{"age": range(n), "odd": [i // 2 % 2 for i in range(n)]}')
    project = made(trained, SPECS, odd)
    result, report = project.report(
        "--multiplicity-html=r.html", "--multiplicity-markdown=r.md", "-v"
    )
    assert result.parseoutcomes()["passed"] >= 9
    jsonschema.validate(report, as_json.schema())
    (family,) = report["families"]
    told = {(each["incumbent"], each["data"]): each for each in family["comparisons"]}
    assert family["sheets"][-1]["gap"]["groups"] == {"0": 20, "1": 20}
    below = "test under Group('age < 30')"
    assert {*told} == {("production", "test"), ("recorded", below), ("recorded", "test")}
    whole = told["production", "test"]
    flips = next(s for s in family["sheets"] if s["metric"].startswith("flips against production"))
    scores = [c["scores"][flips["metric"]] for c in family["candidates"]]
    assert [each["value"] for each in whole["flips"]] == scores
    for kind in ("flips", "churn", "gain"):
        assert len(whole[kind]) == 4
        assert all(each["low"] <= each["value"] <= each["high"] for each in whole[kind])
    assert 0 <= whole["flips_floor"] <= whole["churn_floor"]
    assert "nobody returned None: there was nobody to compare with" in report["warnings"]
    assert not any("nobody" in each["metric"] for each in family["sheets"])
    pages = [(project.pytester.path / name).read_text() for name in ("r.html", "r.md")]
    for text in (" ".join(result.stdout.str().split()), *pages):
        assert "by retraining alone" in text
        assert "flips" in text
    distributed, again = project.report("-n2")
    assert distributed.parseoutcomes()["passed"] == result.parseoutcomes()["passed"]
    assert again["families"][0]["comparisons"] == family["comparisons"]
    assert again["families"][0]["sheets"] == family["sheets"]


# Of forty answers the incumbent gets as many wrong as it says, the candidates 2 and 3 others.
COUNTED = """
    import pandas as pd
    import pytest
    import pytest_multiplicity as pm
    import torch

    def wrong_from(first, count):
        def answer(inputs):
            rows = torch.arange(40)
            wrong = (rows >= first) & (rows < first + count)
            return torch.where(wrong, 1 - rows % 2, rows % 2)
        return answer

    @pytest.fixture(scope="session")
    def points():
        return pm.Data(torch.arange(120.0).reshape(40, 3), torch.arange(40) % 2, name="test")

    @pm.incumbent
    def production():
        return wrong_from(0, WRONG)

    @pm.family(default={"wrong": 2}, vary={"wrong": [3]}, seeds=1)
    def candidate(config):
        return wrong_from(20, config.wrong)
"""


@pytest.fixture
def counted(project):
    specs = """
    def test_not_worse(candidate, production, points):
        assert candidate.accuracy(points).not_worse_than(production, by=0.9)
    """
    made = project(specs, COUNTED.replace("WRONG", "4"))
    assert made.run("--multiplicity-lock=lock.json", "--multiplicity-update-lock").ret == 0
    return made


def test_drift_of_comparisons_fails_the_lock(counted):
    made, lock = counted, "--multiplicity-lock=lock.json"
    path = made.pytester.path / "lock.json"
    (family,) = json.loads(path.read_text())["families"].values()
    assert family["comparisons"] == {  # one seed each: retraining says nothing
        "flips against production on test, survivors": [0.05, 0.075],
        "churn against production on test, survivors": [0.15, 0.175],
        "gain against production on test, survivors": [0.025, 0.05],
    }
    assert made.run(lock).ret == pytest.ExitCode.OK
    made.pytester.makeconftest(COUNTED.replace("WRONG", "5"))
    result = made.run(lock)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["churn against production on test, survivors: 0.15 to 0.175 became 0.175 to 0.2"]
    )


def test_a_lock_from_before_comparisons_is_read_and_upgraded(counted):
    made, lock = counted, "--multiplicity-lock=lock.json"
    path = made.pytester.path / "lock.json"
    whole = path.read_text()
    older = json.loads(whole)
    del older["families"]["candidate"]["comparisons"]
    path.write_text(json.dumps(older))
    result, report = made.report(lock)
    assert result.ret == pytest.ExitCode.OK
    adds = "it has no comparisons with incumbents yet: --multiplicity-update-lock adds them"
    assert report["gates"][-1]["message"].splitlines() == ["no drift", adds]
    _, report = made.report(lock, "--multiplicity-update-lock")
    upgraded = "upgraded: it had no comparisons with incumbents, and has them now"
    assert report["gates"][-1]["message"].splitlines() == ["unchanged", upgraded]
    assert path.read_text() == whole


def test_an_export_tells_what_survivors_do_otherwise(counted):
    counted.run("--multiplicity-export=chosen")
    told = json.loads((counted.pytester.path / "chosen/selection.json").read_text())
    (family,) = told["families"]
    known = {"incumbent": "production", "data": "test"}
    assert family["comparisons"] == [{**known, "flips_floor": None, "churn_floor": None}]
    for survivor, wrong in zip(family["survivors"], (2, 3), strict=True):
        (beside,) = survivor["comparisons"]
        assert beside.items() >= {**known, "trust": (36 - wrong) / 36, "flips_per_error": 1}.items()
        values = [beside[kind]["value"] for kind in ("flips", "churn", "gain")]
        assert values == pytest.approx([wrong / 40, (wrong + 4) / 40, (4 - wrong) / 40])
        assert beside["flips"]["low"] < beside["flips"]["value"] < beside["flips"]["high"]


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("production(config, points)", "has a parameter 'config', which only a family's function"),
        ("production(candidate)", "needs the family 'candidate': an incumbent is one model"),
    ],
)
def test_an_incumbent_is_outside_the_family(trained, signature, message):
    result = made(trained, SPECS, ("production(points)", signature)).run()
    result.stdout.fnmatch_lines([f"*{message}*"])
    assert result.ret != 0


def test_what_looks_odd_in_its_answers_is_said_of_it_once(counted):
    same = COUNTED.replace("return wrong_from(0, WRONG)", "return lambda x: torch.ones(len(x), 2)")
    counted.pytester.makeconftest(same)
    _, report = counted.report()
    about = [each for each in report["warnings"] if "the same for every sample" in each]
    assert "production: answers about 'test' are the same for every sample" in about


@pytest.mark.parametrize("value", ["3", "list(range(1000))"])
def test_what_is_no_model(trained, value):
    returned = f"return {value}\n\n    @pm.inc"
    result = made(trained, SPECS, ("return net()\n\n    @pm.inc", returned)).run("-x")
    text = " ".join(result.stdout.str().split())
    assert "incumbent 'production' returned " in text
    assert "for what runs today: Return a table of its answers (a DataFrame" in text
    assert "100, 101" not in text


def test_two_families_are_told_of_the_incumbent(trained):
    second = "other = pm.recorded(pd.DataFrame({'a': [50.0], 'lr': [1], 'seed': [0]}), {'lr': 1})"
    specs = "def test_both(candidate, other): pass"
    result = trained(specs, ("@pm.family(", second + "\n\n    @pm.family(")).run()
    result.stdout.fnmatch_lines(["*a spec is about one; what runs today*@pm.incumbent*"])
