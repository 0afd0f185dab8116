from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_multiplicity.errors import ScoresError
from pytest_multiplicity.statistics import capacity as capacity_module
from pytest_multiplicity.statistics import predictive, votes
from pytest_multiplicity.statistics.definitions import DEFINITIONS

EXACT = 1e-9
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 8))
PREDICTIONS = SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 3)))
SEVERAL = PREDICTIONS.filter(lambda said: len(said) > 1)
quick = settings(deadline=None, max_examples=60)


@st.composite
def distributions(draw, least=1):
    """Probabilities [K, n, C] in float32, with zeros and certainties among them."""
    shape = draw(st.tuples(st.integers(least, 4), st.integers(1, 4), st.integers(2, 4)))
    raw = draw(arrays(np.float64, shape, elements=st.sampled_from([0, 0, 0.1, 0.3, 0.5, 1, 7])))
    raw[..., 0] += raw.sum(axis=2) == 0
    return (raw / raw.sum(axis=2, keepdims=True)).astype(np.float32)


# slow references: loops over candidates and samples, from the definitions


def differing(said, first, second):
    return sum(said[first][i] != said[second][i] for i in range(len(said[0]))) / len(said[0])


def pairs_of(said):
    return list(itertools.combinations(range(len(said)), 2))


def slow_ambiguity(said):
    samples = range(len(said[0]))
    return sum(len({row[i] for row in said}) > 1 for i in samples) / len(said[0])


def slow_self_consistency(said, i):
    pairs = pairs_of(said)
    return sum(said[a][i] == said[b][i] for a, b in pairs) / len(pairs) if pairs else 1.0


def slow_capacity(channel, gap=1e-7):
    """Plain Blahut-Arimoto on one sample's [K][C]; returns (lower, upper) bound in bits."""
    weights = [1 / len(channel)] * len(channel)
    for _ in range(20_000):
        mixture = [
            sum(p * row[c] for p, row in zip(weights, channel, strict=True))
            for c in range(len(channel[0]))
        ]
        divergences = [
            sum(w * math.log2(w / q) for w, q in zip(row, mixture, strict=True) if w > 0)
            for row in channel
        ]
        lower = sum(p * d for p, d in zip(weights, divergences, strict=True))
        upper = max(divergences)
        if upper - lower < gap:
            break
        weights = [p * 2**d for p, d in zip(weights, divergences, strict=True)]
        weights = [p / sum(weights) for p in weights]
    return lower, upper


# on predictions


@given(PREDICTIONS)
@quick
def test_measures_without_a_baseline(predictions):
    said = predictions.tolist()
    shares = [differing(said, a, b) for a, b in pairs_of(said)]
    assert predictive.ambiguity(predictions) == pytest.approx(slow_ambiguity(said), abs=EXACT)
    expected = max(shares, default=0.0)
    assert predictive.discrepancy(predictions) == pytest.approx(expected, abs=EXACT)
    expected = sum(shares) / len(shares) if shares else 0.0
    assert predictive.disagreement(predictions) == pytest.approx(expected, abs=EXACT)


@given(PREDICTIONS, st.data())
@quick
def test_measures_against_a_baseline(predictions, data):
    samples = predictions.shape[1]
    baseline = data.draw(arrays(np.int64, samples, elements=st.integers(0, 3)))
    said, fixed = predictions.tolist(), baseline.tolist()
    flipped = [[row[i] != fixed[i] for i in range(samples)] for row in said]
    ambiguity = sum(any(row[i] for row in flipped) for i in range(samples)) / samples
    discrepancy = max(sum(row) for row in flipped) / samples
    assert predictive.ambiguity(predictions, baseline) == pytest.approx(ambiguity, abs=EXACT)
    assert predictive.discrepancy(predictions, baseline) == pytest.approx(discrepancy, abs=EXACT)


@given(PREDICTIONS)
@quick
def test_measures_per_sample(predictions):
    said = predictions.tolist()
    expected = [slow_self_consistency(said, i) for i in range(len(said[0]))]
    assert predictive.self_consistency(predictions) == pytest.approx(np.array(expected), abs=EXACT)
    conflicts = [len({row[i] for row in said}) > 1 for i in range(len(said[0]))]
    assert predictive.conflicts(predictions).tolist() == conflicts


