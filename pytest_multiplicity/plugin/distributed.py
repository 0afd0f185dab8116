"""Gates under pytest-xdist: on the controller, once every worker is done.

A gate that is scheduled onto a worker sees the verdicts of that worker only. So workers drop the
gates; verdicts ride on reports; and after the loop the controller collects, keeps the gates and
runs them itself.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_multiplicity.plugin.state import STATE


def start(session: pytest.Session) -> None:
    """On a controller whose workers run the tests, arrange for the gates."""
    manager = session.config.pluginmanager
    if manager.hasplugin("dsession"):
        manager.register(Controller(), "multiplicity-controller")


class Controller:
    """Collects and runs the gates after the workers' loop."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run the gates when every spec is done."""
        result = yield
        state = session.config.stash[STATE]
        if not state.ledger.pairs or session.config.option.collectonly:
            return result
        session.perform_collect()
        for item in session.items:
            if item.nodeid in state.gate_families:
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
        return result
