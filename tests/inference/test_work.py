"""What is trained, inferred and intervened on, counted."""

from __future__ import annotations

import os
import random
import time
from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.compute.stall import StalledError
from pytest_multiplicity.errors import EvaluationError, InterventionError, MeasurementError
from pytest_multiplicity.inference import executors
from pytest_multiplicity.inference.form import Form
from pytest_multiplicity.training import fused_training


def darker(images, by):
    return (images - by).clamp(0, 1)


def test_everything_is_done_once_for_the_whole_family(bench):
    population = bench.family()
    work = population.models.counts
    for candidate in population.candidates:
        candidate.accuracy(bench.test)
        candidate.accuracy(bench.test, under=pm.PGD(0.05))
    assert (work.trained, work.stored, work.inferred) == (4, 0, 8)


def test_the_second_run_trains_and_infers_nothing(bench):
    first = [float(c.accuracy(bench.test)) for c in bench.family().candidates]
    again = bench.family()
    assert [float(c.accuracy(bench.test)) for c in again.candidates] == first
    work = again.models.counts
    assert (work.trained, work.stored, work.inferred) == (0, 4, 0)


def test_a_new_option_trains_its_candidates_alone(bench):
    bench.family().candidates[0].accuracy(bench.test)
    more = bench.family(vary={"lr": [0.05, 0.02]})
    more.candidates[0].accuracy(bench.test)
    assert (more.models.counts.trained, more.models.counts.stored) == (2, 4)
    assert more.models.counts.inferred == 2


def test_groups_views_and_output_noise_derive_from_stored_logits(bench):
    population = bench.family()
    one = population.candidates[0]
    one.accuracy(bench.test)
    young = one.accuracy(bench.test.where("age < 10"))
    assert one.accuracy(bench.test, under=pm.Group("age < 10")) == young
    one.accuracy(bench.test, under=pm.OutputNoise(1))
    one.accuracy(bench.test.where("age < 10"), under=pm.Group("age > 5") | pm.OutputNoise(2))
    one.measure(lambda logits, targets: logits.mean(), bench.test, name="mean")
    one.logits(bench.test)
    assert population.models.counts.inferred == 4


def test_a_group_under_attack_derives_from_the_attack_on_all(bench):
    population = bench.family()
    one = population.candidates[0]
    one.accuracy(bench.test, under=pm.PGD(0.05))
    one.accuracy(bench.test, under=pm.Group("age < 10") | pm.PGD(0.05))
    one.accuracy(bench.test, under=pm.PGD(0.05) | pm.Group("age < 20"))
    assert population.models.counts.inferred == 4


def test_inputs_are_changed_once_for_all_candidates(bench, monkeypatch):
    calls = []

    def counted(images, by):
        calls.append(len(images))
        return darker(images, by)

    population = bench.family()
    for candidate in population.candidates:
        candidate.accuracy(bench.test, under=pm.Corrupt(counted, by=0.2))
    assert population.models.counts.intervened == 1  # 40 samples are one batch
    assert calls == [40]


def test_the_same_whatever_was_asked_before(bench, tmp_path):
    noisy = pm.InputNoise(0.1)
    whole = bench.family().candidates[1].accuracy(bench.test.where("age < 10"), under=noisy)
    other = type(bench)(tmp_path / "other")
    with other.store:
        again = other.family().candidates[1]
        assert again.accuracy(bench.test, under=pm.Group("age < 10") | noisy) == whole


def test_global_random_state_is_left_alone(bench):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    population = bench.family()
    population.candidates[0].accuracy(bench.test, under=pm.InputNoise(0.1) | pm.PGD(0.1))
    population.candidates[0].predictions(bench.test, under=pm.OutputNoise(1))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert states[2] == random.getstate()


