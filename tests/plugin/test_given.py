"""Property-based specs: hypothesis looks for the worst, for the whole family at once."""

from __future__ import annotations

import json

import pytest

HEAD = """
    import pytest
    import torch
    from hypothesis import given, settings, strategies as st

    import pytest_multiplicity as pm

    def darker(images, by):
        with open("calls", "a") as calls:
            calls.write(f"{by}\\n")
        return (images - by).clamp(0, 1)
"""
# Seven candidates that answer 1 where a pixel is brighter than their own threshold: the first is
# right on all 40 samples whatever is darkened by up to 0.65, the last by up to 0.05.
THRESHOLDS = (
    '@pm.family(default={"lr": 0.1}, vary={"lr": [0.05]}, seeds=2)\n',
    '@pm.family(default={"at": 0.2}, vary={"at": [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]}, seeds=1)\n',
)
MODEL = (
    "return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)",
    "return Threshold(config.at)",
)
MODULE = (
    "def net():",
    """class Threshold(nn.Module):
        def __init__(self, at):
            super().__init__()
            self.at = nn.Parameter(torch.tensor(at))

        def forward(self, batch):
            bright = batch.flatten(1)[:, :1] - self.at
            return torch.cat([-bright, bright], dim=1)

    def net():""",
)
DATA = (
    "inputs = (torch.rand(n, 1, 2, 2, generator=rng) + targets[:, None, None, None]) / 2",
    "inputs = (0.855 * targets)[:, None, None, None].expand(n, 1, 2, 2).contiguous()",
)
SEARCH = """
    @settings(max_examples=50)
    @given(by=st.integers(0, 50).map(lambda percent: percent / 100))
    def test_dark(candidate, points, by):
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0.9
"""


@pytest.fixture
def searched(trained):
    """A project whose candidates' thresholds are known."""
    return lambda specs, head=HEAD: trained(head + specs, THRESHOLDS, MODEL, MODULE, DATA)


def calls(made):
    path = made.pytester.path / "calls"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def test_a_family_of_twenty_is_evaluated_once_per_example(searched):
    made = searched(
        """
    @settings(max_examples=20)
    @given(by=st.floats(0, 0.5))
    def test_dark(candidate, points, by):
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0
    """
    )
    conftest = made.pytester.path / "conftest.py"
    conftest.write_text(
        conftest.read_text().replace("seeds=1", "seeds=4").replace("0.6, 0.7, 0.8", "")
    )
    result, work = made.work()
    result.assert_outcomes(passed=16)
    examples = calls(made)
    assert len(examples) == len(set(examples)) == 20
    assert (work["intervened"], work["inferred"]) == (20, 20 * 16)
    result, work = made.work()
    result.assert_outcomes(passed=16)
    assert (work["intervened"], work["inferred"]) == (0, 0)
    assert not calls(made)


def test_the_smallest_counterexample_is_the_reason(searched):
    made = searched(SEARCH)
    result, report = made.report("-rx")
    assert result.ret == 0
    (family,) = report["families"]
    kept = [each["id"] for each in family["candidates"] if each["status"] == "survivor"]
    assert kept == ["default-seed0", "at0.3-seed0"]
    for at, by in ((0.4, 0.46), (0.5, 0.36), (0.6, 0.26), (0.7, 0.16), (0.8, 0.06)):
        (line,) = [x for x in result.outlines if x.startswith(f"REJECTED test_dark[at{at}-seed0]")]
        assert f"falsified by by={by}: " in line
    assert family["specs"][0]["metrics"] == ["worst accuracy on test under Corrupt(darker, by=*)"]
    sheet = family["sheets"][0]
    assert sheet["metric"] == "worst accuracy on test under Corrupt(darker, by=*)"
    assert sheet["before"]["tables"]["at"]["scores"] == [[1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]]
    assert sheet["after"]["count"] == 2


def test_only_examples_and_shrinking_are_evaluated(searched):
    """Shared examples for all seven at once; what shrinks one's failure for that one alone."""
    made = searched(SEARCH)
    _, work = made.work()
    examples = calls(made)
    assert len(examples) == work["intervened"]
    shared, rest = divmod(work["inferred"] - work["intervened"], 6)
    assert rest == 0
    assert 20 <= shared <= 51  # the first candidate fails nowhere: it sees them all
    assert len(set(examples[:shared])) == shared
    assert 1 <= len(examples) - shared < 5 * 60


