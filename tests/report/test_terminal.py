from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from pytest_multiplicity.findings import (
    CandidateReport,
    ConfigurationReport,
    FamilyReport,
    RunReport,
    SpecReport,
)
from pytest_multiplicity.report.terminal import Level, render, summary

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def test_levels_say_more_and_more(samples: ModuleType) -> None:
    run = samples.paper_run()
    texts = [render(run, width=100, level=level) for level in Level]
    assert texts[Level.NOTHING] == ""
    assert len(texts[Level.LINE].splitlines()) == 1
    lengths = [len(text.splitlines()) for text in texts]
    assert lengths == sorted(set(lengths))
    assert "learning_rate\n" not in texts[Level.SUMMARY]
    assert "99.99" not in texts[Level.SHEETS]
    assert "share of samples whose predicted class" in texts[Level.DEFINITIONS]
    assert "share of samples whose predicted class" not in texts[Level.SHEETS]


def test_a_run_without_families_prints_nothing() -> None:
    run = RunReport(complete=True, device="cpu", families=[])
    assert all(render(run, width=80, level=level) == "" for level in Level)


def test_the_one_line(samples: ModuleType) -> None:
    line = render(samples.paper_run(), width=100, level=Level.LINE)
    assert line == (
        "multiplicity  gates: 1 failed, 1 passed · candidate: 19 of 45 candidates survive"
    )


@pytest.mark.parametrize("build", ["paper_run", "large_run"])
def test_the_summary_fits_one_screen(samples: ModuleType, build: str) -> None:
    assert len(render(getattr(samples, build)(), width=80).splitlines()) <= 46


def test_the_summary_shows_who_rejects_most_and_what_spreads_most(samples: ModuleType) -> None:
    text = render(samples.large_run(), width=80)
    assert "and 8 that reject no more than these" in text
    assert len(re.findall(r"test_attack\[\d+\] ", text)) == 12
    assert "with -v 15 smaller spreads" in text
    text = render(samples.paper_run(), width=120)
    assert re.search(r"test_minority +36 +9 +5 +36 +━", text)
    assert (
        "unforeseen: test_group_age_59_116, test_ood_celeba, test_input_noise_1, test_pgd" in text
    )
    narrow = render(samples.paper_run(), width=80)
    assert "  unforeseen: test_group_age_59_116, test_ood_celeba and 2 more\n" in narrow
    spreads = re.findall(r"^accuracy on (.+?)  .* (\d+\.\d\d) +\d+\.\d\d .*81% seed$", text, re.M)
    assert [float(after) for _, after in spreads] == [24.46, 15.25, 5.46, 2.44, 2.40]
    assert "range after" not in text


def test_the_summary_says_what_is_known_of_configurations(samples: ModuleType) -> None:
    run = samples.paper_run()
    found = [
        ConfigurationReport(
            name=name, config={}, seeds=5, passed=passed, low=0.1, high=0.9, reliable=reliable
        )
        for name, passed, reliable in (
            ("a", 5, {"0.5": True, "0.8": None}),
            ("b", 0, {"0.5": False, "0.8": False}),
            ("c", 3, {"0.5": None, "0.8": None}),
            ("d", 5, {"0.5": True, "0.8": None}),
        )
    ]
    family = replace(run.families[0], configurations=found)
    lines = render(replace(run, families=[family]), width=80).splitlines()
    below = lines.index("survivors  19 of 45 candidates survive")
    assert lines[below + 1 : below + 3] == [
        "  reliable at 50%  a 5/5, d 5/5 · not reliable at 50%  b 0/5 · undecided  c 3/5",
        "",
    ]
    narrower = render(replace(run, families=[family]), width=70).splitlines()
    assert narrower[below + 1 : below + 3] == [
        "  reliable at 50%  a 5/5, d 5/5 · not reliable at 50%  b 0/5",
        "  undecided  c 3/5",
    ]


