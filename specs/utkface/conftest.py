"""The paper's main study: 45 networks that tell perceived gender from a face (Ganesh, WACV 2024).

    pytest specs/utkface --utkface DIR [--fairface DIR] [--celeba DIR] [--smoke]

``--utkface`` is the folder of aligned and cropped faces: 80% to train on, 10% to select by and 10%
to report on. The two others are distributions that nobody trained on; specifications that need one
are skipped as a whole where its folder isn't given, and gates are evaluated without them.

What the paper doesn't say is decided here: 128 x 128 pixels, Adam at a hundredth of SGD's learning
rate, a weight decay of 5e-4, a cosine schedule, and half of the paper's 20% for each of selecting
and reporting. ``specs/paper`` has the scores that the paper published.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

import pytest_multiplicity as pm

from . import faces as folders

LISTS = {
    "--utkface": folders.list_utkface,
    "--fairface": folders.list_fairface,
    "--celeba": folders.list_celeba,
}
ELSEWHERE = {"test_fairface.py": "--fairface", "test_celeba.py": "--celeba"}


@dataclass(frozen=True)
class Scale:
    """How large a study is."""

    pixels: int
    epochs: int
    most: int | None  # UTKFace images, all by default
    most_elsewhere: int  # of either other data set; CelebA's own test part has 19,962
    batches: int  # by what batch sizes are divided
    precision: str


FULL = Scale(128, 50, None, 20_000, batches=1, precision="bf16")
SMOKE = Scale(32, 3, 1_000, 200, batches=8, precision="float32")


# --- folders


def pytest_configure(config: pytest.Config) -> None:
    # told, and no error as this project's settings would have it
    config.addinivalue_line("filterwarnings", "default:.*left out .* files")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    """Skip a module whose folders weren't given; one that can't be used is an error of it."""
    needed = [*filter(None, [ELSEWHERE.get(module_path.name)]), "--utkface"]
    return Specifications.from_parent(parent, path=module_path, needed=needed)


class Specifications(pytest.Module):
    """A module that needs folders."""

    def __init__(self, *, needed: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.needed = needed

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        for option in self.needed:
            folder = self.config.getoption(option)
            if folder is None:
                pytest.skip(f"no images: give {option} DIR", allow_module_level=True)
            try:
                LISTS[option](folder)
            except folders.FacesError as error:
                raise self.CollectError(f"{option}: {error}") from None
        return super().collect()


@pytest.fixture(scope="session")
def scale(smoke: bool) -> Scale:
    return SMOKE if smoke else FULL


class Faces(NamedTuple):
    """Disjoint faces: to train on, to select by, and to report on."""

    train: pm.Data
    select: pm.Data
    report: pm.Data


@pytest.fixture(scope="session")
def faces(pytestconfig: pytest.Config, scale: Scale) -> Faces:
    """UTKFace, with ``age``, ``gender`` and ``race`` of everyone.

    What is trained on is read thousands of times, and kept as floats (4 GB at full size). All else
    is streamed from its bytes where floats would take too much.
    """
    listed = folders.list_utkface(pytestconfig.getoption("--utkface"))
    everyone = folders.read(listed, scale.pixels, "UTKFace", most=scale.most)
    train, test = folders.split(everyone)
    return Faces(data(train, "utkface-train", stream=False), *data(test, "utkface").split())


@pytest.fixture(scope="session")
def fairface(pytestconfig: pytest.Config, scale: Scale) -> pm.Data:
    """FairFace's validation part: faces of other people, found elsewhere and cropped wider."""
    return elsewhere(pytestconfig, scale, "fairface")


@pytest.fixture(scope="session")
def celeba(pytestconfig: pytest.Config, scale: Scale) -> pm.Data:
    """Twenty thousand faces of celebrities, in the light they like."""
    return elsewhere(pytestconfig, scale, "celeba")


def elsewhere(config: pytest.Config, scale: Scale, name: str) -> pm.Data:
    listed = LISTS[f"--{name}"](config.getoption(f"--{name}"))
    return data(folders.read(listed, scale.pixels, name, most=scale.most_elsewhere), name)


def data(those: folders.Faces, name: str, *, stream: bool | None = None) -> pm.Data:
    return pm.Data.from_dataset(those, attributes=those.attributes, name=name, stream=stream)


# --- candidates

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "R18": {"block": BasicBlock, "layers": [2, 2, 2, 2]},
    "R50": {"block": Bottleneck, "layers": [3, 4, 6, 3]},
    "WR50": {"block": Bottleneck, "layers": [3, 4, 6, 3], "width_per_group": 128},
}


class Small(ResNet):
    """A residual network of the same kind: a block a stage, and an eighth of the channels."""

    def __init__(self, **architecture: Any) -> None:
        super().__init__(**architecture | {"layers": [1, 1, 1, 1]})
        self.fc = nn.Linear(self.inplanes, self.fc.out_features)

    def _make_layer(self, block: Any, planes: int, *rest: Any, **more: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *rest, **more)


@pm.family(
    default={
        "learning_rate": 0.1,
        "batch_size": 128,
        "augmentation": "Rand",
        "optimizer": "SGD",
        "architecture": "R18",
    },
    vary={
        "learning_rate": [0.05, 0.01],
        "batch_size": [256, 640],
        "augmentation": ["Trivial"],
        "optimizer": ["Adam"],
        "architecture": ["R50", "WR50"],
    },
    seeds=5,
)
def candidate(config, faces, scale):
    """A residual network from torchvision, trained from scratch; with --smoke a small one."""
    kind = Small if scale is SMOKE else ResNet
    sgd = config.optimizer == "SGD"
    return pm.Recipe(
        model=lambda: kind(num_classes=2, **ARCHITECTURES[config.architecture]),
        data=faces.train,
        epochs=scale.epochs,
        batch_size=config.batch_size // scale.batches,
        optimizer=config.optimizer.lower(),
        lr=config.learning_rate if sgd else config.learning_rate / 100,
        weight_decay=5e-4,
        augment=config.augmentation.lower(),
        precision=scale.precision,
    )
