"""`@pm.incumbent` from the conftest to all reports."""

from __future__ import annotations

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


def test_what_is_no_model(trained):
    result = made(trained, SPECS, ("return net()\n\n    @pm.inc", "return 3\n\n    @pm.inc")).run(
        "-x"
    )
    result.stdout.fnmatch_lines(["*'production' returned 3 *"])


def test_two_families_are_told_of_the_incumbent(trained):
    second = "other = pm.recorded(pd.DataFrame({'a': [50.0], 'lr': [1], 'seed': [0]}), {'lr': 1})"
    specs = "def test_both(candidate, other): pass"
    result = trained(specs, ("@pm.family(", second + "\n\n    @pm.family(")).run()
    result.stdout.fnmatch_lines(["*a spec is about one; what runs today*@pm.incumbent*"])
