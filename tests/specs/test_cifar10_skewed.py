from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.modules import module_at
from torchvision.datasets import CIFAR10

ROOT = Path(__file__).parents[2]
STUDY = "specs/cifar10_skewed"
KINDS = ("enforced", "unforeseen")
COLOURED = ["airplane", "automobile", "bird", "cat", "deer"]


def import_study() -> ModuleType:
    return module_at(ROOT / STUDY / "conftest.py", "cifar10_skewed", known=True)


@pytest.fixture(scope="module")
def study() -> Iterator[ModuleType]:
    yield import_study()
    del sys.modules["cifar10_skewed"]


def write_images(folder: Path, classes: list[str], count: int, rng: np.random.Generator) -> None:
    """Noise, with a bright square that stands elsewhere in each class."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        top, left = 8 * (label // 4), 8 * (label % 4)
        for number in range(count):
            pixels = rng.integers(0, 100, (32, 32, 3), dtype=np.uint8)
            pixels[top : top + 8, left : left + 8] += 140
            Image.fromarray(pixels).save(folder / name / f"{number:04}.png")


@pytest.fixture(scope="module")
def folder(study: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many images as the smallest study needs."""
    rng, made = np.random.default_rng(0), tmp_path_factory.mktemp("cifar10")
    write_images(made / "train", study.CLASSES, study.SMOKE.train, rng)
    write_images(made / "test", study.CLASSES, 2 * study.SMOKE.test, rng)
    return made


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """The study in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", STUDY, "-p", "no:cacheprovider", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # the networks are tiny
        capture_output=True,
        text=True,
        timeout=1200,  # a machine may have other work; the study itself takes a minute
        check=False,
    )


def run_here(pytester: pytest.Pytester, *args: str, path: str = STUDY) -> pytest.RunResult:
    ours = ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={ROOT}", "-p", "no:cacheprovider"]
    return pytester.runpytest_inprocess(str(ROOT / path), *ours, *args)


def address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/cifar.tar.gz"


# --- the skew


@pytest.mark.parametrize(("per_class", "minority"), [(5000, 250), (500, 25), (100, 5), (30, 2)])
def test_one_image_in_twenty_is_not_as_its_class(study, per_class, minority):
    targets = torch.arange(10).repeat(per_class)
    (part,) = study.draw(targets, 1, per_class)
    assert len(part.rows) == len(targets)
    for label in range(10):
        of_class = part.grayscale[targets[part.rows] == label]
        grayscale = minority if label < 5 else per_class - minority
        assert (len(of_class), int(of_class.sum())) == (per_class, grayscale)


def test_parts_are_disjoint_and_skewed_alike(study):
    targets = torch.arange(10).repeat_interleave(100)
    parts = study.draw(targets, 2, 40)
    rows = torch.cat([part.rows for part in parts])
    assert len(rows.unique()) == len(rows) == 800
    for part in parts:
        assert targets[part.rows].bincount().tolist() == [40] * 10
        by_class = targets[part.rows][part.grayscale].bincount().tolist()
        assert by_class == [2] * 5 + [38] * 5


def test_parts_share_where_there_are_too_few_images(study):
    parts = study.draw(torch.arange(10).repeat(60), 2, 500)
    assert [len(part.rows) for part in parts] == [300, 300]
    assert [int(part.grayscale.sum()) for part in parts] == [5 * 2 + 5 * 28] * 2


def test_the_draw_is_fixed_and_leaves_the_global_generator_alone(study):
    targets = torch.arange(10).repeat(20)
    before = torch.get_rng_state()
    first, second = (study.draw(targets.tolist(), 1, 20)[0] for _ in range(2))
    (other,) = study.draw(targets, 1, 20, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.rows, second.rows)
    assert torch.equal(first.grayscale, second.grayscale)
    assert not torch.equal(first.rows, other.rows)
    # as written in the docstring: of each class, the first twentieth in the order of the draw
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    minority = {int(order[targets[order] == label][0]) for label in range(10)}
    unlike = first.grayscale == (targets[first.rows] < 5)
    assert set(first.rows[unlike].tolist()) == minority


def test_images_are_grayscale_where_the_attributes_say_so(study, folder):
    _, images = study.images(folder)
    _, part = study.draw(images.targets, 2, study.SMOKE.test)
    data = study.skewed(images, part, "report")
    red, green, blue = data.inputs.unbind(1)
    is_grey = ((red == green) & (green == blue)).flatten(1).all(1).numpy()
    attributes = data.attributes
    assert (is_grey == attributes.grayscale).all()
    assert len(data.where("minority and grayscale")) == 5 * study.SMOKE.test // 20
    assert set(attributes[attributes.minority & attributes.grayscale].label) == set(COLOURED)
    in_colour = attributes.label.isin(COLOURED)
    assert (attributes.minority == (attributes.grayscale == in_colour)).all()
    # what was read is what the file shows
    image, target = images[int(part.rows[0])]
    grey = np.asarray(image.convert("L")) / 255
    assert part.grayscale[0]
    assert data.targets[0] == target
    assert np.allclose(data.inputs[0, 0], grey)


# --- where the images are


def test_a_folder_without_images_stops_the_run_with_one_sentence(pytester, tmp_path):
    result = run_here(pytester, f"--cifar10={tmp_path}", "--smoke")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "holds no CIFAR-10" in result.stderr.str()
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_other_classes_are_refused(study, tmp_path):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        write_images(tmp_path / part, ["cat", "dog"], 1, rng)
    with pytest.raises(pytest.UsageError, match="has the classes cat, dog: give it those of CIFAR"):
        study.images(tmp_path)


@pytest.mark.parametrize("there", ["train/cat", "cifar-10-batches-py"])
def test_what_is_there_but_incomplete_is_refused(study, tmp_path, there):
    (tmp_path / there).mkdir(parents=True)
    (tmp_path / "test").mkdir()
    with pytest.raises(pytest.UsageError, match=r"holds no CIFAR-10 .*: give a folder"):
        study.images(tmp_path)


def test_a_refused_download_says_what_to_do(study, tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(CIFAR10, "url", address(unused))
        with pytest.raises(pytest.UsageError, match=r"can't be downloaded .*: give --cifar10 DIR"):
            study.downloaded(tmp_path / "new")


def test_a_server_that_never_answers_is_given_up(study, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "NETWORK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(CIFAR10, "url", address(silent))
        with pytest.raises(pytest.UsageError, match=r"can't be downloaded .*timed out"):
            study.downloaded(tmp_path)
    assert socket.getdefaulttimeout() is None


def test_collecting_needs_no_images(pytester, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    result = run_here(pytester, "--collect-only", "-q")
    assert result.ret == pytest.ExitCode.OK
    assert "632 tests collected" in result.stdout.str()
    assert not any(tmp_path.iterdir())


def test_the_study_is_left_out_where_nobody_asked_for_it(pytester):
    result = run_here(pytester, "--collect-only", "-q", path="specs")
    assert result.ret == pytest.ExitCode.OK
    said = result.stdout.str()
    assert "specs/paper" in said
    assert STUDY not in said


# --- the network


@pytest.mark.parametrize(("width", "count"), [(64, 11_173_962), (8, 176_402)])
def test_the_network_is_a_resnet_18(study, width, count):
    network = study.resnet18(width).eval()
    assert sum(each.numel() for each in network.parameters()) == count
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(m.kernel_size == (3, 3) for m in convolutions) == 17
    grid = network[:-3](torch.rand(1, 3, 32, 32))  # before pooling
    assert grid.shape == (1, 8 * width, 4, 4)


# --- the study, small


@pytest.fixture(scope="module")
def smoke(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("smoke")
    result = run(
        "--smoke",
        f"--cifar10={folder}",
        f"--multiplicity-store={place / 'store'}",
        f"--multiplicity-json={place / 'report.json'}",
    )
    report = json.loads((place / "report.json").read_text())
    # networks this small pass or fail by their last bits, which the processor has a part in
    failed = any(gate["outcome"] == "failed" for gate in report["gates"])
    expected = pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK
    assert result.returncode == expected, result.stdout[-3000:] + result.stderr
    return {"text": result.stdout, "report": report}


def test_the_smallest_study_judges_fourteen_candidates(smoke):
    report = smoke["report"]
    assert report["complete"]
    assert [family["name"] for family in report["families"]] == ["candidate", "strict"]
    for family, trained in zip(report["families"], (14, 0), strict=True):
        assert (family["trained"], family["from_store"]) == (trained, 14 - trained)
        assert family["seeds"] == [0, 1]
        assert family["axes"] == {
            "lr": [0.1, 0.05, 0.01],
            "batch_size": [128, 256, 640],
            "augmentation": ["rand", "trivial"],
            "optimizer": ["sgd", "adam"],
        }
        assert len(family["candidates"]) == 14
        assert not any(each["status"] == "failed" for each in family["candidates"])


def test_five_metrics_select_and_four_are_looked_at(smoke):
    for family, k in zip(smoke["report"]["families"], (0.75, 0.5), strict=True):
        specs = {kind: [s for s in family["specs"] if s["kind"] == kind] for kind in KINDS}
        assert (len(specs["enforced"]), len(specs["unforeseen"])) == (5, 4)
        assert all(spec["judged"] == 14 for spec in family["specs"])
        assert all(spec["kept"] >= np.ceil(k * 14) for spec in specs["enforced"])
        measured_on = {
            kind: {metric.split()[2] for spec in specs[kind] for metric in spec["metrics"]}
            for kind in KINDS
        }
        assert measured_on == {"enforced": {"select"}, "unforeseen": {"report"}}
        assert sum(sheet["metric"].startswith("accuracy on") for sheet in family["sheets"]) == 9


def test_sheets_hold_every_table(smoke):
    family = smoke["report"]["families"][0]
    for sheet in family["sheets"]:
        assert sheet["before"]["count"] == 14
        shapes = {a: np.shape(t["scores"]) for a, t in sheet["before"]["tables"].items()}
        assert shapes == {
            "lr": (2, 3),
            "batch_size": (2, 3),
            "augmentation": (2, 2),
            "optimizer": (2, 2),
        }


def test_the_stricter_rule_keeps_no_others(smoke):
    lenient, strict = (
        {each["id"] for each in family["candidates"] if each["status"] == "survivor"}
        for family in smoke["report"]["families"]
    )
    assert strict <= lenient
    assert lenient
    assert f"survivors  {len(lenient)} of 14 candidates survive" in smoke["text"]
    outcomes = {gate["name"]: gate["outcome"] for gate in smoke["report"]["gates"]}
    assert outcomes["test_somebody_ships"] == "passed"
    assert outcomes["test_unforeseen_spread_is_bounded"] in ("passed", "failed")
