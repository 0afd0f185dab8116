from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import filelock
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_multiplicity.errors import StoreError
from pytest_multiplicity.store import Entry, LocalStore, StoreWarning, Usage

KEY = "ab" * 32
OTHER = "cd" * 32
TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([True, False])}
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
]
SHAPES = st.lists(st.integers(0, 3), max_size=3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with LocalStore(tmp_path / "store") as store:
        yield store


def file_of(store: LocalStore, kind: str = "weights", key: str = KEY) -> Path:
    return store.root / "v1" / kind / key[:2] / f"{key}.safetensors"


def same(one: Entry | None, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> bool:
    return (
        one is not None
        and list(one.tensors) == list(tensors)
        and one.meta == meta
        and all(bits(one.tensors[name]) == bits(tensors[name]) for name in tensors)
    )


def bits(tensor: torch.Tensor) -> tuple[Any, ...]:
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tuple(tensor.shape), flat.tolist()


# ---- what goes in comes out


def test_an_entry_comes_back_as_it_was(store: LocalStore) -> None:
    assert store.get("weights", KEY) is None
    assert not store.has("weights", KEY)
    store.put("weights", KEY, TENSORS, {"way": "plain", "loss": [0.5, float("inf")]})
    assert store.has("weights", KEY)
    assert same(store.get("weights", KEY), TENSORS, {"way": "plain", "loss": [0.5, float("inf")]})
    assert store.get("logits", KEY) is None
    assert store.get("weights", OTHER) is None


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(), st.tuples(st.sampled_from(DTYPES), SHAPES), max_size=4),
    st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=3),
)
def test_any_entry_comes_back(tmp_path_factory: Any, specs: Any, meta: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randint(0, 100, shape, generator=generator).to(dtype)
        for name, (dtype, shape) in specs.items()
        if name != "__metadata__"
    }
    with LocalStore(tmp_path_factory.getbasetemp() / "any") as store:
        store.put("weights", KEY, tensors, meta)
        assert same(store.get("weights", KEY), tensors, meta)


def test_the_file_is_one_that_safetensors_reads(store: LocalStore) -> None:
    store.put("weights", KEY, TENSORS, {"a": 1})
    read = safetensors.torch.load_file(file_of(store))
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], TENSORS[name]) for name in read)
    with safetensors.safe_open(file_of(store), "pt") as file:
        assert json.loads(file.metadata()["meta"]) == {"a": 1}


def test_views_tied_and_trained_tensors_can_be_stored(store: LocalStore) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"base": base, "again": base, "view": base[:, 1], "turned": base.T}
    tensors["parameter"] = torch.nn.Parameter(base.clone())
    store.put("weights", KEY, tensors)
    assert same(store.get("weights", KEY), tensors, {})


def test_what_was_read_can_be_written_to(store: LocalStore) -> None:
    store.put("weights", KEY, TENSORS)
    entry = store.get("weights", KEY)
    assert entry is not None
    entry.tensors["weight"].add_(1)
    assert same(store.get("weights", KEY), TENSORS, {})


def test_the_last_entry_of_a_key_stays(store: LocalStore) -> None:
    store.put("weights", KEY, TENSORS, {"n": 1})
    store.put("weights", KEY, {}, {"n": 2})
    assert same(store.get("weights", KEY), {}, {"n": 2})


@pytest.mark.parametrize(
    "key", ["", "abc", "../../etc/passwd", "ab/../cd", "AB" * 32, "xy" * 32, "ab" * 65, "ab\n" * 9]
)
def test_only_hex_is_a_key(store: LocalStore, key: str) -> None:
    with pytest.raises(StoreError, match=re.escape(repr(key))):
        store.put("weights", key, TENSORS)
    assert not list(store.root.glob("v1/*"))


@pytest.mark.parametrize("kind", ["", "..", "a/b", "Weights", "a" * 33])
def test_only_a_word_is_a_kind(store: LocalStore, kind: str) -> None:
    with pytest.raises(StoreError, match=re.escape(repr(kind))):
        store.get(kind, KEY)


