from types import ModuleType

from pytest_multiplicity.findings import GateReport, RunReport
from pytest_multiplicity.report import annotations


def test_a_failed_gate_is_annotated_at_its_line(samples: ModuleType) -> None:
    assert annotations.render(samples.paper_run()) == (
        "::error file=specs/paper/test_gates.py,line=9,"
        "title=gate test_choice_is_not_arbitrary failed::"
        "assert 0.0825 <= 0.05%0A+ where 0.0825 = ambiguity(FairFace)\n"
    )


def test_nothing_failed_nothing_said(samples: ModuleType) -> None:
    assert annotations.render(samples.paper_run(complete=False)) == ""


def test_hostile_names_stay_in_their_place() -> None:
    name = "a,line=1::b\n::error::c%0A\x1b[0m"
    gate = GateReport(
        name=name, nodeid=name, family=None, outcome="failed", message=name, path=name
    )
    text = annotations.render(RunReport(complete=True, device="cpu", families=[], gates=[gate]))
    assert text.count("\n") == 1
    assert text.count("::error ") == 1
    place, _, message = text.removeprefix("::error ").partition("::")
    assert place.count(",") == 1
    assert message == "a,line=1::b%0A::error::c%250A\\x1b[0m\n"
