"""What each task says of answers, against definitions written out sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor
from torch.nn import functional as F

from pytest_multiplicity.errors import DataError, MeasurementError, RecipeError
from pytest_multiplicity.tasks import (
    Classification,
    Dense,
    Multilabel,
    Nothing,
    Regression,
    Task,
    of_record,
    share_right,
    to_record,
)

RNG = torch.Generator().manual_seed(0)
K, N = 3, 8


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=RNG)


def codes(top: int, *shape: int) -> Tensor:
    return torch.randint(top, shape, generator=RNG)


# A task, answers of K models as modules give them, targets of each lane.
LANES: list[tuple[Task, Tensor, Tensor]] = [
    (Classification(), normal(K, N, 4), codes(4, K, N)),
    (Classification(), normal(K, N, 1), codes(2, K, N)),
    (Classification(), normal(K, N), codes(2, K, N)),
    (Regression(0.5), normal(K, N), normal(K, N)),
    (Regression(0.5), normal(K, N, 1), normal(K, N).double()),
    (Regression(0.5), normal(K, N, 2), normal(K, N, 2)),
    (Multilabel(), normal(K, N, 3), codes(2, K, N, 3)),
    (Dense(), normal(K, N, 3, 5), codes(3, K, N, 5)),
    (Dense(ignore=2), normal(K, N, 2, 4, 4), codes(3, K, N, 4, 4)),
]
SAID = [f"{task.name}{tuple(answers.shape)}" for task, answers, _ in LANES]


@pytest.mark.parametrize(("task", "answers", "targets"), LANES, ids=SAID)
def test_lanes_have_the_losses_of_their_batches(
    task: Task, answers: Tensor, targets: Tensor
) -> None:
    for name, loss in task.losses.items():
        if name == "binary_cross_entropy" and answers.numel() != targets.numel():
            continue  # of several logits
        alone = [loss.of_batch(z, y) for z, y in zip(answers, targets, strict=True)]
        assert all(each.ndim == 0 for each in alone)
        torch.testing.assert_close(loss.of_lanes(answers, targets), torch.stack(alone))


@pytest.mark.parametrize(("task", "answers", "targets"), LANES, ids=SAID)
def test_modules_in_training_predict_as_when_they_are_read(
    task: Task, answers: Tensor, targets: Tensor
) -> None:
    for given, truth in zip(answers, targets, strict=True):
        task.check_trainable(given, truth, truth)
        said = task.predictions(task.read_answers(given, truth, "test"))
        torch.testing.assert_close(task.predictions_in_training(given, truth), said)
        assert 0 <= share_right(task, said, truth) <= 1


def test_losses_are_those_of_torch() -> None:
    one, two = normal(N), codes(2, N)
    binary = F.binary_cross_entropy_with_logits(one, two.float())
    for loss in Classification().losses.values():
        torch.testing.assert_close(loss.of_batch(one, two), binary)
        torch.testing.assert_close(loss.of_batch(one[:, None], two), binary)
    values, truth = normal(N), normal(N)
    losses = Regression().losses
    torch.testing.assert_close(losses["mse"].of_batch(values, truth), F.mse_loss(values, truth))
    torch.testing.assert_close(
        losses["huber"].of_batch(values[:, None], truth), F.huber_loss(values, truth)
    )
    logits, masks = normal(N, 3, 5), codes(3, N, 5)
    masks[0, 1:4] = -100
    torch.testing.assert_close(
        Dense().losses["cross_entropy"].of_batch(logits, masks), F.cross_entropy(logits, masks)
    )


def test_values_are_right_within_the_tolerance_inclusive() -> None:
    task = Regression(1)
    said, truth = torch.tensor([1.0, 2.5, -1.0]), torch.tensor([2.0, 1.0, -1.0])
    assert task.right(said, truth).tolist() == [True, False, True]
    wide = torch.stack([said, truth], dim=1)
    assert task.right(wide, truth[:, None]).tolist() == [True, False, True]
    assert task.differ(wide, wide + torch.tensor([0, 1.5])).all()


def test_one_column_never_broadcasts_against_a_row() -> None:
    column, row = normal(N, 1), normal(N)
    assert Regression().read_answers(column, row, "test").shape == (N,)
    assert Regression().read_answers(row, column, "test").shape == (N, 1)
    with pytest.raises(MeasurementError, match=r"whose targets have shape \(8, 2\): return values"):
        Regression().read_answers(column, normal(N, 2), "test")
    assert Regression().read_answers(row.double(), row, "test").dtype == torch.float64


def test_answers_that_are_no_numbers() -> None:
    sick = torch.tensor([1.0, float("nan")])
    with pytest.raises(DataError, match="nan or infinity for 1 of 2 samples of 'test'"):
        Regression().check_answers(sick, sick, "test")


def test_several_labels_as_scikit_learn_counts_them() -> None:
    task, logits, truth = Multilabel(), normal(N, 3), codes(2, N, 3)
    said = task.predictions(logits)
    assert said.tolist() == [[int(each > 0) for each in row] for row in logits.tolist()]
    assert share_right(task, said, truth) == metrics.accuracy_score(truth, said)
    three = np.stack([task.predictions(normal(N, 3)).numpy() for _ in range(K)])
    apart = [any((a[i] != b[i]).any() for a in three for b in three) for i in range(N)]
    assert task.said(three).ambiguity() == np.mean(apart)
    for label, part in task.parts(three).items():
        assert part.ambiguity() == (three[..., label] != three[0, :, label]).any(axis=0).mean()
    assert Multilabel(("rain", "wind")).shown([1, 1]) == "{rain, wind}"


def test_dense_labels_count_by_position_without_the_ignored() -> None:
    task, logits, truth = Dense(), normal(N, 3, 5), codes(3, N, 5)
    truth[0] = -100
    truth[1, :3] = -100
    said = task.predictions(logits)
    right = [
        int(said[i, j]) == int(truth[i, j]) for i in range(N) for j in range(5) if truth[i, j] >= 0
    ]
    assert share_right(task, said, truth) == pytest.approx(np.mean(right))
    three = np.stack([said.numpy(), task.predictions(normal(N, 3, 5)).numpy()])
    apart = (three[0] != three[1])[truth.numpy() >= 0]
    assert task.said(three, truth.numpy()).disagreement() == pytest.approx(apart.mean())


@pytest.mark.parametrize(
    ("task", "given"),
    [
        (Regression(), normal(N)),
        (Nothing(0.5), normal(N)),
        (Multilabel(), codes(2, N, 3)),
        (Dense(), codes(2, N, 3)),
        (Classification(), codes(2, N)),
        (Nothing(), codes(2, N)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_answers_without_logits_have_no_probabilities(task: Task, given: Tensor) -> None:
    assert not task.has_probabilities(given)
    assert not task.has_logits(given)
    for ask in (task.probabilities, task.channels):
        with pytest.raises(MeasurementError, match="need logits"):
            ask(given)


@pytest.mark.parametrize(
    ("task", "answers"),
    [
        (Classification(), normal(K, N, 4)),
        (Classification(), codes(4, K, N)),
        (Regression(0.5), normal(K, N)),
        (Multilabel(), normal(K, N, 3)),
        (Multilabel(), codes(2, K, N, 3)),
        (Dense(), normal(K, N, 3, 5)),
        (Dense(), codes(3, K, N, 5)),
        (Nothing(), normal(K, N, 4)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_vote_is_what_most_say(task: Task, answers: Tensor) -> None:
    vote = task.vote(list(answers))
    said = torch.stack([task.predictions(each) for each in answers])
    if isinstance(task, Regression):
        torch.testing.assert_close(vote.said, said.mean(0))
        near = (said - said.mean(0)).abs() <= 0.5
        torch.testing.assert_close(vote.agreement, near.float().mean(0))
    else:
        flat, most = said.reshape(K, -1), vote.said.reshape(-1)
        for unit, winner in enumerate(most.tolist()):
            counts = flat[:, unit].bincount(minlength=5)
            assert counts[winner] == counts.max()
        alone = task.vote([answers[0]] * 3)
        torch.testing.assert_close(alone.said, said[0])
        assert alone.agreement.tolist() == [1.0] * N
    assert vote.agreement.shape == (N,)


TASKS: list[Any] = [
    Classification(("a", "b")),
    Classification(),
    Regression(0.5),
    Regression(),
    Multilabel(("x",)),
    Dense(7),
    Nothing(),
    Nothing(2.0),
]


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_other_processes_know_the_task(task: Task) -> None:
    assert of_record(to_record(task)) == task
    hash(task)


def test_what_a_recipe_cannot_learn_from() -> None:
    for task, given, truth in (
        (Regression(), normal(N, 2), normal(N)),
        (Multilabel(), normal(N, 2), codes(2, N, 3)),
        (Dense(), normal(N, 5), codes(2, N, 5)),
        (Dense(), normal(N, 2, 5), codes(2, N, 5) + 3),
        (Nothing(), normal(N, 2), codes(1, N)),
    ):
        with pytest.raises(RecipeError):
            task.check_trainable(given, truth, truth)


def test_positions_and_classes_that_can_be_mistaken_are_told() -> None:
    tags = codes(3, N, 3)
    square, wide = normal(N, 3, 3), normal(N, 5, 3)
    assert Dense().doubts_about(wide, "tags", targets=tags) is None
    assert Dense().doubts_about(square[:, 0], "tags", targets=tags) is None
    told = Dense().doubts_about(square, "tags", targets=tags)
    assert "fit two readings: they are taken for logits with the classes first" in str(told)
    masks = codes(2, N, 4, 4)
    assert Dense().doubts_about(normal(N, 2, 4, 4), "masks", targets=masks) is None
    assert "two readings" in str(Dense().doubts_about(normal(N, 4, 4, 4), "m", targets=masks))
    with pytest.raises(MeasurementError, match=r"are probabilities: .* sum to 1 at every"):
        Dense().doubts_about(wide.softmax(1), "tags", targets=tags)
    with pytest.raises(MeasurementError, match=r"\[batch, classes, 3\], as by .movedim\(-1, 1\)"):
        Dense().read_answers(normal(N, 3, 5), tags, "tags")


def test_ignored_positions_never_count() -> None:
    said, other = codes(3, N, 5), codes(3, N, 5)
    targets = codes(3, N, 5)
    targets[:, 3:] = -100
    shares, counted = Dense().by_sample((said != other)[None], targets)
    assert counted is not None
    assert counted.tolist() == [3] * N
    torch.testing.assert_close(shares[0], (said != other)[:, :3].float().mean(1))
