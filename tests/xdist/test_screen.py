"""``--multiplicity-screen`` with workers: what is judged may differ, who survives may not."""

from __future__ import annotations

import pytest

SCREEN = "--multiplicity-screen"


def statuses(report):
    return [each["status"] for each in report["families"][0]["candidates"]]


@pytest.mark.parametrize(
    "args",
    [
        ["-n2"],
        pytest.param(["-n2", "--dist=loadfile"], marks=pytest.mark.thorough),
        pytest.param(["--tx=2*popen", "--dist=each"], marks=pytest.mark.thorough),
    ],
)
def test_screened_by_workers_the_same_survive(trained, args):
    _, alone = trained.report(SCREEN, "--multiplicity-store=one")
    result, shared = trained.report(SCREEN, "--multiplicity-store=two", *args)
    assert result.ret == pytest.ExitCode.OK
    assert shared["complete"]
    assert [each["outcome"] for each in shared["gates"]] == ["passed"]
    assert statuses(alone) == statuses(shared)
    assert {"survivor", "rejected"} <= set(statuses(shared))
    family = shared["families"][0]
    assert all(each["judged"] + each["screened"] == 6 for each in family["specs"])
    assert all(each["before"]["count"] + each["screened"] == 6 for each in family["sheets"])
