from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_multiplicity.design import make_design
from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.attribution import Contribution, Sources, sources
from pytest_multiplicity.statistics.sheet import Sheet

STAR = make_design({"lr": 1, "width": 1}, {"lr": [2, 3], "width": [2]}, 4)
GRID = make_design({"lr": 1, "width": 1}, {"lr": [2, 3], "width": [2]}, 4, "grid")
quick = settings(deadline=None, max_examples=50)


def scores_of(design):
    # multiples of 1/64: no difference is lost in rounding
    values = st.integers(0, 64).map(lambda v: v / 64)
    return arrays(np.float64, len(design.configs), elements=values)


def chosen(sheet, **options):
    pairs = zip(sheet.design.configs, sheet.scores.tolist(), strict=True)
    return [s for c, s in pairs if all(vars(c)[a] == o for a, o in options.items())]


def mean(values):
    return sum(values) / len(values)


def variance(values, ddof):
    return sum((v - mean(values)) ** 2 for v in values) / (len(values) - ddof)


def slow_seed_variance(sheet):
    """Pooled within configurations, all of the same number of seeds."""
    kinds = {(c.lr, c.width) for c in sheet.design.configs}
    return mean([variance(chosen(sheet, lr=lr, width=width), 1) for lr, width in kinds])


def check_shares(sheet, variances):
    """``variances``: of the seed and of every share, before they are divided by their sum."""
    found = sources(sheet)
    total = sum(variances.values())
    shares = {each.name: each.share for each in found.shares} | {"seed": found.seed}
    expected = {name: v / total if total else 0.0 for name, v in variances.items()}
    assert shares == pytest.approx(expected, abs=1e-9)


@given(scores_of(STAR))
@quick
def test_shares_of_a_star(scores):
    sheet = Sheet("accuracy", STAR, scores)
    seed = slow_seed_variance(sheet)
    variances = {"seed": seed}
    for axis, other in (("lr", "width"), ("width", "lr")):
        options = STAR.axes[axis]
        means = [mean(chosen(sheet, **{axis: o, other: 1})) for o in options]
        m = len(options)
        variances[axis] = max(0.0, variance(means, 0) - (m - 1) / m * seed / 4)
    check_shares(sheet, variances)


@given(scores_of(GRID))
@quick
def test_shares_of_a_grid(scores):
    sheet = Sheet("accuracy", GRID, scores)
    seed = slow_seed_variance(sheet)
    cells = {
        (lr, width): mean(chosen(sheet, lr=lr, width=width))
        for lr, width in itertools.product((1, 2, 3), (1, 2))
    }
    grand = mean(list(cells.values()))
    by_lr = {lr: mean([cells[lr, w] for w in (1, 2)]) for lr in (1, 2, 3)}
    by_width = {w: mean([cells[lr, w] for lr in (1, 2, 3)]) for w in (1, 2)}
    both = [(cells[lr, w] - by_lr[lr] - by_width[w] + grand) ** 2 for lr, w in cells]
    check_shares(
        sheet,
        {
            "seed": seed,
            "lr": max(0.0, variance(list(by_lr.values()), 0) - 2 / 6 * seed / 4),
            "width": max(0.0, variance(list(by_width.values()), 0) - 1 / 6 * seed / 4),
            "interactions": max(0.0, mean(both) - 2 / 6 * seed / 4),
        },
    )


def test_one_axis_is_the_one_way_analysis_of_variance():
    design = make_design({"lr": 1}, {"lr": [2, 3]}, 5)
    scores = np.random.default_rng(0).normal(size=15)
    found = sources(Sheet("accuracy", design, scores)).shares[0]
    assert found.p_value == pytest.approx(stats.f_oneway(*scores.reshape(3, 5)).pvalue, abs=1e-9)


def residual(columns, scores):
    fitted = columns @ np.linalg.lstsq(columns, scores, rcond=None)[0]
    return float(((scores - fitted) ** 2).sum())


def test_f_tests_of_a_grid_are_those_of_regressions():
    scores = np.random.default_rng(1).normal(size=24)
    lr = np.array([[c.lr == o for o in (1, 2, 3)] for c in GRID.configs], dtype=float)
    width = np.array([[c.width == o for o in (1, 2)] for c in GRID.configs], dtype=float)
    both = np.einsum("ka,kb->kab", lr, width).reshape(24, 6)
    full, additive = residual(both, scores), residual(np.hstack([lr, width]), scores)
    tests = {
        "lr": (residual(width, scores) - additive, 2),
        "width": (residual(lr, scores) - additive, 1),
        "interactions": (additive - full, 2),
    }
    raw = {n: stats.f.sf(s / df / (full / 18), df, 18) for n, (s, df) in tests.items()}
    found = {each.name: each.p_value for each in sources(Sheet("a", GRID, scores)).shares}
    ordered = sorted(raw, key=raw.get)
    holm = {n: min(1.0, (3 - rank) * raw[n]) for rank, n in enumerate(ordered)}
    for before, after in itertools.pairwise(ordered):
        holm[after] = max(holm[before], holm[after])
    assert found == pytest.approx(holm, abs=1e-9)