def test_a_second_run_searches_alike_and_computes_nothing(searched):
    """A database of failed examples would have it see others, and report other scores."""
    kept = "__import__('hypothesis').database.DirectoryBasedExampleDatabase('kept')"
    made = searched(SEARCH.replace("max_examples=50", f"max_examples=50, database={kept}"))
    first, before = made.report()
    calls(made)
    (second, work) = made.work("--multiplicity-json=again.json")
    after = json.loads((made.pytester.path / "again.json").read_text())
    assert (work["intervened"], work["inferred"]) == (0, 0)
    assert second.parseoutcomes() == first.parseoutcomes()
    for report in (before, after):
        for key in ("trained", "stored", "from_store"):
            report["families"][0].pop(key)
        report["settings"].pop("json")
    assert before == after
    assert not (made.pytester.path / "kept").exists()


def test_the_order_of_candidates_does_not_matter(searched):
    made = searched(SEARCH)
    _, forwards = made.report()
    conftest = made.pytester.path / "conftest.py"
    reverse = "\ndef pytest_collection_modifyitems(items):\n    items.reverse()\n"
    conftest.write_text(conftest.read_text() + reverse)
    result, backwards = made.report("--multiplicity-store=other", "-p", "no:cacheprovider")
    assert result.ret == 0
    for report in (forwards, backwards):
        for each in report["families"][0]["candidates"]:
            each.pop("scores", None)
    assert forwards["families"][0]["candidates"] == backwards["families"][0]["candidates"]
    sheets = [report["families"][0]["sheets"][0]["before"] for report in (forwards, backwards)]
    assert sheets[0] == sheets[1]


def test_no_deadline_and_no_health_check_for_slow_work(searched):
    made = searched(
        """
    import time

    @settings(max_examples=12, deadline=1)
    @given(by=st.floats(0, 0.1))
    def test_dark(candidate, points, by):
        time.sleep(0.1 if candidate.id == "default-seed0" else 0)
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0
    """
    )
    result = made.run()
    result.assert_outcomes(passed=7)


def test_what_else_happens_in_a_search(searched):
    """Errors stay errors; verdicts beyond doubt, and a search without examples, are errors."""
    made = searched(
        """
    def test_before(candidate, points):
        assert candidate.accuracy(points.test).beyond_doubt >= 0.01

    @given(by=st.floats(0, 0.5))
    def test_doubt(candidate, points, by):
        assert candidate.accuracy(points.test).beyond_doubt >= 0.9

    @given(by=st.floats(0, 0.5))
    def test_doubt_in_the_dark(candidate, points, by):
        under = pm.Corrupt(darker, by=by)
        assert candidate.accuracy(points.test, under=under).beyond_doubt >= 0.9

    @given(by=st.floats(0, 0.5))
    def test_broken(candidate, points, by):
        candidate.accuracy(points.test)
        raise RuntimeError("broken")

    @given(by=st.floats(0, 0.5).filter(lambda by: by > 1))
    def test_never(candidate, points, by):
        assert candidate.accuracy(points.test) >= 0

    @given(by=st.floats(0, 0.5))
    def test_nothing(candidate, points, by):
        pass

    @given(by=st.floats(0.1, 0.5))
    def test_lambda(candidate, points, by):
        assert candidate.accuracy(points.test, under=pm.Corrupt(lambda x: darker(x, by))) >= 0
    """
    )
    result = made.run("-k", "default-seed0")
    assert result.parseoutcomes()["passed"] == 1
    assert result.parseoutcomes()["failed"] == 6
    text = result.stdout.str()
    assert text.count("beyond_doubt under @given: a search for the worst example voids") >= 2
    assert "RuntimeError: broken" in text
    assert "Unsatisfiable" in text or "filter_too_much" in text
    assert "test_nothing measured nothing" in text
    assert "two interventions are named 'Corrupt(lambda" in text


