"""``python -m pytest_multiplicity.store``."""

from __future__ import annotations

import pytest
import torch

from pytest_multiplicity.store import LocalStore
from pytest_multiplicity.store.__main__ import main


@pytest.fixture
def folder(tmp_path):
    with LocalStore(tmp_path / "store") as store:
        store.put("weights", "abcd", {"x": torch.zeros(1000)})
        store.put("logits", "abcd", {"x": torch.zeros(500)})
        store.put("logits", "abce", {"x": torch.zeros(500)})
    return tmp_path / "store"


def test_list_tells_entries_and_bytes_by_kind(folder, capsys):
    assert main(["list", "--store", str(folder)]) == 0
    logits, weights, total = capsys.readouterr().out.splitlines()
    assert logits.split()[:3] == ["logits", "2", "entries"]
    assert weights.split()[:3] == ["weights", "1", "entries"]
    assert weights.endswith(" KB")
    assert total.strip().endswith(" KB")


def test_clear_removes_one_kind_or_all(folder, capsys):
    assert main(["clear", "logits", "--store", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("removed 2 entries")
    assert main(["clear", "--store", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("removed 1 entries")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["list", "--store", "nowhere"], "is no store"), (["clear", "../x"], "can't be a kind")],
)
def test_what_cannot_be_done_is_said(folder, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folder.parent)
    if "--store" not in arguments:
        arguments = [*arguments, "--store", str(folder)]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
    assert not (folder.parent / "nowhere").exists()
