from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_multiplicity.design import make_design
from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics.noise import Noise
from pytest_multiplicity.statistics.sheet import Sheet
from pytest_multiplicity.statistics.tables import spread, table_cells, table_counts

DEFAULT = {"lr": 0.1, "width": 16}


def frame_of(configurations, seeds=(0, 1, 2), metric="accuracy"):
    """A table with a different score in every row: 0.5, 0.51, 0.53, 0.56, ..."""
    rows = [{**c, "seed": s} for c in configurations for s in seeds]
    frame = pd.DataFrame(rows)
    frame[metric] = 0.5 + np.cumsum(np.arange(len(rows))) / 1000
    return frame


def star_frame(**kwargs):
    return frame_of(
        [DEFAULT, DEFAULT | {"lr": 0.05}, DEFAULT | {"lr": 0.01}, DEFAULT | {"width": 32}], **kwargs
    )


def grid_frame(**kwargs):
    options = itertools.product([0.1, 0.05, 0.01], [16, 32])
    return frame_of([{"lr": lr, "width": width} for lr, width in options], **kwargs)


def sheet_of(frame, default=DEFAULT, **kwargs):
    return Sheet.from_scores(frame, metric="accuracy", default=default, **kwargs)


# the paper


def test_every_number_of_the_papers_sheets(paper_scores, paper_sheets, paper_default):
    for printed in paper_sheets:
        sheet = Sheet.from_scores(paper_scores, metric=printed["metric"], default=paper_default)
        assert f"{sheet.delta_all:.2f}" == f"{printed['delta_all']:.2f}"
        assert list(sheet.tables) == list(printed["tables"])
        for axis, table in printed["tables"].items():
            assert [str(option) for option in sheet.tables[axis].columns] == table["options"]
            assert sheet.tables[axis].to_numpy() == pytest.approx(np.array(table["scores"]))
            by_seed, by_option = sheet.delta_by_seed(axis), sheet.delta_by_option(axis)
            assert by_seed.to_numpy() == pytest.approx(np.array(table["delta_by_seed"]), abs=0.015)
            assert by_option.to_numpy() == pytest.approx(
                np.array(table["delta_by_option"]), abs=0.015
            )


def test_the_papers_layout(paper_scores, paper_default):
    text = Sheet.from_scores(paper_scores, metric="accuracy", default=paper_default).to_text()
    lines = text.splitlines()
    assert lines[0] == "accuracy (percent)"
    assert lines[2].split() == list(paper_default)
    assert lines[3].startswith("seed     0.1   0.05   0.01  delta   seed     128    256    640")
    assert lines[4].startswith("1      92.85  92.85  92.37   0.48   1 ")
    assert lines[9].startswith("delta   0.70   0.47   0.29          delta   0.70")  # empty corner
    assert lines[11].startswith("default: learning_rate=0.1, batch_size=128, augmentation=Rand")
    assert lines[12] == "delta over all 45: 1.12"
    assert lines[13] == "test-set noise: unknown"


def test_tables_wrap_at_the_width(paper_scores, paper_default):
    sheet = Sheet.from_scores(paper_scores, metric="accuracy", default=paper_default)
    text = sheet.to_text(width=80)
    assert max(map(len, text.splitlines()[:-3])) <= 80
    assert text.count("seed ") == 5
    assert all(axis in text for axis in paper_default)


# what each design gets


def test_star_tables_share_the_default_column():
    sheet = sheet_of(star_frame())
    assert sheet.design.kind == "star"
    assert list(sheet.tables) == ["lr", "width"]
    assert list(sheet.tables["lr"].columns) == [0.1, 0.05, 0.01]
    assert list(sheet.tables["lr"].index) == [0, 1, 2]
    assert sheet.tables["lr"][0.1].tolist() == sheet.tables["width"][16].tolist()
    assert sheet.marginals == {}
    assert table_counts(sheet.design).tolist() == [2] * 3 + [1] * 9


def test_grid_tables_are_slices_through_the_default():
    frame = grid_frame()
    sheet = sheet_of(frame)
    assert sheet.design.kind == "grid"
    for axis, other in (("lr", "width"), ("width", "lr")):
        slice_ = frame[frame[other] == DEFAULT[other]]
        expected = slice_.pivot(index="seed", columns=axis, values="accuracy")
        table = sheet.tables[axis]
        pd.testing.assert_frame_equal(table, expected[table.columns], check_column_type=False)
        means = frame.groupby(["seed", axis])["accuracy"].mean().unstack()
        marginal = sheet.marginals[axis]
        pd.testing.assert_frame_equal(marginal, means[marginal.columns], check_column_type=False)
    assert sheet.delta_all == pytest.approx(np.ptp(frame["accuracy"]))


