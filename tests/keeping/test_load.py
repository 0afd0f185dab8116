from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.keeping.load import load


def module() -> nn.Module:
    return nn.Linear(3, 2)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
def test_weights_come_back(tmp_path, name):
    source = module()
    if name.endswith("safetensors"):
        save_file(source.state_dict(), tmp_path / name)
    else:
        torch.save(source.state_dict(), tmp_path / name)
    loaded = load(tmp_path / name, into=module())
    assert torch.equal(loaded.weight, source.weight)


def test_weights_are_found_beside_what_frameworks_save(tmp_path):
    source = module()
    torch.save({"epoch": 3, "state_dict": source.state_dict()}, tmp_path / "run.ckpt")
    assert torch.equal(load(tmp_path / "run.ckpt", into=module()).bias, source.bias)


@pytest.mark.parametrize("prefix", ["net.", "module.", "a.b."])
def test_weights_are_found_below_the_name_that_a_module_had(tmp_path, prefix):
    source = module()
    state = {prefix + name: each for name, each in source.state_dict().items()}
    torch.save({"state_dict": state | {"loss.weight": torch.ones(2)}}, tmp_path / "run.ckpt")
    loaded = load(tmp_path / "run.ckpt", into=module(), prefix=prefix)
    assert torch.equal(loaded.weight, source.weight)
    with pytest.raises(StoreError, match=r"below prefix='model.': its names begin with .*loss\."):
        load(tmp_path / "run.ckpt", into=module(), prefix="model.")


class Versioned(nn.Linear):
    """A layer that reads states of its own version only, as some of torchvision do."""

    _version = 3

    def _load_from_state_dict(self, state, prefix, metadata, *rest):
        if metadata.get("version") != 3:
            raise ValueError("version should be 3")
        super()._load_from_state_dict(state, prefix, metadata, *rest)


@pytest.mark.parametrize("prefix", ["", "0.", "0.0."])
def test_layers_are_told_the_version_that_was_saved(tmp_path, prefix):
    source = nn.Sequential(nn.Sequential(nn.Sequential(Versioned(3, 2))))
    torch.save({"state_dict": source.state_dict()}, tmp_path / "run.ckpt")
    depth = 3 - prefix.count(".")
    into: nn.Module = Versioned(3, 2)
    for _ in range(depth):
        into = nn.Sequential(into)
    load(tmp_path / "run.ckpt", into=into, prefix=prefix)
    assert torch.equal(next(into.parameters()), source[0][0][0].weight)


def test_a_file_without_the_versions_that_a_layer_needs_is_refused(tmp_path):
    save_file(Versioned(3, 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(StoreError, match=r"doesn't fit the module: version should be 3"):
        load(tmp_path / "w.safetensors", into=Versioned(3, 2))


def test_what_stands_in_the_way_of_loading_is_named(tmp_path):
    hyperparameters = {"out": PurePosixPath("runs")}
    torch.save(
        {"state_dict": module().state_dict(), "hyper_parameters": hyperparameters},
        tmp_path / "run.ckpt",
    )
    said = r"more than weights \(pathlib\.(_local\.)?PurePosixPath\), and"
    with pytest.raises(StoreError, match=said):
        load(tmp_path / "run.ckpt", into=module())
    with torch.serialization.safe_globals([PurePosixPath]):
        load(tmp_path / "run.ckpt", into=module())


def test_a_relative_path_is_taken_from_the_file_that_calls(tmp_path):
    save_file(module().state_dict(), tmp_path / "w.safetensors")
    script = tmp_path / "conftest.py"
    code = "from pytest_multiplicity.keeping.load import load\nresult = load('w.safetensors', m)\n"
    script.write_text(code)
    scope = {"m": module()}
    exec(compile(code, str(script), "exec"), scope)
    assert isinstance(scope["result"], nn.Linear)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


def test_a_file_that_could_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": module().state_dict(), "x": Trap()}, tmp_path / "w.pt")
    with pytest.raises(StoreError, match="could run code"):
        load(tmp_path / "w.pt", into=module())
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 64])
def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=r"w\.\w+"):
        load(tmp_path / name, into=module())


def test_missing_files_and_misfits_are_named(tmp_path):
    with pytest.raises(StoreError, match="no weights at"):
        load(tmp_path / "none.pt", into=module())
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(StoreError, match="holds a list"):
        load(tmp_path / "list.pt", into=module())
    save_file(nn.Linear(4, 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(StoreError, match="doesn't fit the module"):
        load(tmp_path / "w.safetensors", into=module())