def test_modules_are_known_by_their_weights(bench):
    def made(config):
        torch.manual_seed(config.seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

    first = bench.family(made)
    first.candidates[0].accuracy(bench.test)
    assert asdict(first.models.counts) == {
        "trained": 0,
        "stored": 0,
        "inferred": 4,
        "intervened": 0,
    }
    again = bench.family(made, run_id="another")
    again.candidates[0].accuracy(bench.test)
    assert again.models.counts.inferred == 0
    assert not again.candidates[0].module.training
    assert not any(p.requires_grad for p in again.candidates[0].module.parameters())


def test_an_opaque_callable_is_remembered_for_its_own_run(bench):
    def made(config):
        weights = torch.randn(4, 2, generator=torch.Generator().manual_seed(config.seed))
        return lambda batch: batch.flatten(1) @ weights

    def inferred(run_id):
        population = bench.family(made, run_id=run_id)
        population.candidates[0].accuracy(bench.test)
        population.candidates[1].accuracy(bench.test)
        return population.models.counts.inferred

    assert [inferred("one"), inferred("one"), inferred("two")] == [4, 0, 4]
    assert len(bench.store.entries("logits")) == 8
    bench.store.end("one")
    assert bench.store.entries("logits") == []
    (kept,) = bench.store.entries("scores")
    assert "digests" in bench.store.get("scores", kept.key).tensors  # of the data


def test_opaque_callables_of_families_of_one_name_are_two(bench):
    def made(config):
        return lambda batch: batch.flatten(1)[:, :2]

    def other(config):
        return lambda batch: -batch.flatten(1)[:, :2]

    first, second = bench.family(made), bench.family(other)
    logits = [each.candidates[0].logits(bench.test) for each in (first, second)]
    assert torch.equal(logits[0], -logits[1])


def test_a_callable_with_a_fingerprint_is_remembered(bench):
    class Remote:
        fingerprint = "model 7 at example.org"

        def __call__(self, batch):
            return batch.flatten(1)[:, :2]

    bench.family(lambda config: Remote(), run_id="one").candidates[0].accuracy(bench.test)
    again = bench.family(lambda config: Remote(), run_id="two")
    again.candidates[0].accuracy(bench.test)
    assert again.models.counts.inferred == 0
    with pytest.raises(MeasurementError, match="is a Remote, no torch module"):
        _ = again.candidates[0].module


def test_version_stands_for_the_code(bench):
    def one(config):
        return bench.recipe(config)

    def other(config):
        unused = "another constant in the code"
        return bench.recipe(config, epochs=1) if unused else None

    bench.family(one, version="1").candidates[0].accuracy(bench.test)
    same = bench.family(other, version="1")
    same.candidates[0].accuracy(bench.test)
    assert same.models.counts.trained == 0
    newer = bench.family(other, version="2")
    newer.candidates[0].accuracy(bench.test)
    assert newer.models.counts.trained == 4


def test_the_code_of_the_family_counts(bench):
    bench.family(lambda config: bench.recipe(config)).candidates[0].accuracy(bench.test)
    changed = bench.family(lambda config: bench.recipe(config, momentum=0.8))
    changed.candidates[0].accuracy(bench.test)
    assert changed.models.counts.trained == 4


@pytest.mark.parametrize("axis", ["seed.init", "seed.order", "seed.noise", "seed.subset"])
def test_sources_of_randomness_are_axes(bench, axis):
    population = bench.family(default={"lr": 0.1, axis: 0}, vary={axis: [1, 2]}, seeds=1)
    states = [c.module.state_dict()["1.weight"] for c in population.candidates]
    moves = axis != "seed.noise"  # which this model draws nothing from
    assert torch.equal(states[0], states[1]) is not moves
    assert torch.equal(states[1], states[2]) is not moves


def test_a_diverged_candidate_is_refused_and_the_others_go_on(bench):
    population = bench.family(
        lambda config: bench.recipe(
            config, epochs=3, loss=_explodes if config.lr > 1 else "cross_entropy"
        ),
        vary={"lr": [1e30]},
        seeds=1,
    )
    good, bad = population.candidates
    score = good.accuracy(bench.test)
    assert np.isnan(score.metric.scores[1])
    assert population.alive == [0]
    with pytest.raises(pm.MultiplicityError, match="diverged at epoch 1: loss is nan"):
        bad.accuracy(bench.test)
    again = bench.family(
        lambda config: bench.recipe(
            config, epochs=3, loss=_explodes if config.lr > 1 else "cross_entropy"
        ),
        vary={"lr": [1e30]},
        seeds=1,
    )
    assert again.alive in ([0], [0, 1])


def _explodes(logits, targets):
    return (logits * torch.nan).sum()


def test_a_failure_to_train_is_found_once(bench):
    calls = []

    def factory(params, lr):
        calls.append(lr)
        raise RuntimeError("no such optimizer")

    population = bench.family(lambda config: bench.recipe(config, optimizer=factory))
    with pytest.raises(RuntimeError, match="no such optimizer"):
        population.candidates[0].accuracy(bench.test)
    known = len(calls)
    for candidate in population.candidates:
        with pytest.raises(RuntimeError, match="no such optimizer"):
            candidate.accuracy(bench.test)
    assert len(calls) == known


def refuses(batch, *rest):
    assert batch.mean() > 2, "too dark"
    return batch


class Refusing(nn.Module):
    def forward(self, batch):
        assert batch.ndim == 5, "no film"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c, d: c.accuracy(d, under=pm.Corrupt(refuses)), "too dark"),
        (lambda c, d: c.measure(refuses, d), "too dark"),
        (lambda c, d: c.accuracy(d, under=pm.intervention(refuses, on="logits")()), "too dark"),
    ],
)
def test_an_assertion_inside_the_evaluation_is_an_error(bench, ask, message):
    candidate = bench.family().candidates[0]
    with pytest.raises(EvaluationError, match=message):
        ask(candidate, bench.test)


