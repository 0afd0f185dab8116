"""The card through the user's door: its numbers are the JSON's, and what it lacks fails the run."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from support.carded import MORE, SUITE, at, read, rows

OPTIONS = ("-p", "no:randomly", "--multiplicity-json=report.json", "--multiplicity-card=card.md")


def run(pytester: pytest.Pytester, suite: str = SUITE + MORE, *args: str, needs: str = "") -> Any:
    groups = "multiplicity_individuals_groups = town"
    pytester.makeini(f"[pytest]\nmultiplicity_card_needs = {needs}\n{groups}\n")
    pytester.makepyfile(test_people=suite)
    return pytester.runpytest_inprocess(*OPTIONS, *args)


@pytest.fixture(scope="module")
def shared() -> list[Any]:
    return []


@pytest.fixture
def both(pytester: pytest.Pytester, shared: list[Any]) -> tuple[str, Any]:
    """The card and the JSON of one run."""
    if not shared:
        people = "--multiplicity-individuals=people.csv"
        needs = "gaps, flips, individuals"
        result = run(pytester, SUITE + MORE, people, needs=needs)
        result.assert_outcomes(passed=21)
        shared += read(pytester.path)
    return shared[0], shared[1]


def test_every_number_is_that_of_the_json(both: tuple[str, Any]) -> None:
    card, report = both
    found = rows(card, "From requirement to number to file")
    assert {row[0][:5] for row in found} == {"2 (b)", "2 (g)", "3 for", "6 cha"}
    for point, what, number, pointer, file in found:
        value = at(report, pointer)
        if isinstance(value, list):
            survive = [each for each in value if each["status"] == "survivor"]
            expected = str(len(survive if "meet" in what else value))
        elif number.endswith("%"):
            expected = f"{100 * value:.2f}%"
        else:
            expected = f"{value:.4g}"
        assert number == expected, (point, what)
        assert file in ("report.json", "test_people.py")
    assert len(found) > 20


def test_the_results_are_the_picks(both: tuple[str, Any]) -> None:
    card, report = both
    (family,) = report["families"]
    pick = next(each for each in family["candidates"] if each["id"] == family["pick"]["id"])
    accuracy = "accuracy on people"
    assert family["pick"]["by"] == accuracy
    assert pick["scores"][accuracy] == max(c["scores"][accuracy] for c in family["candidates"])
    (entry,) = yaml.safe_load(card.split("---\n")[1])["model-index"]
    assert entry["name"] == f"candidate {pick['id']}"
    told = {m["name"]: m["value"] for result in entry["results"] for m in result["metrics"]}
    assert told == {name: score for name, score in pick["scores"].items() if score is not None}
    assert told["tiny on people"] == 1.25e-07
    named = [result["dataset"]["name"] for result in entry["results"]]
    assert named == ["people", "people under Corrupt(faint)"]
    assert {m["type"] for r in entry["results"] for m in r["metrics"]} >= {"accuracy", "tiny"}


def test_the_sheets_are_those_of_the_survivors(both: tuple[str, Any]) -> None:
    card, report = both
    (family,) = report["families"]
    found = rows(card, "Sheets")
    assert len(found) == len(family["sheets"])
    for row, pair in zip(found, family["sheets"], strict=True):
        after, shown = pair["after"], (lambda v: f"{100 * v:.2f}")
        assert row[0] == pair["metric"]
        if pair["percent"]:
            assert row[3:6] == [shown(after[name]) for name in ("low", "high", "delta_all")]


def test_who_required_what_and_what_nobody_can_fill(both: tuple[str, Any]) -> None:
    card, _ = both
    found = rows(card, "What was required, and by whom")
    assert found[0][:3] == ["test_accuracy", "The board asked for this on 3 May.", "enforced"]
    assert found[1][1] == "no docstring says why"
    assert {row[4] for row in found} == {"test_people.py"}
    assert "What no tool can fill" in card
    assert "(Article 9)" in card
    assert "says nothing about whether the model" in card
    for word in ("compliant", "complies", "conforms", "certified"):
        assert word not in card.lower()


@pytest.mark.parametrize(
    ("suite", "needs", "told"),
    [
        (SUITE, "reachable", "reachable of candidate: have a gate ask survivors.reachable"),
        (SUITE, "gaps, flips", "flips of candidate: compare with what runs today"),
        (SUITE.replace("0.6", "2.0"), "", "survivors of candidate: a card is about a model"),
        (SUITE.replace("(people) >= 0.6", "(people, under=pm.Corrupt(faint)) >= 0.2"), "",
         "ambiguity of candidate: measure whole data"),
    ],
    ids=["reachable", "gaps", "nobody", "ambiguity"],
)  # fmt: skip
def test_a_number_that_is_missing_fails_the_run(
    pytester: pytest.Pytester, suite: str, needs: str, told: str
) -> None:
    result = run(pytester, suite, needs=needs)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = " ".join(result.stdout.str().split())
    assert "the card lacks what it must have, and was not written" in text
    assert told in text
    assert not (pytester.path / "card.md").exists()


def test_a_part_of_the_suite_makes_no_card(pytester: pytest.Pytester) -> None:
    result = run(pytester, SUITE, "-k", "accuracy and lr2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "all verdicts (" in result.stdout.str()


def test_bad_options_are_known_before_training(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmultiplicity_card_needs = gaps, beauty")
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_inprocess(*OPTIONS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*multiplicity_card_needs: 'beauty' is not one of gaps, *"])
    result = run(pytester, needs="individuals")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'individuals' takes --multiplicity-individuals PATH"])
    pytester.makeini("[pytest]\n")
    (pytester.path / "file").write_text("")
    result = pytester.runpytest_inprocess("--multiplicity-card=file/card.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "*--multiplicity-card: can't write *: what should be its folder is a file; give another*"
    result.stderr.fnmatch_lines([said])
