"""Each mistake has one clear error: it names the value and the remedy, and shows no depths."""

from __future__ import annotations

import re

import pytest

SPEC = """
    import pytest_multiplicity as pm

    def test_spec(candidate, points):
        assert {} >= 0
"""
FINE = SPEC.format("candidate.accuracy(points.test)")
RECIPE = "return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)"
AXES = 'default={"lr": 0.1}, vary={"lr": [0.05]}, seeds=2'


def sections(result: pytest.RunResult, title: str) -> list[str]:
    """What was said of each error, in order, wherever lines were broken."""
    shown(result)
    parts = re.split(rf"\n_+ {title}.*_+\n", result.stdout.str())[1:]
    return [" ".join(part.partition("multiplicity ====")[0].split()) for part in parts]


def shown(result: pytest.RunResult) -> str:
    """All that was printed; what is ours in a traceback is none of the user's business."""
    text = result.stdout.str() + result.stderr.str()
    assert "pytest_multiplicity/" not in text
    assert "INTERNALERROR" not in text
    return " ".join(text.split())  # wherever lines are broken


DEFINED = [
    ('default={"lr": 0.1}, vary={"width": [32]}', "'width'"),
    ('default={"lr": 0.1}, vary={"lr": [0.1, 0.1]}', "vary['lr'] lists 0.1 twice: keep one"),
    ('default={"lr": 0.1}, seeds=0', "seeds=0 makes an empty family: give one seed or more"),
    ('default={"lr": 0.1}, seeds=[1, 1]', "seeds lists 1 twice: keep one"),
    ('default={"lr": 0.1}, design="cross"', "design='cross': choose 'star', 'grid' or a list"),
    ("design=[]", "design=[] makes an empty family: list one configuration or more"),
]


def test_families_that_are_defined_wrongly(trained):
    """Found at collection, before anything is trained."""
    made = trained(FINE)
    conftest = (made.pytester.path / "conftest.py").read_text()
    for i, (axes, _) in enumerate(DEFINED):
        folder = made.pytester.mkdir(f"sub{i}")
        (folder / "conftest.py").write_text(conftest.replace(AXES, axes))
        (folder / f"test_{i}.py").write_text("def test_spec(candidate): ...\n")
    result = made.run("--continue-on-collection-errors")
    result.assert_outcomes(errors=len(DEFINED), passed=4)
    for (_, message), said in zip(DEFINED, sections(result, "ERROR collecting"), strict=True):
        assert "family 'candidate' (" in said
        assert message in said


MADE = [
    ("pass", "returned None for a candidate: did you forget to return it?"),
    ("return 3", "returned 3 for a candidate: Return a pm.Recipe"),
    ("return pm.Recipe(net, points.train, epochs=0)", "epochs is 0: give a whole number"),
    ("return pm.Recipe(net(), points.train, epochs=1)", "model is a module (Sequential)"),
    ("return pm.Recipe(net, points.train, epochs=1, lr=-1)", "lr is -1: give a finite number"),
    ("return pm.Recipe(net, None, epochs=1)", "data is a NoneType: give a pm.Data"),
]


def test_functions_that_make_no_candidates(trained):
    families = "".join(
        f"@pm.family(seeds=1)\n    def family_{i}(config, points):\n        {body}\n    "
        for i, (body, _) in enumerate(MADE)
    )
    specs = "\n".join(
        f"def test_{i}(family_{i}, points):\n    family_{i}.accuracy(points.test)"
        for i in range(len(MADE))
    )
    result = trained(specs, ("@pm.family(default", f"{families}@pm.family(default")).run()
    result.assert_outcomes(errors=len(MADE))
    for (body, message), said in zip(MADE, sections(result, "ERROR at setup"), strict=True):
        assert message in said
        assert f"> {body}" in said or not body.startswith("return pm")  # the user's own line


DATA = [
    ("inputs, targets.float()", "are floats, and all 0 or 1: say task="),
    ("inputs, targets[:-1]", "has 40 inputs but 39 targets"),
    ("inputs, targets - 1", "target -1 of sample 0 of 'test' is out of range"),
    ("inputs * 255, targets", "outside their bounds (0, 1): scale images to [0, 1]"),
    ("inputs * torch.nan, targets", "contain nan or infinity"),
]


def test_data_that_does_not_fit(trained):
    fixtures = "\n".join(
        "@pytest.fixture\n"
        f"def data_{i}(points):\n"
        "    inputs, targets = points.test.inputs, points.test.targets\n"
        f"    return pm.Data({data}, name='test', bounds=(0, 1))\n"
        for i, (data, _) in enumerate(DATA)
    )
    specs = "\n".join(
        f"def test_{i}(candidate, data_{i}):\n    candidate.accuracy(data_{i})"
        for i in range(len(DATA))
    )
    head = "import pytest\nimport torch\nimport pytest_multiplicity as pm\n\n"
    result = trained(head + fixtures + specs).run("-k", "default-seed0")
    result.assert_outcomes(errors=len(DATA), deselected=3 * len(DATA))
    for (data, message), said in zip(DATA, sections(result, "ERROR at setup"), strict=True):
        assert message in said
        assert f"> return pm.Data({data}, name='test', bounds=(0, 1))" in said