def test_an_assertion_inside_a_model_is_an_error(bench):
    candidate = bench.family(lambda config: Refusing()).candidates[0]
    with pytest.raises(EvaluationError, match="no film"):
        candidate.accuracy(bench.test)


def test_an_assertion_while_a_module_is_built_is_an_error(bench):
    def broken():
        assert not "reachable", "can't build"

    candidate = bench.family(lambda config: pm.Recipe(broken, bench.train, epochs=1)).candidates[0]
    for _ in range(2):
        with pytest.raises(EvaluationError, match="can't build"):
            candidate.accuracy(bench.test)


def test_two_interventions_of_one_name_are_an_error(bench):
    def changed(by):
        return pm.Corrupt(lambda images: darker(images, by))

    candidate = bench.family().candidates[0]
    candidate.accuracy(bench.test, under=changed(0.1))
    with pytest.raises(InterventionError, match="two interventions are named 'Corrupt"):
        candidate.accuracy(bench.test, under=changed(0.2))


def test_two_data_sets_of_one_name_are_an_error(bench):
    candidate = bench.family().candidates[0]
    candidate.accuracy(bench.test)
    with pytest.raises(pm.MultiplicityError, match="two data sets of this run are named 'test'"):
        candidate.accuracy(pm.Data(bench.train.inputs, bench.train.targets, name="test"))


def test_what_a_model_must_return(bench):
    def asked(model):
        return bench.family(lambda config: model).candidates[0].accuracy(bench.test)

    for model, message in (
        (lambda batch: None, "returned NoneType"),
        (lambda batch: batch, r"shape \(40, 1, 2, 2\) for a batch of 40"),
        (lambda batch: batch.flatten(1) * torch.nan, "returned nan"),
        (lambda batch: batch.flatten(1)[:, :1], "are probabilities: one number for each sample"),
    ):
        with pytest.raises(pm.MultiplicityError, match=message):
            asked(model)


