"""Small SEG-Y files for tests, written by segyio."""

import numpy as np
import segyio
from segyio import BinField, TraceField

DTYPES = {
    2: np.int32,
    3: np.int16,
    6: np.float64,
    8: np.int8,
    10: np.uint32,
    11: np.uint16,
    16: np.uint8,
}
N_SAMPLES = 8
LINES = [(inline, crossline) for inline in (10, 12, 14) for crossline in range(100, 104)]
# Real files of lines on a grid: their shape and the traces that are missing.
REAL = {
    "segyio_f3.sgy": ((23, 18, 75), 0),
    "f3-withdead.sgy": ((23, 18, 75), 175),
    "volve10-migvel-depth-sub3d.sgy": ((18, 52, 226), 0),
    "segyio_small.sgy": ((5, 5, 50), 0),
    "penobscot_xl1155.sgy": ((601, 1, 1501), 0),
}


def make_cube(n_inlines=3, n_crosslines=4, n_samples=N_SAMPLES) -> np.ndarray:
    """Whole numbers, which every sample format can hold."""
    shape = (n_inlines, n_crosslines, n_samples)
    return np.random.default_rng(0).integers(0, 100, shape).astype(np.float32)


def write_segy(
    path,
    cube,
    *,
    inlines=(10, 12, 14),
    crosslines=(100, 101, 102, 103),
    code=5,
    missing=(),
    by_crossline=False,
    order=None,
    place=None,
    trace_fields=(),
    fields_of=None,
    bin_fields=(),
    line_bytes=(189, 193),
    endian="big",
):
    """
    Write a small file by segyio.

    ``place`` gives the coordinates of an (inline, crossline), ``order`` that of the traces as
    indices of (inline, crossline), and ``fields_of`` header fields of a trace by its number.
    """
    pairs = [(i, j) for i in range(len(inlines)) for j in range(len(crosslines))]
    pairs = [pair for pair in pairs if pair not in missing]
    if by_crossline:
        pairs.sort(key=lambda pair: pair[::-1])
    pairs = order or pairs
    spec = segyio.spec()
    spec.format, spec.tracecount, spec.endian = code, len(pairs), endian
    spec.samples = np.arange(cube.shape[2])
    with segyio.create(path, spec) as file:
        file.bin.update({BinField.Interval: 4000, **dict(bin_fields)})
        for trace, (i, j) in enumerate(pairs):
            x, y = place(inlines[i], crosslines[j]) if place else (0, 0)
            file.header[trace] = {
                line_bytes[0]: inlines[i],
                line_bytes[1]: crosslines[j],
                TraceField.CDP_X: x,
                TraceField.CDP_Y: y,
                TraceField.TRACE_SAMPLE_INTERVAL: dict(bin_fields).get(BinField.Interval, 4000),
                **dict(trace_fields),
            }
            file.trace[trace] = cube[i, j].astype(DTYPES.get(code, np.float32))
    return set_fields(path, fields_of) if fields_of else path


def rotate(inline: int, crossline: int) -> tuple[int, int]:
    """Coordinates in dm of bins of 25 x 12.5 m, turned by 30 degrees."""
    along, across = 12.5 * inline, 12.5 * crossline  # inline numbers come in steps of 2
    angle = np.deg2rad(30)
    x = 5e5 + np.cos(angle) * across - np.sin(angle) * along
    y = 6e6 + np.sin(angle) * across + np.cos(angle) * along
    return round(10 * x), round(10 * y)


def overwrite(path, first, content):
    """Put bytes into a file, in place of those from ``first``, counted from 0."""
    with path.open("r+b") as file:
        file.seek(first)
        file.write(content)
    return path


def set_fields(path, fields_of):
    """Set fields of the header of each trace, of which ``fields_of`` gives them by its number."""
    with segyio.open(path, "r+", ignore_geometry=True) as file:
        for trace in range(file.tracecount):
            file.header[trace].update(fields_of(trace))
    return path
