"""Classification, and that nothing but its file knows what a class is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import pytest_multiplicity
from pytest_multiplicity.data import Data
from pytest_multiplicity.errors import DataError, RecipeError
from pytest_multiplicity.tasks import Classification, Task

TASK: Task = Classification()
PACKAGE = Path(pytest_multiplicity.__file__).parent

# Of logits: the most likely class (the largest along the last axis), probabilities, votes, the
# loss, how many classes there are.
KNOWS = re.compile(
    r"argmax\((?:[^()]*, )?(?:dim=|axis=)?-?1[,)]"
    r"|softmax\(|one_hot|cross_entropy\(|cross_entropy\b(?=,)|logsumexp\("
    r"|(?:logits|answers)\.shape\[(?:1|-1)\]|targets ==|== targets|int\([\w.]*targets\.max\(\)"
)
ASKED = {
    # What acts on logits or codes as such.
    "interventions/noise.py": "the closed form of noise on logits",
    "interventions/front.py": "the slope of that loss, written down",
    "interventions/pgd.py": "the slope of its own loss on logits, and how many classes to aim at",
    "inference/agreeing.py": "any sum of logits, to have a gradient of",
    "reach/head.py": "what a network may do after its last layer",
    # Numbers of any kind.
    "statistics/votes.py": "the most frequent of codes, whatever they stand for",
}


def test_only_tasks_know_what_a_class_is() -> None:
    found = {
        str(path.relative_to(PACKAGE)): sorted(set(KNOWS.findall(path.read_text())))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "tasks"
    }
    knowing = {name: words for name, words in found.items() if words and name not in ASKED}
    assert knowing == {}, "ask the data's task instead"
    assert all(found[name] for name in ASKED), "this needs no exception any more"


def test_a_data_set_has_its_task() -> None:
    data = Data(torch.zeros(3, 2), [0, 2, 1])
    assert data.task.name == "classification"
    assert all(part.task.name == "classification" for part in data.split())
    assert "3 classes" in repr(data)


def test_of_equals_the_first_is_predicted() -> None:
    """Also of infinities and of what is no number, which counts as the largest."""
    generator = torch.Generator().manual_seed(0)
    odd = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1.0])
    for classes in (1, 2, 3, 10, 33):
        logits = odd[torch.randint(len(odd), (3, 500, classes), generator=generator)]
        for some in (logits, logits.transpose(0, 1), logits.requires_grad_()):
            said = Classification().predictions(some)
            assert torch.equal(said, some.argmax(dim=-1))
            assert not said.requires_grad
    assert Classification().predictions(torch.empty(0, 3)).shape == (0,)


def test_predictions_are_the_most_likely_classes_of_any_number_of_models() -> None:
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    said = TASK.predictions(logits)
    assert said.tolist() == [[int(row.argmax()) for row in model] for model in logits]
    assert TASK.right(said, said[0])[0].all()
    assert torch.equal(TASK.probabilities(logits[0]), logits[0].softmax(1))


def test_the_loss_of_lanes_is_that_of_each_batch() -> None:
    logits = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(4, (3, 7), generator=torch.Generator().manual_seed(1))
    loss = TASK.losses["cross_entropy"]
    alone = [F.cross_entropy(z, y) for z, y in zip(logits, targets, strict=True)]
    assert [loss.of_batch(z, y) for z, y in zip(logits, targets, strict=True)] == alone
    torch.testing.assert_close(loss.of_lanes(logits, targets), torch.stack(alone))


def test_answers_that_cannot_be_right() -> None:
    targets = torch.tensor([0, 3, 1])
    TASK.check_answers(torch.zeros(2, 3, 4), targets, "test")
    with pytest.raises(DataError, match=r"of 'test' go up to 3 \(1 samples .* gives 3 logits"):
        TASK.check_answers(torch.zeros(3, 3), targets, "test")
    with pytest.raises(RecipeError, match=r"the model gives \(3,\) for a batch of 3 samples"):
        TASK.check_trainable(torch.zeros(3), targets, targets)
    with pytest.raises(RecipeError, match=r"give the model at least 4 outputs"):
        TASK.check_trainable(torch.zeros(3, 3), targets, targets)


def test_votes_are_counted_and_equals_fall_to_the_likelier() -> None:
    members = torch.tensor([[[0.9, 0.1]], [[0.4, 0.6]], [[0.3, 0.7]]]).log()
    vote = TASK.vote(list(members))
    assert vote.said.tolist() == [1]
    assert vote.agreement.tolist() == pytest.approx([2 / 3])
    assert vote.answers.softmax(1).tolist() == [pytest.approx([1.6 / 3, 1.4 / 3])]
    vote = TASK.vote(list(members[:2]))
    assert vote.said.tolist() == [0]
    assert vote.agreement.tolist() == [0.5]
    assert TASK.vote([torch.tensor([2]), torch.tensor([0]), torch.tensor([2])]).said.tolist() == [2]
    assert TASK.shown(np.int64(7)) == "7"