def test_shares_are_unbiased_for_noise():
    """No axis does anything: what is taken off leaves nothing on average, up to the clipping."""
    rng = np.random.default_rng(2)
    flagged, seed_shares = 0, []
    for _ in range(300):
        found = sources(Sheet("accuracy", STAR, rng.normal(size=16)))
        flagged += any(each.stands_out for each in found.shares)
        seed_shares.append(found.seed)
    assert flagged / 300 <= 0.08
    assert np.mean(seed_shares) > 0.85


def test_a_planted_axis_is_named():
    rng = np.random.default_rng(3)
    effect = np.array([0.05 * (c.lr == 3) for c in STAR.configs])
    found = sources(Sheet("accuracy", STAR, 0.9 + effect + 0.004 * rng.normal(size=16)))
    assert [each.name for each in found.shares if each.stands_out] == ["lr"]
    assert found.summary.endswith("seed")
    assert "% lr, " in found.summary


def test_the_papers_sources(paper_scores, paper_default):
    def of(metric, n=None):
        return Sheet.from_scores(paper_scores, metric=metric, default=paper_default, n=n)

    asian = sources(of("group_asian", n=709))
    assert asian.summary == ("81% seed, which the test set alone could give; no axis stands out")
    fairface = sources(of("ood_fairface")).summary
    assert fairface == "36% architecture, 28% learning_rate, 17% batch_size, 11% seed"
    robust = sources(of("pgd_0.005")).summary
    assert robust == "33% architecture, 31% learning_rate, 22% seed"
    assert sources(of("group_asian")).summary == "81% seed; no axis stands out"


# the test set behind the seed


def outcomes_of(levels, samples=400):
    rng = np.random.default_rng(4)
    return rng.random((samples, len(levels))) < np.array(levels)


def test_a_seed_that_is_mostly_the_test_set():
    outcomes = outcomes_of([0.9] * 16)
    found = sources(Sheet("accuracy", STAR, outcomes.mean(axis=0), outcomes))
    assert found.seed_note == "mostly the test set"
    assert found.summary.endswith("seed, mostly the test set; no axis stands out")


def test_a_seed_that_is_real():
    outcomes = outcomes_of([0.7, 0.8, 0.9, 0.99] * 4)
    found = sources(Sheet("accuracy", STAR, outcomes.mean(axis=0), outcomes))
    assert found.seed_note == ""
    assert found.summary.endswith("seed; no axis stands out")


def test_seeds_only():
    outcomes = outcomes_of([0.9] * 6)
    sheet = Sheet("accuracy", make_design({}, {}, 6), outcomes.mean(axis=0), outcomes)
    assert sources(sheet).summary == "100% seed, mostly the test set"


# holes, and designs without shares


def test_a_star_with_holes_uses_what_is_there():
    scores = np.random.default_rng(5).normal(size=16)
    scores[[2, 9]] = np.nan
    sheet = Sheet("accuracy", STAR, scores)
    assert sum(each.share for each in sources(sheet).shares) + sources(sheet).seed == (
        pytest.approx(1)
    )
    rows = [r[~np.isnan(r)] for r in scores.reshape(4, 4)]
    squares = sum(float(((r - r.mean()) ** 2).sum()) for r in rows)
    within = squares / (sum(map(len, rows)) - 4)
    widths = [rows[0], rows[3]]  # the default, and the other width
    means = [r.mean() for r in widths]
    axis = max(0.0, np.var(means) - 0.5 * within * mean([1 / len(r) for r in widths]))
    found = {each.name: each.share for each in sources(sheet).shares}
    assert found["width"] / sources(sheet).seed == pytest.approx(axis / within, abs=1e-9)


def test_an_option_without_candidates_is_no_option():
    scores = np.random.default_rng(6).normal(size=16)
    scores[12:] = np.nan  # all of the other width
    assert [each.name for each in sources(Sheet("a", STAR, scores)).shares] == ["lr"]


def test_equal_scores_have_no_sources():
    found = sources(Sheet("accuracy", STAR, np.full(16, 0.9)))
    assert found.summary == "nothing varies: all scores are equal"
    assert [each.p_value for each in found.shares] == [1, 1]


def test_seeds_that_change_nothing():
    scores = np.repeat([0.9, 0.8, 0.7, 0.9], 4)
    found = sources(Sheet("accuracy", STAR, scores))
    assert found.summary == "100% lr, 0% seed"


def test_the_order_of_the_summary_is_by_share():
    found = Sources(
        (Contribution("a", 0.2, 0.01), Contribution("b", 0.5, 0.01), Contribution("c", 0.1, 0.2)),
        0.2,
        "",
    )
    assert found.summary == "50% b, 20% a, 20% seed"


@pytest.mark.parametrize(
    ("design", "holes", "message"),
    [
        (make_design({"lr": 1}, {"lr": [2]}, 1), [], "one seed per configuration"),
        (GRID, [3], "the grid has holes"),
        (make_design({}, {}, 2, [{"lr": 1}, {"lr": 2}]), [], "star or a grid design"),
    ],
)
def test_shares_that_can_not_be_told_apart(design, holes, message):
    scores = np.random.default_rng(7).normal(size=len(design.configs))
    scores[holes] = np.nan
    with pytest.raises(ScoresError, match=message):
        sources(Sheet("accuracy", design, scores))
