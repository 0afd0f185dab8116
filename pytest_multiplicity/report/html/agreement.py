"""The map of agreement between survivors: dark is disagreement, and who is alike is together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_multiplicity.findings import Agreement, Thumbnail
from pytest_multiplicity.report.html import limits, pictures
from pytest_multiplicity.report.text import brief

DARK = (11, 60, 93)
LIGHT = (236, 241, 246)


@dataclass(frozen=True)
class AgreementMap:
    """The picture of a matrix, a pixel per pair, with the names of its rows."""

    uri: str
    """A PNG."""
    ids: Sequence[str]
    """In the order of the rows."""
    sees: str
    """What to see, in a sentence."""
    least: float
    at: str
    """Where that stands in the JSON report, from the agreement."""


def drawn(agreement: Agreement) -> AgreementMap | None:
    """Return the map of the first survivors; None of fewer than two."""
    count = min(len(agreement.ids), limits.AGREEMENT)
    if count < 2:
        return None
    values = [row[:count] for row in agreement.values[:count]]
    order = clustered(values)
    pairs = [(values[a][b], a, b) for a in range(count) for b in range(a + 1, count)]
    least, most = min(pairs), max(pairs)
    ids = [agreement.ids[place] for place in order]
    pixels = bytes(
        channel for a in order for b in order for channel in shade(values[a][b], least[0])
    )
    sees = (
        f"all pairs agree on {brief(least[0])}% of the samples"
        if least[0] == most[0]
        else "squares of one shade are survivors that answer alike; the darkest pair agrees on "
        f"{brief(least[0])}%, the lightest on {brief(most[0])}%"
    )
    uri = pictures.uri(Thumbnail(width=count, height=count, pixels=pixels))
    at = f"values/{least[1]}/{least[2]}"
    return AgreementMap(uri, ids, sees, least[0], at)


def clustered(values: Sequence[Sequence[float]]) -> list[int]:
    """Return an order in which those that agree stand together: leaves of average linkage."""
    import numpy as np
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    apart = 1.0 - np.asarray(values, dtype=float)
    apart = (apart + apart.T) / 2
    np.fill_diagonal(apart, 0.0)
    apart = squareform(np.round(apart, 12), checks=False)
    return [int(each) for each in leaves_list(linkage(apart, "average", optimal_ordering=True))]


def shade(value: float, least: float) -> tuple[int, ...]:
    """Return the colour of an agreement: light at 1, dark at the least."""
    share = (1 - value) / (1 - least) if least < 1 else 0.0
    share = min(1.0, max(0.0, share))
    return tuple(round(a + (b - a) * share) for a, b in zip(LIGHT, DARK, strict=True))
