"""Faces from the folders that UTKFace, FairFace and CelebA are published as.

What can't be used (a name that says nothing, a file that breaks off) is left out, and said once.
Gender is the target everywhere: 0 is male and 1 is female.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps
from torch import Tensor

GENDERS = ("Male", "Female")
RACES = ("White", "Black", "Asian", "Indian", "Others")
OLDEST = 116
NAME = re.compile(r"(?P<age>\d+)_(?P<gender>\d+)_(?P<race>\d+)_[^_]+\.jpg(?:\.chip\.jpg)?", re.I)
NAMED = 3  # files that the warning names before it counts the others


class FacesError(Exception):
    """A folder holds no faces that can be used; the message says what was looked for."""


class LeftOutWarning(UserWarning):
    """Files that can't be used were left out."""


@dataclass(frozen=True)
class Faces:
    """A map-style dataset in memory, a byte a value: a quarter of what floats would take.

    ``pixels`` is uint8 [n, 3, size, size]; ``attributes`` has a row per face.
    """

    pixels: Tensor
    targets: list[int]
    attributes: pd.DataFrame

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pixels[index], self.targets[index]

    def take(self, rows: Tensor) -> Faces:
        """Give the faces at these positions."""
        at = rows.tolist()
        return Faces(self.pixels[rows], [self.targets[i] for i in at], self.attributes.iloc[at])


@dataclass(frozen=True)
class Listed:
    """Files that a folder lists, with what is known of each; and those that say too little."""

    paths: list[Path]
    targets: list[int]
    attributes: pd.DataFrame
    left_out: dict[str, str]  # name -> reason


def split(faces: Faces, fraction: float = 0.8) -> tuple[Faces, Faces]:
    """Divide faces in two: the first ``fraction`` of torch's permutation of seed 0, and the rest.

    Faces stand in the order of their files' names, so that the draw is the same everywhere.
    """
    order = draw(len(faces))
    count = round(fraction * len(faces))
    return faces.take(order[:count]), faces.take(order[count:])


def draw(count: int) -> Tensor:
    """Give the permutation of ``count`` positions that splits and subsets are taken from."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


# --- what folders list


def parse(name: str) -> tuple[int, int, str]:
    """Read age, gender and race off a UTKFace name: ``26_1_2_20170116184024662.jpg.chip.jpg``.

    Raises ValueError with the reason where the name doesn't say them.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise ValueError("not named age_gender_race_date.jpg")
    age, gender, race = (int(found[part]) for part in ("age", "gender", "race"))
    if age > OLDEST:
        raise ValueError(f"age {age} is above {OLDEST}")
    if gender >= len(GENDERS):
        raise ValueError(f"gender {gender} is neither 0 nor 1")
    if race >= len(RACES):
        raise ValueError(f"race {race} is above {len(RACES) - 1}")
    return age, gender, RACES[race]


def list_utkface(folder: Path) -> Listed:
    """List a folder of aligned and cropped faces whose names tell age, gender and race."""
    files = {file.name: file for file in _files(folder)}
    known: dict[str, tuple[int, int, str]] = {}
    left_out = {}
    for name in sorted(files):
        try:
            known[name] = parse(name)
        except ValueError as reason:
            left_out[name] = str(reason)
    if not known:
        raise FacesError(
            f"no faces in {str(folder)!r} ({len(files)} files): give the folder that holds the "
            "aligned and cropped UTKFace images themselves, named age_gender_race_date.jpg"
        )
    ages, genders, races = zip(*known.values(), strict=True)
    attributes = pd.DataFrame({"age": ages, "gender": genders, "race": races})
    return Listed([files[name] for name in known], list(genders), attributes, left_out)


def list_fairface(folder: Path) -> Listed:
    """List FairFace's validation part: ``fairface_label_val.csv`` and the images it names."""
    labels = folder / "fairface_label_val.csv"
    table = _table(labels, "FairFace's folder, with its train and val folders", text=True)
    columns = _columns(table, labels, "file", "gender", "race", "age")
    return _listed(folder, columns, columns["gender"].map({"Male": 0, "Female": 1}))


