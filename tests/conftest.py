"""Fixtures shared by the whole suite."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# How long an example takes says more of the machine than of the code.
settings.register_profile("course", deadline=None)
settings.load_profile("course")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of released research files (beauty/, instruments/); they are not part of the
    repository.
    """
    folder = Path(os.environ.get("LETTERLIB_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("released data not at hand: set LETTERLIB_SHARED_DATA (see data/README.md)")
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; tests are skipped where it is not installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
