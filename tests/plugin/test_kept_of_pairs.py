"""What of a pair stays in memory to the end of a run: large families have many of them."""

from __future__ import annotations

import pytest

from pytest_multiplicity.plugin.parts import PARTS
from pytest_multiplicity.plugin.state import STATE


class Collecting:
    """A plugin that keeps all exceptions, as pytest-rerunfailures does."""

    def __init__(self) -> None:
        self.kept = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        if report.failed:
            self.kept.append(call.excinfo)
        return report

    def pytest_sessionfinish(self, session):
        self.depths = [_depth(each.tb) for each in self.kept]
        self.frames = {id(each.tb.tb_frame) for each in self.kept}
        self.callers = [each.tb.tb_frame.f_back for each in self.kept]
        self.own = [vars(item).get("repr_failure") for item in session.items]
        self.running = dict(session.config.stash[PARTS])
        ledger = session.config.stash[STATE].ledger
        records = [each for pairs in ledger.pairs.values() for each in pairs.values()]
        self.names = {id(each.metrics) for each in records}
        self.keys = {id(each.family) for each in records}


def _depth(trace):
    return 0 if trace is None else 1 + _depth(trace.tb_next)


def run(project, *args):
    plugin, made = Collecting(), project()
    made.pytester.runpytest_inprocess("-p", "no:randomly", *args, plugins=[plugin])
    return plugin


def test_rejections_keep_no_frames(project):
    plugin = run(project)
    assert plugin.depths == [1] * 7  # four rejections, and three that are only measured
    assert len(plugin.frames) == 1
    assert plugin.callers == [None] * 7


def test_frames_stay_for_a_debugger(project, monkeypatch):
    monkeypatch.setattr("pdb.Pdb.set_trace", lambda *args: None)
    assert min(run(project, "--pdb").depths) > 1


def test_a_failure_keeps_its_frames(project):
    plugin, made = Collecting(), project("def test_spec(candidate):\n    raise RuntimeError\n")
    made.pytester.runpytest_inprocess("-p", "no:randomly", plugins=[plugin])
    assert min(plugin.depths) > 1


def test_items_and_records_share_what_they_have_in_common(project):
    plugin = run(project)
    assert plugin.own == [None] * 20
    assert len(plugin.running) <= 1  # the gate
    assert len(plugin.names) == 3  # what each specification measures
    assert len(plugin.keys) == 1


def test_an_item_has_no_attribute_for_others_sake(project):
    """Python keeps the attributes of items that have the same ones in a third of the memory."""

    class Having:
        def __init__(self):
            self.names = []

        def pytest_runtest_call(self, item):
            self.names.append("repr_failure" in vars(item))

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self, item, call):
            if call.when == "call":
                self.names.append("repr_failure" in vars(item))
            return (yield)

    plugin = Having()
    project().pytester.runpytest_inprocess("-p", "no:randomly", plugins=[plugin])
    assert len(plugin.names) == 40
    assert sum(plugin.names) == 7


class Looking:
    """Sees what pytest is to do for each pair, and how often a place in the source is looked up."""

    def __init__(self, monkeypatch):
        self.items, self.looked_up = [], []
        place = pytest.Function.reportinfo

        def looked_up(item):
            self.looked_up.append(item)
            return place(item)

        monkeypatch.setattr("pytest.Function.reportinfo", looked_up)

    def pytest_runtest_logreport(self, report):
        assert isinstance(report.location, tuple)

    def pytest_sessionfinish(self, session):
        self.items, count = session.items, len(self.looked_up)
        self.looked_up = self.looked_up[:count]
        paths = [(item.path.name, *item.reportinfo()[1:]) for item in session.items]
        self.right = [item.location for item in session.items] == paths
        del self.looked_up[count:]


def test_what_pairs_have_in_common_is_asked_of_pytest_once(project, monkeypatch):
    plugin = Looking(monkeypatch)
    project().pytester.runpytest_inprocess("-p", "no:randomly", plugins=[plugin])
    assert plugin.right
    functions = {item.originalname for item in plugin.items}
    assert len(plugin.looked_up) == len(functions) < len(plugin.items)
    pairs = [item for item in plugin.items if "candidate" in item.fixturenames]
    assert len(pairs) == 18
    assert not any("request" in item.fixturenames for item in pairs)