@given(PREDICTIONS)
@quick
def test_agreement_of_every_pair(predictions):
    said = predictions.tolist()
    expected = [[1 - differing(said, a, b) for b in range(len(said))] for a in range(len(said))]
    assert predictive.agreement(predictions) == pytest.approx(np.array(expected), abs=EXACT)


@given(SEVERAL)
@quick
def test_fleiss_kappa(predictions):
    said = predictions.tolist()
    samples, raters = len(said[0]), len(said)
    everything = [c for row in said for c in row]
    chance = sum((everything.count(c) / len(everything)) ** 2 for c in set(everything))
    observed = 0.0
    for i in range(samples):
        counts = [[row[i] for row in said].count(c) for c in set(everything)]
        observed += (sum(n * n for n in counts) - raters) / (raters * (raters - 1)) / samples
    found = predictive.fleiss_kappa(predictions)
    if len(set(everything)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx((observed - chance) / (1 - chance), abs=EXACT)


def test_fleiss_own_example():
    """Wikipedia's worked example of Fleiss' kappa: 14 raters, 10 subjects, 5 categories: 0.210."""
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    predictions = np.array([np.repeat(np.arange(5), row) for row in counts]).T
    assert predictive.fleiss_kappa(predictions) == pytest.approx(0.210, abs=0.0005)


@given(PREDICTIONS)
@quick
def test_identities_between_measures(predictions):
    ambiguity, discrepancy = predictive.ambiguity(predictions), predictive.discrepancy(predictions)
    disagreement = predictive.disagreement(predictions)
    consistency = predictive.self_consistency(predictions)
    assert disagreement <= discrepancy + EXACT
    assert discrepancy <= ambiguity + EXACT
    assert consistency.mean() == pytest.approx(1 - disagreement, abs=EXACT)
    assert ambiguity == pytest.approx((consistency < 1).mean(), abs=EXACT)
    for baseline in predictions:  # a baseline among the candidates sees all flips
        assert predictive.ambiguity(predictions, baseline) == pytest.approx(ambiguity, abs=EXACT)
        against = predictive.discrepancy(predictions, baseline)
        assert against <= discrepancy + EXACT
        assert discrepancy <= 2 * against + EXACT


@given(arrays(np.int64, (4, 6), elements=st.integers(0, 1)))
@quick
def test_kulynychs_binary_disagreement_is_twice_ours(predictions):
    p = predictions.mean(axis=0)
    unbiased = 2 * p * (1 - p) * 4 / 3  # 2 p (1 - p) over ordered pairs, without the diagonal
    assert predictive.disagreement(predictions) == pytest.approx(unbiased.mean(), abs=EXACT)


@given(PREDICTIONS, st.permutations(range(4)))
@quick
def test_the_names_of_classes_do_not_matter(predictions, names):
    renamed = np.array(names)[predictions]
    for measure in (predictive.ambiguity, predictive.discrepancy, predictive.disagreement):
        assert measure(renamed) == pytest.approx(measure(predictions), abs=EXACT)


def test_the_distribution_is_cumulative_and_inclusive():
    values = np.array([1.0, 0.5, 0.5, 0.7])
    found = predictive.self_consistency_distribution(values, [0.4, 0.5, 0.7, 1.0])
    assert found.to_dict() == {0.4: 0, 0.5: 0.5, 0.7: 0.75, 1.0: 1}


def test_means_of_groups():
    found = predictive.mean_by_group(np.array([1.0, 0.5, 0.0]), ["thin", "thin", "bold"])
    assert found.to_dict() == {"thin": 0.75, "bold": 0}


def test_one_candidate_agrees_with_itself():
    alone = np.array([[0, 1, 2]])
    assert predictive.ambiguity(alone) == predictive.discrepancy(alone) == 0
    assert predictive.disagreement(alone) == 0
    assert predictive.self_consistency(alone).tolist() == [1, 1, 1]
    assert math.isnan(predictive.fleiss_kappa(alone))
    sure = np.full((1, 3, 2), 0.5)
    assert predictive.rashomon_capacity(sure).values.tolist() == [1, 1, 1]
    assert predictive.score_variance(sure, 0).tolist() == [0, 0, 0]


# on probabilities


@given(distributions(), st.data())
@quick
def test_ranges_and_variances_of_a_class(probabilities, data):
    count, samples, classes = probabilities.shape
    labels = data.draw(arrays(np.int64, samples, elements=st.integers(0, classes - 1)))
    given_ = [[float(probabilities[k, i, labels[i]]) for k in range(count)] for i in range(samples)]
    ranges = predictive.viable_prediction_range(probabilities, labels)
    assert ranges == pytest.approx(np.array([[min(p), max(p)] for p in given_]), abs=EXACT)
    means = [sum(p) / count for p in given_]
    variances = [
        sum((x - m) ** 2 for x in p) / max(1, count - 1) for p, m in zip(given_, means, strict=True)
    ]
    found = predictive.score_variance(probabilities, labels)
    assert found == pytest.approx(np.array(variances), abs=EXACT)
    for delta in (0.0, 0.2, 0.5, 1.0):
        expected = sum(max(p) - min(p) >= delta for p in given_) / samples
        ambiguity = predictive.probabilistic_ambiguity(probabilities, labels, delta=delta)
        assert ambiguity == pytest.approx(expected, abs=EXACT)
        fixed = [p[0] for p in given_]
        against = predictive.probabilistic_ambiguity(
            probabilities, labels, delta=delta, baseline=probabilities[0]
        )
        flips = [max(abs(x - b) for x in p) >= delta for p, b in zip(given_, fixed, strict=True)]
        assert against == pytest.approx(sum(flips) / samples, abs=EXACT)
        assert against <= ambiguity


@given(distributions())
@quick
def test_capacity_within_its_certified_gap(probabilities):
    found = predictive.rashomon_capacity(probabilities)
    assert 0 <= found.gap <= 1e-3
    for i, value in enumerate(found.values):
        rows = probabilities[:, i].astype(float)
        lower, upper = slow_capacity((rows / rows.sum(axis=1, keepdims=True)).tolist())
        assert lower - found.gap - 1e-7 <= math.log2(value) <= upper + 1e-7


@given(distributions(least=2))
@quick
def test_capacity_lies_between_one_and_the_number_of_classes(probabilities):
    count, _, classes = probabilities.shape
    values = predictive.rashomon_capacity(probabilities).values
    assert (values >= 1).all()
    assert (values <= min(count, classes) + 1e-9).all()
    fewer = predictive.rashomon_capacity(probabilities[1:]).values
    assert (np.log2(fewer) <= np.log2(values) + 1e-3 + 1e-9).all()


def test_known_capacities():
    certain = np.eye(4)[:, None, :]  # four candidates, each sure of another class
    assert predictive.rashomon_capacity(certain).values == pytest.approx([4], rel=1e-3)
    p = 0.11
    symmetric = np.array([[[1 - p, p]], [[p, 1 - p]]])
    entropy = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    found = predictive.rashomon_capacity(symmetric)
    assert math.log2(found.values[0]) == pytest.approx(1 - entropy, abs=1e-3)
    erased = np.array([[[0.7, 0, 0.3]], [[0, 0.7, 0.3]]])  # an erasure channel: 1 - 0.3 bits
    assert math.log2(predictive.rashomon_capacity(erased).values[0]) == pytest.approx(0.7, abs=1e-3)
    z_channel = np.array([[[1.0, 0]], [[0.5, 0.5]]])  # log2(5 / 4), not reached by equal weights
    found = predictive.rashomon_capacity(z_channel, gap=1e-9)
    assert found.values[0] == pytest.approx(1.25, abs=1e-8)


def test_a_rare_voice_is_heard():
    """One candidate of 200 is sure of something else: capacity 2, though the mean hardly moves."""
    probabilities = np.zeros((200, 1, 3))
    probabilities[:199, 0, 0] = 1
    probabilities[199, 0, 2] = 1
    assert predictive.rashomon_capacity(probabilities).values == pytest.approx([2], rel=1e-3)


def test_an_unfinished_iteration_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(capacity_module, "MAX_STEPS", 2)
    z_channel = np.array([[[1.0, 0]], [[0.5, 0.5]]])
    found = predictive.rashomon_capacity(z_channel, gap=1e-9)
    assert math.log2(found.values[0]) <= math.log2(1.25) <= math.log2(found.values[0]) + found.gap
    assert found.gap > 1e-9


def test_the_adaptive_step_needs_a_fraction_of_the_plain_steps(monkeypatch):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), (30, 20))
    steps = []
    advance = capacity_module._State.advance

    def counted(self):
        steps.append(1)
        advance(self)

    monkeypatch.setattr(capacity_module._State, "advance", counted)
    predictive.rashomon_capacity(probabilities)
    adaptive = len(steps)
    monkeypatch.setattr(capacity_module, "GROW", 1.0)
    predictive.rashomon_capacity(probabilities)
    assert adaptive * 3 < len(steps) - adaptive


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(3), (4, 50)).astype(np.float32)
    predictions, labels = probabilities.argmax(axis=2), rng.integers(0, 3, 50)

    def everything():
        return np.concatenate(
            [
                predictive.self_consistency(predictions),
                [predictive.fleiss_kappa(predictions)],
                predictive.viable_prediction_range(probabilities, labels).ravel(),
                predictive.score_variance(probabilities, labels),
                predictive.rashomon_capacity(probabilities).values,
            ]
        )

    whole = everything()
    for module in (votes, predictive, capacity_module):
        monkeypatch.setattr(module, "CHUNK", 40)
    assert everything() == pytest.approx(whole, abs=EXACT)


