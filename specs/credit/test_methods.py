"""What each method of being fair costs and brings, and whether it makes decisions less arbitrary.

Nobody is rejected here: all networks are compared, method by method.
"""

from __future__ import annotations

import pytest


@pytest.mark.unforeseen
def test_accuracy(network, coded):
    """How many of the applicants were judged as it turned out."""
    network.accuracy(coded.report)


@pytest.mark.unforeseen
@pytest.mark.parametrize("by", ["sex", "years"])
def test_gaps(network, coded, by):
    """Who gets a loan, of all, and of those who would repay it."""
    network.gap(coded.report, by=by, of="positive rate")
    network.gap(coded.report, by=by, of="true positive rate")


METHODS = {
    "none": "none",
    "reweighing": "",
    "parity": "DiffDP",
    "odds": "DiffEOdd",
    "thresholds": "",
}
GAPS = [(by, of) for of in ("positive rate", "true positive rate") for by in ("sex", "years")]


def of_method(survivors, method):
    """The networks of one method, which stand side by side."""
    places = [i for i, each in enumerate(survivors) if each.config.mitigation == method]
    return survivors[places[0] : places[-1] + 1]


def row_of(networks, data):
    """Return the mean accuracy and gaps of some networks, in percent, and their ambiguity."""
    scores = [
        [each.accuracy(data), *(each.gap(data, by=by, of=of) for by, of in GAPS)]
        for each in networks
    ]
    return [100 * sum(column) / len(column) for column in zip(*scores, strict=True)], (
        networks.ambiguity(data)
    )


@pytest.mark.family("network")
def test_ambiguity_beside_the_published(survivors, coded, published):
    """No method makes who gets a loan less than a matter of choice (``-rP`` shows the table)."""
    print("method        acc  loans: sex years  repaying: sex years  ambiguity  published")
    ambiguities = []
    for method, name in METHODS.items():
        shown, ambiguity = row_of(of_method(survivors, method), coded.report)
        there = f"{published[name]:.2f} ({name})" if name else "-"
        print(
            f"{method:<11}{shown[0]:>6.1f}{shown[1]:>12.1f}{shown[2]:>6.1f}{shown[3]:>15.1f}"
            f"{shown[4]:>6.1f}{ambiguity:>11.2f}  {there}"
        )
        ambiguities.append(ambiguity)
    assert min(ambiguities) >= 0.1