def test_what_cannot_be_stored_is_named(store: LocalStore) -> None:
    with pytest.raises(StoreError, match=r"'w', a torch\.sparse_coo"):
        store.put("weights", KEY, {"w": torch.eye(2).to_sparse()})
    with pytest.raises(StoreError, match=r"'w', .*complex128"):
        store.put("weights", KEY, {"w": torch.zeros(1, dtype=torch.complex128)})
    with pytest.raises(StoreError, match="__metadata__"):
        store.put("weights", KEY, {"__metadata__": torch.zeros(1)})
    with pytest.raises(StoreError, match=r"metadata of weights/abab.*JSON"):
        store.put("weights", KEY, {}, {"when": object()})
    assert not store.has("weights", KEY)


def test_many_small_entries_are_one_read_each(store: LocalStore, monkeypatch: Any) -> None:
    keys = [f"{i:064x}" for i in range(100)]
    for key in keys:
        store.put("scores", key, {"x": torch.zeros(3)})
    opened: list[str] = []
    monkeypatch.setattr(os, "open", counting(os.open, opened))
    assert all(store.get("scores", key) for key in keys)
    assert len(opened) == len(keys)


def counting(call: Any, calls: list[str]) -> Any:
    def counted(path: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(str(path))
        return call(path, *args, **kwargs)

    return counted


# ---- the folder


def test_tools_are_told_to_leave_the_store_alone(store: LocalStore) -> None:
    assert (store.root / ".gitignore").read_text() == "*\n"
    tag = (store.root / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert "Safe to delete" in (store.root / "README.md").read_text()


def test_a_folder_of_somebody_else_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "code.py").touch()
    with LocalStore(tmp_path) as store:
        store.put("weights", KEY, TENSORS)
        assert same(store.get("weights", KEY), TENSORS, {})
    assert not (tmp_path / ".gitignore").exists()


def test_another_layout_is_left_alone(store: LocalStore) -> None:
    other = store.root / "v2" / "weights" / "ab" / f"{KEY}.safetensors"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"from the future")
    assert store.get("weights", KEY) is None
    assert store.clear() == []
    assert other.read_bytes() == b"from the future"


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write anywhere, so tests of permissions run as somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("new", [True, False])
def test_a_folder_that_cannot_be_written_is_a_clear_error(new: bool) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    try:
        if not new:
            LocalStore(folder / "store").close()
            (folder / "store").chmod(0o555)
        folder.chmod(0o555)
        with nobody(), pytest.raises(StoreError, match=r"denied; make it writable.*store DIR"):
            LocalStore(folder / "store")
    finally:
        folder.chmod(0o755)
        if not new:
            (folder / "store").chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_in_the_place_of_the_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(StoreError, match="move it away"):
        LocalStore(tmp_path / "store")
    assert (tmp_path / "store").read_text() == "mine"


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(store: LocalStore) -> None:
    store.put("weights", KEY, TENSORS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # EFBIG in the place of ENOSPC
    try:
        with pytest.raises(StoreError, match="free some space"):
            store.put("weights", KEY, {"big": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert same(store.get("weights", KEY), TENSORS, {})
    assert [path.name for path in file_of(store).parent.iterdir()] == [f"{KEY}.safetensors"]


def test_a_write_that_fails_leaves_the_old_entry(store: LocalStore, monkeypatch: Any) -> None:
    store.put("weights", KEY, TENSORS)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        store.put("weights", KEY, {}, {"new": True})
    assert same(store.get("weights", KEY), TENSORS, {})
    assert not list(store.root.glob("v1/**/*.tmp"))


@pytest.mark.parametrize(
    ("kind", "waits"),
    [("weights", 2), ("looks", 2), ("kept", 2), ("logits", 0), ("scores", 0), ("found", 0)],
)
def test_only_what_is_dear_waits_for_the_disk(
    store: LocalStore, monkeypatch: Any, kind: str, waits: int
) -> None:
    """A file and its folder, or neither."""
    sync = mock.Mock(side_effect=os.fsync)
    monkeypatch.setattr(os, "fsync", sync)
    store.put(kind, KEY, TENSORS)
    assert sync.call_count == waits
    assert same(store.get(kind, KEY), TENSORS, {})


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9])
def test_what_a_loss_of_power_tore_counts_as_missing(store: LocalStore, share: float) -> None:
    store.put("logits", KEY, TENSORS)
    (path,) = store.root.glob(f"v1/logits/*/{KEY}.safetensors")
    content = path.read_bytes()
    size = int(share * len(content))
    for torn in (content[:size], content[:size] + bytes(len(content[size:]))):  # short, or zeros
        path.write_bytes(torn)
        with pytest.warns(StoreWarning, match="is sick"):
            assert store.get("logits", KEY) is None
        store.put("logits", KEY, TENSORS)
        assert same(store.get("logits", KEY), TENSORS, {})


# ---- sick files


def test_a_sick_file_is_put_aside_with_one_warning(store: LocalStore) -> None:
    store.put("weights", KEY, TENSORS)
    content = bytearray(file_of(store).read_bytes())
    content[-1] ^= 1
    file_of(store).write_bytes(content)
    with pytest.warns(StoreWarning, match=f"{KEY}.safetensors is sick.*checksum") as caught:
        assert store.get("weights", KEY) is None
    assert len(caught) == 1
    assert not store.has("weights", KEY)
    assert store.get("weights", KEY) is None
    (aside,) = (store.root / "quarantine").iterdir()
    assert aside.read_bytes() == content
    store.put("weights", KEY, TENSORS)
    assert same(store.get("weights", KEY), TENSORS, {})


def header_of(content: bytes, **changes: Any) -> bytes:
    """The same file with a changed header, made as a stranger might."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    for name, value in changes.items():
        target, _, field = name.rpartition("__in__")
        (header[target] if target else header)[field] = value
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


FOREIGN = {
    "empty": b"",
    "short": b"abc",
    "a huge header": (2**60).to_bytes(8, "little") + b"{}",
    "a negative-looking header": b"\xff" * 8 + b"{}",
    "no header": (0).to_bytes(8, "little"),
    "text": b"not a store's file at all, but longer than eight bytes",
    "a list": (2).to_bytes(8, "little") + b"[]",
    "a deep list": (100_000).to_bytes(8, "little") + b"[" * 100_000,
    "a long number": (10_000).to_bytes(8, "little") + b"9" * 10_000,
    "another program's": safetensors.torch.save({"x": torch.zeros(3)}),
    "another program's with metadata": safetensors.torch.save({"x": torch.zeros(3)}, {"a": "b"}),
    "zeros": bytes(10_000),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_put_aside(store: LocalStore, name: str) -> None:
    store.put("weights", KEY, TENSORS)
    file_of(store).write_bytes(FOREIGN[name])
    with pytest.warns(StoreWarning, match="counts as missing"):
        assert store.get("weights", KEY) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"__metadata____in__layout": "pytest-multiplicity/0"}, "layout is 'pytest-mult.*/0'"),
        ({"__metadata____in__sha256": "0" * 64}, "checksum"),
        ({"__metadata____in__sha256": ""}, "checksum"),
        ({"__metadata____in__meta": '{"a": 2}'}, "checksum"),
        ({"__metadata____in__more": "text"}, "checksum"),
        ({"__metadata__": {}}, "layout is None"),
        ({"__metadata__": None}, "header can't be read"),
        ({"weight__in__dtype": "I32"}, "checksum"),
        ({"weight__in__dtype": "F128"}, "tensors can't be read"),
        ({"weight__in__dtype": ["F32"]}, "tensors can't be read"),
        ({"weight__in__shape": [3, 2]}, "checksum"),
        ({"weight__in__shape": [2, 4]}, "tensors can't be read"),
        ({"weight__in__shape": [-2, -3]}, "tensors can't be read"),
        ({"weight__in__shape": [2**62, 2**62]}, "tensors can't be read"),
        ({"weight__in__shape": 6}, "tensors can't be read"),
        ({"weight__in__data_offsets": [0, 2**40]}, "tensors can't be read"),
        ({"weight__in__data_offsets": [8, 32]}, "tensors can't be read"),
        ({"weight__in__data_offsets": [0.0, 24.0]}, "tensors can't be read"),
        (
            {"extra": {"dtype": "U8", "shape": [9], "data_offsets": [26, 35]}},
            "tensors can't be read",
        ),
    ],
)
def test_forged_headers_are_put_aside(store: LocalStore, changes: Any, why: str) -> None:
    store.put("weights", KEY, TENSORS, {"a": 1})
    file_of(store).write_bytes(header_of(file_of(store).read_bytes(), **changes))
    with pytest.warns(StoreWarning, match=why):
        assert store.get("weights", KEY) is None


def test_metadata_are_read_without_tensors_and_verified(store: LocalStore) -> None:
    assert store.meta("weights", KEY) is None
    store.put("weights", KEY, {"big": torch.zeros(1_000_000)}, {"way": "plain"})
    content = bytearray(file_of(store).read_bytes())
    content[-1] ^= 1  # a tensor's, which nobody reads here
    file_of(store).write_bytes(content)
    assert store.meta("weights", KEY) == {"way": "plain"}
    content[content.index(b"plain")] ^= 1
    file_of(store).write_bytes(content)
    with pytest.warns(StoreWarning, match="metadata don't match"):
        assert store.meta("weights", KEY) is None
    assert not store.has("weights", KEY)


def test_swapped_files_are_put_aside(store: LocalStore) -> None:
    store.put("weights", KEY, TENSORS, {"a": 1})
    store.put("logits", KEY, TENSORS, {"a": 1})
    store.put("weights", OTHER, TENSORS, {"a": 2})
    contents = [file_of(store, "logits", KEY), file_of(store, "weights", OTHER)]
    for content in contents:
        file_of(store).write_bytes(content.read_bytes())
        with pytest.warns(StoreWarning, match="it belongs to (logits/abab|weights/cdcd)"):
            assert store.get("weights", KEY) is None


def test_folders_pipes_and_links_in_the_place_of_files(store: LocalStore, tmp_path: Path) -> None:
    def try_one(make: Any) -> None:
        file_of(store).parent.mkdir(parents=True, exist_ok=True)
        make(file_of(store))
        with pytest.warns(StoreWarning, match="counts as missing"):
            assert store.get("weights", KEY) is None

    try_one(Path.mkdir)
    try_one(os.mkfifo)
    (tmp_path / "elsewhere").write_text("not a store's file")
    try_one(lambda path: path.symlink_to(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere").exists()


def test_the_caller_may_take_the_warnings(tmp_path: Path) -> None:
    heard: list[str] = []
    with LocalStore(tmp_path, warn=heard.append) as store:
        store.put("weights", KEY, TENSORS)
        file_of(store).write_bytes(b"")
        assert store.get("weights", KEY) is None
    assert len(heard) == 1


# ---- locks


def run(program: str, *args: Any, **options: Any) -> subprocess.Popen[str]:
    prelude = "import sys, os, time, torch\nfrom pytest_multiplicity.store import LocalStore\n"
    command = [sys.executable, "-c", prelude + textwrap.dedent(program), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


HOLDER = """
store = LocalStore(sys.argv[1])
store.put("weights", "ab" * 32, {"x": torch.zeros(1000)})
with store.lock("family"):
    (store.root / "v1" / "weights" / "ab" / f"{'ab' * 32}.{store._runs.id}.9.tmp").touch()
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_re_entrant_exclusive_and_released_by_a_crash(tmp_path: Path) -> None:
    holder = run(HOLDER, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with LocalStore(tmp_path) as store:
        with store.lock("family", wait=False) as held:
            assert not held
        with (
            store.lock("another/name ☃", wait=False) as held,
            store.lock("another/name ☃") as again,
        ):
            assert (held, again) == (True, True)
        holder.kill()
        holder.communicate()
        with store.lock("family") as held:
            assert held


def test_what_a_dead_process_left_is_tidied(tmp_path: Path) -> None:
    holder = run(HOLDER, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with LocalStore(tmp_path):
        assert len(list(tmp_path.glob("v1/**/*.tmp"))) == 1  # its writer lives
    holder.kill()
    holder.communicate()
    with LocalStore(tmp_path) as store:
        assert not list(tmp_path.glob("v1/**/*.tmp"))
        assert store.has("weights", KEY)
        assert len(list((tmp_path / "runs").iterdir())) == 2  # our own marker and list
        assert not list((tmp_path / "locks").iterdir())
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_forked_process_may_write_and_end(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store, store.lock("family"):
        if (child := os.fork()) == 0:
            store.put("weights", KEY, TENSORS)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with LocalStore(tmp_path) as other:
            assert other.clear() == []  # the child's entry is its parent's
            with other.lock("family", wait=False) as held:
                assert not held


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_no_file_locks_are_a_clear_error(tmp_path: Path, monkeypatch: Any, number: int) -> None:
    import fcntl

    def refuse(*args: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"no working file locks.*--multiplicity-store"):
        LocalStore(tmp_path)


def test_locks_that_only_pretend_are_a_clear_error(tmp_path: Path, monkeypatch: Any) -> None:
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda *args: None)
    with pytest.raises(StoreError, match="no working file locks"):
        LocalStore(tmp_path)


def test_a_gate_that_never_opens_is_a_clear_error(tmp_path: Path, monkeypatch: Any) -> None:
    from pytest_multiplicity.store import runs

    monkeypatch.setattr(runs, "PATIENCE", 0.05)
    LocalStore(tmp_path).close()
    with filelock.FileLock(tmp_path / "gate.lock"), pytest.raises(StoreError, match=r"gate\.lock"):
        LocalStore(tmp_path)


def test_several_processes_may_write_and_read_at_once(tmp_path: Path) -> None:
    program = """
    store, me = LocalStore(sys.argv[1]), int(sys.argv[2])
    for i in range(21):
        key = f"{i % 7:064x}"
        entry = store.get("weights", key)
        assert entry is None or bool((entry.tensors["x"] == i % 7).all()), entry
        store.put("weights", key, {"x": torch.full((1000 + me,), float(i % 7))})
    store.close()
    """
    workers = [run(program, tmp_path, me, env={**os.environ, "OMP_NUM_THREADS": "1"})
               for me in range(2)]  # fmt: skip
    assert [worker.wait() for worker in workers] == [0, 0]
    for worker in workers:
        worker.communicate()
    with LocalStore(tmp_path) as store:
        assert len(store.entries("weights")) == 7
        assert all(store.get("weights", f"{i:064x}") for i in range(7))


# ---- size


def filled(root: Path, ages: dict[str, int]) -> int:
    """Entries of one size, used so many seconds ago; gives that size."""
    with LocalStore(root) as store:
        for key, age in ages.items():
            store.put("weights", key, {"x": torch.zeros(1000)})
            os.utime(file_of(store, key=key), (0, 10_000_000 - age))
        return store.entries()[0].size


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    size = filled(tmp_path, {"aaaa": 10, "bbbb": 30, "cccc": 20, "dddd": 40})
    with LocalStore(tmp_path) as store:
        assert [item.key for item in store.entries()] == ["dddd", "bbbb", "cccc", "aaaa"]
        assert store.usage() == {"weights": Usage(4, 4 * size)}
        assert store.bound(4 * size) == []
        assert [item.key for item in store.bound(3 * size - 1)] == ["dddd", "bbbb"]
        assert [item.key for item in store.entries()] == ["cccc", "aaaa"]


def test_use_renews_and_protects(tmp_path: Path) -> None:
    size = filled(tmp_path, {"aaaa": 10, "bbbb": 30, "cccc": 20})
    with LocalStore(tmp_path) as store:
        assert store.get("weights", "bbbb")
        assert [item.key for item in store.entries()] == ["cccc", "aaaa", "bbbb"]
        assert [item.key for item in store.bound(0)] == ["cccc", "aaaa"]
    with LocalStore(tmp_path) as store:  # a new run, which has used nothing
        assert [item.key for item in store.bound(size - 1)] == ["bbbb"]


def test_what_another_living_process_uses_stays(tmp_path: Path) -> None:
    filled(tmp_path, {"aaaa": 10})
    holder = run(HOLDER, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with LocalStore(tmp_path) as store:
        assert [item.key for item in store.bound(0)] == ["aaaa"]
        assert store.clear() == []
        holder.kill()
        holder.communicate()
        assert [item.key for item in store.bound(0)] == [KEY]


def test_what_was_put_aside_goes_first(tmp_path: Path) -> None:
    size = filled(tmp_path, {"aaaa": 10})
    with LocalStore(tmp_path, warn=lambda message: None) as store:
        store.put("weights", KEY, TENSORS)
        file_of(store).write_bytes(bytes(5000))
        assert store.get("weights", KEY) is None
        assert store.usage() == {"weights": Usage(1, size), "quarantine": Usage(1, 5000)}
        assert store.bound(size) == []
        assert store.usage() == {"weights": Usage(1, size)}


def test_the_store_can_be_cleared_by_kind(store: LocalStore) -> None:
    store.put("weights", KEY, TENSORS)
    store.put("logits", KEY, TENSORS)
    assert [item.kind for item in store.clear("logits")] == ["logits"]
    assert store.usage().keys() == {"weights"}
    assert [item.kind for item in store.clear()] == ["weights"]
    assert store.usage() == {}


def test_what_was_put_for_a_run_ends_with_it(tmp_path: Path) -> None:
    with LocalStore(tmp_path) as store, LocalStore(tmp_path) as worker:
        store.put("logits", "a" * 8, {"x": torch.zeros(2)})
        store.put("logits", "b" * 8, {"x": torch.zeros(2)}, run="mine/../☃")
        worker.put("logits", "c" * 8, {"x": torch.zeros(2)}, run="mine/../☃")
        worker.put("logits", "d" * 8, {"x": torch.zeros(2)}, run="another")
        store.end("mine/../☃")
        assert [item.key[0] for item in store.entries()] == ["a", "d"]
        store.end("mine/../☃")
        assert len(store.entries()) == 2, "another run may be alive"
        worker.close()
        store.end("a third")
        assert [item.key[0] for item in store.entries()] == ["a"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == []


def test_a_list_of_what_goes_with_a_run_leads_out_of_no_folder(tmp_path: Path) -> None:
    outside = tmp_path / "v1" / "kept.safetensors"
    with LocalStore(tmp_path) as store:
        outside.touch()
        store.put("logits", "a" * 8, {"x": torch.zeros(2)}, run="mine")
        (path,) = (tmp_path / "runs").glob("*.bound")
        path.write_text("../kept\nlogits/../../kept\n/etc/x\n\nlogits/aaaaaaaa\n")
        store.end("mine")
        assert store.entries() == []
    assert outside.exists()


def test_a_clock_that_jumps_back_evicts_nothing_in_use(tmp_path: Path) -> None:
    filled(tmp_path, {"aaaa": -(10**9), "bbbb": -(10**9) - 1})  # last used in the future
    with LocalStore(tmp_path) as store:
        assert store.get("weights", "aaaa")
        assert [item.key for item in store.bound(0)] == ["bbbb"]
        assert store.has("weights", "aaaa")


def test_a_closed_store_still_reads(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("weights", KEY, TENSORS)
    store.close()
    store.close()
    assert same(store.get("weights", KEY), TENSORS, {})


def test_fingerprints_import_no_store() -> None:
    program = (
        "import pytest_multiplicity.store, sys; print({'torch', 'filelock'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