def test_several_families_share_the_screen(samples: ModuleType) -> None:
    run = samples.paper_run()
    (family,) = run.families
    busy = [each for each in family.specs if each.kind == "enforced"][:3]
    families = [
        replace(
            family,
            name=name,
            specs=busy,
            axes={"lr": (0.1, 0.01)},
            sheets=[replace(each, data="UTKFace") for each in family.sheets if each.optimistic],
            comparisons=[
                samples.comparison_of("production", data, len(family.candidates))
                for data in ("UTKFace", "FairFace")
            ],
            configurations=[
                ConfigurationReport(
                    name="default",
                    config={},
                    seeds=5,
                    passed=5,
                    low=0.5,
                    high=1.0,
                    reliable={"0.5": True},
                )
            ],
            regions=[samples.region_of("age > 60"), samples.region_of("age < 8")],
            looks={"FairFace": 2 + place},
            optimism={"FairFace": 0.05 + place / 100},
            notes=[f"FairFace: look {2 + place}; by chance an accuracy may be too good there"],
        )
        for place, name in enumerate(("one", "two", "three"))
    ]
    run = replace(run, families=families, warnings=[], gates=[])
    text = render(run, width=80)
    lines = text.splitlines()
    assert len(lines) <= 50
    assert (
        lines.count("beside production on FairFace: 3.1% flips, and 3.6% by retraining alone") == 3
    )
    assert "production on UTKFace" not in text  # it selected the survivors
    assert "where age > 60  age > 60: 31.0%, 5.0% elsewhere and 1 more" in lines
    looks = [line for line in lines if "look" in line]
    assert looks == ["  looks at FairFace 4: by chance an accuracy may be 7.0 points too good"]
    quiet = replace(run, families=[replace(each, notes=[]) for each in families])  # a partial run
    lines = render(quiet, width=80).splitlines()
    assert "  by chance an accuracy may be 7.0 points too good" in lines
    told = render(run, width=80, level=Level.SHEETS)
    assert all(f"FairFace: look {count}" in told for count in (2, 3, 4))
    assert "production on UTKFace: 3.1% flips" in told


def test_the_summary_tells_of_data_as_they_are_before_interventions(samples: ModuleType) -> None:
    run = samples.paper_run()
    (family,) = run.families
    first = family.predictive[0]
    family = replace(
        family,
        predictive=[
            replace(first, metric="ambiguity", data=data, optimistic=False)
            for data in ("faces", "faces under InputNoise(1)")
        ],
        individuals=[
            samples.individuals_of(data, "someone")
            for data in ("faces", "faces under InputNoise(1)")
        ],
        extremes=[samples.extreme_facts("faces", "someone")],
    )
    text = render(replace(run, families=[family]), width=80)
    lines = text.splitlines()
    assert sum(line.startswith("ambiguity on faces ") for line in lines) == 1
    assert sum(line.startswith("individuals on faces ") for line in lines) == 1
    assert "ambiguity on faces under InputNoise(1)" not in text
    at = lines.index("nobody trained, as good")
    assert " 31.00, survivors have" in " ".join(lines[at : at + 4])
    under = replace(family, predictive=family.predictive[1:], individuals=family.individuals[1:])
    text = render(replace(run, families=[under]), width=80)
    assert "ambiguity on faces under InputNoise(1)" in text
    assert "individuals on faces under InputNoise(1)" in text
    told = render(replace(run, families=[family]), width=80, level=Level.SHEETS)
    assert "nobody trained these: each was built" in " ".join(told.split())


def test_gates_that_passed_share_a_line(samples: ModuleType) -> None:
    run = samples.paper_run()
    passed = [
        replace(run.gates[0], name=f"test_gate_{place}", outcome="passed", message="")
        for place in range(9)
    ]
    lines = render(replace(run, gates=passed), width=80).splitlines()
    assert (
        lines[-1]
        == "gates  9 passed  test_gate_0, test_gate_1, test_gate_2, test_gate_3 and 5 more"
    )
    told = render(replace(run, gates=passed), width=80, level=Level.SHEETS)
    assert all(each.name in told for each in passed)


def test_a_note_is_cut_between_clauses(samples: ModuleType) -> None:
    run = samples.paper_run()
    note = "report: look 2; " + "so much may be too good; " * 3 + "and why"
    run = replace(run, families=[replace(run.families[0], notes=[note])])
    short = "report: look 2; so much may be too good; so much may be too good"
    assert short in render(run, width=80).splitlines()
    assert note in " ".join(render(run, width=80, level=Level.SHEETS).splitlines())


