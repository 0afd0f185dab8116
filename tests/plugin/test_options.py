from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pytest_multiplicity.plugin import options


@pytest.mark.usefixtures("all_plugins", "new_interpreters")
def test_a_repository_without_families_sees_nothing(pytester):
    pytester.makepyfile("def test_one():\n    pass\n")
    with_plugin = pytester.runpytest_subprocess("-p", "no:randomly")
    assert "multiplicity" not in with_plugin.stdout.str().replace("multiplicity-0", "")
    assert not (pytester.path / ".multiplicity").exists()


@pytest.mark.usefixtures("all_plugins", "new_interpreters")
def test_a_repository_without_families_imports_nothing_heavy(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_one():
            heavy = {"torch", "numpy", "pandas", "scipy", "rich"} & set(sys.modules)
            assert not heavy
        """
    )
    others = [
        "randomly",
        "html",
        "metadata",
        "cov",
        "benchmark",
        "rerunfailures",
        "hypothesispytest",
    ]
    off = [each for name in others for each in ("-p", f"no:{name}")]
    pytester.runpytest_subprocess(*off).assert_outcomes(passed=1)


def test_the_package_alone_imports_nothing_heavy():
    code = (
        "import sys, pytest_multiplicity as pm\n"
        "assert not {'torch', 'numpy', 'pandas'} & set(sys.modules), sys.modules.keys()\n"
        "assert 'family' in dir(pm)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_public_names_are_attribute_errors():
    import pytest_multiplicity as pm

    with pytest.raises(AttributeError, match="has no attribute 'familly'"):
        pm.familly  # noqa: B018


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--multiplicity-seeds=0"], "--multiplicity-seeds: '0' is no count"),
        (["--multiplicity-seeds=many"], "--multiplicity-seeds: 'many' is no count"),
        (["--multiplicity-sheets=all"], "'all' is not one of none, summary, full"),
        (["--multiplicity-json=conftest.py/x.json"], "--multiplicity-json: can't write"),
        (["-o", "multiplicity_partial=maybe"], "multiplicity_partial: 'maybe' is not one of skip"),
        (["-o", "multiplicity_undecided=x"], "'x' is not one of keep, reject, fail"),
        (["-o", "multiplicity_independence=no"], "'no' is not one of check, trust"),
        (["-o", "multiplicity_same_data=x"], "'x' is not one of warn, error"),
        (
            ["--multiplicity-device=gpu"],
            "--multiplicity-device: 'gpu' can't be used here",
        ),
        (["--multiplicity-device=cuda:99"], "--multiplicity-device: 'cuda:99' can't be used here"),
        (["-o", "multiplicity_device=tpu"], "--multiplicity-device: 'tpu' can't be used here"),
        (["--multiplicity-store=conftest.py"], "--multiplicity-store: can't write"),
        (["--multiplicity-store=conftest.py/x"], "--multiplicity-store: can't write"),
        (["--multiplicity-store=dangling"], "--multiplicity-store: can't write"),
    ],
)
def test_bad_options_are_usage_errors(project, args, message):
    made = project()
    (made.pytester.path / "dangling").symlink_to("nowhere")
    result = made.run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str() + result.stdout.str()
    assert "Traceback" not in result.stderr.str()


def test_no_option_is_off_by_an_empty_text_unless_that_turns_its_ini_twin_off(pytester):
    taken = [name for name, row in options.ROWS.items() if row.metavar]
    assert len(taken) >= 12
    for name in taken:
        config = pytester.parseconfig(f"--multiplicity-{name}=")
        with pytest.raises(
            pytest.UsageError, match=rf"--multiplicity-{name}: '' is no .* give one"
        ):
            options.read(config)
    pytester.makeini("[pytest]\nmultiplicity_lock = a.lock\n")
    assert options.read(pytester.parseconfig()).lock == pytester.path / "a.lock"
    assert options.read(pytester.parseconfig("--multiplicity-lock=")).lock is None


def test_ini_twins(project):
    made = project()
    made.pytester.makeini("[pytest]\nmultiplicity_seeds = 2\nmultiplicity_json = out/ini.json\n")
    made.run()
    report = json.loads((made.pytester.path / "out/ini.json").read_text())
    assert report["families"][0]["seeds"] == [0, 1]
    made.run("--multiplicity-seeds=1")
    report = json.loads((made.pytester.path / "out/ini.json").read_text())
    assert report["families"][0]["seeds"] == [0]


def test_collect_only_lists_candidates_first_in_the_brackets(project):
    result = project().run("--collect-only", "-q")
    assert "test_specs.py::test_accuracy[default-seed0]" in result.outlines
    assert "multiplicity" not in result.stdout.str()


@pytest.mark.parametrize(
    ("args", "lines"),
    [([], None), (["-q"], 1), (["-qq"], 0), (["--no-summary"], 0), (["-v"], None)],
)
def test_verbosity(project, args, lines):
    out = project().run(*args).stdout.str()
    if lines == 0:
        assert "survive" not in out
    elif lines == 1:
        assert len([line for line in out.splitlines() if line.startswith("multiplicity")]) == 1
        assert "specification" not in out
    else:
        assert "candidates survive" in out
        assert ("seed" in out and "default" in out) or "-v" not in args


def test_sheets_option_shows_the_tables(project):
    assert "lr" in project().run("--multiplicity-sheets=full").stdout.str()


def test_selection_by_name_and_marker(project):
    made = project()
    assert made.run("-k", "test_group and default").parseoutcomes()["rejected"] == 1
    assert made.run("-m", "unforeseen").parseoutcomes()["measured"] == 6


def test_junitxml_has_a_case_for_every_pair(project):
    made = project()
    made.run("--junitxml=junit.xml")
    from xml.etree import ElementTree

    suite = ElementTree.parse(made.pytester.path / "junit.xml").getroot()[0]
    assert suite.attrib["tests"] == "20"
    assert suite.attrib["failures"] == "0"
    assert suite.attrib["skipped"] == "4"
    skipped = [case for case in suite if case.find("skipped") is not None]
    assert "rejected: " in skipped[0].find("skipped").attrib["message"]


def test_everything_at_once_in_the_short_summary(project):
    result = project().run("-rA")
    result.stdout.fnmatch_lines(["REJECTED test_accuracy[[]default-seed0[]] *"])
    result.stdout.fnmatch_lines(["PASSED test_specs.py::test_ordinary"])


@pytest.mark.usefixtures("all_plugins")
def test_without_the_plugin_specs_are_skipped(project):
    made = project("def test_spec(candidate):\n    assert 0\n\ndef test_other():\n    pass\n")
    result = made.run("-p", "no:multiplicity")
    result.assert_outcomes(skipped=1, passed=1)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ("def test_x(candidate, survivors):\n    pass\n", "takes survivors and the family"),
        (
            "import pytest\n@pytest.mark.family('other')\ndef test_x(survivors):\n    pass\n",
            "is marked family('other'), which it can't see; it sees candidate",
        ),
    ],
)
def test_collection_errors_are_clean(project, specs, message):
    result = project(specs).run()
    assert message in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    result.assert_outcomes(errors=1)


def test_two_families_in_one_spec_are_refused(project):
    family = """
        import pandas as pd, pytest_multiplicity as pm
        t = pd.DataFrame({"lr": [1], "seed": [0], "a": [50.0]})
        one, two = pm.recorded(t, default={"lr": 1}), pm.recorded(t, default={"lr": 1})
    """
    result = project("def test_x(one, two):\n    pass\n", family).run()
    result.stdout.fnmatch_lines(["*test_x takes two families, 'one' and 'two'*"])


def test_a_bad_table_is_one_clean_collection_error(project):
    family = """
        import pytest_multiplicity as pm
        candidate = pm.recorded("missing.csv", default={"lr": 1})
    """
    result = project("def test_x(candidate):\n    pass\n", family).run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*family 'candidate' (*conftest.py:*): can't read the scores*"])
    assert "Traceback" not in result.stdout.str()


def test_parametrized_dependencies_are_refused(project):
    family = """
        import pytest
        import pytest_multiplicity as pm

        @pytest.fixture(scope="session", params=[1, 2])
        def size(request):
            return request.param

        @pytest.fixture
        def narrow():
            return 1

        @pm.family(default={"lr": 1})
        def candidate(config, size):
            return None

        @pm.family(default={"lr": 1})
        def other(config, narrow):
            return None
    """
    result = project("def test_x(candidate):\n    pass\n", family).run()
    result.stdout.fnmatch_lines(["*needs the fixture 'size', which is parametrized: make that*"])
    result = project("def test_x(other):\n    pass\n", family).run()
    result.stdout.fnmatch_lines(["*needs the fixture 'narrow', whose scope is function: make it*"])
