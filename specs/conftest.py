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
    group.addoption(
        "--medium",
        action="store_true",
        help="run specs/cifar10_skewed on 10,000 images with a narrow network: an hour on a CPU",
    )
    for name, what in FOLDERS.items():
        group.addoption(name, type=Path, metavar="DIR", help=what)


@pytest.hookimpl(tryfirst=True)  # before the plugin reads its options
def pytest_configure(config: pytest.Config) -> None:
    if (
        config.getoption("--smoke", False)
        and getattr(config.option, "multiplicity_seeds", None) is None
    ):
        config.option.multiplicity_seeds = "2"


@pytest.fixture(scope="session")
def smoke(pytestconfig: pytest.Config) -> bool:
    """Whether the study runs small."""
    return bool(pytestconfig.getoption("--smoke"))
