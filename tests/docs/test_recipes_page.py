"""docs/recipes.md: each recipe is short, can be read by Python, and is run by `nox -s recipes`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/recipes.md").read_text("utf-8")
CHECKED = (ROOT / "tests/recipes/check_recipes.py").read_text("utf-8")
SECTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]


def test_each_recipe_has_at_most_twenty_lines():
    for section in SECTIONS:
        title = section.partition("\n")[0]
        blocks = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines() if line.strip()]
        assert 0 < len(lines) <= 20, title
        for block in blocks:
            compile(block, title, "exec")


def test_each_recipe_is_run():
    titles = {section.partition("\n")[0] for section in SECTIONS}
    assert titles == set(re.findall(r'^    "(.*)": \[', CHECKED, re.MULTILINE))
