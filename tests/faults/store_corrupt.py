"""Damage stores at random and read them: what comes back must be right, or missing.

    python tests/faults/store_corrupt.py [--stores 1000] [--seed 0]

Every store gets one to four of: bytes flipped, overwritten or inserted, a file truncated, swapped
with another, replaced by a foreign one or by a folder, or removed, its folders included. Then a
fresh store reads every key, writes every key, and reads it again. Exits with 1 on a wrong answer
or any exception.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from pytest_multiplicity.store import Entry, LocalStore

KINDS = ("weights", "logits", "scores")
Content = tuple[dict[str, Tensor], dict[str, object]]


def contents(generator: torch.Generator) -> dict[tuple[str, str], Content]:
    """A small store: 12 entries of three kinds; two of them of the very same size."""
    made: dict[tuple[str, str], Content] = {}
    for kind in KINDS:
        for number in range(4):
            size = 8 if number < 2 else 50 * number
            weight = torch.rand(size, 3, generator=generator)
            tensors = {"weight": weight, "steps": torch.tensor(number)}
            made[kind, f"{number:02x}{'5a' * 31}"] = tensors, {"number": number, "way": kind}
    return made


def flip(path: Path, rng: random.Random, store: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 5, 100))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def overwrite(path: Path, rng: random.Random, store: Path) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    piece = content[start : start + rng.randrange(1, 600)]
    content[start : start + len(piece)] = rng.choice((bytes(len(piece)), rng.randbytes(len(piece))))
    path.write_bytes(content)


def insert(path: Path, rng: random.Random, store: Path) -> None:
    content = path.read_bytes()
    at = rng.randrange(len(content) + 1)
    path.write_bytes(content[:at] + rng.randbytes(rng.randrange(1, 40)) + content[at:])


def truncate(path: Path, rng: random.Random, store: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def swap(path: Path, rng: random.Random, store: Path) -> None:
    other = rng.choice(files_of(store))
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


def replace(path: Path, rng: random.Random, store: Path) -> None:
    path.write_bytes(rng.choice((b"", b"{}", rng.randbytes(rng.randrange(1, 2000)), bytes(5000))))


def make_folder(path: Path, rng: random.Random, store: Path) -> None:
    path.unlink()
    path.mkdir()


def remove(path: Path, rng: random.Random, store: Path) -> None:
    path.unlink()


def remove_folder(path: Path, rng: random.Random, store: Path) -> None:
    folder = rng.choice((path.parent, path.parent.parent, store / "runs", store / "locks"))
    shutil.rmtree(folder, ignore_errors=True)  # it may be gone already


DAMAGES: tuple[Callable[[Path, random.Random, Path], None], ...] = (
    *(flip, overwrite, insert, truncate, swap, replace, make_folder, remove, remove_folder),
)


def files_of(store: Path) -> list[Path]:
    files = (path for path in store.glob("v1/*/*/*") if path.is_file())
    return sorted(path for path in files if path.stat().st_size)


def damage(store: Path, rng: random.Random) -> Iterator[str]:
    """Damage a store; gives the names of what was done to it."""
    for _ in range(rng.randrange(1, 5)):
        if files := files_of(store):
            how = rng.choice(DAMAGES)
            how(rng.choice(files), rng, store)
            yield how.__name__


def is_right(entry: Entry, content: Content) -> bool:
    tensors, meta = content
    return (
        entry.meta == meta
        and entry.tensors.keys() == tensors.keys()
        and all(torch.equal(entry.tensors[name], tensors[name]) for name in tensors)
    )


def check(
    root: Path, made: dict[tuple[str, str], Content], tally: collections.Counter[str]
) -> None:
    """Read a damaged store, heal it, and read it again."""
    with LocalStore(root, warn=lambda message: tally.update(["warnings"])) as store:
        for (kind, key), content in made.items():
            entry = store.get(kind, key)
            tally["missing" if entry is None else "read"] += 1
            tally["wrong answers"] += entry is not None and not is_right(entry, content)
        for (kind, key), (tensors, meta) in made.items():
            store.put(kind, key, tensors, meta)
        for (kind, key), content in made.items():
            healed = store.get(kind, key)
            tally["wrong answers"] += healed is None or not is_right(healed, content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    made = contents(torch.Generator().manual_seed(options.seed))
    tally: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound"
        with LocalStore(sound) as store:
            for (kind, key), (tensors, meta) in made.items():
                store.put(kind, key, tensors, meta)
        for number in range(options.stores):
            root = Path(folder) / "damaged"
            shutil.copytree(sound, root)
            done = list(damage(root, rng))
            try:
                check(root, made, tally)
            except Exception:
                tally["tracebacks"] += 1
                print(f"store {number}, damaged by {', '.join(done)}:", file=sys.stderr)
                traceback.print_exc()
            shutil.rmtree(root)
    print(
        f"{options.stores} corrupted stores: {tally['tracebacks']} tracebacks, "
        f"{tally['wrong answers']} wrong answers; {tally['read']} entries read, "
        f"{tally['missing']} missing, {tally['warnings']} files put aside"
    )
    return bool(tally["tracebacks"] or tally["wrong answers"])


if __name__ == "__main__":
    sys.exit(main())
