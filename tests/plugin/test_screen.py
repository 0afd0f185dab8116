"""``--multiplicity-screen``: the same survivors, by less work."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.plugin.screening import cheapest_first

# Eight candidates whose accuracies differ: by width of the data's noise and by learning rate.
MANY = ('vary={"lr": [0.05]}, seeds=2', 'vary={"lr": [0.001]}, seeds=4')

# The expensive specs stand first, as a user might write them.
ABSOLUTE = """
    import pytest
    import pytest_multiplicity as pm

    def test_attack(candidate, points):
        assert candidate.accuracy(points.test, under=pm.PGD(0.05, steps=3)) >= 0.3

    def test_young(candidate, points):
        assert candidate.accuracy(points.test, under=pm.Group("age < 20")) >= 0.4

    def test_accuracy(candidate, points):
        assert candidate.accuracy(points.test) >= 0.7

    def test_noise(candidate, points):
        assert candidate.accuracy(points.test, under=pm.InputNoise(0.1)) >= 0.5

    @pytest.mark.unforeseen
    def test_stronger(candidate, points):
        assert candidate.accuracy(points.test, under=pm.PGD(0.1, steps=3)) >= 0.3

    def test_gate(survivors, points):
        assert len(survivors) >= 1
        assert survivors.spread(points.test) >= 0
        assert survivors.ambiguity(points.test, under=pm.InputNoise(0.2)) <= 1
