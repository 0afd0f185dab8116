"""Readable, deterministic ids of candidates: `default-seed0`, `lr0.05-seed3`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_OPTION = 32
LONGEST_CONFIGURATION = 96
SEED = "-seed"  # between a configuration and its seed


def option_text(option: Any) -> str:
    """Return an option as it stands in ids and tables: its name if it has one, else its repr."""
    if isinstance(option, str):
        return option
    name = getattr(option, "__name__", None)
    if isinstance(name, str) and name != "<lambda>":
        return name
    scalar = type(option).__module__ == "numpy" and getattr(option, "shape", None) == ()
    text = str(option) if scalar else repr(option)  # 0.1, where repr says np.float64(0.1)
    # an address would make the id another one in every process
    return type(option).__name__ if re.search(r"\bat 0x[0-9a-f]+", text) else text


def slug(text: str, longest: int = LONGEST_OPTION) -> str:
    """`text` without what `-k`, node ids or shells would stumble over."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", text)[:longest]


def configuration_ids(
    configurations: Sequence[Mapping[str, Any]],
    differing: Sequence[Sequence[str]],
) -> list[str]:
    """Return an id per configuration, from the axes in which each differs from the default.

    Two that would read alike (two lambdas, two long texts) are told apart by a number.
    """
    texts = [
        "-".join(slug(axis) + slug(option_text(options[axis])) for axis in axes) or "default"
        for options, axes in zip(configurations, differing, strict=True)
    ]
    return _told_apart([text[:LONGEST_CONFIGURATION] for text in texts])


def _told_apart(texts: Sequence[str]) -> list[str]:
    total, seen = Counter(texts), Counter[str]()
    taken = set(texts)
    result = []
    for text in texts:
        name = text
        while total[text] > 1 and (name == text or name in taken):
            seen[text] += 1
            name = f"{text}.{seen[text]}"
        taken.add(name)
        result.append(name)
    return result


def seed_texts(seeds: Sequence[int]) -> list[str]:
    """Seeds zero-padded to one width, so that ids sort as numbers do."""
    width = max(len(str(seed)) for seed in seeds)
    return [f"seed{seed:0{width}d}" for seed in seeds]
