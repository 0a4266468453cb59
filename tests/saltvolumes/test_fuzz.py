"""
Damaged files: always a volume, or one clear error; never a crash, a hang or much memory.

A few files, the same in every run; ``make fuzz`` tries many others.
"""

import time
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from segy_files import N_SAMPLES, make_cube, write_segy

from saltvolumes import DataError, open_volume, save_volume
from saltvolumes.volume import build_volume

# h5netcdf closes, when it is collected, what it could not open; that raises nothing.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function File.close:pytest.PytestUnraisableExceptionWarning"
)

LIMIT_S = 10.0  # of processor time
LIMIT_BYTES = 2**24  # in addition to twice the file
DIMS = ("inline", "crossline", "time")
EXTREMES = [0, 1, -1, 2, 240, 2**15 - 1, -(2**15), 2**16 - 1, 2**31 - 1, -(2**31), 0x7F800000]
# Fields that steer reading: sample counts, format, revision, text headers, and of the first trace
# scalar, unit, delay, interval, coordinates and line numbers.
FIELDS = [3216, 3220, 3224, 3254, 3268, 3500, 3504, 3670, 3688, 3708, 3714, 3716, 3780, 3788, 3792]
TRACE_BYTES = 240 + 4 * N_SAMPLES
TRACES = [3600 + TRACE_BYTES * number for number in range(12)]

BYTES = st.integers(0, 255)
PLACES = st.integers(0, 2**16)  # modulo the length of the file
CHANGES = st.one_of(
    st.tuples(st.just("flip"), PLACES, st.integers(1, 255)),
    st.tuples(st.just("set"), st.sampled_from(FIELDS), st.sampled_from(EXTREMES)),
    st.tuples(st.just("set"), st.integers(3600, 7000), st.sampled_from(EXTREMES)),
    st.tuples(st.just("cut"), st.sampled_from(TRACES), st.just(TRACE_BYTES)),
    st.tuples(st.just("repeat"), st.sampled_from(TRACES), st.just(TRACE_BYTES)),
    st.tuples(st.sampled_from(["cut", "repeat"]), PLACES, st.integers(0, 400)),
    st.tuples(st.sampled_from(["insert", "end"]), PLACES, BYTES),
)


def damage(content, changes):
    """Apply changes to the bytes of a file, one after the other."""
    for kind, place, value in changes:
        if not content:
            break
        place %= len(content)
        before, after = content[:place], content[place:]
        if kind == "flip":
            content = before + bytes([after[0] ^ value]) + after[1:]
        elif kind == "set":
            n_bytes = 4 if abs(value) >= 2**15 else 2
            content = before + (value % 2**32).to_bytes(4, "big")[-n_bytes:] + after[n_bytes:]
        elif kind == "cut":
            content = before + after[value:]
        elif kind == "end":
            content = before
        elif kind == "insert":
            content = before + bytes([value]) * (1 + value) + after
        else:
            content = before + after[:value] + after
    return content


def check_reading(path, **options):
    """Open a file and read all of it: a volume, or an error of one line."""
    start, message = time.process_time(), "a volume"
    try:
        volume = open_volume(path, **options)
        assert volume.amplitude.dims == DIMS
        assert volume.amplitude.values.dtype == np.float32
    except (DataError, ValueError, FileNotFoundError) as error:
        message = str(error)
    assert message.strip()
    assert "\n" not in message
    assert time.process_time() - start < LIMIT_S


DAMAGED = given(changes=st.lists(CHANGES, min_size=1, max_size=4))
FUZZ = partial(  # the same changes in every run
    settings,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SEGY = {  # options of write_segy and of open_volume
    "ieee": ({"code": 5}, {}),
    "ibm, little-endian": ({"code": 1, "endian": "little"}, {}),
    "int16, by crossline": ({"code": 3, "by_crossline": True}, {"sample_interval": 4.0}),
    "doubles of a single line": ({"code": 6}, {"single_line": True}),
    "another format": ({"code": 2}, {"sample_format": 1, "sample_interval": 1.0}),
}


@pytest.mark.parametrize("kind", SEGY)
@FUZZ(max_examples=50)
@DAMAGED
def test_damaged_segy_is_a_volume_or_one_clear_error(tmp_path_factory, kind, changes):
    """Headers, traces and length of SEG-Y may be anything."""
    folder = tmp_path_factory.getbasetemp()
    written, options = SEGY[kind]
    good = folder / f"good {kind}.sgy"
    if not good.exists():
        write_segy(good, make_cube(), place=lambda i, j: (25 * j, 25 * i), **written)
    path = folder / "damaged.sgy"
    path.write_bytes(damage(good.read_bytes(), changes))
    check_reading(path, **options)


@FUZZ(max_examples=15)
@DAMAGED
def test_damaged_segy_takes_little_memory(tmp_path_factory, changes):
    """Opening and reading allocates at most twice the file and 16 MiB."""
    folder = tmp_path_factory.getbasetemp()
    good = folder / "good large.sgy"
    if not good.exists():
        lines = {"inlines": range(8), "crosslines": range(8)}
        write_segy(good, make_cube(8, 8, 2000), **lines)
    path = folder / "damaged.sgy"
    path.write_bytes(damage(good.read_bytes(), changes))
    tracemalloc.start()
    try:
        check_reading(path, sample_interval=1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * path.stat().st_size + LIMIT_BYTES


@pytest.fixture(scope="module")
def earth():
    """A volume small enough to be written often."""
    cube = make_cube(3, 4, 8)
    lines = {"inline": [1, 2, 3], "crossline": [1, 2, 3, 4], "vertical": 4.0 * np.arange(8)}
    return build_volume(cube, **lines, vertical_dim="time", salt=cube > 50)


@pytest.mark.parametrize("ending", [".npz", ".nc"])
@FUZZ(max_examples=20)  # NetCDF is slow
@DAMAGED
def test_damaged_files_are_a_volume_or_one_clear_error(tmp_path_factory, earth, ending, changes):
    """The bytes of npz and NetCDF may be anything."""
    folder = tmp_path_factory.getbasetemp()
    good = folder / f"good{ending}"
    if not good.exists() and ending == ".nc":
        save_volume(earth, good)
    elif not good.exists():
        np.savez(good, amplitude=earth.amplitude, salt=earth.salt)
    path = folder / f"damaged{ending}"
    path.write_bytes(damage(good.read_bytes(), changes))
    check_reading(path, dims=DIMS, sample_interval=4.0)


@FUZZ(max_examples=15)
@DAMAGED
def test_a_damaged_store_is_a_volume_or_one_clear_error(tmp_path_factory, earth, changes):
    """Any file of a Zarr store, metadata or chunk, may be anything."""
    store = tmp_path_factory.getbasetemp() / "store.zarr"
    save_volume(earth, store)
    files = sorted(path for path in store.rglob("*") if path.is_file())
    damaged = files[changes[0][1] % len(files)]
    damaged.write_bytes(damage(damaged.read_bytes(), changes))
    check_reading(store)