class Answer(NamedTuple):
    """As the classifiers of transformers return it."""

    loss: None
    logits: torch.Tensor


class Answering(nn.Sequential):
    def forward(self, batch):
        return Answer(None, super().forward(batch))


def test_a_model_may_return_an_object_that_has_logits(bench):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    wrapped = Answering(*plain)
    for under in (None, pm.PGD(0.1)):
        tensors, objects = (
            bench.family(lambda config, m=m: m).candidates[0].logits(bench.test, under=under)
            for m in (plain, wrapped)
        )
        assert torch.allclose(tensors, objects, atol=1e-6)  # only the first may be fused


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_callable_may_return_an_array(bench, dtype):
    def answer(batch):
        return batch.flatten(1).numpy().astype(dtype)[:, :2]

    candidate = bench.family(lambda config: answer).candidates[0]
    logits = candidate.logits(bench.test)
    assert logits.dtype is torch.float32
    assert torch.equal(logits, bench.test.inputs.flatten(1)[:, :2])
    with pytest.raises(InterventionError, match="has none with respect to its input"):
        candidate.accuracy(bench.test, under=pm.PGD(0.1))


def test_sick_and_lost_files_are_made_again(bench):
    first = [float(c.accuracy(bench.test)) for c in bench.family().candidates]
    for kind in ("scores", "logits", "weights"):
        bench.store.clear(kind)
        again = bench.family()
        assert [float(c.accuracy(bench.test)) for c in again.candidates] == first
        assert again.models.counts.trained == (4 if kind == "weights" else 0)


def test_a_transform_that_counts_stays_itself(bench):
    calls = []

    def counted(images, by):
        calls.append(by)
        return darker(images, by)

    candidate = bench.family().candidates[0]
    first = candidate.accuracy(bench.test, under=pm.Corrupt(counted, by=0.2))
    assert candidate.accuracy(bench.test, under=pm.Corrupt(counted, by=0.2)) == first
    assert candidate.accuracy(bench.test, under=pm.Corrupt(counted, by=0.3)) <= 1
    assert calls == [0.2, 0.3]


def test_equal_parameters_are_the_same_intervention(bench):
    population = bench.family()
    shift = torch.full((1, 2, 2), 0.1)
    for under in (
        pm.Corrupt(darker, by=0.0),
        pm.Corrupt(darker, by=-0.0),
        pm.Corrupt(darker, by=0),
        pm.Corrupt(darker, by=shift),
        pm.Corrupt(darker, by=shift.clone()),
    ):
        population.candidates[0].accuracy(bench.test, under=under)
    assert population.models.counts.intervened == 2


def test_callables_of_other_libraries(bench):
    """They get CPU batches, and are attacked where gradients flow through them."""
    weights = torch.tensor([[-1.0, 1.0]] * 4)
    seen = []

    def numpy_model(batch):
        seen.append(batch.device.type)
        return torch.from_numpy(batch.numpy().reshape(len(batch), 4) @ weights.numpy())

    candidate = bench.family(lambda config: numpy_model, run_id="numpy").candidates[0]
    same = bench.family(lambda config: lambda batch: batch.flatten(1) @ weights).candidates[0]
    assert candidate.accuracy(bench.test) == same.accuracy(bench.test)
    assert set(seen) == {"cpu"}
    assert same.accuracy(bench.test, under=pm.PGD(0.3)) <= same.accuracy(bench.test)
    detached = bench.family(
        lambda config: lambda batch: batch.detach().flatten(1) @ weights, run_id="detached"
    )
    for blind in (candidate, detached.candidates[0]):
        with pytest.raises(InterventionError, match="follows the gradients of a model, and this"):
            blind.accuracy(bench.test, under=pm.PGD(0.3))


class Server:
    """A remote model, known by its name; one that is down never answers."""

    def __init__(self, name, down=False):
        self.fingerprint, self.down, self.calls = name, down, 0

    def __call__(self, batch):
        self.calls += 1
        if self.down:
            time.sleep(100)
        return batch.flatten(1)[:, :2]


