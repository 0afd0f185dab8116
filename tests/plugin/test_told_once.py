"""A mistake in a family's function is told once, and every other pair refers to it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

SPECS = """
    import pytest

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_spec(candidate, points, number):
        assert candidate.accuracy(points.test) >= 0
"""
RECIPE = "return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)"
PAIRS = 12

# what the function does, what is said of it (in no line of its source), the user's own line
BUILT = {
    "an exception": ("raise KeyError('spoilt'.upper())", "KeyError: 'SPOILT'", "upper())"),
    "a bad recipe": (RECIPE.replace("epochs=2", "epochs=-5 + 3"), "epochs is -2", "-5 + 3"),
    "a wrong type": ("return 7 * 11", "returned 77 for a candidate", None),
    "nothing": ("points", "did you forget to return it?", None),
}
TRAINED = {
    "training": (
        RECIPE.replace("lr=config", "loss=lambda z, y: {}['lost'.upper()], lr=config"),
        "KeyError: 'LOST'",
        "upper()]",
    ),
}


@pytest.mark.parametrize(("body", "message", "line"), BUILT.values(), ids=BUILT)
def test_a_function_that_fails_is_told_once(trained, body, message, line):
    result = trained(SPECS, (RECIPE, body)).run("--junitxml=junit.xml")
    told_once(result, message, line, "building candidate failed", "errors")


@pytest.mark.parametrize(("body", "message", "line"), TRAINED.values(), ids=TRAINED)
def test_a_training_that_fails_is_told_once(trained, body, message, line):
    result = trained(SPECS, (RECIPE, body)).run("--junitxml=junit.xml")
    told_once(result, message, line, "training candidate failed", "failed")


def told_once(
    result: pytest.RunResult, message: str, line: str | None, short: str, outcome: str
) -> None:
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()[outcome] == PAIRS
    text, _, summary = result.stdout.str().partition("short test summary info")
    assert text.count(message) == 1
    assert summary.count(message) <= 1  # with the first, as far as the line goes
    assert line is None or line in text
    assert text.count(f"\n{short}, see test_specs.py::test_spec[default-seed0-1]\n") == PAIRS - 1


def test_junit_still_tells_of_every_pair(trained, pytester):
    trained(SPECS, (RECIPE, "return 7 * 11")).run("--junitxml=junit.xml")
    cases = ElementTree.parse(pytester.path / "junit.xml").findall(".//testcase")
    said = [case.find("error").get("message") for case in cases]
    assert len(said) == PAIRS
    assert sum("building candidate failed, see test_specs.py::" in each for each in said) == 11
    first = next(case for case in cases if case.get("name") == "test_spec[default-seed0-1]")
    assert "returned 77 for a candidate" in first.find("error").text


def test_where_the_first_is_expected_to_fail_the_next_tells(trained):
    specs = f"""
    import pytest

    @pytest.mark.xfail
    def test_first(candidate, points):
        pass
    {SPECS}"""
    result = trained(specs, (RECIPE, "raise KeyError('spoilt'.upper())")).run()
    assert result.parseoutcomes() == {"errors": PAIRS, "xfailed": PAIRS // 3}
    assert result.stdout.str().count("E       KeyError: 'SPOILT'") == 1


def test_all_is_told_of_all_where_that_is_asked_for(trained):
    result = trained(SPECS, (RECIPE, "return 7 * 11")).run("--full-trace")
    assert result.stdout.str().count("E       pytest_multiplicity.errors.DefinitionError") == PAIRS


def test_a_wrong_definition_is_told_with_the_first_module(trained, pytester):
    made = trained(SPECS, ("seeds=2", "seeds=0"))
    for number in range(3):
        made.pytester.makepyfile(**{f"test_more{number}": SPECS})
    result = made.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert result.parseoutcomes()["errors"] == 4
    text = result.stdout.str()
    assert text.count("seeds=0 makes an empty family") == 1
    assert text.count("the same as of test_more0.py::test_spec") == 6  # with the summary


def test_workers_each_tell_once(trained):
    pytest.importorskip("xdist")
    made = trained(SPECS, (RECIPE, "return 7 * 11"))
    result = made.run("-n2")
    assert result.parseoutcomes()["errors"] == PAIRS
    text = result.stdout.str()
    assert 1 <= text.count("returned 77 for a candidate") <= 2
    assert text.count("building candidate failed, see ") >= PAIRS - 2