"""
RELATIVE = ABSOLUTE.replace(") >= 0.3", ").in_top(0.75)").replace(
    "test) >= 0.7", "test).within(.2)"
)
WORDS = "--multiplicity-screen"


def survivors(report):
    (family,) = report["families"]
    return [each["id"] for each in family["candidates"] if each["status"] == "survivor"]


def spec(report, name):
    return next(each for each in report["families"][0]["specs"] if each["name"] == name)


def pair(report, metric):
    return next(each for each in report["families"][0]["sheets"] if each["metric"] == metric)


@pytest.fixture
def shops(trained):
    """A project, reported on by itself and screened, each with a store of its own."""

    def make(specs, *changes):
        made = trained(specs, MANY, *changes)
        plain, screened = (
            made.report(f"--multiplicity-store=store{number}", *args)
            for number, args in enumerate([[], [WORDS]])
        )
        return made, plain, screened

    return make


@pytest.mark.parametrize("specs", [ABSOLUTE, RELATIVE], ids=["absolute", "relative"])
def test_the_survivors_are_the_same(shops, specs):
    _, (result, plain), (again, screened) = shops(specs)
    assert result.ret == again.ret == pytest.ExitCode.OK
    assert survivors(plain) == survivors(screened)
    assert 0 < len(survivors(plain)) < 8
    assert screened["complete"]
    assert [gate["outcome"] for gate in screened["gates"]] == ["passed"]
    for each in screened["families"][0]["specs"]:
        assert each["judged"] + each["screened"] == 8
    first = {c["id"]: c["rejected_by"] for c in plain["families"][0]["candidates"]}
    for each in screened["families"][0]["candidates"]:
        assert set(each["rejected_by"]) <= set(first[each["id"]])


def test_less_is_computed_and_the_cheap_comes_first(trained):
    def count(*args):
        made = trained(ABSOLUTE, MANY)
        return made.work(f"--multiplicity-store={len(args)}", *args)[1]["inferred"]

    # clean, noise, PGD, PGD stronger and the gate's noise, for each of eight
    assert count() == 5 * 8
    made = trained(ABSOLUTE, MANY)
    _, report = made.report(WORDS, "--multiplicity-store=1")
    left = len(survivors(report))
    judged = {s["name"]: s["judged"] for s in report["families"][0]["specs"]}
    assert judged["test_accuracy"] == 8  # clean, as for test_young: one of both comes first
    assert judged["test_attack"] <= judged["test_noise"] < 8
    assert judged["test_stronger"] == left
    # the pilot is measured by all enforced specs, whether or not it survives
    expected = 8 + judged["test_noise"] + judged["test_attack"] + 2 * left
    assert count(WORDS, "--multiplicity-json=x.json") == expected


def test_a_comparison_within_the_family_measures_all_of_it(shops):
    _, (_, plain), (_, screened) = shops(RELATIVE)
    attack = "accuracy on test under PGD(0.05, steps=3)"
    assert pair(screened, attack)["screened"] == 0
    assert pair(screened, attack)["before"] == pair(plain, attack)["before"]
    assert pair(screened, "accuracy on test")["before"] == pair(plain, "accuracy on test")["before"]
    noisy = pair(screened, "accuracy on test under InputNoise(0.1)")
    assert noisy["screened"] == 8 - noisy["before"]["count"]
    assert "comparisons within the family were made with all of it" in str(screened["families"])


def test_what_was_not_measured_is_unknown(shops):
    _, _, (_, report) = shops(ABSOLUTE)
    stronger = pair(report, "accuracy on test under PGD(0.1, steps=3)")
    assert stronger["before"]["count"] == stronger["after"]["count"] == len(survivors(report))
    assert stronger["screened"] == 8 - len(survivors(report))
    assert stronger["before"]["delta_all"] is None
    assert stronger["after"]["expected_delta_all"] is None
    assert stronger["after"]["delta_all"] is not None
    flat = [s for row in stronger["before"]["tables"]["lr"]["scores"] for s in row]
    assert flat.count(None) == stronger["screened"]
    gone = [c for c in report["families"][0]["candidates"] if c["status"] == "rejected"]
    metric = stronger["metric"]
    assert all(each["scores"][metric] is None for each in gone)
    assert all("test_stronger" in each["screened"] for each in gone)


def test_only_here_is_unknown_where_others_did_not_judge(shops):
    _, _, (_, report) = shops(ABSOLUTE)
    specs = report["families"][0]["specs"]
    assert any(each["rejected"] and each["only_here"] is None for each in specs)
    assert all(each["only_here"] == 0 for each in specs if not each["rejected"])


def test_reports_say_screened(shops):
    made, _, (result, _) = shops(ABSOLUTE)
    result.stdout.fnmatch_lines(["*screened*left*", "*screened: not measured for all*"])
    assert result.parseoutcomes()["screened"] > 0
    shown = made.run(
        WORDS, "-v", "--junitxml=junit.xml", "--multiplicity-html=page.html",
        "--multiplicity-markdown=page.md",
    )  # fmt: skip
    shown.stdout.fnmatch_lines(["*test_stronger[[]*] SCREENED (rejected by*)*"])
    shown.stdout.fnmatch_lines(["*screened: not measured for * rejected candidates*"])
    folder = made.pytester.path
    assert 'message="rejected by test_accuracy, so screened"' in (folder / "junit.xml").read_text()
    assert "screened: not measured for" in (folder / "page.html").read_text()
    assert "screened: not measured for" in (folder / "page.md").read_text()


def test_a_second_screened_run_computes_nothing(trained):
    made = trained(ABSOLUTE, MANY)
    _, first = made.report(WORDS)
    _, work = made.work(WORDS)
    assert (work["trained"], work["inferred"]) == (0, 0)
    _, again = made.report(WORDS)
    for report in (first, again):
        for each in report["families"]:
            for name in ("trained", "stored", "from_store", "ways", "notes"):
                del each[name]
    assert again["families"] == first["families"]


def test_doubtful_and_searching_specs(shops):
    specs = """
    from hypothesis import given, settings, strategies as st
    import pytest_multiplicity as pm

    def dark(images, by):
        return (images - by).clamp(0, 1)

    @settings(max_examples=4, database=None)
    @given(by=st.floats(0, 0.3))
    def test_dark(candidate, points, by):
        assert candidate.accuracy(points.test, under=pm.Corrupt(dark, by=by)) >= 0.5

    def test_sure(candidate, points):
        assert candidate.accuracy(points.test).beyond_doubt.within(0.1)

    def test_accuracy(candidate, points):
        assert candidate.accuracy(points.test) >= 0.7
    """
    _, (_, plain), (result, screened) = shops(specs)
    assert result.ret == pytest.ExitCode.OK
    assert survivors(plain) == survivors(screened)
    assert spec(screened, "test_dark")["judged"] < 8
    worst = "worst accuracy on test under Corrupt(dark, by=*)"
    assert pair(screened, worst)["screened"] > 0


def test_recorded_families_are_screened_too(project):
    made = project()
    _, plain = made.report()
    result, report = made.report(WORDS)
    assert survivors(report) == survivors(plain)
    assert result.parseoutcomes()["screened"] > 0
    assert spec(report, "test_shift")["judged"] == len(survivors(report))
    # what is recorded is known
    assert [each["before"] for each in report["families"][0]["sheets"]] == [
        each["before"] for each in plain["families"][0]["sheets"]
    ]


def test_fixtures_of_other_modules_are_torn_down_in_the_new_order(project):
    made = project("")
    made.pytester.makepyfile(
        test_one="""
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def one(request):
            yield
            print("one is down")

        def test_a(candidate):
            assert candidate.score("group") >= 0.65

        def test_shift(candidate):
            assert candidate.score("shift") >= 0.01
        """,
        test_two="""
        import pytest

        @pytest.fixture(scope="module", autouse=True)
        def two(request):
            yield
            print("two is down")

        def test_b(candidate):
            assert candidate.score("accuracy") >= 0.92
        """,
    )
    result, report = made.report(WORDS, "-s")
    assert result.ret == pytest.ExitCode.OK
    assert report["complete"]
    assert result.parseoutcomes()["screened"] > 0


def test_it_works_by_the_ini_and_with_lf_and_x(project):
    made = project("""
    import pytest

    def test_accuracy(candidate):
        assert candidate.score("accuracy").within(0.03)

    def test_broken(candidate):
        candidate.score("group")
        if candidate.id == "lr0.01-seed0":
            raise ValueError("broken")

    def test_gate(survivors):
        assert survivors
    """)
    made.pytester.makeini("[pytest]\nmultiplicity_screen = true\n")
    result, report = made.report()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["screened"] > 0
    assert not report["complete"]
    result, report = made.report("--lf")
    assert result.parseoutcomes()["failed"] == 1
    assert not report["complete"]
    assert report["gates"] == []  # none had failed
    result, report = made.report("-x")
    assert not report["complete"]
    assert result.parseoutcomes()["failed"] == 1


def test_the_lock_of_a_full_run_holds_in_a_screened_one_and_the_other_way(trained):
    made = trained(ABSOLUTE, MANY)
    lock = "--multiplicity-lock=lock.json"
    for first, second in (([], [WORDS]), ([WORDS], [])):
        (made.pytester.path / "lock.json").unlink(missing_ok=True)
        assert made.run(lock, "--multiplicity-update-lock", *first).ret == pytest.ExitCode.OK
        result = made.run(lock, *second)
        assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    locked = json.loads((made.pytester.path / "lock.json").read_text())
    (family,) = locked["families"].values()
    kept = next(name for name, verdict in family["candidates"].items() if verdict == "survivor")
    family["candidates"][kept] = "rejected by test_accuracy"
    (made.pytester.path / "lock.json").write_text(json.dumps(locked))
    assert made.run(lock, WORDS).ret == pytest.ExitCode.TESTS_FAILED


def test_diverged_candidates_are_rejected_by_training(trained):
    deep = ("nn.Linear(4, 2)", "nn.Linear(4, 4), nn.Linear(4, 2)")
    made = trained(ABSOLUTE, MANY, deep, ("[0.001]", "[1e25]"))
    _, report = made.report(WORDS)
    gone = [c for c in report["families"][0]["candidates"] if c["diverged"]]
    assert len(gone) == 4
    assert all(each["rejected_by"] == ["training"] for each in gone)
    assert all(each["judged"] + each["screened"] == 4 for each in report["families"][0]["specs"])


COSTS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.dictionaries(st.sampled_from("uvwxyz"), st.integers(1, 30)),
)


@given(COSTS, st.sets(st.sampled_from("uvwxyz")))
def test_each_spec_adds_least_of_those_left(costs, paid):
    ordered = cheapest_first(costs, paid)
    assert sorted(ordered) == sorted(costs)
    known = set(paid)
    for position, name in enumerate(ordered):
        added = [
            sum(n for logits, n in costs[each].items() if logits not in known)
            for each in ordered[position:]
        ]
        assert added[0] == min(added)
        known |= costs[name].keys()
