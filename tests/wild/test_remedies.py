"""Every remedy that a message names helps: each is followed, and seen to work."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from safetensors.torch import save_file, save_model
from support.bench import bench, linear
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import DataError, InterventionError, StoreError
from pytest_multiplicity.store import LocalStore

__all__ = ["bench"]


LOG = sys.__stderr__


class Logging(nn.Module):
    """A module with an attribute whose content can't be told."""

    def __init__(self, fill=0.0):
        super().__init__()
        self.out = linear()
        self.log = LOG
        nn.init.constant_(self.out[1].weight, fill)

    def forward(self, x):
        return self.out(x)


class Counting(nn.Module):
    """A module with a generator."""

    def __init__(self, fill=0.0):
        super().__init__()
        self.out, self.names = linear(), (name for name in "ab")
        nn.init.constant_(self.out[1].weight, fill)

    def forward(self, x):
        return self.out(x)


@pytest.mark.parametrize("kind", [Logging, Counting])
@pytest.mark.parametrize("trained", [False, True])
def test_version_helps_modules(bench, kind, trained):
    def candidate(config):
        return pm.Recipe(kind, bench.train, epochs=1) if trained else kind(fill=config.seed)

    with pytest.raises(StoreError, match=r"can't tell .*or set `version=` on the family"):
        bench.family(candidate, vary={}).candidates[0].accuracy(bench.test)
    family = bench.family(candidate, vary={}, version="1")
    assert 0 <= family.candidates[0].accuracy(bench.test) <= 1
    assert len(set(family.models.made.keys)) == 2  # weights count all the same


def test_version_is_not_named_where_it_would_not_help(bench):
    opaque = (name for name in "ab")

    def family(version, option):
        return bench.family(
            lambda config: linear(), default={"names": option}, vary={}, version=version
        )

    made = bench.family(
        lambda config: pm.Recipe(linear, bench.train, epochs=1),
        default={"names": opaque},
        vary={},
    )
    with pytest.raises(StoreError, match=r"a str attribute `fingerprint`") as caught:
        made.candidates[0].accuracy(bench.test)
    assert "version=" not in str(caught.value)
    assert 0 <= family("1", opaque).candidates[0].accuracy(bench.test) <= 1


class Held:
    """What has no content to tell, in an object that says what it is known by."""

    fingerprint = "the names of 2026"

    def __init__(self):
        self.names = (name for name in "ab")


def test_a_fingerprint_helps(bench):
    opaque, held = (name for name in "ab"), Held()

    def captures():
        return linear() if opaque else None

    def captures_held():
        return linear() if held.names else None

    def builds():
        return linear() if (name for name in "ab") else None

    with pytest.raises(StoreError, match=r"put it into an object of yours .*build it inside"):
        _trained(bench, captures)
    for model in (captures_held, builds):
        assert 0 <= _trained(bench, model) <= 1
    captures.fingerprint = "linear, whatever the names"
    assert 0 <= _trained(bench, captures) <= 1


def _trained(bench, model):
    family = bench.family(lambda config: pm.Recipe(model, bench.train, epochs=1), vary={})
    return family.candidates[0].accuracy(bench.test)


def test_a_measure_that_holds_what_has_no_content(bench):
    candidate, opaque = bench.family().candidates[0], (name for name in "ab")

    def share(logits, targets):
        return float(opaque is not None)

    assert candidate.measure(share, bench.test) == candidate.measure(share, bench.test) == 1


def test_an_intervention_that_holds_what_has_no_content(bench):
    candidate, opaque = bench.family().candidates[0], (name for name in "ab")

    def same(images):
        return images if opaque else -images

    with pytest.raises(StoreError, match="a str attribute `fingerprint`") as caught:
        candidate.accuracy(bench.test, under=pm.Corrupt(same))
    assert "version=" not in str(caught.value)
    same.fingerprint = "as it is"
    assert candidate.accuracy(bench.test, under=pm.Corrupt(same)) == candidate.accuracy(bench.test)


class Tied(nn.Module):
    """A language model in small: what reads tokens writes them."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.middle = nn.Linear(3, 3)
        self.out = nn.Linear(3, 5, bias=False)
        self.out.weight = self.embedding.weight


class TiedBuffers(nn.Module):
    """Two buffers that are one, and a module that has two names."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.rand(3))
        self.register_buffer("again", self.mean)
        self.one = nn.Linear(3, 3)
        self.other = self.one


