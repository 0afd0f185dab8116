"""docs/start.md can be followed as it stands: with a DataFrame, and with a network."""

from __future__ import annotations

import pytest
from support.pages import blocks, page
from support.recorded_suite import run

PAGE = page("start.md")
FRAME, NETWORK, FRAME_SPECS, NETWORK_SPECS = blocks(PAGE)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")


@pytest.mark.parametrize(
    ("family", "specs"),
    [(FRAME, FRAME_SPECS), (NETWORK, NETWORK_SPECS)],
    ids=["DataFrame", "network"],
)
def test_it_can_be_followed(pytester: pytest.Pytester, family: str, specs: str) -> None:
    pytester.makepyfile(test_first=family + "\n\n" + specs)
    result, report = run(pytester)
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    (found,) = report["families"]
    assert (found["trained"], len(found["candidates"])) == (15, 15)
    assert {gate["outcome"] for gate in report["gates"]} == {"passed"}
    assert [spec["judged"] for spec in found["specs"]] == [15, 15, 15]