def test_names_of_what_was_found(searched):
    """Whatever is drawn reads *: numbers, also when computed with; texts; interventions."""
    made = searched(
        """
    few = settings(max_examples=8)

    @few
    @given(half=st.floats(0, 0.1))
    def test_computed(candidate, points, half):
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=2 * half)) >= 0

    @few
    @given(under=st.floats(0, 0.1).map(lambda by: pm.Corrupt(darker, by=by)))
    def test_intervention(candidate, points, under):
        assert candidate.accuracy(points.test, under=under) >= 0

    @few
    @given(group=pm.strategies.groups(DATA, "sign", min_size=5), eps=st.floats(0, 0.1))
    def test_chain(candidate, points, group, eps):
        assert candidate.accuracy(points.test, under=group | pm.PGD(eps, steps=2)) >= 0

    @few
    @given(data=st.data())
    def test_data(candidate, points, data):
        by = data.draw(st.floats(0, 0.1))
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0

    @few
    @given(age=st.integers(5, 40))
    def test_view(candidate, points, age):
        assert candidate.accuracy(points.test.where(f"age < {age}")) >= 0
        assert candidate.accuracy(points.test.where("age < 3")) >= 0

    @few
    @given(by=st.floats(0, 0.1))
    def test_measure(candidate, points, by):
        under = pm.Corrupt(darker, by=by)
        candidate.measure(lambda z, y: z.mean(), points.test, under, name="mean")
        assert candidate.accuracy(points.test) >= 0
    """.replace("DATA", "None"),
    )
    conftest = made.pytester.path / "conftest.py"
    text = conftest.read_text().replace(
        '{"age": range(n)}', '{"age": range(n), "sign": targets.numpy()}'
    )
    conftest.write_text(text)
    specs = made.pytester.path / "test_specs.py"
    specs.write_text(
        "import conftest\n"
        + specs.read_text().replace("groups(None", 'groups(conftest.draw(40, "test", 2)')
    )
    result, report = made.report("-k", "at0.3")
    assert result.parseoutcomes()["passed"] == 6
    named = {spec["name"]: spec["metrics"] for spec in report["families"][0]["specs"]}
    assert named == {
        "test_computed": ["worst accuracy on test under Corrupt(darker, by=*)"],
        "test_intervention": ["worst accuracy on test under *"],
        "test_chain": ["worst accuracy on test under * | PGD(*, steps=2)"],
        "test_data": ["worst accuracy on test under Corrupt(darker, by=*)"],
        "test_view": [
            "worst accuracy on test where age < *",
            "worst accuracy on test where age < 3",
        ],
        "test_measure": [
            "worst mean on test under Corrupt(darker, by=*)",
            "worst accuracy on test",
        ],
    }


def test_the_user_chooses_the_seed(searched):
    seeded = SEARCH.replace("@settings", "@__import__('hypothesis').seed(7)\n    @settings")
    made = searched(seeded)
    made.run("-k", "default-seed0")
    chosen = calls(made)
    other = searched(SEARCH)
    other.run("-k", "default-seed0", "--multiplicity-store=other")
    assert calls(other) != chosen
    theirs = "-p", "hypothesispytest", "--hypothesis-seed=3"
    other.run("-k", "default-seed0", "--multiplicity-store=third", *theirs)
    assert calls(other) != chosen


def test_a_search_over_recorded_scores(project):
    specs = """
    from hypothesis import given, strategies as st

    @given(name=st.sampled_from(["accuracy", "group"]))
    def test_all(candidate, name):
        assert candidate.score(name) >= 0.65
    """
    result, report = project(specs).report("-rx")
    assert result.parseoutcomes() == {"passed": 4, "rejected": 2}
    result.stdout.fnmatch_lines(
        ["REJECTED test_all[[]default-seed2[]] falsified by name='group': *"]
    )
    assert report["families"][0]["specs"][0]["metrics"] == ["worst *"]


def test_methods_explicit_examples_and_parameters(searched):
    made = searched(
        """
    from hypothesis import example

    class TestDark:
        @settings(max_examples=3)
        @example(by=0.5)
        @given(by=st.floats(0, 0.01))
        def test_dark(self, candidate, points, by):
            assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0.9

    @pytest.mark.parametrize("limit", [0.4, 0.9])
    @settings(max_examples=3)
    @given(by=st.just(0.5))
    def test_limit(candidate, points, by, limit):
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= limit
    """
    )
    result, report = made.report("-rx")
    assert result.ret == 0
    family = report["families"][0]
    assert [(spec["name"], spec["rejected"]) for spec in family["specs"]] == [
        ("test_dark", 5),
        ("test_limit[0.4]", 0),
        ("test_limit[0.9]", 5),
    ]
    found = "worst accuracy on test under Corrupt(darker, by=*)"
    assert {name for spec in family["specs"] for name in spec["metrics"]} == {found}
    result.stdout.fnmatch_lines(["REJECTED test_dark[[]at0.8-seed0[]] falsified by by=0.5: *"])


COUNTED = """
    from pathlib import Path
    import random

    def note(what):
        with Path(__file__).with_name("notes").open("a") as file:
            print(what, file=file)
"""


