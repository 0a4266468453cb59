"""
Damaged files: always a volume, or one clear error; never a crash, a hang or much memory.

Some files of the areas of ``make fuzz``, the same in every run; it tries many others.
"""

import time
import tracemalloc
from functools import partial
from random import Random

import pytest
from damaged_files import FIELDS, Archives, Arrays, Landmass, Masks, Segy, Zarr, read
from judging import Case, judge
from mutations import damage_bytes
from segy_files import make_cube, write_segy

# h5netcdf closes, when it is collected, what it could not open; that raises nothing.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function File.close:pytest.PytestUnraisableExceptionWarning"
)
LIMIT_BYTES = 2**24  # in addition to twice the file


@pytest.mark.parametrize(
    ("kind", "n_files"),
    [(Segy, 400), (Arrays, 200), (Zarr, 50), (Masks, 100), (Landmass, 300), (Archives, 300)],
)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, kind, n_files):
    """Any byte may be anything, and what is known to be wrong is never taken without a word."""
    area = kind(tmp_path)
    for number in range(n_files):
        folder, start = tmp_path / str(number), time.process_time()
        folder.mkdir()
        outcome = judge(area.make(Random(number), folder))
        assert outcome.kind in ("accepted", "refused"), (number, outcome)
        assert time.process_time() - start < area.cpu_s


def test_damaged_segy_takes_little_memory(tmp_path):
    """Opening and reading allocates at most twice the file and 16 MiB, in any sample format."""
    lines = {"inlines": range(8), "crosslines": range(8)}
    path = write_segy(tmp_path / "damaged.sgy", make_cube(8, 8, 2000), **lines)
    content = path.read_bytes()
    for number in range(20):
        path.write_bytes(damage_bytes(Random(number), content, FIELDS))
        options = {"sample_interval": 1.0, "sample_format": (None, 1)[number % 2]}
        tracemalloc.start()
        try:
            outcome = judge(Case(partial(read, path, **options)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert outcome.kind in ("accepted", "refused"), (number, outcome)
        assert peak < 2 * path.stat().st_size + LIMIT_BYTES
