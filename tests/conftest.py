"""What all tests share."""

import atexit
import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
from segy_files import make_cube

# Modules that tests share have no doctests, and collecting them would import them twice.
collect_ignore = [
    str(path)
    for path in Path(__file__).parent.rglob("*.py")
    if not path.name.startswith(("test_", "conftest", "__init__"))
]


# The modules with the longest tests, which start first: one left for the end keeps a core idle.
LONGEST = (
    "test_study_large.py",
    "test_patches_batches.py",
    "test_study_segmentation.py",
    "test___main__.py",
    "test_chapter_explanation.py",
    "test_notebook_comparison.py",
    "test_training.py",
    "test_training_slabs.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest modules before all others."""
    items.sort(key=lambda item: item.path.name not in LONGEST)  # stable


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect garbage rarely, and not among imported modules and collected tests, which stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        atexit.register(gc.unfreeze)  # libraries complain about objects that are never freed
        gc.set_threshold(20_000)
        gc.enable()


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


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Close the figures that a test leaves: pyplot warns from the twentieth on."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def cube() -> np.ndarray:
    """Samples of a small SEG-Y file."""
    return make_cube()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a small SEG-Y file goes: a name with a space and an accent."""
    return tmp_path / "sel été.sgy"
