from __future__ import annotations

import pickle
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pytest_multiplicity.compute.ray.address import GREETING, silence
from pytest_multiplicity.compute.ray.parcel import Parcel, Shared, pack, unpack
from pytest_multiplicity.compute.sharing import UnsharableError
from pytest_multiplicity.data import Data
from pytest_multiplicity.training.batches import Samples

BIG = torch.arange(100_000.0).view(-1, 4)


def carried(parcel: Parcel) -> list[Any]:
    """The parts as they arrive: bytes, and arrays that nobody can write to."""
    contents: list[Any] = []
    for part in parcel.parts:
        content = part.content
        if isinstance(content, np.ndarray):
            content = content.copy()
            content.flags.writeable = False
        contents.append(content)
    return contents


def there_and_back(value: Any) -> Any:
    parcel = pack(value)
    return unpack(parcel.payload, carried(parcel))


def test_data_travels_beside_the_pickle_once() -> None:
    samples = Samples(BIG, torch.arange(len(BIG)))
    parcel = pack([samples, Samples(BIG, samples.targets)])
    assert len(parcel.payload) < 2000
    assert [id(part.owner) for part in parcel.parts] == [id(BIG), id(samples.targets)]
    contents = carried(parcel)
    first, second = unpack(parcel.payload, contents)
    assert torch.equal(first.inputs, BIG)
    assert first.inputs.data_ptr() == second.inputs.data_ptr() == contents[0].ctypes.data
    assert torch.equal(first.take(torch.tensor([3, 1])), BIG[[3, 1]])


def test_a_whole_data_set_travels_so_too() -> None:
    data = Data(BIG, torch.arange(len(BIG)) % 3, {"age": range(len(BIG))}, bounds=None)
    group = data.where("age < 10")
    parcel = pack((data, group))
    owners = [part.owner for part in parcel.parts]
    assert len(owners) == 3
    assert owners[0].data_ptr() == BIG.data_ptr()  # type: ignore[attr-defined]
    back, part = unpack(parcel.payload, carried(parcel))
    assert back.fingerprint == data.fingerprint
    assert part.fingerprint == group.fingerprint
    assert torch.equal(part.take(torch.arange(5)), BIG[:5])


def test_inputs_of_any_kind_travel_beside_the_pickle() -> None:
    n = len(BIG)
    frame = pd.DataFrame(BIG.numpy()).assign(job="cook")
    texts = [f"text {row}" for row in range(n)]
    for inputs in ({"x": BIG}, (BIG, torch.arange(n)), frame, texts):
        data = Data(inputs, torch.arange(n) % 3)
        beside = {"age": torch.arange(n).float()}
        bare = Samples(data.inputs, data.targets, attribute_tensors=beside)
        parcel = pack((data, data.split(0.5), bare))
        assert len(parcel.payload) < 5000
        owners = [id(part.owner) for part in parcel.parts]
        assert len(set(owners)) == len(owners)
        back, halves, samples = unpack(parcel.payload, carried(parcel))
        assert back.fingerprint == data.fingerprint
        assert halves.report.fingerprint == data.split(0.5).report.fingerprint
        assert Data(samples.inputs, data.targets).fingerprint == data.fingerprint


def test_what_is_no_data_may_be_written_to() -> None:
    state = {"weight": BIG.clone()}
    parcel = pack(state)
    assert parcel.parts == ()
    back = unpack(parcel.payload, [])
    back["weight"].zero_()
    assert torch.equal(state["weight"], BIG)


def test_what_tasks_have_in_common_is_pickled_once() -> None:
    shared = Shared([nn.Linear(3, 4)])
    first, second = pack((shared, 1)), pack((shared, 2))
    assert first.parts[0].content is second.parts[0].content
    back, one = there_and_back((shared, 1))
    assert one == 1
    assert torch.equal(back.value[0].weight, shared.value[0].weight)


def test_project_code_travels_though_it_can_be_imported_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project_of_somebody.py").write_text("def helper(x):\n    return x * 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    import project_of_somebody  # type: ignore[import-not-found]

    payload = pack(project_of_somebody.helper).payload
    monkeypatch.delitem(sys.modules, "project_of_somebody")
    monkeypatch.undo()
    assert unpack(payload, [])(4) == 8


def test_standard_and_installed_modules_travel_by_name() -> None:
    assert len(pack([pickle.loads, nn.Linear, Samples]).payload) < 300


def test_what_cannot_be_sent_is_said() -> None:
    with pytest.raises(UnsharableError, match="lock"):
        pack(threading.Lock())


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Something that listens, and answers everybody so."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(len(GREETING))
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join(5)
    finally:
        listening.close()


def test_an_address_where_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = silence(f"127.0.0.1:{port}")
    assert said is not None
    assert f"no Ray cluster answers at RAY_ADDRESS=127.0.0.1:{port} (" in said
    assert "unset RAY_ADDRESS for one on this machine" in said


def test_an_address_where_something_else_answers() -> None:
    with server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert "something else answers there" in str(silence(address))


def test_an_address_where_a_cluster_may_be() -> None:
    with server(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])) as address:
        assert silence(address) is None
    assert [silence(each) for each in ("", "auto", "local")] == [None] * 3


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://10.0.0.1:10001", "can't stream what tasks report"),
        ("10.0.0.1", "give host:port"),
        ("10.0.0.1:port", "give host:port"),
    ],
)
def test_addresses_that_make_no_sense(address: str, said: str) -> None:
    assert said in str(silence(address))
