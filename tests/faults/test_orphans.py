"""What a killed run leaves in memory is given back by the next one."""

from __future__ import annotations

import os
import signal

from filelock import FileLock

from pytest_multiplicity.compute import sharing
from pytest_multiplicity.compute.sharing import SharedFolder


def test_folders_of_killed_processes_are_removed_and_others_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "_memory_folder", lambda: tmp_path)
    living = SharedFolder()
    orphan = tmp_path / "multiplicity-orphan"
    orphan.mkdir()
    if (pid := os.fork()) == 0:
        FileLock(orphan / sharing.OWNED).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (orphan / sharing.OWNED).exists()
    SharedFolder().close()
    assert not orphan.exists()
    assert len(list(tmp_path.iterdir())) == 1
    living.close()
    assert list(tmp_path.iterdir()) == []