def list_celeba(folder: Path) -> Listed:
    """List CelebA: ``img_align_celeba`` and ``list_attr_celeba``, as ``.txt`` or ``.csv``."""
    labels = folder / "list_attr_celeba.csv"
    if labels.is_file():
        table = _table(labels, "").rename(columns={"image_id": "file"})
    else:  # its first line is a count; the names of columns start at the second column
        labels = labels.with_suffix(".txt")
        what = "CelebA's folder, with img_align_celeba and list_attr_celeba.txt or .csv"
        table = _table(labels, what, sep=r"\s+", skiprows=1)
        table = table.rename_axis("file").reset_index()
    columns = _columns(table, labels, "file", "Male", "Young")
    images = folder / "img_align_celeba"
    nested = images / images.name  # as archives of it unpack
    attributes = pd.DataFrame({"file": columns["file"], "young": columns["Young"] == 1})
    targets = columns["Male"].map({1: 0, -1: 1})
    return _listed(nested if nested.is_dir() else images, attributes, targets)


def _listed(folder: Path, attributes: pd.DataFrame, targets: pd.Series[Any]) -> Listed:
    """Leave out rows without a gender; the column ``file`` is relative to the folder."""
    known = targets.notna()
    left_out = dict.fromkeys(attributes["file"][~known].astype(str), "no gender in its labels")
    if not known.any():
        raise FacesError(f"the labels of {str(folder)!r} tell no gender: give the published files")
    attributes = attributes[known].reset_index(drop=True)
    paths = [folder / str(name) for name in attributes["file"]]
    return Listed(
        paths, targets[known].astype(int).tolist(), attributes.drop(columns="file"), left_out
    )


def _files(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        raise FacesError(f"{str(folder)!r} is no folder: give one of UTKFace images")
    return (file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def _table(path: Path, folder: str, *, text: bool = False, **how: Any) -> pd.DataFrame:
    if not path.is_file():
        raise FacesError(f"there is no {str(path)!r}: give {folder}")
    try:
        return pd.read_csv(path, dtype=str if text else None, **how)
    except ValueError as error:  # pandas' own errors of parsing are ValueErrors
        raise FacesError(f"{str(path)!r} is no table of labels: {error}") from None


def _columns(table: pd.DataFrame, path: Path, *names: str) -> pd.DataFrame:
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise FacesError(
            f"{str(path)!r} has no column {', '.join(missing)}: give the file as published"
        )
    return table[list(names)]


# --- what files hold


def read(listed: Listed, size: int, what: str, *, most: int | None = None) -> Faces:
    """Read the pictures: their centred square, scaled to ``size`` pixels a side.

    Of more than ``most``, as many are drawn. Files that can't be read are left out, and all that
    were left out are told of in one LeftOutWarning. Raises FacesError where none is left.
    """
    rows = draw(len(listed.paths))[:most].sort().values.tolist()
    paths = [listed.paths[row] for row in rows]
    pixels = torch.empty(len(rows), 3, size, size, dtype=torch.uint8)
    with ThreadPoolExecutor() as pool:
        reasons = list(pool.map(_read_into, pixels, paths))
    broken = {path.name: reason for path, reason in zip(paths, reasons, strict=True) if reason}
    good = [i for i, reason in enumerate(reasons) if reason is None]
    _tell(listed.left_out | broken, len(listed.left_out) + len(paths), what)
    if not good:
        raise FacesError(f"none of the {len(paths)} images of {what} can be read: unpack it again")
    kept = [rows[i] for i in good]
    return Faces(
        pixels[good] if broken else pixels,
        [listed.targets[row] for row in kept],
        listed.attributes.iloc[kept].reset_index(drop=True),
    )


def _read_into(pixels: Tensor, path: Path) -> str | None:
    """Fill ``pixels`` [3, size, size]; give the reason where the file can't be read."""
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(
                image.convert("RGB"), (pixels.shape[2], pixels.shape[1]), Image.Resampling.BILINEAR
            )
    except FileNotFoundError:
        return "no such file"
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow's readers tell of broken files
        return f"unreadable ({str(error).replace(str(path), path.name)})"
    pixels.copy_(torch.from_numpy(np.array(square)).permute(2, 0, 1))
    return None


def _tell(left_out: dict[str, str], total: int, what: str) -> None:
    if not left_out:
        return
    named = [f"{name}: {reason}" for name, reason in left_out.items()][:NAMED]
    more = [f"and {len(left_out) - NAMED:,} more"] if len(left_out) > NAMED else []
    warnings.warn(
        f"{what}: left out {len(left_out):,} of {total:,} files: {'; '.join([*named, *more])}",
        LeftOutWarning,
        stacklevel=3,
    )