def test_the_sheets_numbers(samples: ModuleType) -> None:
    text = render(samples.paper_run(), width=120, level=Level.SHEETS)
    assert "45 candidates: 0 trained, 45 from the store" in text
    assert re.search(r"test_minority +36 +9 +5 +36 +━", text)
    assert re.search(r"test_attack +34 +11 +5 +19 +━", text)
    assert re.search(r"test_pgd_0_01 +38 +\(7\) +unforeseen", text)
    assert "19 of 45 candidates survive" in text
    assert re.search(r"PGD\(0\.01\) +65\.60–81\.35 +68\.07–73\.53 +15\.75 +5\.46 +12\.1", text)  # noqa: RUF001
    assert re.search(r"Asian.* 3\.24 +2\.40 +2\.8\d +≈\*", text)
    assert re.search(r"ambiguity on FairFace +21\.17 +8\.25 +15\.81", text)
    assert "81% seed, mostly the test set; no axis stands out" in text
    assert "optimistic" in text
    assert re.search(r"✗ FAILED +test_choice_is_not_arbitrary", text)
    assert "0.0825 <= 0.05" in text


def test_sheets_stand_in_the_paper_s_layout(samples: ModuleType) -> None:
    lines = render(samples.paper_run(), width=160, level=Level.SHEETS).splitlines()
    start = next(i for i, line in enumerate(lines) if line.endswith("accuracy on UTKFace"))
    title, axes, options, *rows = lines[start : start + 9]
    assert title == "■ accuracy on UTKFace"
    assert axes.split() == [
        "learning_rate", "batch_size", "augmentation", "optimizer", "architecture",
    ]  # fmt: skip
    assert options.split()[:4] == ["0.1", "0.05", "0.01", "Δ"]
    assert rows[0].split()[:5] == ["1", "92.85", "92.85", "92.37×", "0.48"]  # noqa: RUF001
    assert rows[5].split()[:5] == ["Δ", "0.70", "0.47", "0.29", "Δ"]
    assert "Δ all 1.12, 0.97 among 19 of 45 (1.00 by chance)" in lines[start + 10]


def test_tables_stack_in_a_narrow_terminal(samples: ModuleType) -> None:
    text = render(samples.paper_run(), width=80, level=Level.SHEETS)
    first = text[text.index("■") :].splitlines()
    headings = [line.split() for line in first[:30] if "learning_rate" in line or "optim" in line]
    assert headings[:2] == [["learning_rate", "batch_size"], ["augmentation", "optimizer"]]


def test_shades_run_from_white_to_the_metric_s_colour_and_to_gold(samples: ModuleType) -> None:
    text = render(samples.paper_run(), width=160, level=Level.SHEETS, color=True)
    sheet = text[text.index("■") :]
    assert "48;2;255;255;255m" in sheet
    assert "48;2;107;174;214m" in sheet
    assert "48;2;255;205;60m" in sheet


def test_numbers_on_shades_are_not_dimmed(samples: ModuleType) -> None:
    text = render(samples.paper_run(), width=160, level=Level.SHEETS, color=True)
    assert "\x1b[38;2;0;0;0;48;2;107;174;214m 93.17 " in text
    assert not re.search(r"\x1b\[2;38;2;", text)


def test_256_colours_need_no_true_colour(samples: ModuleType) -> None:
    text = render(samples.paper_run(), width=160, level=Level.SHEETS, color=True, truecolor=False)
    assert "48;5;" in text
    assert "48;2;" not in text


def test_without_colour_the_numbers_stand_alone(samples: ModuleType) -> None:
    run = samples.paper_run()
    plain = render(run, width=100, level=Level.DEFINITIONS)
    coloured = render(run, width=100, level=Level.DEFINITIONS, color=True)
    assert "\x1b" not in plain
    stripped = [line.rstrip() for line in ESCAPE.sub("", coloured).splitlines()]
    assert stripped == plain.splitlines()


