"""Kept models in the store: signed by the user's key, and read only where that holds."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from faults.kept_forged import check, returned
from safetensors.torch import load_file
from torch import nn

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.keeping import Entries, Kept, Returned, Skipped
from pytest_multiplicity.keeping.packing import pack
from pytest_multiplicity.store import LocalStore, signer
from pytest_multiplicity.store.signing import VARIABLE, key_file

KEY = "ab" * 32


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "of nobody in particular")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def found(entries: Entries, key: str = KEY) -> Any:
    kept = entries.look(key)
    return entries.load(kept) if isinstance(kept, Kept) else kept


def test_forged_and_damaged_entries_are_not_read(tmp_path):
    assert check(tmp_path, 70, seed=1) == {}


def test_two_users_of_a_store_leave_each_other_alone(tmp_path, monkeypatch):
    for number, user in enumerate(("the first of two users", "the second of two users")):
        monkeypatch.setenv(VARIABLE, user)
        with LocalStore(tmp_path) as store:
            entries = Entries(store)
            assert found(entries) is None
            assert entries.refused == ({KEY} if number else set())
            entries.put(KEY, returned(number), machine="this", run=[])
    for number, user in enumerate(("the first of two users", "the second of two users")):
        monkeypatch.setenv(VARIABLE, user)
        with LocalStore(tmp_path) as store:
            assert bool((found(Entries(store)).weight == number).all())


def test_a_skip_is_known_to_its_own_run_only(tmp_path):
    with LocalStore(tmp_path) as store:
        Entries(store).put_skipped(KEY, Skipped("no GPU"), "run 1")
        assert Entries(store).look(KEY) == Skipped("no GPU")
        store.end("run 1")
        assert Entries(store).look(KEY) is None


def test_what_is_known_of_a_kept_model(tmp_path):
    with LocalStore(tmp_path) as store:
        entries = Entries(store)
        gave = Returned(pack(nn.Linear(2, 2)), 1.5, {"loss": [2.0, 1.0]})
        entries.put(KEY, gave, machine="this", run=["1", "family"])
        kept = entries.look(KEY)
        assert isinstance(kept, Kept)
        assert (kept.kind, kept.seconds, kept.logged) == ("torch module", 1.5, {"loss": [2.0, 1.0]})
        assert kept.size > 24
        (path,) = (tmp_path / "v1" / "kept").glob("*/*")
        assert {"weight", "bias"} <= load_file(path).keys()


def test_the_key_is_made_once_for_the_user_alone(monkeypatch):
    monkeypatch.delenv(VARIABLE)
    first = signer()
    path = key_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signer().holds(b"x", first.sign(b"x"))
    path.chmod(0o640)
    with pytest.raises(StoreError, match=r"others can read .*chmod 600"):
        signer()
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="is no key: remove it"):
        signer()


def test_a_short_key_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "secret")
    with pytest.raises(StoreError, match="has 6 characters"):
        signer()
