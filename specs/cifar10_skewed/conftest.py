"""CIFAR10-Skewed: the case study of the paper's appendix (Ganesh, WACV 2024, arXiv 2311.14859).

Half of the classes are photographed in colour, the other half in grayscale, but for one image in
twenty (Wang et al., CVPR 2020). Thirty-five ResNet-18 learn them, trained alike but for one choice
and the seed; they are about equally accurate, and less so on the one image in twenty.

The images are torchvision's CIFAR10, downloaded where it isn't there yet, or those of
``--cifar10 DIR``. ``--smoke`` and ``--medium`` run the study smaller.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import CIFAR10, ImageFolder

import pytest_multiplicity as pm

IN_COLOUR = ("airplane", "automobile", "bird", "cat", "deer")
IN_GRAYSCALE = ("dog", "frog", "horse", "ship", "truck")
CLASSES = IN_COLOUR + IN_GRAYSCALE
MINORITY = 0.05  # of a class, the share of images that are not as the class is
NETWORK_SECONDS = 20.0  # without an answer, after which a download has failed


# --- how big


@dataclass(frozen=True)
class Scale:
    """How big the study is: images of a class to train on, to select by and to report on."""

    train: int
    test: int
    width: int
    epochs: int
    precision: str


FULL = Scale(train=5000, test=500, width=64, epochs=20, precision="bf16")
MEDIUM = Scale(train=1000, test=500, width=8, epochs=8, precision="float32")
SMOKE = Scale(train=20, test=20, width=4, epochs=1, precision="float32")


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config, smoke: bool) -> Scale:
    if smoke:
        return SMOKE
    return MEDIUM if pytestconfig.getoption("--medium") else FULL


# --- the images


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the study out of runs that don't ask for it, by its path or one of its options."""
    here = Path(__file__).parent
    given = (config.invocation_params.dir / arg.partition("::")[0] for arg in config.args)
    named = any(path.resolve().is_relative_to(here) for path in given)
    wanted = any(config.getoption(name, None) for name in ("--smoke", "--medium", "--cifar10"))
    return None if named or wanted else True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say once, before any candidate is asked for, that there are no images."""
    mine = any(item.path.is_relative_to(Path(__file__).parent) for item in session.items)
    if mine and not session.config.option.collectonly:
        images(session.config.getoption("--cifar10"))


def images(folder: Path | None) -> tuple[Any, Any]:
    """Return the training and the test images, as map-style data sets with ``targets``.

    Without a folder they are torchvision's, kept where torch keeps what it downloads.
    """
    if folder is None:
        return downloaded(Path(torch.hub.get_dir()).with_name("datasets"))
    try:
        if (folder / CIFAR10.base_folder).is_dir():
            return CIFAR10(folder, train=True), CIFAR10(folder, train=False)
        return in_folders(folder / "train"), in_folders(folder / "test")
    except (OSError, RuntimeError) as error:
        raise pytest.UsageError(
            f"--cifar10: {str(folder)!r} holds no CIFAR-10 ({error}): give a folder with "
            f"train/CLASS/*.png and test/CLASS/*.png, or with torchvision's {CIFAR10.base_folder}"
        ) from error


def in_folders(folder: Path) -> ImageFolder:
    """Return the images in ``folder/CLASS/``, files of any format that pillow reads."""
    found = ImageFolder(folder)
    if tuple(found.classes) != CLASSES:
        raise pytest.UsageError(
            f"--cifar10: {str(folder)!r} has the classes {', '.join(found.classes)}: "
            f"give it those of CIFAR-10, {', '.join(CLASSES)}"
        )
    return found


def downloaded(root: Path) -> tuple[CIFAR10, CIFAR10]:
    """Return torchvision's CIFAR10, downloaded unless it is there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "cifar10.lock"), impatient():
            return CIFAR10(root, train=True, download=True), CIFAR10(root, train=False)
    except Exception as error:  # whatever a network, a server or a disk may do
        raise pytest.UsageError(
            f"CIFAR-10 is not in {str(root)!r} and can't be downloaded "
            f"({type(error).__name__}: {error}): give --cifar10 DIR, a folder that holds "
            "train/CLASS/*.png and test/CLASS/*.png, or leave this study out"
        ) from error