def notes(made):
    path = made.pytester.path / "notes"
    found = path.read_text().split("\n")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def drawn_by_hypothesis(monkeypatch):
    """Count the examples that hypothesis itself draws."""
    from hypothesis.internal.conjecture import engine

    drawn = []
    original = engine.ConjectureRunner.test_function

    def test_function(self, data):
        drawn.append(data)
        return original(self, data)

    monkeypatch.setattr(engine.ConjectureRunner, "test_function", test_function)
    return drawn


def test_what_all_pass_is_drawn_once(searched, monkeypatch):
    """And each candidate is still asked about each example, in the same state of the world."""
    drawn = drawn_by_hypothesis(monkeypatch)
    made = searched(
        COUNTED
        + """
    @settings(max_examples=12)
    @given(by=st.floats(0, 0.4), which=st.sampled_from(["test"]))
    def test_dark(candidate, points, by, which):
        note(f"{candidate.id} {by} {random.random()}")
        data = getattr(points, which)
        assert candidate.accuracy(data, under=pm.Corrupt(darker, by=by)) >= 0.5

    class TestMethods:
        @settings(max_examples=5)
        @given(under=st.floats(0, 0.4).map(lambda by: pm.Corrupt(darker, by=by)))
        def test_dark(self, points, under, candidate):
            assert candidate.accuracy(points.test, under=under) >= 0.5
    """
    )
    made.run().assert_outcomes(passed=14)
    assert len(drawn) == 12 + 5
    seen = {}
    for line in notes(made):
        who, what = line.split(" ", 1)
        seen.setdefault(who, []).append(what)
    assert len(seen) == 7
    assert all(each == seen["default-seed0"] for each in seen.values())
    assert len(seen["default-seed0"]) == 12


@pytest.mark.usefixtures("all_plugins")
def test_who_wants_to_know_of_each_search_is_told(project):
    made = project(
        """
    from hypothesis import given, settings, strategies as st

    @settings(max_examples=3)
    @given(least=st.floats(0, 0.9))
    def test_it(candidate, least):
        assert candidate.score("accuracy") >= least
    """
    )
    told = made.run("--hypothesis-show-statistics").outlines
    assert sum("Typical runtimes" in line for line in told) == 6


def test_who_fails_what_others_passed_is_searched_as_if_alone(searched, monkeypatch):
    drawn = drawn_by_hypothesis(monkeypatch)
    made = searched(SEARCH)
    _, together = made.report("-rx")
    few = len(drawn)
    drawn.clear()
    monkeypatch.setattr("pytest_multiplicity.plugin.given.instead_of_running", lambda item: None)
    _, alone = made.report("-rx", "--multiplicity-store=elsewhere")
    assert few < len(drawn)
    for report in (together, alone):
        for name in ("trained", "from_store", "stored"):
            report["families"][0].pop(name)
        report["settings"].pop("store")
    assert together == alone


OWN = """
    @settings(max_examples=6)
    @given(by=st.floats(0, 0.4), data=st.data())
    def test_drawn_inside(candidate, points, by, data):
        by *= data.draw(st.floats(0, 1))
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0.5
""", """
    @settings(max_examples=6)
    @given(by=st.lists(st.floats(0, 0.4), min_size=1))
    def test_that_changes_what_it_gets(candidate, points, by):
        by = by.pop()
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0.5
""", """
    from hypothesis import assume

    @settings(max_examples=6)
    @given(by=st.floats(0, 0.4))
    def test_that_gives_some_up(candidate, points, by):
        assume(by > 0.1)
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0.5
""", """
    from hypothesis import target

    @settings(max_examples=6)
    @given(by=st.floats(0, 0.4))
    def test_that_aims(candidate, points, by):
        target(candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) + 0.0)
"""  # fmt: skip


@pytest.mark.parametrize("specs", OWN)
def test_what_may_differ_is_drawn_for_each(searched, monkeypatch, specs):
    drawn = drawn_by_hypothesis(monkeypatch)
    made = searched(specs)
    made.run().assert_outcomes(passed=7)
    assert len(drawn) >= 7 * 6


def test_nothing_is_measured_to_explain_a_rejection(searched):
    made = searched(
        """
    from hypothesis import Phase

    @settings(max_examples=5)
    @given(by=st.floats(0, 0.5))
    def test_dark(candidate, points, by):
        assert Phase.explain not in settings().phases
        assert Phase.shrink in settings().phases
        assert candidate.accuracy(points.test, under=pm.Corrupt(darker, by=by)) >= 0
    """
    )
    made.run().assert_outcomes(passed=7)