@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1).filter(lambda s: s == s))
@quick
def test_rashomon_ratio(scores):
    known = [s for s in scores if not math.isnan(s)]
    if not known:
        with pytest.raises(ScoresError, match="no candidate has a score"):
            predictive.rashomon_ratio(np.array(scores), 0.1)
        return
    expected = sum(s >= max(known) - 0.1 - 1e-9 for s in known) / len(known)
    assert predictive.rashomon_ratio(np.array(scores), 0.1) == pytest.approx(expected, abs=EXACT)


# definitions and bad input


def test_everything_public_is_defined():
    functions = {name for name in predictive.__all__ if name[0].islower()} - {"mean_by_group"}
    assert functions <= set(DEFINITIONS)
    assert all(text == text.strip() and not text.endswith(".") for text in DEFINITIONS.values())


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\)"),
        (np.zeros((2, 0, 3)), "one or more of each"),
        (np.full((2, 3, 2), 0.7), "miss a sum of 1 by up to 0.4: give probabilities, not logits"),
        (np.array([[[-1.0, 2.0]]]), "probabilities from -1"),
        (np.full((1, 1, 2), math.nan), "nan"),
    ],
)
def test_probabilities_that_are_none(probabilities, message):
    with pytest.raises(ScoresError, match=message):
        predictive.rashomon_capacity(probabilities)
    with pytest.raises(ScoresError, match=message):
        predictive.viable_prediction_range(probabilities, 0)


def test_other_bad_input():
    half = np.full((2, 3, 2), 0.5)
    with pytest.raises(ScoresError, match="labels 2 to 2 for 2 classes"):
        predictive.viable_prediction_range(half, 2)
    with pytest.raises(ScoresError, match=r"delta=1\.5"):
        predictive.probabilistic_ambiguity(half, 0, delta=1.5)
    with pytest.raises(ScoresError, match=r"a baseline of shape \(2,\) for 3 samples"):
        predictive.ambiguity(np.zeros((2, 3), dtype=int), np.zeros(2, dtype=int))
    with pytest.raises(ScoresError, match=r"shape \(3,\)"):
        predictive.conflicts(np.zeros(3, dtype=int))


def test_candidates_may_know_fewer_classes():
    few, many = np.array([[0.25, 0.75]]), np.array([[0.25, 0.25, 0.5]])
    together = capacity_module.over_all_classes([few, many])
    assert together.tolist() == [[[0.25, 0.75, 0.0]], [[0.25, 0.25, 0.5]]]
    assert capacity_module.rashomon_capacity(together).values > 1
    same = np.stack([many, many])
    assert capacity_module.over_all_classes([many, many]).tobytes() == same.tobytes()