def impatient(population):
    logits = population._measuring.logits
    logits._machine = replace(logits._machine, patience=0.5)


@pytest.mark.skipif(os.name != "posix", reason="only there can a wait be interrupted")
def test_a_model_that_hangs_is_named_once_and_all_others_are_kept(bench):
    servers = []

    def made(config):
        servers.append(Server(f"server {config.lr} {config.seed}", down=len(servers) == 2))
        return servers[-1]

    population = bench.family(made)
    impatient(population)
    hung = population.design.ids[2]
    said = rf"{hung} on test: no progress in 0\.5 s, so it was given up"
    for candidate in population.candidates:
        with pytest.raises(StalledError, match=said):
            candidate.accuracy(bench.test)
    assert servers[2].calls == 1
    calls = [server.calls for server in servers]
    servers[2].down = False
    waiting = iter(servers)
    again = bench.family(lambda config: next(waiting))
    assert again.candidates[0].accuracy(bench.test) >= 0
    assert [s.calls - n for s, n in zip(servers, calls, strict=True)] == [0, 0, 1, 0]


@pytest.mark.skipif(os.name != "posix", reason="only there can a wait be interrupted")
def test_an_intervention_that_hangs_is_waited_for_once(bench):
    calls = []

    def endless(images):
        calls.append(len(images))
        time.sleep(100)
        return images

    population = bench.family()
    impatient(population)
    for candidate in population.candidates:
        with pytest.raises(StalledError, match=r"candidate: test under Corrupt\(endless\): no"):
            candidate.accuracy(bench.test, under=pm.Corrupt(endless))
        assert candidate.accuracy(bench.test) >= 0
    assert calls == [40]


@pytest.mark.skipif(os.name != "posix", reason="only there can a wait be interrupted")
def test_modules_that_hang_at_once_are_named_and_leave_no_thread_behind(bench):
    class Hangs(nn.Sequential):
        hangs = False

        def forward(self, inputs):
            if self.hangs:
                time.sleep(3)
            return super().forward(inputs)

    def made(config):
        torch.manual_seed(config.seed)
        return Hangs(nn.Flatten(), nn.Linear(4, 2))

    population = bench.family(made)
    infer = population._measuring.logits._infer
    infer.forms._found = lambda *_: Form()
    impatient(population)
    population.models.made.all[1].hangs = True
    with pytest.raises(StalledError, match=f"{population.design.ids[1]} on test: no progress"):
        population.candidates[0].accuracy(bench.test)
    assert population.models.counts.inferred == 3


def test_what_was_computed_in_another_way_for_want_of_memory_is_told(bench, monkeypatch):
    def greedy(self, *arguments):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(fused_training.FusedTraining, "run_epoch", greedy)
    monkeypatch.setattr(executors.Abreast, "shared", greedy)
    for _ in range(2):  # and again from the store
        population = bench.family(vary={}, seeds=3)
        for candidate in population.candidates:
            candidate.accuracy(bench.test)
        trained, evaluated = population.models.doubts
        who = "default-seed0, default-seed1, default-seed2"
        assert trained.startswith(f"candidate: {who}: memory ran out for training as")
        assert evaluated.startswith(f"candidate: {who}: memory ran out for evaluating it")
        assert population.models.weights.ways == {"plain (memory ran out)": 3}


def test_what_every_score_asks_of_a_family_is_not_looked_up_candidate_by_candidate(bench):
    """It is asked with every pair: a thousand candidates would be looked at ten thousand times."""

    class Unread(dict):
        def items(self):
            raise AssertionError

    population = bench.family()
    population.candidates[0].accuracy(bench.test)
    models = population.models
    models.weights._ways = Unread(models.weights._ways)
    assert population.facts().warnings == ()
    assert models.made.recipes is models.made.recipes
