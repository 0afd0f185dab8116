"""The example of docs/keep.md runs, and trains once."""

from __future__ import annotations

import re
from pathlib import Path

from support.recorded_suite import run

PAGE = (Path(__file__).parents[2] / "docs/keep.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_trains_once(pytester, monkeypatch):
    monkeypatch.setenv("MULTIPLICITY_STORE_KEY", "a key of nobody in particular")
    pytester.makepyfile(test_page=EXAMPLE)
    for trained in (4, 0):
        _, report = run(pytester)
        (family,) = report["families"]
        assert (family["trained"], family["stored"]) == (trained, 4 - trained)
        assert family["specs"][0]["judged"] == 4