ASKED = [
    (
        "candidate.accuracy(pm.Data(points.test.inputs, points.test.targets + 3, name='odd'))",
        "targets of 'odd' go up to 4 (40 samples are out of range), but the model gives 2 logits",
    ),
    ("candidate.privacy(points.train)", "was trained on all of 'train': give non-members"),
    ("candidate.accuracy(points.test.where('sex == 1'))", "'sex'"),
    ("candidate.accuracy(points.test.where('age > 99'))", "age > 99"),
    ("candidate.accuracy(points.test, under=pm.Group('age > 99'))", "age > 99"),
    ("candidate.accuracy(points.test, under=pm.Group('sex == 1'))", "'sex'"),
    ("candidate.accuracy(points.test, under=pm.PGD(-0.1))", "-0.1"),
    ("candidate.accuracy(points.test, under=pm.PGD(3))", "3"),
    ("candidate.accuracy(points.test, under=pm.PGD)", "give its parameters, as in PGD(...)"),
    ("candidate.accuracy(points.test, under='age > 9')", "Group('age > 9')"),
    (
        "candidate.accuracy(points.test, under=pm.OutputNoise(1) | pm.PGD(0.1))",
        "PGD(0.1) changes the input, but stands after OutputNoise(1)",
    ),
    (
        "candidate.accuracy(points.test, under=pm.Corrupt(lambda x: x[1:]))",
        "must keep the number of samples",
    ),
    ("candidate.accuracy('test')", "'test' is no pm.Data"),
    ("candidate.measure(lambda z, y: z, points.test, name='all')", "shape (40, 2)"),
    (
        "candidate.measure(lambda z, y: float('nan'), points.test, name='no')",
        "no on test is nan",
    ),
    ("candidate.measure(lambda z, y: 0.5, points.test)", "has no name for the sheets"),
    ("candidate.accuracy(points.test).interval(1.5)[0]", "confidence=1.5"),
    ("candidate.accuracy(points.test).in_top(2)", "2"),
    ("candidate.accuracy(points.test).within(-1)", "-1"),
    ("candidate.score('accuracy')", "these candidates are models"),
    ("len(candidate.id)", " measured nothing: a spec asks its candidate for a score"),
]


def test_specs_that_ask_wrongly(trained):
    """All in one run: each has a section with the user's own line and the message."""
    specs = "\n".join(
        f"def test_{i:02}(candidate, points):\n    assert {asked} >= 0\n"
        for i, (asked, _) in enumerate(ASKED)
    )
    result = trained("import pytest_multiplicity as pm\n" + specs).run("-k", "default-seed0")
    result.assert_outcomes(failed=len(ASKED), deselected=3 * len(ASKED))
    for (asked, message), said in zip(ASKED, sections(result, "test_"), strict=True):
        assert message in said
        assert (f"> assert {asked} >= 0" in said) or "measured nothing" in message


def test_a_model_that_does_not_fit_the_labels(trained):
    result = trained(
        FINE, ("return pm.Data(inputs, targets,", "return pm.Data(inputs, targets * 2,")
    ).run()
    result.assert_outcomes(failed=4)
    assert "the model gives 2 classes, but the data has a target 2" in shown(result)


def test_errors_of_others_are_shown_whole(trained):
    specs = """
    import pytest_multiplicity as pm

    def breaks(batch):
        raise RuntimeError("in a transform")

    def test_spec(candidate, points):
        assert candidate.accuracy(points.test, under=pm.Corrupt(breaks)) >= 0
    """
    result = trained(specs).run("-k", "default-seed0")
    result.stdout.fnmatch_lines(['*raise RuntimeError("in a transform")', "E*RuntimeError*"])


def test_full_trace_shows_the_depths(trained):
    result = trained(SPEC.format("candidate.score('accuracy')")).run("--full-trace", "-k", "seed0")
    assert "pytest_multiplicity/evaluation" in result.stdout.str()


def test_the_short_summary_has_the_message(trained):
    result = trained(SPEC.format("candidate.score('accuracy')")).run("-k", "default-seed0")
    result.stdout.fnmatch_lines(
        ["FAILED test_specs.py::test_spec[[]default-seed0[]] - *score('acc*"]
    )
    result = trained(FINE, (RECIPE, "pass")).run("-k", "default-seed0")
    result.stdout.fnmatch_lines(
        ["ERROR test_specs.py::test_spec[[]default-seed0[]] - *family 'can*"]
    )


def test_a_report_that_cannot_be_written_is_known_before_training(trained, monkeypatch):
    made = trained(FINE)
    (made.pytester.path / "folder").mkdir()
    result = made.run("--multiplicity-json=folder")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--multiplicity-json: can't write '*folder': *"])
    assert not (made.pytester.path / ".multiplicity").exists()
