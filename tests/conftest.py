"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the project."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real files that ``THESIS_REAL_DATA`` names; skips where it names none."""
    folder = os.environ.get("THESIS_REAL_DATA")
    if not folder:
        pytest.skip("THESIS_REAL_DATA is not set: no real files to read")
    return Path(folder)
