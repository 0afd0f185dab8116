"""What comes out of a model: logits, labels, probabilities and estimators, told apart."""

from __future__ import annotations

import re
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from support.bench import bench
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import InterventionError, MeasurementError
from pytest_multiplicity.inference.answers import answering, tensor_of, toward
from pytest_multiplicity.inference.estimators import Estimator, is_estimator
from pytest_multiplicity.tasks import Classification

__all__ = ["bench"]

Z = torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.25]])
Tagged = namedtuple("Tagged", "logits aux")  # as torchvision has them


@dataclass
class Output:
    logits: torch.Tensor
    loss: None = None


def named(names, n=90, seed=0):
    """Three classes with names, told apart by their inputs."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(len(names), size=n)
    inputs = rng.normal(size=(n, 2)) + 3 * np.eye(3)[targets][:, :2]
    data = pm.Data(inputs.astype("f"), targets, name="named", bounds=None)
    data.task = Classification(tuple(names))
    return data, inputs.astype("f"), np.asarray(names)[targets]


@pytest.mark.parametrize(
    "given",
    [
        Z,
        Z.numpy(),
        Z.tolist(),
        list(Z),
        Output(Z),
        Tagged(Z, Z + 1),
        {"logits": Z, "hidden_states": None},
        {"out": Z},
        (Z, "state"),
        (Z.numpy(), None),
        pd.DataFrame(Z.numpy()),
    ],
    ids=lambda given: type(given).__name__,
)
def test_answers_are_found_in_whatever_holds_them(given):
    found = tensor_of(given, 3)
    torch.testing.assert_close(found.float(), Z)


def test_what_holds_none_is_said():
    with pytest.raises(MeasurementError, match="returned dict: return a tensor or an array"):
        tensor_of({"hidden": Z}, 3)
    with pytest.raises(MeasurementError, match=r"shape \(3, 2\) for a batch of 4"):
        tensor_of(Z, 4)
    assert tensor_of(torch.tensor(0.5), 1).shape == (1,)  # squeezed too far


def test_one_logit_is_that_of_the_second_class():
    targets, task = torch.tensor([0, 1, 1]), Classification()
    for z in (Z[:, 1], Z[:, 1:]):
        found = task.read_answers(z, targets, "d")
        assert found.tolist() == [[0, 1], [0, -1], [0, 0.25]]
        assert task.predictions(found).tolist() == [1, 0, 1]
        torch.testing.assert_close(task.probabilities(found)[:, 1], torch.sigmoid(Z[:, 1]))
    with pytest.raises(MeasurementError, match="targets go up to 2: one logit tells two classes"):
        task.read_answers(Z[:, :1], torch.tensor([0, 1, 2]), "d")


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_ints_and_bools_are_labels(dtype):
    task, said = Classification(), torch.tensor([0, 1, 1])
    found = task.read_answers(said.to(dtype), said, "d")
    assert found.dtype == torch.int64
    assert torch.equal(task.predictions(found), said)
    with pytest.raises(MeasurementError, match="probabilities need logits"):
        task.probabilities(found)
    with pytest.raises(InterventionError, match=r"OutputNoise.* is noise on logits"):
        pm.OutputNoise(1).expected_correct(found, said)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.tensor([[0.2, 0.8], [0.9, 0.1]]), r"probabilities: .*at most 0.73"),
        (torch.tensor([[0.2, 0.7, 0.1], [0.9, 0.05, 0.05]]), r"at most 0.58"),
        (torch.tensor([0.2, 0.8, 0.9]), "probabilities: one number for each sample"),
        (torch.tensor([[0.2], [0.8]]), r"torch.logit\(p\)"),
    ],
)
def test_probabilities_are_never_taken_for_logits(given, said):
    with pytest.raises(MeasurementError, match=said):
        Classification().doubts_about(given, "d")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "0 and 1 alone.*ints"),
        (torch.tensor([1.0, 0.0, 0.0]), "0 and 1 alone: they are taken for one logit"),
        (torch.tensor([[0.3, 0.7]] * 3), "the same for every sample"),
        (torch.tensor([0.6, 0.7]), r"all in \[0, 1\]: they are taken for one logit"),
        (Z, None),
        (torch.tensor([1, 0]), None),
        (torch.tensor([[0.2, 0.8]]), None),  # one sample tells too little
    ],
)
def test_what_fits_two_readings_is_said(given, said):
    found = Classification().doubts_about(given, "d")
    assert found is None if said is None else re.search(said, found)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        LinearSVC(),
        Perceptron(),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("names", [("c", "a", "b"), ("b", "a")])
def test_classes_of_an_estimator_are_matched_by_name(estimator, names):
    data, inputs, labels = named(names)
    fitted = estimator.fit(inputs, labels)  # its classes_ are sorted: another order
    found = toward(answering(fitted), data)(torch.as_tensor(inputs))
    said = np.asarray(names)[data.task.predictions(found).numpy()]
    assert (said == fitted.predict(inputs)).all()
    if hasattr(fitted, "predict_proba"):
        order = [list(fitted.classes_).index(name) for name in names]
        expected = fitted.predict_proba(inputs)[:, order]
        np.testing.assert_allclose(data.task.probabilities(found), expected, atol=1e-6)


def test_a_class_that_was_never_seen_in_training_gets_no_probability():
    data, inputs, labels = named(("c", "a", "b"))
    seen = labels != "a"
    fitted = LogisticRegression().fit(inputs[seen], labels[seen])
    found = toward(answering(fitted), data)(torch.as_tensor(inputs))
    assert (data.task.probabilities(found)[:, 1] == 0).all()
    plain = pm.Data(inputs, data.targets, name="codes", bounds=None)
    fitted = LogisticRegression().fit(inputs[data.targets > 0], data.targets[data.targets > 0])
    found = toward(answering(fitted), plain)(torch.as_tensor(inputs))
    assert found.shape == (90, 3)
    assert (found[:, 0] == -torch.inf).all()


def test_classes_that_cannot_be_matched_are_an_error():
    data, inputs, labels = named(("c", "a", "b"))
    other = LogisticRegression().fit(inputs, np.where(labels == "a", "z", labels))
    with pytest.raises(MeasurementError, match="class 'z', and 'named' has 'c', 'a', 'b'"):
        toward(answering(other), data)(torch.as_tensor(inputs))
    plain = pm.Data(inputs, data.targets, name="codes", bounds=None)
    with pytest.raises(MeasurementError, match="targets of 'codes' have no names"):
        toward(answering(other), plain)(torch.as_tensor(inputs))


def test_an_estimator_that_was_fitted_on_the_codes_of_named_classes():
    data, inputs, _ = named(("c", "a", "b"))
    fitted = LogisticRegression().fit(inputs, data.targets)
    found = toward(answering(fitted), data)(torch.as_tensor(inputs))
    assert (data.task.predictions(found).numpy() == fitted.predict(inputs)).all()


def test_a_callable_may_answer_with_names():
    data, inputs, labels = named(("c", "a", "b"))
    for answer in (labels, labels.tolist(), pd.Series(labels), pd.Categorical(labels)):
        found = toward(answering(lambda _, answer=answer: answer), data)(torch.as_tensor(inputs))
        assert torch.equal(found, data.targets)
    frame = pd.DataFrame({"b": labels == "b", "c": labels == "c"}).astype(float)
    found = toward(answering(lambda _: frame), data)(torch.as_tensor(inputs))
    assert (found[:, 1] == -torch.inf).all()
    with pytest.raises(MeasurementError, match="names a class 'z'"):
        toward(answering(lambda _: ["z"] * 90), data)(torch.as_tensor(inputs))


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(5, random_state=0),
        KNeighborsClassifier(5),
        OneVsRestClassifier(LogisticRegression()),
        MultiOutputClassifier(LogisticRegression()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_estimator_of_several_labels_gives_a_logit_for_each(estimator):
    inputs = np.random.default_rng(0).random((80, 4)).astype("f")
    labels = np.stack([inputs[:, 0] > 0.5, inputs[:, 1] + inputs[:, 2] > 1, inputs[:, 0] > 2], 1)
    if not isinstance(estimator, RandomForestClassifier | KNeighborsClassifier):
        labels = labels[:, :2]  # others mind a label that nobody has
    fitted = estimator.fit(inputs, labels.astype(int))
    data = pm.Data(inputs, labels.astype(int), name="tags", task="multilabel")
    found = toward(answering(fitted), data)(torch.as_tensor(inputs))
    sure = fitted.predict_proba(inputs)
    if isinstance(sure, list):
        sure = np.stack([p[:, 1] if p.shape[1] == 2 else np.zeros(80) for p in sure], 1)
    np.testing.assert_allclose(torch.as_tensor(found).sigmoid(), sure, atol=1e-6)
    said = data.task.predictions(torch.as_tensor(found)).numpy()
    assert (said == fitted.predict(inputs)).mean() > 0.99  # of ties either may win


def test_names_of_targets_are_those_of_an_estimator():
    _, inputs, labels = named(("c", "a", "b"))
    fitted = LogisticRegression().fit(inputs, labels)
    for targets in (labels, pd.Categorical(labels, ["c", "a", "b", "d"])):
        data = pm.Data(inputs, targets, name="text", bounds=None)
        found = toward(answering(fitted), data)(torch.as_tensor(inputs))
        said = np.asarray(data.task.names)[data.task.predictions(found).numpy()]
        assert (said == fitted.predict(inputs)).all()


def test_a_regressor_predicts():
    fitted = LinearRegression().fit(np.arange(6.0).reshape(3, 2), [0.0, 1.0, 2.0])
    data = pm.Data(torch.zeros(2, 2), [0, 1], name="d", bounds=None)
    found = toward(answering(fitted), data)(torch.zeros(2, 2))
    assert found.dtype == torch.float64
    assert found.shape == (2,)


def test_columns_of_a_frame_are_matched_by_name():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["a", "b"])
    model = LogisticRegression().fit(frame, frame["a"] > 0)
    ask = Estimator(model)

    answers = ask(frame[["b", "a"]]).values
    assert answers.equal(torch.from_numpy(model.predict_log_proba(frame)))
    with pytest.raises(MeasurementError, match="fitted on columns that the inputs lack: 'b'"):
        ask(frame.rename(columns={"b": "B"}))
    with pytest.raises(MeasurementError, match="not fitted on these columns of the inputs: 'c'"):
        ask(frame.assign(c=1))
    takes = make_pipeline(make_column_transformer(("passthrough", ["a"])), LogisticRegression())
    takes.fit(frame, frame["a"] > 0)
    assert Estimator(takes)(frame.assign(c=1)[["c", "b", "a"]]).values.shape == (20, 2)


def test_what_an_estimator_is():
    assert is_estimator(LogisticRegression())
    assert not is_estimator(LogisticRegression)
    assert not is_estimator(nn.Linear(1, 1))
    assert not is_estimator(lambda x: x)


def test_a_family_of_estimators_is_measured(bench):
    inputs, targets = bench.train.inputs.flatten(1).numpy(), bench.train.targets.numpy()

    def fit(config):
        return LogisticRegression(C=10.0**config.seed).fit(inputs, targets)

    flat = pm.Data(bench.test.inputs.flatten(1), bench.test.targets, name="flat")
    family = bench.family(fit, seeds=2)
    for candidate, seed in zip(family.candidates, (0, 1), strict=False):
        fitted = LogisticRegression(C=10.0**seed).fit(inputs, targets)
        expected = fitted.score(flat.inputs.numpy(), flat.targets.numpy())
        assert candidate.accuracy(flat) == pytest.approx(expected)
        probabilities = fitted.predict_proba(flat.inputs.numpy())
        np.testing.assert_allclose(candidate.probabilities(flat), probabilities, atol=1e-6)
    assert family.candidates[0].accuracy(flat, under=pm.OutputNoise(1)) <= 1
    assert family.facts().warnings == ()


def test_a_family_of_single_logits_is_measured_and_attacked(bench):
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0)) for _ in range(4)]

    class Two(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            z = self.net(x).reshape(len(x), 1)
            return torch.cat([torch.zeros_like(z), z], 1)

    family = bench.family(lambda config: nets[config.seed], seeds=4, vary={})
    twos = bench.family(lambda config: Two(nets[config.seed]), seeds=4, vary={})
    attack = pm.Attack(lambda model: lambda x, y: _step(model, x, y), name="step")
    for one, two in zip(family.candidates, twos.candidates, strict=True):
        assert torch.equal(one.logits(bench.test), two.logits(bench.test))
        for under in (None, pm.PGD(0.05), pm.OutputNoise(0.1), attack):
            assert one.accuracy(bench.test, under=under) == two.accuracy(bench.test, under=under)


def _step(model, inputs, labels):
    inputs.requires_grad_()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    return (inputs + 0.05 * inputs.grad.sign()).clamp(0, 1).detach()


def test_hard_labels_are_measured_and_what_needs_logits_says_so(bench):
    family = bench.family(lambda config: lambda x: x.flatten(1).mean(1) > 0.4 + 0.1 * config.seed)
    candidate = family.candidates[0]
    said = bench.test.inputs.flatten(1).mean(1) > 0.4
    assert torch.equal(candidate.predictions(bench.test), said.long())
    right = (said == bench.test.targets).float().mean()
    assert candidate.accuracy(bench.test) == pytest.approx(float(right))
    for ask in (
        lambda: candidate.probabilities(bench.test),
        lambda: candidate.accuracy(bench.test, under=pm.PGD(0.1)),
        lambda: candidate.accuracy(bench.test, under=pm.OutputNoise(1)),
        lambda: pm.Survivors(family, [0, 1]).viable_prediction_range(bench.test),
    ):
        with pytest.raises(pm.MultiplicityError, match="logits"):
            ask()
    assert pm.Survivors(family, [0, 1]).ambiguity(bench.test) >= 0


def test_odd_answers_are_said_once_and_again_from_the_store(bench):
    weights = torch.zeros(4, 2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.copy_(weights.T)
    for ask in ("logits", "accuracy", "logits", "accuracy"):
        family = bench.family(lambda config: net, seeds=1, vary={})
        getattr(family.candidates[0], ask)(bench.test)
        getattr(family.candidates[0], ask)(bench.test)
        (told,) = family.facts().warnings
        assert "default-seed0: answers about 'test' are the same for every sample" in told


def test_values_are_read_in_the_shape_of_the_targets(bench):
    inputs = bench.test.inputs.flatten(1)
    data = pm.Data(inputs, 1000 * inputs[:, 0], name="prices", tolerance=1.0)
    family = bench.family(lambda config: lambda x: 1000 * x[:, :1], vary={}, seeds=1)
    candidate = family.candidates[0]  # right to the cent, in a column
    assert candidate.predictions(data).shape == data.targets.shape
    score = candidate.measure("mae", data)
    assert score < 1e-3
    assert not score.metric.higher_is_better
    assert candidate.measure(lambda z, y: (z - y).abs().mean(), data, name="own") < 1e-3
    assert 0 <= candidate.consistency(data, under=pm.Corrupt(torch.add, other=0.01)) <= 1
