"""The UTKFace study: what its readers make of folders, and the study itself, small."""

from __future__ import annotations

import fnmatch
import importlib
import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.models import get_model

from pytest_multiplicity.data import reading

ROOT = Path(__file__).parents[2]
STUDY = "specs/utkface"
# a seed: that each configuration has several is for other studies to show
PLUGIN = ("-p", "no:cacheprovider", "--multiplicity-device=cpu", "--multiplicity-seeds=1")


def study_module(name: str) -> ModuleType:
    """A module of the study, as part of a package that is the study's folder."""
    package = ModuleType("utkface")
    package.__path__ = [str(ROOT / STUDY)]
    sys.modules.setdefault("utkface", package)
    return importlib.import_module(f"utkface.{name}")


@pytest.fixture(scope="module")
def readers() -> ModuleType:
    return study_module("faces")


def picture(gender: int, rng: np.random.Generator, size: tuple[int, int] = (40, 40)) -> Image.Image:
    """Noise: reddish for men, and bluish for women."""
    pixels = rng.integers(0, 120, (*reversed(size), 3), dtype=np.uint8)
    pixels[..., 2 * gender] += 60
    return Image.fromarray(pixels)


def write_utkface(folder: Path, count: int) -> None:
    """Of each gender half; every other name has the suffix of the aligned and cropped faces."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(count):
        suffix = ".jpg.chip.jpg" if i % 4 < 2 else ".jpg"
        name = f"{rng.integers(1, 100)}_{i % 2}_{rng.integers(5)}_{20170110000000000 + i}{suffix}"
        picture(i % 2, rng).save(folder / name)


def write_fairface(folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    (folder / "val").mkdir(parents=True)
    rows = ["file,age,gender,race,service_test"]
    for i in range(count):
        picture(i % 2, rng, (56, 56)).save(folder / f"val/{i}.jpg")
        rows.append(f"val/{i}.jpg,20-29,{['Male', 'Female'][i % 2]},East Asian,True")
    (folder / "fairface_label_val.csv").write_text("\n".join(rows) + "\n")


def write_celeba(folder: Path, count: int, *, kind: str = "txt", nested: bool = False) -> None:
    rng = np.random.default_rng(2)
    images = folder / "img_align_celeba" / ("img_align_celeba" if nested else "")
    images.mkdir(parents=True)
    columns = ["Arched_Eyebrows", "Male", "Young"]
    labels = [[1, 1 - 2 * (i % 2), 2 * (i % 3 == 0) - 1] for i in range(count)]
    names = [f"{i + 1:06}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        picture(i % 2, rng, (36, 44)).save(images / name)
    if kind == "csv":
        head, sep = ["image_id," + ",".join(columns)], ","
    else:
        head, sep = [str(count), " ".join(columns) + " "], "  "
    rows = [sep.join(map(str, [name, *row])) for name, row in zip(names, labels, strict=True)]
    (folder / f"list_attr_celeba.{kind}").write_text("\n".join([*head, *rows]) + "\n")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


# --- names


@given(
    st.integers(0, 116),
    st.integers(0, 1),
    st.integers(0, 4),
    st.integers(10**16, 10**17 - 1),
    st.sampled_from([".jpg", ".jpg.chip.jpg", ".JPG", " .jpg"]),
)
def test_a_name_is_read_back(age, gender, race, date, suffix):
    readers = study_module("faces")
    races = ["White", "Black", "Asian", "Indian", "Others"]
    assert readers.parse(f"{age}_{gender}_{race}_{date}{suffix}") == (age, gender, races[race])


@given(st.text(max_size=40) | st.from_regex(r"[0-9_]{0,12}\.(jpg|png)(\.chip\.jpg)?"))
def test_any_other_name_is_refused_with_a_reason(name):
    readers = study_module("faces")
    try:
        age, gender, race = readers.parse(name)
    except ValueError as error:
        reason = str(error)
        assert reason
    else:
        parts = name.split("_")
        assert (age, gender, readers.RACES.index(race)) == tuple(int(part) for part in parts[:3])
        assert len(parts) == 4


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("39_1_20170116174525125.jpg.chip.jpg", "age_gender_race_date"),  # as in the data set
        ("53__0_20170116184028385.jpg", "age_gender_race_date"),  # so is this
        ("26_1_2_20170116184024662.png", "age_gender_race_date"),
        ("26_1_2_20170116184024662.jpg.part", "age_gender_race_date"),
        ("117_1_2_20170116184024662.jpg", "age 117 is above 116"),
        ("26_3_2_20170116184024662.jpg", "gender 3 is neither 0 nor 1"),
        ("26_1_5_20170116184024662.jpg", "race 5 is above 4"),
    ],
)
def test_reasons(readers, name, reason):
    with pytest.raises(ValueError, match=reason):
        readers.parse(name)


# --- folders


def test_what_cannot_be_used_is_left_out_and_said_once(readers, tmp_path):
    folder = tmp_path / "faces"
    write_utkface(folder, 12)
    cut, text = sorted(folder.iterdir())[:2]
    truncate(cut)
    text.write_text("no picture")
    for name in ["20170110000000000.jpg", "30_2_0_1.jpg", "licence.txt", ".DS_Store"]:
        (folder / name).write_text("")
    with pytest.warns(readers.LeftOutWarning) as told:
        faces = readers.read(readers.list_utkface(folder), 16, "UTKFace")
    assert len(faces) == 10
    assert (faces.pixels.shape, faces.pixels.dtype) == ((10, 3, 16, 16), torch.uint8)
    (message,) = [str(each.message) for each in told]
    assert message.startswith("UTKFace: left out 5 of 15 files: 20170110000000000.jpg: not named")
    assert "30_2_0_1.jpg: gender 2 is neither 0 nor 1" in message
    assert message.endswith("; and 2 more")


def test_unreadable_files_are_named_with_what_is_wrong(readers, tmp_path):
    write_utkface(tmp_path / "faces", 4)
    cut = sorted((tmp_path / "faces").iterdir())[2]
    truncate(cut)
    with pytest.warns(readers.LeftOutWarning, match=rf"{cut.name}: unreadable \(.*runcated"):
        readers.read(readers.list_utkface(tmp_path / "faces"), 8, "UTKFace")


def test_faces_are_what_the_files_say(readers, tmp_path):
    write_utkface(tmp_path / "faces", 20)
    names = sorted(file.name for file in (tmp_path / "faces").iterdir())
    faces = readers.read(readers.list_utkface(tmp_path / "faces"), 40, "UTKFace")
    assert [f"{row.age}_{row.gender}" for row in faces.attributes.itertuples()] == [
        "_".join(name.split("_")[:2]) for name in names
    ]
    for i, name in enumerate(names):
        with Image.open(tmp_path / "faces" / name) as image:
            assert np.array_equal(faces.pixels[i].permute(1, 2, 0).numpy(), np.asarray(image))
        assert faces[i][1] == faces.targets[i] == int(name.split("_")[1])


def test_the_split_is_disjoint_fixed_and_whole(readers, tmp_path):
    write_utkface(tmp_path / "faces", 25)
    faces = readers.read(readers.list_utkface(tmp_path / "faces"), 8, "UTKFace")
    before = torch.get_rng_state()
    train, test = readers.split(faces)
    assert torch.equal(torch.get_rng_state(), before)
    assert (len(train), len(test)) == (20, 5)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat([train.pixels, test.pixels]), faces.pixels[order])
    assert test.attributes["age"].tolist() == faces.attributes["age"].iloc[order[20:]].tolist()
    assert test.targets == [faces.targets[i] for i in order[20:]]


def test_of_too_many_some_are_drawn(readers, tmp_path):
    write_utkface(tmp_path / "faces", 12)
    listed = readers.list_utkface(tmp_path / "faces")
    some = readers.read(listed, 8, "UTKFace", most=5)
    rows = torch.randperm(12, generator=torch.Generator().manual_seed(0))[:5].sort().values
    assert torch.equal(some.pixels, readers.read(listed, 8, "UTKFace").pixels[rows])


def test_pictures_are_cut_to_their_centre_before_they_are_scaled(readers, tmp_path):
    (tmp_path / "faces").mkdir()
    pixels = np.zeros((60, 40, 3), dtype=np.uint8)
    pixels[6:54] = 255  # the centred square and a little more is white; the rest is black
    path = tmp_path / "faces/30_0_0_1.jpg"
    Image.fromarray(pixels).save(path, format="PNG")  # without loss; Pillow looks at the content
    faces = readers.read(readers.list_utkface(tmp_path / "faces"), 20, "UTKFace")
    assert faces.pixels.min() == 255


def test_fairface(readers, tmp_path):
    write_fairface(tmp_path, 6)
    labels = tmp_path / "fairface_label_val.csv"
    labels.write_text(labels.read_text() + "val/6.jpg,3-9,Male,White,True\nval/0.jpg,3-9,,White,\n")
    with pytest.warns(readers.LeftOutWarning, match=r"2 of 8 .* no gender .*6.jpg: no such file"):
        faces = readers.read(readers.list_fairface(tmp_path), 16, "FairFace")
    assert faces.targets == [0, 1, 0, 1, 0, 1]
    assert faces.attributes.to_dict("list") == {
        "gender": ["Male", "Female"] * 3,
        "race": ["East Asian"] * 6,
        "age": ["20-29"] * 6,
    }


@pytest.mark.parametrize("kind", ["txt", "csv"])
@pytest.mark.parametrize("nested", [False, True])
def test_celeba(readers, tmp_path, kind, nested):
    write_celeba(tmp_path, 5, kind=kind, nested=nested)
    faces = readers.read(readers.list_celeba(tmp_path), 16, "CelebA")
    assert faces.targets == [0, 1, 0, 1, 0]
    assert faces.attributes.to_dict("list") == {"young": [True, False, False, True, False]}


def empty(folder: Path) -> None:
    folder.mkdir()


def without_a_column(folder: Path) -> None:
    folder.mkdir()
    (folder / "fairface_label_val.csv").write_text("file,race\nval/1.jpg,White\n")
    (folder / "list_attr_celeba.csv").write_text("image_id,Young\n000001.jpg,1\n")
    (folder / "1_1_1.jpg").write_text("")


def with_garbage(folder: Path) -> None:
    folder.mkdir()
    for name in ["fairface_label_val.csv", "list_attr_celeba.csv"]:
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize("make", [lambda folder: None, empty, without_a_column, with_garbage])
@pytest.mark.parametrize("which", ["utkface", "fairface", "celeba"])
def test_folders_that_hold_nothing_are_refused_with_a_remedy(readers, tmp_path, make, which):
    folder = tmp_path / "folder"
    make(folder)
    with pytest.raises(readers.FacesError, match=r"folder.*: (give|No columns)"):
        getattr(readers, f"list_{which}")(folder)


def test_a_folder_of_broken_files_is_refused(readers, tmp_path):
    write_utkface(tmp_path / "faces", 3)
    for file in (tmp_path / "faces").iterdir():
        truncate(file)
    listed = readers.list_utkface(tmp_path / "faces")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", readers.LeftOutWarning)
        with pytest.raises(readers.FacesError, match=r"none of the 3 images .* unpack it again"):
            readers.read(listed, 8, "UTKFace")


# --- networks


@pytest.mark.parametrize(
    ("architecture", "name"),
    [("R18", "resnet18"), ("R50", "resnet50"), ("WR50", "wide_resnet50_2")],
)
def test_networks_are_torchvisions(architecture, name):
    study = study_module("conftest")
    options = study.ARCHITECTURES[architecture]
    with torch.device("meta"):
        known = get_model(name, num_classes=2).state_dict()
        full = study.ResNet(num_classes=2, **options).state_dict()
        small = study.Small(num_classes=2, **options).state_dict()
    assert {key: each.shape for key, each in full.items()} == {k: v.shape for k, v in known.items()}
    sizes = [sum(each.numel() for each in state.values()) for state in (small, full)]
    assert 50 * sizes[0] < sizes[1]
    assert study.Small(num_classes=2, **options)(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def test_only_what_is_trained_on_is_kept_as_floats(readers, monkeypatch):
    monkeypatch.setattr(reading, "IN_MEMORY_BYTES", 0)
    study = study_module("conftest")
    pixels = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).reshape(4, 3, 2, 2)
    faces = readers.Faces(pixels, [0, 1, 1, 0], pd.DataFrame({"age": [1, 2, 3, 4]}))
    streamed, kept = study.data(faces, "a"), study.data(faces, "b", stream=False)
    assert (streamed.streamed, kept.streamed) == (True, False)
    for data in (streamed, kept):
        assert torch.equal((255 * data.inputs).round().to(torch.uint8), pixels)
        assert data.targets.tolist() == [0, 1, 1, 0]
        assert data.where("age > 2").targets.tolist() == [1, 0]


# --- the study


@dataclass(frozen=True)
class Study:
    """The study in a process of its own, on folders that were made for it."""

    folder: Path

    def __call__(self, *args: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        """Run it small, with a report; folders are given by option and name: utkface=faces."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        store = self.folder / "store"
        options = [f"--multiplicity-store={store}", f"--multiplicity-json={report}"]
        options += [
            f"--{arg.partition('=')[0]}={self.folder / arg.partition('=')[2]}"
            if "=" in arg
            else arg
            for arg in args
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", STUDY, "--smoke", "-rs", *PLUGIN, *options],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "400", "OMP_NUM_THREADS": "1"},  # the networks are tiny
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        return done, json.loads(report.read_text()) if report.exists() else {}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    write_utkface(folder / "faces", 240)
    truncate(sorted((folder / "faces").iterdir())[0])
    (folder / "faces/44_0_20180101000000000.jpg").write_text("")
    write_fairface(folder / "fairface", 24)
    write_celeba(folder / "celeba", 24)
    return Study(folder)


ENFORCED = ["test_accuracy", "test_asian", "test_private", "test_secure"]
UNFORESEEN = ["test_older_people", "test_noisy_camera", "test_stronger_attack"]
AXES = ["learning_rate", "batch_size", "augmentation", "optimizer", "architecture"]


def specs_of(report: dict[str, Any], kind: str) -> list[str]:
    return [spec["name"] for spec in report["families"][0]["specs"] if spec["kind"] == kind]


def test_the_study_runs_small(study: Study) -> None:
    done, report = study("utkface=faces", "fairface=fairface", "celeba=celeba")
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-3000:]
    assert done.stdout.count("LeftOutWarning: UTKFace: left out 2 of 241 files: 44_0_2018") == 1
    assert report["complete"]
    assert specs_of(report, "enforced") == ["test_fairface", *ENFORCED]
    assert specs_of(report, "unforeseen") == ["test_celeba", *UNFORESEEN]
    (family,) = report["families"]
    assert list(family["axes"]) == AXES
    assert len(family["candidates"]) == 9
    assert all(spec["judged"] == 9 for spec in family["specs"])
    assert [gate["outcome"] for gate in report["gates"]] == ["passed"] * 2
    sheets = {sheet["metric"]: sheet["before"] for sheet in family["sheets"]}
    assert list(sheets["accuracy on utkface-select"]["tables"]) == AXES
    for sheet in sheets.values():
        assert sheet["count"] == 9
        assert sheet["tables"]["architecture"]["options"] == ["R18", "R50", "WR50"]
    # reddish and bluish noise: who trains at all tells them apart, wherever it was found
    for name in ["utkface-select", "fairface", "celeba"]:
        scores = np.array(sheets[f"accuracy on {name}"]["tables"]["learning_rate"]["scores"])
        assert scores.min() > 0.8


def test_without_the_other_folders_gates_are_evaluated_all_the_same(study: Study) -> None:
    done, report = study("utkface=faces")
    assert done.returncode == pytest.ExitCode.OK, done.stdout[-3000:]
    assert report["complete"]
    assert specs_of(report, "enforced") == ENFORCED
    assert specs_of(report, "unforeseen") == UNFORESEEN
    assert [gate["outcome"] for gate in report["gates"]] == ["passed"] * 2
    for option in ["--fairface", "--celeba"]:
        assert f"no images: give {option} DIR" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], pytest.ExitCode.NO_TESTS_COLLECTED, "*no images: give --utkface DIR"),
        (["--utkface=nothing"], pytest.ExitCode.INTERRUPTED, "--utkface: no faces in 'nothing'*"),
    ],
)
def test_a_folder_is_asked_for_once(
    pytester: pytest.Pytester, options: list[str], code: int, said: str
) -> None:
    pytester.mkdir("nothing")
    ours = ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", "-rs", *PLUGIN]
    result = pytester.runpytest_inprocess(str(ROOT / STUDY), *ours, *options)
    assert result.ret == code
    assert len(fnmatch.filter(result.outlines, said)) == 1
