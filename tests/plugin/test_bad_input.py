"""Each mistake has one clear error: it names the value and the remedy, and shows no depths."""

from __future__ import annotations

import pytest

SPEC = """
    import pytest_multiplicity as pm

    def test_spec(candidate, points):
        assert {} >= 0
"""
FINE = SPEC.format("candidate.accuracy(points.test)")
RECIPE = "return pm.Recipe(net, points.train, epochs=2, batch_size=16, lr=config.lr)"
AXES = 'default={"lr": 0.1}, vary={"lr": [0.05]}, seeds=2'


def shown(result: pytest.RunResult) -> str:
    """All that was printed; what is ours in a traceback is none of the user's business."""
    text = result.stdout.str() + result.stderr.str()
    assert "pytest_multiplicity/" not in text
    assert "INTERNALERROR" not in text
    return " ".join(text.split())  # wherever lines are broken


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ('default={"lr": 0.1}, vary={"width": [32]}', "'width'"),
        ('default={"lr": 0.1}, vary={"lr": [0.1, 0.1]}', "vary['lr'] lists 0.1 twice: keep one"),
        ('default={"lr": 0.1}, seeds=0', "seeds=0"),
        ('default={"lr": 0.1}, seeds=[1, 1]', "seed"),
        ('default={"lr": 0.1}, design="cross"', "'cross'"),
        ("design=[]", "empty"),
    ],
)
def test_a_family_that_is_defined_wrongly(trained, axes, message):
    result = trained(FINE, (AXES, axes)).run()
    assert result.ret == pytest.ExitCode.INTERRUPTED  # at collection, before anything is trained
    result.assert_outcomes(errors=1)
    text = shown(result)
    assert "family 'candidate' (" in text
    assert message in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", "returned None for a candidate: did you forget to return it?"),
        ("return 3", "returned 3 for a candidate: Return a pm.Recipe"),
        ("return pm.Recipe(net, points.train, epochs=0)", "epochs is 0: give a whole number"),
        ("return pm.Recipe(net(), points.train, epochs=1)", "model is a module (Sequential)"),
        ("return pm.Recipe(net, points.train, epochs=1, lr=-1)", "lr is -1: give a finite number"),
        ("return pm.Recipe(net, None, epochs=1)", "data is a NoneType: give a pm.Data"),
    ],
)
def test_a_function_that_makes_no_candidates(trained, body, message):
    result = trained(FINE, (RECIPE, body)).run()
    result.assert_outcomes(errors=4)
    text = shown(result)
    assert message in text
    if body.startswith("return pm"):
        assert f"> {body}" in text  # the user's own line


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("inputs, targets.float()", "this is for classification, not regression"),
        ("inputs, targets[:-1]", "has 40 inputs but 39 targets"),
        ("inputs, targets - 1", "target -1 of sample 0 of 'test' is out of range"),
        ("inputs * 255, targets", "outside their bounds (0, 1): scale images to [0, 1]"),
        ("inputs * torch.nan, targets", "contain nan or infinity"),
    ],
)
def test_data_that_does_not_fit(trained, data, message):
    fixture = 'return Points(draw(60, "train", 1), draw(40, "test", 2))'
    wrong = (
        'good = draw(40, "test", 2); inputs, targets = good.inputs, good.targets\n'
        f"        return Points(draw(60, 'train', 1), pm.Data({data}, name='test'))"
    )
    result = trained(FINE, (fixture, wrong)).run()
    result.assert_outcomes(errors=4)
    assert message in shown(result)


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
    shown(result)
    sections = result.stdout.str().split("default-seed0] ____")[1:]
    for (asked, message), section in zip(ASKED, sections, strict=True):
        said = " ".join(section.partition("multiplicity ====")[0].split())
        assert message in said
        assert (f"> assert {asked} >= 0" in said) or "measured nothing" in message


def test_a_model_that_does_not_fit_the_labels(trained):
    result = trained(FINE, ("nn.Linear(4, 2)", "nn.Linear(4, 1)")).run()
    result.assert_outcomes(failed=4)
    assert "the model gives 1 classes, but the data has a target 1" in shown(result)


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
