"""Options of the studies in this folder, and fixtures that several of them use."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDERS = {
    "--cifar10": "CIFAR-10 images, a folder a class (specs/cifar10_skewed)",
    "--utkface": "aligned and cropped UTKFace images (specs/utkface)",
    "--fairface": "FairFace, its images and label files (specs/utkface)",
    "--celeba": "CelebA, its images and attribute file (specs/utkface)",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("studies", "the studies in specs/")
    group.addoption("--smoke", action="store_true", help="run a study small: minutes on a CPU")
    for name, what in FOLDERS.items():
        group.addoption(name, type=Path, metavar="DIR", help=what)


@pytest.fixture(scope="session")
def smoke(pytestconfig: pytest.Config) -> bool:
    """Whether the study runs small."""
    return bool(pytestconfig.getoption("--smoke"))