def test_explicit_axes_have_a_table_only_where_one_axis_changes_alone():
    both = {"lr": 0.05, "width": 32}
    sheet = sheet_of(frame_of([DEFAULT, DEFAULT | {"lr": 0.05}, both]))
    assert sheet.design.kind == "explicit"
    assert list(sheet.tables) == ["lr"]
    assert list(sheet.tables["lr"].columns) == [0.1, 0.05]
    assert sheet.count == 9
    with pytest.raises(ScoresError, match="no table for 'width': this sheet has tables for lr"):
        sheet.delta_by_seed("width")


def test_an_explicit_design_need_not_contain_its_default():
    configurations = [{"lr": 0.05}, {"lr": 0.01}, {"lr": 0.05, "width": 32}]
    design = make_design(DEFAULT, {}, 2, configurations)
    sheet = Sheet("accuracy", design, np.arange(6) / 10)
    options: dict[str, list[object]] = {
        axis: list(table.columns) for axis, table in sheet.tables.items()
    }
    assert options == {"lr": [0.05, 0.01]}


def test_options_without_plain_equality_and_dotted_axes():
    weights = (np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    design = make_design(
        {"weights": weights[0]}, {"weights": [weights[1]], "seed.init": [7, 8, 9]}, 2
    )
    sheet = Sheet("accuracy", design, np.arange(8) / 10)
    assert sheet.tables["seed.init"].to_numpy().tolist() == [[0, 0.4, 0.6], [0.1, 0.5, 0.7]]
    assert table_cells(design, "weights").tolist() == [[0, 2], [1, 3]]


def test_one_seed_only_has_deltas_across_options():
    sheet = sheet_of(star_frame(seeds=(4,)))
    assert sheet.delta_by_seed("lr").tolist() == pytest.approx([0.003])
    assert sheet.delta_by_option("lr").tolist() == [0, 0, 0]
    foot = sheet.to_text().splitlines()[5]
    assert foot.split() == ["delta", "-", "-", "-", "delta", "-", "-"]  # nothing was compared


def test_one_option_only_has_the_delta_over_all():
    sheet = sheet_of(frame_of([DEFAULT]))
    assert sheet.tables == {}
    assert sheet.delta_all == pytest.approx(0.003)
    assert "default" in sheet.to_text()
    assert "delta over all 3: 0.00" in sheet.to_text()


def test_seeds_only():
    frame = pd.DataFrame({"seed": [3, 4], "accuracy": [0.90, 0.95]})
    sheet = sheet_of(frame, default={}, unit="fraction")
    assert sheet.delta_all == pytest.approx(0.05)
    assert "95.00" in sheet.to_text()
    assert table_counts(sheet.design).tolist() == [1, 1]


# after selection


def test_a_subset_keeps_the_layout_and_loses_the_others():
    sheet = sheet_of(star_frame())
    kept = np.zeros(12, dtype=bool)
    kept[[0, 1, 3]] = True
    after = sheet.subset(kept)
    assert (sheet.count, after.count) == (12, 3)
    assert after.tables["lr"].isna().to_numpy().sum() == 6
    assert after.delta_all == pytest.approx(sheet.scores[3] - sheet.scores[0])
    by_option = after.delta_by_option("lr")
    assert by_option.tolist() == pytest.approx([0.001, 0, math.nan], nan_ok=True)
    assert after.to_text().splitlines()[4].split()[:5] == ["0", "0.50", "0.51", "-", "0.01"]


def test_nobody_left():
    nobody = sheet_of(star_frame()).subset(np.zeros(12, dtype=bool))
    assert math.isnan(nobody.delta_all)
    assert nobody.noise is None
    assert "delta over all 0: -" in nobody.to_text()


def test_a_mask_of_another_kind_is_refused():
    sheet = sheet_of(star_frame())
    for mask in (np.ones(11, dtype=bool), np.arange(12)):
        with pytest.raises(ScoresError, match="give one truth value for each"):
            sheet.subset(mask)


# noise


def test_noise_is_that_of_the_candidates_in_the_sheet():
    rng = np.random.default_rng(0)
    outcomes = rng.random((500, 6)) < 0.9
    design = make_design(DEFAULT, {"lr": [0.05]}, 3)
    sheet = Sheet("accuracy", design, outcomes.mean(axis=0), outcomes)
    assert sheet.noise.floor == sheet.noise_floor
    assert sheet.noise.within_noise
    assert "within test-set noise" in sheet.to_text()
    pair = sheet.subset(np.array([True, True, *[False] * 4]))
    assert pair.noise_floor < sheet.noise_floor
    single = sheet.subset(np.array([True, *[False] * 5]))
    assert single.noise_floor is None


def test_noise_of_a_real_valued_metric_is_asked_for_positions():
    asked = []

    def noise_of(columns):
        asked.append(columns.tolist())
        return Noise(floor=0.25, level_95=0.5, p_value=0.01, real_share=0.75)

    design = make_design({}, {}, 4)
    sheet = Sheet(
        "loss", design, np.array([1.0, 2.0, np.nan, 4.0]), unit="number", noise_of=noise_of
    )
    assert sheet.noise_floor == 0.25
    assert sheet.noise_floor == 0.25
    assert asked == [[0, 1, 3]]
    assert sheet.to_text().startswith("loss\n")
    assert "0.25 on average, up to 0.50 in 95%; p = 0.01: beyond test-set noise" in sheet.to_text()


def test_recorded_scores_with_n_have_an_upper_bound():
    frame = star_frame()
    frame["accuracy"] *= 100
    sheet = sheet_of(frame, n=709)
    assert sheet.noise_floor is None
    mean = frame["accuracy"].mean() / 100
    expected = 100 * 3.2584553 * math.sqrt(mean * (1 - mean) / 709)  # d2(12), Tippett 1925
    assert sheet.noise_floor_at_most == pytest.approx(expected)
    assert f"at most {expected:.2f} on average" in sheet.to_text()


# frames


def test_the_frame_goes_back_and_forth():
    for frame in (star_frame(), grid_frame()):
        sheet = sheet_of(frame.sample(frac=1, random_state=3))
        again = sheet_of(sheet.to_frame())
        assert again.design.kind == sheet.design.kind
        pd.testing.assert_frame_equal(again.to_frame(), sheet.to_frame())
        assert len(sheet.to_frame()) == len(frame)


def test_the_frame_of_survivors_has_only_them():
    after = sheet_of(star_frame()).subset(np.arange(12) < 5)
    assert len(after.to_frame()) == 5


def test_a_candidate_repeated_in_every_table_is_read_once():
    frame = star_frame()
    sheet = sheet_of(pd.concat([frame, frame[:3]]))
    assert sheet.count == 12


def test_whole_numbers_equal_their_floats():
    frame = frame_of([{"lr": 1.0, "width": 16.0}, {"lr": 2.0, "width": 16.0}])
    sheet = sheet_of(frame, default={"lr": 1, "width": 16})
    assert list(sheet.tables["lr"].columns) == [1, 2]


@given(
    st.lists(st.floats(0, 1), min_size=12, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_deltas_are_ranges_of_what_is_present(scores, kept):
    sheet = Sheet("accuracy", sheet_of(star_frame()).design, np.array(scores))
    after = sheet.subset(np.array(kept))
    present = [s for s, k in zip(scores, kept, strict=True) if k]
    if present:
        assert after.delta_all == max(present) - min(present)
    for axis in after.tables:
        for seed, row in after.tables[axis].iterrows():
            left = row.dropna().tolist()
            expected = max(left) - min(left) if left else math.nan
            delta = after.delta_by_seed(axis).at[seed]
            assert delta == pytest.approx(expected, nan_ok=True)
            assert not left or delta <= after.delta_all


def test_spread_of_one_is_zero_and_of_none_is_nan():
    assert spread(np.array([0.3, np.nan]), axis=0) == 0
    assert math.isnan(spread(np.array([np.nan]), axis=0))


# bad input


def bad_frame(case):
    frame = star_frame()
    frame["text"] = "high"
    frame["bad"] = frame["accuracy"].where(frame.index != 4)
    if case == "hole":
        return frame.drop(index=4)
    if case == "twice":
        return pd.concat([frame, frame[:1].assign(accuracy=0.9)])
    if case == "empty option":
        return frame.assign(width=frame["width"].where(frame.index != 2))
    return frame


@pytest.mark.parametrize(
    ("case", "metric", "default", "message"),
    [
        ("hole", "accuracy", DEFAULT, r"'lr': 0.05, 'width': 16\} and seed 1: add it, or drop"),
        ("twice", "accuracy", DEFAULT, "twice with different scores of 'accuracy': keep one row"),
        ("", "bad", DEFAULT, "column 'bad' holds nan in row 5: every candidate needs a score"),
        ("", "acuracy", DEFAULT, "'acuracy' is no column of the table, which has lr, width, seed"),
        ("", "text", DEFAULT, "column 'text' holds 'high', which is no score"),
        ("", "lr", DEFAULT, "'lr' is an axis or the seed here"),
        ("", "accuracy", DEFAULT | {"depth": 3}, "'depth' is no column"),
        ("empty option", "accuracy", DEFAULT, "column 'width' is empty in row 3"),
    ],
)
def test_bad_tables(case, metric, default, message):
    with pytest.raises(ScoresError, match=message):
        Sheet.from_scores(bad_frame(case), metric=metric, default=default)


def test_a_default_that_nobody_has_is_refused():
    with pytest.raises(ValueError, match=r"0\.2"):
        sheet_of(star_frame(), default=DEFAULT | {"lr": 0.2})


@pytest.mark.parametrize(
    ("scores", "outcomes", "message"),
    [
        (np.zeros(3), None, r"scores of shape \(3,\) for 2 candidates"),
        (np.array([0.5, np.inf]), None, "infinite"),
        (np.zeros(2), np.zeros((5, 3)), r"outcomes of shape \(5, 3\) for 2 candidates"),
    ],
)
def test_sheets_that_do_not_fit_their_design(scores, outcomes, message):
    with pytest.raises(ScoresError, match=message):
        Sheet("accuracy", make_design({}, {}, 2), scores, outcomes)
