"""What is in a file, what is in doubt, and what to pass to `open_volume` then."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from saltvolumes._io.files import SEGY_ENDINGS, check_path
from saltvolumes._io.segy_layout import read_layout
from saltvolumes.errors import DataError
from saltvolumes.opening import open_volume
from saltvolumes.volume import AXES, VERTICAL_UNITS, spacing_m, vertical_dim

LINE_BYTES = ((189, 193), (9, 13), (9, 21), (17, 21), (17, 13), (5, 9), (181, 185), (73, 77))
MAX_SAMPLES = 2**22  # looked at, for the distribution of amplitudes
MIN_COVERAGE = 0.5  # fraction of a grid of lines that traces cover
MAX_AT_ENDS = 0.002  # fraction of amplitudes at their ends beyond which they may be clipped
_LEVELS = (0.0, 0.02, 0.5, 0.98, 1.0)  # quantiles that are reported


@dataclass(frozen=True)
class Inspection:
    """
    What `inspect_volume` found.

    Parameters
    ----------
    volume : Dataset
        As it was opened.
    facts : dict of str to str
        Geometry, units, storage and amplitudes, one line each.
    doubts : tuple of str
        What the file leaves open or seems to have wrong, each with what to pass.
    amplitudes : float32 array of shape (n,)
        Of evenly spaced inlines, without missing ones: enough for a histogram.
    """

    volume: xr.Dataset
    facts: dict[str, str]
    doubts: tuple[str, ...]
    amplitudes: NDArray[np.float32]


def inspect_volume(path: str | Path, **reading: Any) -> Inspection:
    """
    Open a volume and report what it holds, and what is in doubt.

    Parameters
    ----------
    path : str or Path
        What `open_volume` takes.
    **reading
        Its other arguments.

    Raises
    ------
    FileNotFoundError, DataError, ValueError
        As `open_volume`; where SEG-Y has its lines in other bytes, the error names them.
    """
    path = check_path(path)
    is_segy = path.suffix.lower() in SEGY_ENDINGS
    with _listen() as warnings:
        try:
            volume = open_volume(path, **reading)
        except DataError as error:
            found = suggest_bytes(path) if is_segy and "geometry" in str(error) else ""
            raise DataError(f"{error}{found}") from error
    doubts = [record.getMessage() for record in warnings]
    vertical = vertical_dim(volume)
    if is_segy and not {"vertical", "dims"} & reading.keys():
        doubts.append(f"The vertical axis is taken as {vertical}. For depth pass vertical=depth.")
    known = spacing_m(volume, velocity_m_s=1000.0) or "spacing_m" in " ".join(doubts)
    if not known and volume.sizes[AXES[0]] > 1:
        doubts.append("The distance of lines is unknown. Pass spacing_m=[inline, crossline].")
    amplitudes = _sample_amplitudes(volume)
    ends = [float(np.mean(amplitudes == end)) for end in (amplitudes.min(), amplitudes.max())]
    if sum(ends) > MAX_AT_ENDS:
        doubts.append(f"{sum(ends):.1%} of the amplitudes are the least or the largest: clipped?")
    return Inspection(volume, _describe(volume, amplitudes), tuple(doubts), amplitudes)


def suggest_bytes(path: Path) -> str:
    """Sentence that names bytes of SEG-Y trace headers whose numbers make a grid, or none."""
    layout = read_layout(path)
    fitting = []
    for pair in LINE_BYTES:
        numbers = np.stack([*layout.read_trace_fields(*pair).values()])
        shape = [np.unique(line).size for line in numbers]
        n_positions = np.unique(numbers, axis=1).shape[1]
        if min(shape) > 1 and MIN_COVERAGE * np.prod(shape) <= n_positions == layout.n_traces:
            words = f"iline_byte={pair[0]}, xline_byte={pair[1]} ({shape[0]} x {shape[1]} lines)"
            fitting.append(words)
    return f" These bytes hold a grid: {'; '.join(fitting)}." if fitting else ""


@contextmanager
def _listen() -> Iterator[list[logging.LogRecord]]:
    """Collect what readers warn of."""
    logger, handler = logging.getLogger("saltvolumes"), BufferingHandler(capacity=1000)
    handler.setLevel(logging.WARNING)
    spread, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logger.removeHandler(handler)
        logger.propagate = spread


def _sample_amplitudes(volume: xr.Dataset) -> NDArray[np.float32]:
    cube = volume["amplitude"]
    n_lines = min(max(MAX_SAMPLES * len(cube) // cube.size, 1), len(cube))
    rows = np.linspace(0, len(cube) - 1, n_lines).round().astype(int)
    values: NDArray[np.float32] = cube[rows].values
    return values[np.isfinite(values)]


def _describe(volume: xr.Dataset, amplitudes: NDArray[np.float32]) -> dict[str, str]:
    vertical, attrs = vertical_dim(volume), volume.attrs
    units = dict.fromkeys(AXES, "") | {vertical: f" {VERTICAL_UNITS[vertical]}"}
    facts = {name: _describe_axis(volume[name].values, unit) for name, unit in units.items()}
    steps = spacing_m(volume, velocity_m_s=1000.0)
    facts["line spacing"] = f"{steps[0]:.4g} x {steps[1]:.4g} m" if steps else "unknown"
    for name in ("trace_coordinates", "trace_order", "byte_order", "sample_format"):
        if name in attrs:
            facts[name.replace("_", " ")] = str(attrs[name])
    for line in AXES:
        if f"{line}_bearing_deg" in attrs:
            facts[f"{line} bearing"] = f"{attrs[f'{line}_bearing_deg']:g} degrees from north"
    n_traces = volume.sizes[AXES[0]] * volume.sizes[AXES[1]]
    facts["missing traces"] = f"{attrs['n_missing_traces']} of {n_traces}"
    levels = np.quantile(amplitudes, _LEVELS)
    words = zip(("min", "2 %", "median", "98 %", "max"), levels, strict=True)
    facts["amplitudes"] = ", ".join(f"{name} {level:.4g}" for name, level in words)
    if "salt" in volume:
        facts["salt"] = f"{float(volume['salt'].mean()):.1%} of the samples"
    return facts


def _describe_axis(values: NDArray[Any], unit: str) -> str:
    n = values.size
    if n == 1:
        return f"{values[0]:g}{unit}"
    steps = np.unique(np.round(np.diff(values), 6))
    step = (
        f"steps of {steps[0]:g}" if steps.size == 1 else f"steps of {steps[0]:g} to {steps[-1]:g}"
    )
    return f"{values[0]:g} to {values[-1]:g}{unit} in {step} ({n})"
