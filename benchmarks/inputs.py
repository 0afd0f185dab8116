"""What inputs of each kind cost: to be hashed, split, and read in batches.

python -m benchmarks.inputs [--rows 100000] [--repeats 3] [--only TEXT] [--json out.json]

A frame has 30 columns: floats, ints with missing values, categories, text. "read" takes batches of
256 of the selected half; "more" is how much larger the process is after splitting and reading, of
which a copy of the whole would be as much as "size".
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks import common
from pytest_multiplicity.data import Data

BATCH = 256


def frame(rows: int) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    made = pd.DataFrame(draw.normal(size=(rows, 22)), columns=[f"x{i}" for i in range(22)])
    made.iloc[::7, :3] = np.nan
    for i in range(3):
        whole = pd.array(draw.integers(0, 99, rows), dtype="Int64")
        whole[::11] = pd.NA
        made[f"n{i}"] = whole
        made[f"c{i}"] = pd.Categorical(draw.choice(["own", "rent", "free"], rows))
    for i in range(2):
        made[f"t{i}"] = draw.choice(["cook", "nurse", "teacher"], rows)
    return made


def tokens(rows: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(30_000, (rows, 64), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": ids % 5 > 0}


def texts(rows: int) -> list[str]:
    draw = np.random.default_rng(0)
    words = np.array(["the", "film", "was", "good", "bad", "and", "long"])
    return [" ".join(each) for each in words[draw.integers(0, len(words), (rows, 20))]]


KINDS: dict[str, tuple[Callable[[int], Any], Callable[[Any], float]]] = {
    "frame": (frame, lambda each: float(each.memory_usage(deep=True).sum())),
    "dict of tensors": (tokens, lambda each: float(sum(part.nbytes for part in each.values()))),
    "list of texts": (texts, lambda each: float(sum(map(len, each)))),
}


def resident() -> float:
    """Return the megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(inputs: Any, rows: int) -> dict[str, float]:
    """Return seconds, and megabytes that the process grew by."""
    data = Data(inputs, np.arange(rows) % 2, name="inputs")
    hashed = common.seconds(lambda: data.fingerprint)
    before = resident()
    halves: list[Any] = []
    split = common.seconds(lambda: halves.append(data.split(0.5)))
    select = halves[0].select

    def read() -> None:
        for rows in torch.arange(len(select)).split(BATCH):
            select.take(rows)

    took = common.seconds(read)
    return {
        "hash s": hashed,
        "split s": split,
        "read s": took,
        "more MB": resident() - before,
    }


def main() -> None:
    parser = common.options(__doc__ or "")
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    table = []
    for name, (make, size) in KINDS.items():
        if arguments.only not in name:
            continue
        inputs = make(arguments.rows)
        found = [measure(inputs, arguments.rows) for _ in range(arguments.repeats)]
        medians = {key: statistics.median(each[key] for each in found) for key in found[0]}
        table.append({"inputs": name, "size MB": size(inputs) / 1e6, **medians})
    common.report(f"{arguments.rows:,} rows", table, arguments.json)


if __name__ == "__main__":
    main()
