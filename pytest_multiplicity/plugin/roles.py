"""Which process of a run this is: alone, or under pytest-xdist the controller or a worker."""

from __future__ import annotations

import re
import secrets
from enum import Enum
from functools import cached_property
from typing import Any

import pytest

from pytest_multiplicity.plugin import compat


class Role(Enum):
    """What a process does for the run."""

    ALONE = "alone"  # judges, runs the gates, writes the reports
    CONTROLLER = "controller"  # has workers judge; runs the gates, writes the reports
    WORKER = "worker"  # judges


class Process:
    """This process, as pytest-xdist has told it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config, self._told = config, compat.worker_input(config)

    @property
    def role(self) -> Role:
        """What it does; a controller is known as such once its session has started."""
        if self.worker:
            return Role.WORKER
        return Role.CONTROLLER if compat.controls_workers(self._config) else Role.ALONE

    @property
    def worker(self) -> bool:
        """Whether it is one of several that judge."""
        return self._told is not None

    @property
    def distributes(self) -> bool:
        """Whether pytest-xdist was asked for: then a family may be met by others alone."""
        return self.worker or self._config.getoption("dist", "no") != "no"

    @property
    def number(self) -> int:
        """Which worker it is, from 0 on; 0 where there are none."""
        return int(re.sub(r"\D", "", self._told["workerid"])) if self._told else 0

    @property
    def count(self) -> int:
        """How many processes judge."""
        return self._told["workercount"] if self._told else 1

    def told(self, name: str) -> Any:
        """Return what the controller told under a name of ours; None where it didn't."""
        return (self._told or {}).get(name)

    @cached_property
    def run_id(self) -> str:
        """Shared by all processes of a run: what opaque callables are remembered under."""
        return str(compat.run_id(self._config) or secrets.token_hex(16))
