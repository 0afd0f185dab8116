from __future__ import annotations

import base64
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import matplotlib.image
import numpy as np
import pytest

from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.findings import Conflicts, FamilyReport, GateReport, RunReport, Thumbnail
from pytest_multiplicity.report import html
from pytest_multiplicity.report.html import limits, pictures

VOID = {"meta", "br", "img", "input", "path", "use", "polyline"}


class Page(HTMLParser):
    """Tags, texts and attributes; raises when tags don't nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def paper(samples: ModuleType) -> str:
    return html.render(samples.paper_run())


def test_it_says_what_the_run_says(paper: str) -> None:
    text = Page(paper).words()
    for said in (
        "19 of 45 candidates survive",
        "45 candidates: 0 trained, 45 from the store",
        "Not yet: 1 of 2 gates failed",
        "failed test_choice_is_not_arbitrary assert 0.0825 <= 0.05",
        "Best survivor by accuracy on UTKFace: 93.2%, 0.19 points ahead of learning_rate0.05-seed5",
        "accuracy on UTKFace under InputNoise(1) 24 points 29 before selection",
        "Fairness: accuracy on the smallest group",
        "68.1–73.5165.512",  # noqa: RUF001
        "Δ over all 1.12, 0.97 among the 19 survivors (1.00 by chance).",
        "81% seed, mostly the test set; no axis stands out",
        "accuracy on UTKFace, accuracy on UTKFace under Group(\"race == 'Asian'\")",
        "The share of samples whose predicted class is the target",
        "torch2.9.0",
        "multiplicity_store.multiplicity",
    ):
        assert said in text


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
def test_every_page_is_well_formed_and_asks_for_nothing(samples: ModuleType, build: str) -> None:
    page = Page(html.render(getattr(samples, build)()))
    names = [tag for tag, _ in page.tags]
    assert names.count("script") == names.count("style") == 1
    assert not {"link", "iframe", "object", "base", "form"} & set(names)
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert targets <= {f"#{each}" for each in ids}


def test_hostile_names_stay_text(samples: ModuleType) -> None:
    text = html.render(samples.hostile_run())
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert not set(text) & {"\x1b", "\x07", "\u202e", "\u2028"}
    assert max(map(len, re.findall("a+", text))) < 1_000


def test_the_policy_allows_this_script_alone(paper: str) -> None:
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in Page(paper).tags
        if tag == "meta" and "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none';")
    assert "script-src 'sha256-" in policy


def test_it_is_deterministic(samples: ModuleType, paper: str) -> None:
    assert html.render(samples.paper_run()) == paper


def test_no_plot_touches_matplotlib_s_settings(samples: ModuleType) -> None:
    before = dict(matplotlib.rcParams)
    html.render(samples.paper_run())
    assert dict(matplotlib.rcParams) == before


def test_shades_and_rejected_cells(paper: str) -> None:
    cells = [attributes for tag, attributes in Page(paper).tags if tag == "td"]
    shades = [each["style"] for each in cells if "style" in each and "data-d" not in each]
    assert {"--s:0", "--s:100"} <= set(shades)
    assert any(each.get("class") == "gone" for each in cells)
    assert any("data-d" in each and each["style"] == "--s:100" for each in cells)


@pytest.mark.parametrize("candidates", [200, 2_000])
def test_a_large_family_stays_below_5_mb(samples: ModuleType, candidates: int) -> None:
    text = html.render(samples.large_run(candidates, 20))
    size = len(text.encode())
    assert size < 5_000_000
    if candidates > limits.CANDIDATES:
        assert f"{candidates - limits.CANDIDATES} more candidates: see the JSON report" in text


def test_the_worst_run_stays_below_5_mb(samples: ModuleType) -> None:
    worst = hostile_everywhere(samples)
    text = html.render(worst)
    size = len(text.encode())
    assert size < 5_000_000
    assert "more families: see the JSON report" in text


def hostile_everywhere(samples: ModuleType) -> RunReport:
    """Long names of the characters that grow most when escaped, many of everything."""
    run = samples.large_run(400, 60)
    family: FamilyReport = run.families[0]
    long = "\"'" * 5_000
    names = {spec.name: f"{long}{i}" for i, spec in enumerate(family.specs)}
    candidates = [
        replace(
            each,
            id=f"{long}{i}",
            status="rejected",
            rejected_by=list(names.values()),
            reasons=dict.fromkeys(names.values(), long),
        )
        for i, each in enumerate(family.candidates)
    ]
    specs = [
        replace(spec, name=names[spec.name], text=long, conflicts_with=list(names.values()))
        for spec in family.specs
    ]
    family = replace(family, candidates=candidates, specs=specs, notes=[long] * 300)
    return replace(run, families=[family] * 10, warnings=[long] * 300)


def test_a_partial_run_says_so(samples: ModuleType) -> None:
    text = Page(html.render(samples.paper_run(complete=False))).words()
    assert "Partial: 34 of 72 pairs. Gates were not evaluated" in text


def test_gates_that_passed_make_room_for_the_others(samples: ModuleType) -> None:
    """Those somebody has to act on come first, and say of which family they are."""
    run = samples.paper_run()
    names = [f"test_gate_{i}" for i in range(60)]
    gates = [
        GateReport(
            name=name,
            nodeid=f"t.py::{name}",
            family="other" if i else "candidate",
            outcome="passed",
        )
        for i, name in enumerate(names)
    ]
    last = replace(gates[-1], outcome="failed", message="too wide")
    families = [run.families[0], replace(run.families[0], name="other")]
    shown = html.render(replace(run, families=families, gates=[*gates[:-1], last]))
    text = Page(shown).words()
    assert (
        "Gates 1 failed, 59 passed failed test_gate_59 other too wide passed test_gate_0 candidate"
        in text
    )
    assert "10 more gates: see the JSON report." in text
    assert "Can it ship? failed test_gate_59 too wide passed test_gate_1 passed test_gate_2" in text
    assert "and 54 more gates" in text


def test_a_run_without_anything_has_a_page() -> None:
    text = Page(html.render(RunReport(complete=True, device="cpu", families=[]))).words()
    assert "Undecided: no gate says what is good enough" in text


def test_an_accuracy_below_today_s_is_not_called_more(samples: ModuleType) -> None:
    run = samples.paper_run()
    family = run.families[0]
    compared = samples.comparison_of("production", "FairFace", len(family.candidates))
    worse = replace(compared, gain=[replace(each, value=-0.012) for each in compared.gain])
    shown = Page(html.render(replace(run, families=[replace(family, comparisons=[worse])]))).words()
    assert "-1.2 points, accuracy beside today's, above 0 is better" in shown
    assert "3.1% right today and wrong then, 3.6% by retraining alone" in shown


def test_the_first_screen_compares_on_samples_that_selected_nobody(samples: ModuleType) -> None:
    run = samples.paper_run()
    family = run.families[0]
    sheets = [replace(each, data="UTKFace" if each.optimistic else None) for each in family.sheets]
    compared = [
        samples.comparison_of("production", data, len(family.candidates))
        for data in ("UTKFace", "UTKFace under Noise(1)", "FairFace")
    ]
    for count, shown_on in (3, ["FairFace"]), (2, ["UTKFace", "UTKFace under Noise(1)"]):
        some = replace(family, sheets=sheets, comparisons=compared[:count])
        shown = Page(html.render(replace(run, families=[some]))).words()
        assert re.findall(r"Against production the pick, on (.+?) 3\.1%", shown) == shown_on


def test_several_families_have_a_part_each(samples: ModuleType) -> None:
    run = samples.paper_run()
    second = replace(run.families[0], name="second", sheets=(), specs=(), predictive=())
    page = Page(html.render(replace(run, families=[run.families[0], second])))
    assert "2 families" in page.words()
    assert {"f0", "f1"} <= {attributes.get("id") for _, attributes in page.tags}


def test_conflicts_show_pictures_and_who_said_what(samples: ModuleType) -> None:
    page = Page(html.render(samples.large_run()))
    pictures_ = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures_) == limits.CONFLICTS
    assert all(each["alt"] for each in pictures_)
    assert "500 samples, of which 24 here." in page.words()


def test_missing_extra(monkeypatch: pytest.MonkeyPatch, samples: ModuleType) -> None:
    def without_jinja(name: str) -> object:
        return None if name == "jinja2" else object()

    monkeypatch.setattr(html, "find_spec", without_jinja)
    with pytest.raises(
        MultiplicityError, match=r"jinja2: pip install .pytest-multiplicity\[html\]"
    ):
        html.render(samples.paper_run())


def test_the_extra_is_imported_only_for_the_page(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from pytest_multiplicity.report import as_json, html, markdown, terminal;"
        "assert not {'jinja2', 'matplotlib', 'torch', 'pytest', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def pixels(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.round(255 * matplotlib.image.imread(io.BytesIO(content))).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_survive_the_journey(channels: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    thumbnail = Thumbnail(width=7, height=5, pixels=image.tobytes())
    assert np.array_equal(pixels(pictures.data_uri(thumbnail)).reshape(5, 7, channels), image)


def test_a_large_thumbnail_is_reduced() -> None:
    image = np.arange(200 * 130, dtype=np.uint32).astype(np.uint8).reshape(130, 200)
    thumbnail = Thumbnail(width=200, height=130, pixels=image.tobytes())
    assert np.array_equal(pixels(pictures.data_uri(thumbnail)), image[::5, ::5])


@pytest.mark.parametrize(("width", "height", "size"), [(0, 3, 0), (2, 2, 5), (2, 2, 16)])
def test_pixels_that_are_no_picture(width: int, height: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes are no picture of {width} x {height}"):
        pictures.data_uri(Thumbnail(width=width, height=height, pixels=bytes(size)))


def test_curves_are_scaled_thinned_and_never_the_epoch() -> None:
    history = [{"epoch": float(e), "loss": 100.0 - e, "bad": float("nan")} for e in range(100)]
    (curve,) = pictures.curves(history)
    assert (curve.name, curve.first, curve.last) == ("loss", 100.0, 1.0)
    points = list(coordinates(curve.points))
    assert points[0] == (0, 0)
    assert points[-1] == (100, 30)
    assert len(points) <= limits.EPOCHS + 1
    assert pictures.curves([]) == []


def coordinates(points: str) -> Iterator[tuple[float, float]]:
    for point in points.split():
        x, y = point.split(",")
        yield float(x), float(y)


def test_conflicts_without_pictures(samples: ModuleType) -> None:
    run = samples.paper_run()
    family = replace(run.families[0], conflicts=[Conflicts(data="test", total=0)])
    assert "0 samples." in Page(html.render(replace(run, families=[family]))).words()
