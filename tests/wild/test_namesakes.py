"""Families of one name in two folders, made by one helper, share nothing in the store."""

from __future__ import annotations

import textwrap

import pytest

pytest_plugins = ["pytester"]

HELPER = """
import torch
import pytest_multiplicity as pm

def of(sign):
    @pm.family(seeds=2)
    def candidate(config):
        return lambda x: torch.stack([sign * x[:, 0], sign * 0.5 * torch.ones(len(x))], 1)
    return candidate
"""
ROOT = """
import sys, pathlib
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pytest, torch
import pytest_multiplicity as pm

@pytest.fixture(scope="session")
def data():
    inputs = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    return pm.Data(inputs, (inputs[:, 0] < 0.5).long(), name="data")
"""
SPEC = """
def test_value(candidate, data):
    assert candidate.accuracy(data) == {value}
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_the_answers_are_their_own(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(namesakes=HELPER)
    pytester.makeconftest(ROOT)
    for folder, sign, value in (("right", 1, 1.0), ("wrong", -1, 0.0)):
        place = pytester.mkdir(folder)
        text = f"from namesakes import of\n\ncandidate = of({sign})\n"
        (place / "conftest.py").write_text(text)
        (place / f"test_{folder}.py").write_text(textwrap.dedent(SPEC.format(value=value)))
    pytester.makeini("[pytest]")
    result = pytester.runpytest_subprocess("-p", "no:randomly", *workers)
    result.assert_outcomes(passed=4)
