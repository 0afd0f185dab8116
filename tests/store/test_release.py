"""An installed library is known by its release: by version, and by what its files hold."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_multiplicity.store import fingerprint
from pytest_multiplicity.store.release import release_of

CODE = "class Net:\n    def forward(self, x):\n        return helper(x)\n"
HELPER = "def helper(x):\n    return {}\n"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Site:
    """A folder of libraries, into which distributions are installed as pip does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        version: str,
        helper: str,
        *,
        dist: str = "acme_nets",
        top: str = "acmenets",
        needs: str = "",
        local: bool = False,
        compiled: str | None = None,
        record: bool = True,
    ) -> None:
        files = {f"{top}/__init__.py": CODE, f"{top}/helper.py": HELPER.format(helper)}
        if compiled is not None:
            files[f"{top}/fast.so"] = compiled
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        for old in self.folder.glob(f"{dist}-*"):
            for path in old.iterdir():
                path.unlink()
            old.rmdir()
        info = self.folder / f"{dist}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {dist}\nVersion: {version}\n{needs}\n\nText\n")
        if local:
            (info / "direct_url.json").write_text("{}")
        if record:
            lines = [f"{name},{_hash(text)},{len(text)}" for name, text in files.items()]
            (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/RECORD,,"]) + "\n")

    def key(self, top: str = "acmenets") -> str:
        """What a class of the package is known by, in a new process."""
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            del sys.modules[name]
        release_of.cache_clear()
        importlib.invalidate_caches()
        return fingerprint(importlib.import_module(top).Net)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: Any) -> Any:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Site(folder)
    release_of.cache_clear()
    for name in [name for name in sys.modules if name.startswith("acme")]:
        del sys.modules[name]


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("local", [True, False])
def test_new_code_is_seen(site: Site, record: bool, local: bool) -> None:
    site.install("1.0", "x", record=record, local=local)
    first = site.key()
    site.install("1.0", "x", record=record, local=local)
    assert site.key() == first
    site.install("1.0", "-x", record=record, local=local)  # rebuilt
    rebuilt = site.key()
    assert rebuilt != first
    site.install("2.0", "x", record=record, local=local)
    assert site.key() != rebuilt
    if record:
        assert site.key() != first


def test_what_was_changed_after_it_was_installed_is_seen(site: Site) -> None:
    site.install("1.0", "x")
    first, helper = site.key(), site.folder / "acmenets" / "helper.py"
    later = time.time() + 60
    os.utime(helper, (later, later))
    assert site.key() == first  # touched, not changed
    helper.write_text(HELPER.format("-x"))
    os.utime(helper, (later, later))
    assert site.key() != first
    helper.unlink()
    assert site.key() != first


def test_compiled_code_counts_where_it_was_built_here(site: Site) -> None:
    keys = []
    for local in (True, False):
        for compiled in ("a", "b"):
            site.install("1.0", "x", local=local, compiled=compiled)
            keys.append(site.key())
    assert keys[0] != keys[1]
    assert keys[2] == keys[3]  # wheels of two platforms


def test_local_distributions_that_it_needs_are_seen(site: Site) -> None:
    needs = "Requires-Dist: acme.layers>=1\nRequires-Dist: numpy"
    site.install("1.0", "x", needs=needs)
    keys = []
    for local, helper in ((True, "x"), (True, "-x"), (False, "x"), (False, "-x")):
        site.install("1.0", helper, dist="acme_layers", top="acmelayers", local=local)
        keys.append(site.key())
    assert keys[0] != keys[1]
    assert keys[2] == keys[3]  # from an index: known by what names it directly


def test_what_every_key_tells_anyway_adds_nothing() -> None:
    for name in ("torch", "torchvision", "numpy", "os", "builtins", "", "no_such_package"):
        assert release_of(name) == ""
    assert release_of("scipy").startswith("scipy-")
    assert release_of("sklearn").startswith("scikit_learn-")
    assert release_of("PIL").startswith("pillow-")


def test_a_new_release_is_evaluated_anew(
    site: Site, pytester: pytest.Pytester, monkeypatch: Any
) -> None:
    body = """
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(4, 2)
            def forward(self, x):
                return {}
    """
    pytester.makeconftest(
        """
        import pytest, torch
        import pytest_multiplicity as pm
        from acmenets import Net

        @pytest.fixture(scope="session")
        def data():
            inputs = torch.rand(40, 4, generator=torch.Generator().manual_seed(0))
            return pm.Data(inputs, (inputs[:, 0] > 0.5).long(), name="data")

        @pm.family(seeds=2)
        def candidate(config, data):
            return pm.Recipe(Net, data, epochs=1)
        """
    )
    pytester.makepyfile(
        """
        def test_agrees(candidate, data):
            own = (candidate.module(data.inputs).argmax(1) == data.targets).double().mean()
            assert abs(candidate.accuracy(data) - own) < 1e-6
        """
    )
    site.install("1.0", "x")
    package = site.folder / "acmenets" / "__init__.py"
    for forward, told in (
        ("self.layer(x)", "2 trained, 0 from the store"),
        ("self.layer(x)", "0 trained, 2 from the store"),
        ("-self.layer(x)", "2 trained, 0 from the store"),
    ):
        text = "\n".join(line[8:] for line in body.format(forward).splitlines())
        package.write_text(text)
        release_of.cache_clear()
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")
        result.stdout.fnmatch_lines([f"*{told}*", "*2 passed*"])
        sys.modules.pop("acmenets", None)
