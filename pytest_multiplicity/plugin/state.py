"""The state of one run: one object, found in `config.stash`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.findings import Ledger
from pytest_multiplicity.plugin.families import Families
from pytest_multiplicity.plugin.options import Options
from pytest_multiplicity.plugin.resources import Resources

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_multiplicity.evaluation import Facts, Metric
    from pytest_multiplicity.findings import LookReport, Rung


class State:
    """What the plugin knows of a run: records only."""

    def __init__(self, config: pytest.Config, options: Options, resources: Resources) -> None:
        self.config, self.options, self.resources = config, options, resources
        self.process, self.warnings = resources.process, resources.warnings
        self.families = Families(options.first_seeds, options.most_seeds if options.auto else None)
        self.ledger = Ledger()
        self.gate_families: dict[str, str] = {}  # gate's node id -> family's key
        self.readers: dict[str, str] = {}  # node id of a test that takes verdicts -> family's key
        self.unsettled: list[Any] = []  # gates that failed before and weren't evaluated now
        self.judged_again: set[str] = set()  # keys of families that `--lf` brings along
        self.brought: dict[Any, tuple[str, str, int]] = {}  # their pairs (family, spec, candidate)
        self.asked: set[Path] = set()  # what was asked for whole, resolved
        self.early_gates: set[str] = set()  # node ids of those that are certain before the end
        self.selected_gates: list[str] = []  # node ids, after deselection
        self.selected_readers: list[str] = []  # likewise
        self.told_in_part = ""  # who was told of verdicts that were not all
        self.told: dict[str, set[str]] = {}  # family's key -> what is told once, and has been
        self.facts: dict[str, Facts] = {}  # family's key -> what was told last
        self.refused: dict[str, str] = {}  # why something can't be collected -> where first
        self.collection_failed = False
        self.names: dict[str, str] = {}  # data set name -> fingerprint
        self.metrics: dict[str, dict[str, Metric]] = {}  # those this process measured
        self.named: dict[tuple[str, ...], tuple[str, ...]] = {}  # what specs measured, each once
        self.looks: dict[str, list[LookReport]] = {}  # family's key -> looks at data, at the end
        self.ladder: dict[str, dict[str, Rung]] = {}  # family's key -> what is told, by data

    @property
    def after_specs(self) -> dict[str, str]:
        """Node ids of the tests that run when every verdict is known -> their family's key."""
        return {**self.gate_families, **self.readers}

    @property
    def worker(self) -> bool:
        """Whether this process is one of several that judge."""
        return self.process.worker


STATE = pytest.StashKey[State]()
