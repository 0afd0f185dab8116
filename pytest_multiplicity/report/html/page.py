"""The page: the template that shows a run, and what the template calls."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_multiplicity.findings import GateReport, RunReport, known
from pytest_multiplicity.report import (
    allocations,
    answer,
    cascades,
    configurations,
    facts,
    individuals,
    profile,
    reachable,
)
from pytest_multiplicity.report.colours import GOLD, css
from pytest_multiplicity.report.html import glyphs, limits, pictures
from pytest_multiplicity.report.html.view import ACT, name, view_of
from pytest_multiplicity.report.text import (
    assignment,
    brief,
    inert,
    interval,
    isolated,
    number,
    option,
    plural,
    rounded,
    shortened,
)


def page(run: RunReport) -> str:
    """Return the whole page as text."""
    families = list(_families(run))
    script = _asset("page.js")
    text = (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            families=families,
            gates=sorted(enumerate(run.gates), key=lambda each: ACT.index(each[1].outcome)),
            style=Markup(_asset("page.css")),
            script=Markup(script),
            script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
            gold=css(GOLD),
            limits=limits,
            title=_title(run),
            verdict=answer.verdict(run),
        )
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def _families(run: RunReport) -> Iterator[Markup]:
    """Each family's part of the page, as long as they fit."""
    template = _environment().get_template("family.html")
    left = limits.FAMILY_BYTES
    alone = len(run.families) == 1
    for index, family in enumerate(run.families):
        gates = [each for each in run.gates if alone or _is_of(each, family.name)]
        text = template.render(view=view_of(index, family, gates), alone=alone, limits=limits)
        left -= len(text.encode("utf-8", "replace"))
        if left < 0:
            return
        yield Markup(text)


def _is_of(gate: GateReport, family: str) -> bool:
    return gate.family == family


def _title(run: RunReport) -> str:
    if len(run.families) == 1:
        return facts.survival(run.families[0])
    return f"{len(run.families)} families"


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        name=name, prose=_prose, sentence=_sentence, message=_message, number=number,
        option=_option, few=_few, assignment=_assignment, slug=_slug,
        image=pictures.data_uri, scale=pictures.scale,
    )  # fmt: skip
    environment.globals.update(
        allocations=allocations,
        answer=answer,
        cascades=cascades,
        facts=facts,
        glyphs=glyphs,
        configurations=configurations,
        individuals=individuals,
        profile=profile,
        reachable=reachable,
        interval=interval,
        known=known,
        plural=plural,
        share=_share,
        num=_num,
    )
    return environment


def _num(value: float | None, at: str, *, percent: bool = True, least: int = 0) -> Markup:
    """Return a number, short, with where it stands in the JSON report from what is around it."""
    text = brief(value, percent=percent, least=least)
    return Markup('<span data-at="{}">{}</span>').format(at, text)


def _prose(text: str) -> str:
    return isolated(inert(text, limits.PROSE))


def _sentence(text: str) -> str:
    """Return it with a capital; names in it stay as they are."""
    return text[:1].upper() + text[1:]


def _message(text: str) -> str:
    return _prose(shortened(text))


def _few(text: str, limit: int = limits.NAME) -> str:
    """Return a name whose long numbers are short."""
    return name(rounded(inert(text, 4 * limit)), limit)


def _option(value: Any) -> str:
    return name(option(value), 24)


def _assignment(config: Mapping[str, Any]) -> str:
    return name(assignment(config), 400)


def _slug(status: str) -> str:
    return status.replace(" ", "-")


def _share(value: float | None, low: float | None, high: float | None) -> int:
    """Return where the value lies between low and high, in percent: the geometry of a bar."""
    if not (known(value) and known(low) and known(high)) or high <= low:
        return 0
    return round(100 * min(1.0, max(0.0, (value - low) / (high - low))))
