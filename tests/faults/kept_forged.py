"""Forge and damage kept models, and read them: nothing that isn't the user's may run.

    python tests/faults/kept_forged.py [--entries 500] [--seed 0]

Every entry is the user's own at first. Then its pickle is replaced by one that leaves a file behind
when it is read, under each signature that an attacker can have, or the file is damaged. Reading it
must give nothing, and the model that is trained again must be found. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_multiplicity.keeping import Entries, Kept, Returned
from pytest_multiplicity.keeping.entries import KEPT, PICKLE, _digest, _signed
from pytest_multiplicity.keeping.packing import pack
from pytest_multiplicity.store import LocalStore, Signer
from pytest_multiplicity.store.files import encode, read

Held = tuple[dict[str, Tensor], dict[str, Any]]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def bomb(path: Path) -> Tensor:
    return torch.from_numpy(np.frombuffer(pickle.dumps(Bomb(path)), np.uint8).copy())


def unsigned(held: Held, name: str, rng: random.Random) -> None:
    del held[1]["signature"]


def signature_kept(held: Held, name: str, rng: random.Random) -> None:
    """Leave the signature as it was."""


def digest_renewed(held: Held, name: str, rng: random.Random) -> None:
    held[1]["content"] = _digest(held[0])


def of_another_key(held: Held, name: str, rng: random.Random) -> None:
    digest_renewed(held, name, rng)
    del held[1]["signature"]
    held[1]["signature"] = Signer(rng.randbytes(32)).sign(_signed(name, held[1]))


def of_an_empty_key(held: Held, name: str, rng: random.Random) -> None:
    digest_renewed(held, name, rng)
    del held[1]["signature"]
    held[1]["signature"] = Signer(b"").sign(_signed(name, held[1]))


def odd_signature(held: Held, name: str, rng: random.Random) -> None:
    digest_renewed(held, name, rng)
    held[1]["signature"] = rng.choice([None, 0, "", [], {}, True, "é", "0" * 64, held[1]])
    if held[1]["signature"] is held[1]:
        held[1]["signature"] = "x" * 10_000


def told_skipped(held: Held, name: str, rng: random.Random) -> None:
    held[1]["skipped"] = "said the attacker"


FORGED = (
    unsigned,
    signature_kept,
    digest_renewed,
    of_another_key,
    of_an_empty_key,
    odd_signature,
    told_skipped,
)


def damage(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    match rng.choice(("flip", "cut", "insert", "empty")):
        case "flip":
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case "cut":
            del content[rng.randrange(len(content)) :]
        case "insert":
            at = rng.randrange(len(content))
            content[at:at] = rng.randbytes(8)
        case "empty":
            content.clear()
    path.write_bytes(content)


def file_of(store: LocalStore, name: str) -> Path:
    return store.root / "v1" / KEPT / name[:2] / f"{name}.safetensors"


def returned(number: int) -> Returned:
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, number)
    return Returned(pack(module), 1.0)


def forge(store: LocalStore, name: str, how: Callable[..., None], rng: random.Random) -> None:
    """Put a bomb in the place of an entry's pickle, with checksums that hold."""
    path = file_of(store, name)
    entry = read(path, KEPT, name)
    held = dict(entry.tensors), dict(entry.meta)
    held[0][PICKLE] = bomb(store.root / "fired")
    how(held, name, rng)
    path.write_bytes(encode(KEPT, name, *held))


def check(root: Path, count: int, seed: int) -> Counter[str]:
    """Forge so many entries of a store; return what was wrong."""
    rng, wrong = random.Random(seed), Counter[str]()
    keys = [f"{rng.getrandbits(256):064x}" for _ in range(count)]
    said: list[str] = []
    with LocalStore(root, warn=said.append) as store:
        own = Entries(store)
        for number, key in enumerate(keys):
            own.put(key, returned(number), machine="this", run=["1", "family"])
        whole = read(file_of(store, keys[0]), KEPT, keys[0])
        for number, key in enumerate(keys):
            if number % 10 == 8:
                damage(file_of(store, key), rng)
            elif number % 10 == 9:  # a whole entry of the user's own, under another key
                file_of(store, key).write_bytes(encode(KEPT, key, whole.tensors, whole.meta))
            else:
                forge(store, key, FORGED[number % len(FORGED)], rng)
    with LocalStore(root, warn=said.append) as store:
        reader = Entries(store)
        for number, key in enumerate(keys):
            found = reader.look(key)
            if isinstance(found, Kept) and reader.load(found) is not None:
                wrong["read what isn't the user's"] += 1
            wrong["taken for skipped"] += not isinstance(found, Kept | None)
            reader.put(key, returned(number), machine="this", run=["2", "family"])
            again = reader.look(key)
            model = reader.load(again) if isinstance(again, Kept) else None
            right = model is not None and bool((model.weight == number).all())
            wrong["not found when trained again"] += not right
        wrong["code was run"] += (root / "fired").exists()
    return +wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["MULTIPLICITY_STORE_KEY"] = "of nobody in particular"
    with tempfile.TemporaryDirectory() as folder:
        wrong = check(Path(folder), arguments.entries, arguments.seed)
    print(f"{arguments.entries} entries:", dict(wrong) or "none was read, all were trained again")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