@pytest.mark.parametrize("build", ["paper_run", "hostile_run", "large_run"])
@pytest.mark.parametrize("width", [40, 80, 121, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_every_line_fits_and_does_nothing(
    samples: ModuleType, build: str, width: int, unicode: bool
) -> None:
    run = getattr(samples, build)()
    for level in Level:
        text = render(run, width=width, level=level, unicode=unicode)
        assert max(map(cell_len, text.splitlines()), default=0) <= width
        assert not set(text) & {"\x1b", "\x07", "\r", "\u202e", "\u202c", "\ud800", "\u2028"}
        assert unicode or text.isascii()


def test_markup_is_printed_as_it_is(samples: ModuleType) -> None:
    text = render(samples.hostile_run(), width=200, color=True)
    assert "[bold red]x[/]" in text
    assert ") x" not in text
    assert set(re.findall(r"\x1b\[([0-9;]*)m", text)) <= {
        "0", "1", "2", "3", "33", "32", "36", "1;31", "2;3", "1;2", "1;2;31",
    }  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.text(max_size=300), width=st.integers(10, 200), unicode=st.booleans())
def test_any_name_is_inert(name: str, width: int, unicode: bool) -> None:
    family = FamilyReport(
        name=name,
        design="star",
        default={name: name},
        axes={name: (name, 1)},
        seeds=(0,),
        candidates=[CandidateReport(id=name, seed=0, config={name: name}, status="survivor")],
        specs=[SpecReport(name=name, nodeid=name, kind="enforced", text=name, redundant=True)],
    )
    run = RunReport(complete=True, device=name, families=[family], warnings=[name])
    for level in (Level.LINE, Level.DEFINITIONS):
        text = render(run, width=width, level=level, unicode=unicode)
        assert re.sub("[\u2068\u2069\n]", "", text).isprintable()
        assert max(map(cell_len, text.split("\n"))) <= max(width, 40)


def test_a_partial_run_says_so_first(samples: ModuleType) -> None:
    run = samples.paper_run(complete=False)
    assert render(run, width=80).startswith("partial: 34 of 72 pairs")
    assert render(run, width=80, level=Level.LINE).startswith(
        "multiplicity  partial: 34 of 72 pairs"
    )
    assert re.search(r"not evaluated +test_somebody_ships", render(run, width=80))


def test_nobody_survives(samples: ModuleType) -> None:
    run = samples.paper_run()
    family = run.families[0]
    gone = [replace(each, status="rejected") for each in family.candidates]
    text = render(replace(run, families=[replace(family, candidates=gone)]), width=80)
    assert "nobody survives" in text


def test_long_families_are_summarised(samples: ModuleType) -> None:
    run = samples.large_run()
    family = run.families[0]
    alive = [replace(each, status="survivor", rejected_by=()) for each in family.candidates]
    run = replace(run, families=[replace(family, candidates=alive)])
    text = render(run, width=80, level=Level.SHEETS)
    assert "width16  seed 0-9" in text
    assert "and 8 more configurations" in text
    assert "width16  seed 0-9" not in render(run, width=80)


def test_wide_tables_are_split_and_long_ones_cut(samples: ModuleType) -> None:
    axes, seeds = {"width": tuple(range(30))}, tuple(range(50))
    rows = [{"width": w, "seed": s, "m": (w + s) / 100} for w in axes["width"] for s in seeds]
    sheet = samples.star_sheet(rows, lambda row: row["m"], {"width": 0}, axes, seeds)
    pair = replace(samples.paper_run().families[0].sheets[0], before=sheet, after=sheet)
    family = replace(samples.paper_run().families[0], sheets=[pair])
    run = RunReport(complete=True, device="cpu", families=[family])
    text = render(run, width=80, level=Level.SHEETS)
    assert text.count("  width\n") == 3
    assert "and 20 more seeds, 6 more options" in text


def test_divergence_is_a_step_of_the_funnel(samples: ModuleType) -> None:
    run = samples.paper_run()
    family = run.families[0]
    first = replace(
        family.candidates[0],
        status="rejected",
        rejected_by=("training",),
        diverged="diverged at epoch 3: loss is nan",
    )
    family = replace(family, candidates=[first, *family.candidates[1:]])
    text = render(replace(run, families=[family]), width=120)
    assert re.search(r"training +44 +1 +1 +44", text)


def test_undecided_pairs_have_a_column_only_when_there_are_some(samples: ModuleType) -> None:
    run = samples.paper_run()
    family = run.families[0]
    assert "undecided" not in render(run, width=120)
    specs = [replace(family.specs[0], undecided=3), *family.specs[1:]]
    text = render(replace(run, families=[replace(family, specs=specs)]), width=120)
    assert re.search(r"kept +rejected +alone +undecided +left", text)


def test_remarks_name_redundant_and_conflicting_specs(samples: ModuleType) -> None:
    run = samples.paper_run()
    family = run.families[0]
    one, two = family.specs[:2]
    specs = [
        replace(one, redundant=True, conflicts_with=[two.name], failed=2),
        replace(two, conflicts_with=[one.name]),
    ]
    run = replace(run, families=[replace(family, specs=specs)])
    text = render(run, width=120, level=Level.SHEETS)
    assert "test_minority: rejects nobody that others don't reject too" in text
    assert text.count("nobody is left") == 1
    assert "errors and skips: test_minority 2" in text


def test_renderables_print_on_any_console(samples: ModuleType) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        for block in summary(samples.paper_run(), width=80):
            console.print(block)
        assert "19 of 45" in console.export_text()
