"""The card of runs with hostile names: one front matter, and no markup but ours."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.marked import OURS, PLAIN, tokens

from pytest_multiplicity.findings import Pick, Predictive, RunReport
from pytest_multiplicity.report import card, card_index


def with_picks(run: RunReport) -> RunReport:
    """Have the first survivor be the pick, and everything there that a card must have."""
    families = []
    for family in run.families:
        first = (family.survivors or [None])[0]
        if first is not None and family.sheets:
            picked = Pick(first.id, family.sheets[0].metric)
            pairs = [replace(each, data="a\n---\nb: c", under="") for each in family.sheets]
            nothing = Predictive(metric="ambiguity", data="x", before=None, after=0.5)
            known = [replace(e, metric="ambiguity", after=0.5) for e in family.predictive]
            known = [*known, nothing]
            families.append(replace(family, pick=picked, sheets=pairs, predictive=known))
    return replace(run, families=families, complete=True)


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_nothing_but_our_own_markup_is_parsed(samples: ModuleType, build: str) -> None:
    run = with_picks(getattr(samples, build)())
    assert run.families
    text = card.render(run)
    _, front, body = text.split("---\n", 2)
    (first, *_) = index = yaml.safe_load(front)["model-index"]
    assert len(index) == len(run.families)
    assert first["results"][0]["dataset"]["name"] == "a --- b: c"
    found = tokens(body)
    lists = {"bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"}
    assert {token.type for token in found} <= PLAIN | lists
    raw = [t.content for t in found if t.type in ("html_inline", "html_block")]
    assert not [each for each in raw if re.sub(r"&#\d+;|[^<>]", "", OURS.sub("", each))]


@given(st.text())
def test_any_text_is_one_yaml_string(text: str) -> None:
    line = f"- name: {card_index._text(text)}"
    assert "\n" not in line
    ((read,),) = [each.values() for each in yaml.safe_load(line)]
    assert isinstance(read, str)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_exactly(value: float) -> None:
    assert yaml.safe_load(card_index.number(value)) == value
    assert isinstance(yaml.safe_load(card_index.number(value)), float)