@contextmanager
def impatient() -> Iterator[None]:
    """Give up on connections that don't answer: torchvision's downloads would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# --- the skew


class Part(NamedTuple):
    """Rows of a data set, and which of them become grayscale."""

    rows: Tensor
    grayscale: Tensor


def draw(targets: Sequence[int], parts: int, per_class: int, seed: int = 0) -> list[Part]:
    """Return disjoint parts of ``per_class`` images of each class, skewed alike.

    All images are put in the order of ``torch.randperm`` under the seed. The first ``per_class``
    images of a class in that order are the first part's, and so on (where there are fewer, the
    parts share them evenly). The first 5% of a class in a part are its minority: grayscale images
    of a class in colour, and the reverse.
    """
    labels = torch.as_tensor(targets)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    rows: list[list[Tensor]] = [[] for _ in range(parts)]
    grayscale: list[list[Tensor]] = [[] for _ in range(parts)]
    for label in range(len(CLASSES)):
        chosen = order[labels[order] == label][: parts * per_class]
        for part, of_class in enumerate(chosen.tensor_split(parts)):
            minority = torch.arange(len(of_class)) < round(MINORITY * len(of_class))
            rows[part].append(of_class)
            grayscale[part].append(minority if label < len(IN_COLOUR) else ~minority)
    return [Part(*map(torch.cat, pair)) for pair in zip(rows, grayscale, strict=True)]


@dataclass(frozen=True)
class Skewed:
    """A part of a data set of images, some of them in grayscale."""

    images: Any
    part: Part

    def __len__(self) -> int:
        return len(self.part.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, target = self.images[int(self.part.rows[index])]
        if self.part.grayscale[index]:
            image = image.convert("L").convert("RGB")
        return image, target


def skewed(images: Any, part: Part, name: str) -> pm.Data:
    """Return a part with what specifications ask for: class, grayscale, minority."""
    targets = torch.as_tensor(images.targets)[part.rows]
    attributes = pd.DataFrame(
        {
            "label": [CLASSES[target] for target in targets],
            "grayscale": part.grayscale.numpy(),
            "minority": (part.grayscale == (targets < len(IN_COLOUR))).numpy(),
        }
    )
    return pm.Data.from_dataset(Skewed(images, part), attributes=attributes, name=name)


class Images(NamedTuple):
    """Disjoint images: to train on, to select by, and to report on."""

    train: pm.Data
    select: pm.Data
    report: pm.Data


@pytest.fixture(scope="session")
def cifar10(pytestconfig: pytest.Config, scale: Scale) -> Images:
    """The official training images, and the official test images in two halves."""
    train, test = images(pytestconfig.getoption("--cifar10"))
    (training,) = draw(train.targets, 1, scale.train)
    select, report = draw(test.targets, 2, scale.test)
    return Images(
        skewed(train, training, "train"),
        skewed(test, select, "select"),
        skewed(test, report, "report"),
    )


# --- the network


class Normalise(nn.Module):
    """From [0, 1] to mean 0 and deviation 1, by the training images in colour."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Block(nn.Module):
    """Two convolutions around a short cut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride > 1 or inside != outside:
            self.shortcut.append(nn.Conv2d(inside, outside, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18(width: int) -> nn.Module:
    """ResNet-18 for 32x32 pixels: a stem of 3x3 without pooling. 64 is the usual width."""
    stem = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    blocks, inside = [], width
    for stage in range(4):
        outside = width * 2**stage
        blocks += [
            Block(inside, outside, stride=2 if stage else 1),
            Block(outside, outside, stride=1),
        ]
        inside = outside
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, len(CLASSES))]
    return nn.Sequential(Normalise(), *stem, *blocks, *head)


# --- the family


def network(config, cifar10, scale):
    """A ResNet-18; of the paper's axes, one differs from the default.

    What the paper leaves open: SGD has a momentum of 0.9 and a weight decay of 5e-4. Adam has a
    hundredth of the learning rate, so 0.001, its usual one (at 0.1 it learns nothing), and no
    weight decay, which in Adam would be none. The learning rate falls to 0 along a cosine.
    """
    is_sgd = config.optimizer == "sgd"
    return pm.Recipe(
        model=lambda: resnet18(scale.width),
        data=cifar10.train,
        epochs=scale.epochs,
        batch_size=config.batch_size,
        optimizer=config.optimizer,
        lr=config.lr if is_sgd else config.lr / 100,
        weight_decay=5e-4 if is_sgd else 0.0,
        augment=config.augmentation,
        precision=scale.precision,
    )


star = pm.family(
    default={"lr": 0.1, "batch_size": 128, "augmentation": "rand", "optimizer": "sgd"},
    vary={
        "lr": [0.05, 0.01],
        "batch_size": [256, 640],
        "augmentation": ["trivial"],
        "optimizer": ["adam"],
    },
    seeds=5,
)

# The same networks twice, trained once: a specification that rejects belongs to one family, and
# this study selects by two rules.
candidate, strict = star(network), star(network)
