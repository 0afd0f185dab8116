"""Functions and tables that become fixtures: `pm.family`, `pm.incumbent` and their like."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from pytest_multiplicity.compute import be_strict
from pytest_multiplicity.design import (
    Answered,
    AnswerTable,
    Built,
    Config,
    Definition,
    Recorded,
    Standing,
)
from pytest_multiplicity.plugin import factory, further
from pytest_multiplicity.plugin.marks import DEFINITION, INCUMBENT
from pytest_multiplicity.plugin.state import STATE

if TYPE_CHECKING:
    from pytest_multiplicity.evaluation import Candidate


ASKED: ContextVar[pytest.FixtureRequest | None] = ContextVar("ASKED", default=None)
"""What asks for the fixture that is being set up.

A fixture with a parameter `request` gets one anew with each test, whether or not it is set up: what
that takes is more than all of what is recorded of a pair.
"""


def asked(request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """Around the set-up of a fixture: have it known what asks for it."""
    token = ASKED.set(request)
    try:
        return (yield)
    finally:
        ASKED.reset(token)


def family(
    default: Mapping[str, Any] | None = None,
    vary: Mapping[str, Iterable[Any]] | None = None,
    seeds: int | Iterable[int] = 5,
    design: str | Iterable[Mapping[str, Any]] = "star",
    *,
    version: str | None = None,
    keep: bool = False,
) -> Callable[[Callable[..., Any]], Any]:
    """Turn a function into a family of candidate models: a fixture with a parameter per candidate.

    The function's first parameter is `config`, with an attribute per axis and `config.seed`;
    further parameters are session-scoped fixtures. It returns a `pm.Recipe`, a
    `torch.nn.Module`, or a callable from a batch on the CPU to logits. It is not called at
    collection.

    Args:
        default: an option for every axis.
        vary: further options, axis by axis.
        seeds: a count, or the seeds themselves.
        design: `"star"` varies one axis at a time around the default, `"grid"` crosses all axes, a
            list of configurations is taken as it is. Configurations that each tell their `seed`
            are the candidates, and `seeds` is not used.
        version: known by this text in the store instead of by the content of its code.
        keep: the function trains with code of its own. It is called once for each candidate that
            is needed, in a worker process of one thread with the global generators seeded; the
            module, estimator or callable that it returns is kept in the store. It is called again
            when its configuration, its code or what its fixtures hold changes. A parameter `run`
            gets `.seed`, `.device`, `.folder` (kept across an interruption),
            `.progress(done, total)` and `.log(name, value)`.
    """
    # MKL reads it at its first product: without, last bits depend on where weights lie in memory,
    # and differ from those of worker processes (oneMKL's guide, "Conditional Numerical
    # Reproducibility"). Set here, so that runs without a family are left alone.
    be_strict()

    def decorate(function: Callable[..., Any]) -> Any:
        kind = design if isinstance(design, str) else list(design)
        definition = Built(
            function, dict(default or {}), dict(vary or {}), seeds, kind, version, keep
        )
        return _fixture(definition, function.__name__, function.__doc__)

    return decorate


def recorded(
    scores: Any,
    default: Mapping[str, Any] | None = None,
    seed: str = "seed",
    unit: str = "percent",
    n: Mapping[str, int] | None = None,
) -> Any:
    """Make a family from a table of scores: `candidate = pm.recorded("scores.csv", {...})`.

    Args:
        scores: a CSV file (relative to the file that calls) or a DataFrame, a row per candidate.
        default: the default configuration. Its keys are the columns that are axes; all other
            columns but `seed` are metrics, read by `candidate.score(name)`.
        seed: the column with the seeds.
        unit: `"percent"` or `"fraction"`.
        n: on how many samples a metric was measured, for its noise floor and intervals.
    """
    caller = sys._getframe(1)
    where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    definition = Recorded(scores, dict(default or {}), seed, unit, dict(n or {}), where)
    return _fixture(definition, "recorded", None)


def answers(
    table: Any,
    default: Mapping[str, Any] | None = None,
    *,
    id: str,
    candidate: str | None = None,
    predict: str | Sequence[str] | None = None,
    probabilities: bool | str | Sequence[str] | Mapping[Any, str] | None = None,
    seed: str = "seed",
    task: str | None = None,
) -> Any:
    """Make a family from a table of answers: `candidate = pm.answers("said.csv", id="question")`.

    What can be measured on answers works: accuracies, groups, measures, predictive multiplicity,
    gates. What needs the model (gradients, changed inputs) says so.

    Args:
        table: a CSV or parquet file (relative to the file that calls) or a DataFrame. With
            `candidate`, or columns for the axes in `default`, a row for each sample and candidate;
            else a row for each sample and a column for each candidate.
        default: the default configuration. Its keys are the columns that are axes; without, who
            answers is the one axis.
        id: the column that names samples, as the data's attribute of the same name does.
        candidate: the column that names who answers. Several of one configuration are its seeds,
            where there is no column of seeds.
        predict: the column of labels or values (of a table with a column per candidate: those
            columns); not needed where only one is left.
        probabilities: instead, the column with the probability of the second class, or a column
            for each class, `{"no": "p_no", "yes": "p_yes"}`, or a list of them: named as the
            classes, or in their order. True where there is a column per
            candidate.
        seed: the column with the seeds.
        task: what the answers are for; data of another task are refused.
    """
    caller = sys._getframe(1)
    where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    known = AnswerTable(table, default, id, candidate, predict, probabilities, seed, task, where)

    def tell(config: Config) -> Any:
        from pytest_multiplicity.inference import ToldAnswers

        return ToldAnswers(known.told(config), id, task)

    return _fixture(
        Answered(tell, dict(default or {}), {}, 1, "star", table=known), "answers", None
    )


def incumbent(function: Callable[..., Any] | None = None, *, id: str | None = None) -> Any:
    """Turn a function into the incumbent, the model that runs today: a session fixture of its name.

    Candidates are compared with it, sample by sample: `candidate.flips(production, data)`,
    `.churn`, `.gain`, `score.not_worse_than(production)`, `survivors.pick(data, keep=production)`.

    The function's parameters are session fixtures, `config` not among them. It returns what a
    family's function may; or a table of the answers, a DataFrame or the path of a CSV or parquet
    file, whose rows may stand in any order; or None while there is none: then flips, churn and gain
    are 0.0, every comparison holds, and the report says so.

    Args:
        function: the function, where the decorator stands alone.
        id: the column of a table that names samples, as the data's attribute of that name does; not
            needed where only one attribute is a column.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        definition = Standing.of(function)

        def build(**dependencies: Any) -> Any:
            request = ASKED.get()
            state = None if request is None else request.config.stash.get(STATE, None)
            if state is None:
                pytest.skip("pytest-multiplicity is switched off: there is no incumbent")
            return factory.incumbent(state, definition, dependencies, id)

        return _as_fixture(build, definition, INCUMBENT, function.__name__, function.__doc__)

    return decorate if function is None else decorate(function)


def _fixture(definition: Definition, name: str, doc: str | None) -> Any:
    def build(**dependencies: Any) -> Candidate:
        request = ASKED.get()
        state = None if request is None else request.config.stash.get(STATE, None)
        if request is None or state is None:
            pytest.skip("pytest-multiplicity is switched off: there are no candidates")
        if not hasattr(request, "param"):
            pytest.fail(
                f"the test takes the family {request.fixturename!r}, and pytest can't parametrize "
                "it: write it as a function or in a plain class, not in a unittest.TestCase",
                pytrace=False,
            )
        return further.candidate(state, definition, request.param, dependencies)

    return _as_fixture(build, definition, DEFINITION, name, doc)


def _as_fixture(
    build: Callable[..., Any], definition: Definition, mark: str, name: str, doc: str | None
) -> Any:
    """Return a session fixture that takes what a definition needs."""
    names = definition.parameters
    signature = inspect.Signature(
        [inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY) for each in names]
    )
    build.__signature__ = signature  # type: ignore[attr-defined]
    build.__name__, build.__doc__ = name, doc
    setattr(build, mark, definition)
    return pytest.fixture(scope="session")(build)
