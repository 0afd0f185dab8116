"""A real Chromium for the HTML report. Tests are skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.modules import module_at

from pytest_multiplicity.findings import RunReport
from pytest_multiplicity.report import html

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    return module_at(Path(__file__).parents[1] / "report" / "samples.py", "report_samples")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages() -> dict[int, tuple[RunReport, str]]:
    """The pages that were made, by the address of their run, which stays."""
    return {}


@pytest.fixture
def visit(
    chromium: Any, tmp_path: Path, pages: dict[int, tuple[RunReport, str]]
) -> Iterator[Callable[..., Any]]:
    """Open a run's page; whatever the browser complains about or asks for fails the test."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def open_page(
        run: RunReport, *, width: int = 1280, scheme: str = "light", **options: Any
    ) -> Any:
        file = tmp_path / "report.html"
        if id(run) not in pages:
            pages[id(run)] = run, html.render(run)
        file.write_text(pages[id(run)][1], encoding="utf-8")
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: complaints.extend(unwanted(request.url, file)))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def unwanted(url: str, file: Path) -> list[str]:
    return [] if url == file.as_uri() or url.startswith("data:") else [f"request: {url[:200]}"]


@pytest.fixture
def keep() -> Callable[[Any, str], None]:
    """Keep a picture of the page in ``$SCREENSHOTS``, where it is set: for a person's eye."""
    folder = os.environ.get("SCREENSHOTS")

    def picture(page: Any, name: str) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return picture
