"""The answers of docs/questions.md run, beside the one suite that they share or by themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.recorded_suite import run

PAGE = (Path(__file__).parents[2] / "docs/questions.md").read_text("utf-8")
PREFACE, *PARTS = re.split(r"^## ", PAGE, flags=re.MULTILINE)
QUESTIONS = [part for text in PARTS for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]]
OWN = re.split(r"^### ", PARTS[-1], flags=re.MULTILINE)[1:]
IMPORTS = "import pytest\nimport pytest_multiplicity as pm\n\n"


def blocks(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def named(text: str) -> str:
    return re.sub(r"\W+", "_", text.partition("\n")[0]).strip("_").lower()


SHARED = {named(text): blocks(text) for text in QUESTIONS if text not in OWN}
OPTIONS = set(re.findall(r"--multiplicity-[\w=.-]+", "\n".join(blocks(PAGE, "sh"))))
WRITING = sorted(OPTIONS - {"--multiplicity-plan", "--multiplicity-json=run.json"})


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")


def test_each_question_has_an_answer_and_a_link() -> None:
    assert len(QUESTIONS) >= 20
    for question in QUESTIONS:
        assert any(blocks(question, language) for language in ("python", "sh", "ini")), question
        assert re.search(r"\bMore:\s", question), question


@pytest.mark.usefixtures("few_exchanges")
def test_answers_beside_the_bank(pytester: pytest.Pytester) -> None:
    (conftest,) = blocks(PREFACE)
    pytester.makeconftest(conftest)
    pytester.makeini("\n".join(blocks(PAGE, "ini")))
    tests = {f"test_{name}": IMPORTS + "\n".join(found) for name, found in SHARED.items() if found}
    pytester.makepyfile(**tests)
    result, report = run(pytester, *WRITING)
    outcomes = result.parseoutcomes()
    assert not outcomes.keys() & {"failed", "errors", "skipped"}, result.stdout.str()
    (family,) = report["families"]
    assert {gate["outcome"] for gate in report["gates"]} == {"passed"}
    asked = set(re.findall(r"def (test_\w+)\(survivors", "".join(tests.values())))
    assert asked <= {gate["name"] for gate in report["gates"]}
    statuses = {each["id"]: each["status"] for each in family["candidates"]}
    assert {"survivor", "rejected"} == set(statuses.values())
    (bought,) = [each for each in family["configurations"] if each["config"]["C"] == 1.0]
    assert bought["passed"] == bought["seeds"] == 8
    assert (pytester.path / "MODEL_CARD.md").exists()
    result, _ = run(pytester, "--multiplicity-plan")
    result.stdout.fnmatch_lines(["*samples that decide beyond doubt*"])


@pytest.mark.usefixtures("few_exchanges")
def test_answers_by_themselves(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(**{f"test_{named(text)}": blocks(text)[0] for text in OWN if blocks(text)})
    result, report = run(pytester)
    outcomes = result.parseoutcomes()
    assert not outcomes.keys() & {"failed", "errors", "skipped"}, result.stdout.str()
    assert len(report["families"]) == sum(
        "candidate" in text for text in map(str, map(blocks, OWN))
    )