class TiedTwice(nn.Module):
    """Tied in two places."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Tied(), Tied()
        self.decoder.embedding.weight = self.encoder.embedding.weight
        self.decoder.out.weight = self.encoder.embedding.weight


@pytest.mark.parametrize("kind", [Tied, TiedBuffers, TiedTwice])
def test_tied_weights_as_safetensors_writes_them(tmp_path, kind):
    torch.manual_seed(0)
    source = kind()
    path = tmp_path / "tied.safetensors"
    save_model(source, path)
    torch.manual_seed(1)
    loaded = pm.load(path, into=kind())
    for name, tensor in source.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_weights_that_are_missing_are_still_missing(tmp_path):
    state = Tied().state_dict()
    save_file({"embedding.weight": state["embedding.weight"]}, tmp_path / "some.safetensors")
    with pytest.raises(StoreError, match=r"Missing key.* \"middle.weight\""):
        pm.load(tmp_path / "some.safetensors", into=Tied())
    untied = Tied()
    untied.out.weight = nn.Parameter(torch.zeros(5, 3))
    save_model(Tied(), tmp_path / "tied.safetensors")
    with pytest.raises(StoreError, match="Missing key"):
        pm.load(tmp_path / "tied.safetensors", into=untied)


def test_remedies_for_checkpoints(tmp_path):
    source, path = linear(), tmp_path / "model.pt"
    with pytest.raises(StoreError, match=r"no weights at .*give a .safetensors or .pt file"):
        pm.load(path, into=linear())
    torch.save(source, path)
    with pytest.raises(StoreError, match=r"more than weights.*save module.state_dict\(\)"):
        pm.load(path, into=linear())
    torch.save([source.state_dict()], path)
    with pytest.raises(StoreError, match=r"holds a list.*save module.state_dict\(\)"):
        pm.load(path, into=linear())
    torch.save({f"net.{name}": each for name, each in source.state_dict().items()}, path)
    with pytest.raises(StoreError, match=r"doesn't fit .*say where it stood in that by prefix="):
        pm.load(path, into=linear())
    with pytest.raises(StoreError, match=r"below prefix='model.': its names begin with net\."):
        pm.load(path, into=linear(), prefix="model.")
    followed = pm.load(path, into=linear(), prefix="net.")
    torch.save(source.state_dict(), path)
    for loaded in (followed, pm.load(path, into=linear())):
        assert torch.equal(loaded[1].weight, source[1].weight)
    path.write_bytes(pickle.dumps(source.state_dict())[:20])
    with pytest.raises(StoreError, match="no checkpoint"):
        pm.load(path, into=linear())


def test_remedies_of_the_store(tmp_path):
    with LocalStore(tmp_path / "store") as store:
        sparse = torch.eye(3).to_sparse()
        with pytest.raises(StoreError, match="convert it to a dense one"):
            store.put("weights", "abcd", {"sparse": sparse})
        store.put("weights", "abcd", {"sparse": sparse.to_dense()})
        with pytest.raises(StoreError, match="use plain numbers, text, lists and dicts"):
            store.put("weights", "abcd", {}, {"seeds": {1, 2}})
        store.put("weights", "abcd", {}, {"seeds": [1, 2]})
        with pytest.raises(StoreError, match="use lower-case letters"):
            store.has("Weights", "abcd")
        with pytest.raises(StoreError, match="use the hex digits"):
            store.has("weights", "xyz")
        assert store.has("weights", "abcd")
    occupied = tmp_path / "occupied"
    occupied.write_text("")
    with pytest.raises(StoreError, match="move it away"):
        LocalStore(occupied)
    occupied.unlink()
    LocalStore(occupied).close()


def test_remedies_for_data():
    images, classes = torch.rand(6, 3, 4, 4), [0, 1, 2] * 2
    for broken, mended, message in (
        ((images * 255, classes), (images, classes), r"scale images to \[0, 1\]"),
        ((images, torch.eye(3)[classes]), (images, torch.eye(3)[classes].argmax(1)), "argmax"),
        (
            (images, torch.tensor(classes)[:, None]),
            (images, torch.tensor(classes)[:, None].squeeze(1)),
            r"squeeze\(1\)",
        ),
        (
            (images, torch.tensor([0.0, 1.0] * 3)),
            (images, torch.tensor([0.0, 1.0] * 3).long()),
            "task='classification' where they are labels",
        ),
        ((images.to_sparse(), classes), (images.to_sparse().to_dense(), classes), "to_dense"),
    ):
        with pytest.raises(DataError, match=message):
            pm.Data(*broken)
        assert len(pm.Data(*mended)) == 6


def test_remedies_say_whose_values_are_meant():
    matrix = scipy.sparse.csr_matrix([[20.0], [30.0]])
    with pytest.raises(DataError, match=r"inputs of 'p' are a scipy csr_matrix: .*\.toarray\(\)"):
        pm.Data(matrix, [0, 1], name="p", bounds=None)
    assert len(pm.Data(matrix.toarray(), [0, 1], bounds=None)) == 2
    for names in (["good", "bad"], pd.Series(["good", "bad"]), np.array(["good", "bad"])):
        assert pm.Data([[0.0], [1.0]], names).targets.tolist() == [1, 0]
        assert pm.Data([[0.0], [1.0]], pd.Categorical(names).codes).targets.tolist() == [1, 0]
    tags = np.array([[1, 1, 0], [0, 1, 1]])
    assert pm.Data([[0.0], [1.0]], tags).task.name == "multilabel"
    data = pm.Data([[0.0], [1.0]], tags[:, 0], name="p")
    with pytest.raises(AttributeError, match=r"no 'report': did you forget .*split\(0.5\).report"):
        data.report  # noqa: B018
    assert len(data.split(0.5).report) == 1
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint


def test_remedies_for_interventions(bench):
    candidate = bench.family().candidates[0]
    for wrong, right, message in (
        ("age < 30", pm.Group("age < 30"), r"a group is Group\('age < 30'\)"),
        (pm.InputNoise, pm.InputNoise(0.1), r"as in InputNoise\(...\)"),
        (torch.neg, pm.Corrupt(torch.abs), r"as in Corrupt\(function\)"),
    ):
        with pytest.raises(InterventionError, match=message):
            candidate.accuracy(bench.test, under=wrong)
        assert 0 <= candidate.accuracy(bench.test, under=right) <= 1
