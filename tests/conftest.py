"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of released research files (beauty/, instruments/); they are not part of the repository."""
    folder = Path(os.environ.get("LETTERLIB_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("released data not at hand: set LETTERLIB_SHARED_DATA (see data/README.md)")
    return folder
