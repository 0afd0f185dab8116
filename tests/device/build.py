"""Build the simulated device into the environment of the Python that runs this."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).with_name("device.cpp")
LIBRARIES = ("torch", "torch_cpu", "torch_python", "c10")


def target() -> Path:
    """Return where the library lies."""
    return Path(sysconfig.get_path("purelib"), "_simulated_device.so")


def build() -> None:
    """Compile it, unless it is newer than its source."""
    made = target()
    if made.exists() and made.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    torch = Path(sysconfig.get_path("purelib"), "torch")
    include = (
        torch / "include",
        torch / "include/torch/csrc/api/include",
        Path(sysconfig.get_path("include")),
    )
    subprocess.run(
        [
            *("g++", "-std=c++20", "-O1", "-w", "-fPIC", "-shared"),
            "-DTORCH_EXTENSION_NAME=_simulated_device",
            *(f"-I{folder}" for folder in include),
            *(str(SOURCE), "-o", str(made), f"-L{torch / 'lib'}"),
            *(f"-l{name}" for name in LIBRARIES),
            f"-Wl,-rpath,{torch / 'lib'}",
        ],
        check=True,
    )


if __name__ == "__main__":
    build()
