"""A suite whose run has all numbers of a card, and what reads them back."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

SUITE = '''
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pytest_multiplicity as pm

N = 60
rng = np.random.default_rng(0)
TARGETS = np.arange(N) % 2
SURE = np.where(rng.random((2, 2, N)) < 0.2, -1, 1) * (2 * TARGETS - 1) * rng.uniform(1, 3, N)

class Says(nn.Module):
    def __init__(self, sure):
        super().__init__()
        self.sure = nn.Parameter(torch.tensor(sure, dtype=torch.float32))

    def forward(self, x):
        sure = self.sure[x[:, 0].long()] * (1 - x[:, 1])
        return torch.stack([-sure, sure], dim=1)

def data(name):
    about = pd.DataFrame({"town": np.where(np.arange(N) % 3, "north", "south")})
    inputs = torch.stack([torch.arange(float(N)), torch.zeros(N)], dim=1)
    return pm.Data(inputs, TARGETS, about, name=name, bounds=None)

def faint(batch):
    return torch.stack([batch[:, 0], batch[:, 0] % 7 / 5], dim=1)

@pytest.fixture(scope="session")
def people():
    return data("people")

@pm.family(default={"lr": 1}, vary={"lr": [2]}, seeds=2)
def candidate(config):
    return Says(SURE[config.lr - 1, config.seed])

def test_accuracy(candidate, people):
    """The board asked for this on 3 May."""
    assert candidate.accuracy(people) >= 0.6

def test_faint(candidate, people):
    assert candidate.accuracy(people, under=pm.Corrupt(faint)) >= 0.2
'''
MORE = """
@pm.incumbent
def production():
    return Says(SURE[1, 1])

def test_gap(candidate, people):
    assert candidate.gap(people, by="town", minimum=10) <= 1

def test_loss(candidate, people):
    def tiny(answers, targets):
        return 1.25e-07
    assert candidate.measure(tiny, people) >= 0

def test_flips(candidate, people, production):
    assert candidate.flips(production, people) <= 1

def test_gate(survivors, people):
    assert survivors.ambiguity(people) <= 1
"""
FAMILY_LINES = re.compile(r"^\| (.*) \|$", re.MULTILINE)


def read(folder: Path) -> tuple[str, Any]:
    """Return the card and the JSON report."""
    report = json.loads((folder / "report.json").read_text("utf-8"))
    return (folder / "card.md").read_text("utf-8"), report


def bare(cell: str) -> str:
    """Return what a reader of a cell sees."""
    return html.unescape(re.sub(r"<[^>]*>", "", cell)).strip()


def rows(card: str, title: str) -> list[list[str]]:
    """Return the cells of the table below a title."""
    part = card.partition(f"# {title}\n")[2].partition("\n#")[0]
    lines = FAMILY_LINES.findall(part)[2:]
    return [[bare(cell) for cell in line.split(" | ")] for line in lines]


def at(report: Any, pointer: str) -> Any:
    """Return what a JSON pointer points to."""
    for key in pointer.split("/")[1:]:
        name = key.replace("~1", "/").replace("~0", "~")
        report = report[int(name)] if isinstance(report, list) else report[name]
    return report
