"""The volume contract: one xarray Dataset that every module reads and writes."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

VERTICAL_UNITS = {"depth": "m", "time": "ms"}
SLAB_BYTES, SLAB_SHARE = 2**24, 1 / 64  # of a lazy volume that are held at a time
EVEN = 0.01  # share by which steps of an even axis may differ
_LONG_NAMES = {
    "amplitude": "migrated amplitude",
    "salt": "salt mask",
    "velocity": "P-wave velocity",
}


def build_volume(
    amplitude: ArrayLike,
    *,
    inline: ArrayLike,
    crossline: ArrayLike,
    vertical: ArrayLike,
    vertical_dim: str = "depth",
    inline_m: ArrayLike | None = None,
    crossline_m: ArrayLike | None = None,
    salt: ArrayLike | None = None,
    velocity: ArrayLike | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """
    Assemble a volume: (inline, crossline, depth) or (inline, crossline, time).

    Parameters
    ----------
    amplitude : array of shape (n_inline, n_crossline, n_vertical)
        Stored as float32. Arrays that are already lazy stay lazy.
    inline, crossline : array of shape (n,)
        Line numbers, the index along each lateral axis, each once.
    vertical : array of shape (n_vertical,)
        Depth in m or two-way time in ms, increasing downward in even steps.
    vertical_dim : {"depth", "time"}
        Which of the two it is.
    inline_m, crossline_m : array of shape (n,), optional
        Distance of each line from the first, in m. Left out where unknown.
    salt : bool array of the same shape, optional
        True inside salt.
    velocity : array of the same shape, optional
        P-wave velocity in m/s, stored as float32.
    attrs : mapping, optional
        At least ``source`` is expected; ``seed`` where there is one. ``content_hash`` is added
        from the arrays unless it is given.

    Raises
    ------
    TypeError
        If ``salt`` is not boolean.
    ValueError
        If ``vertical_dim`` is unknown, ``vertical`` does not increase in even steps, a line number
        comes twice or a shape does not fit the coordinates.
    """
    if vertical_dim not in VERTICAL_UNITS:
        raise ValueError(
            f"Invalid vertical_dim {vertical_dim!r}. Must be one of: {', '.join(VERTICAL_UNITS)}."
        )
    _check_vertical(vertical_dim, np.diff(np.asarray(vertical, dtype=np.float64)))
    _check_lines("inline", np.asarray(inline))
    _check_lines("crossline", np.asarray(crossline))
    dims = ("inline", "crossline", vertical_dim)
    coords: dict[str, Any] = {
        "inline": ("inline", np.asarray(inline), {"long_name": "inline number"}),
        "crossline": ("crossline", np.asarray(crossline), {"long_name": "crossline number"}),
        vertical_dim: (
            vertical_dim,
            np.asarray(vertical, dtype=np.float64),
            {"units": VERTICAL_UNITS[vertical_dim], "positive": "down", "axis": "Z"},
        ),
    }
    for name, line, metres in (
        ("inline_m", "inline", inline_m),
        ("crossline_m", "crossline", crossline_m),
    ):
        if metres is not None:
            coords[name] = (line, np.asarray(metres, dtype=np.float64), {"units": "m"})
    variables: dict[str, tuple[Any, Any]] = {"amplitude": (amplitude, np.float32)}
    if salt is not None:
        kind = salt.dtype if hasattr(salt, "dtype") else np.asarray(salt).dtype
        if kind != np.bool_:
            raise TypeError(f"Invalid salt of type {kind}. Must be boolean.")
        variables["salt"] = (salt, np.bool_)
    if velocity is not None:
        variables["velocity"] = (velocity, np.float32)
    volume = xr.Dataset(
        {name: _cast(xr.Variable(dims, array), kind) for name, (array, kind) in variables.items()},
        coords=coords,
        attrs=dict(attrs or {}),
    )
    for name in variables:
        volume[name].attrs["long_name"] = _LONG_NAMES[name]
    if velocity is not None:
        volume["velocity"].attrs["units"] = "m/s"
    if "content_hash" not in volume.attrs:
        volume.attrs["content_hash"] = content_hash(volume)
    return volume


def _check_vertical(name: str, steps: NDArray[np.float64]) -> None:
    if not (steps > 0).all():
        raise ValueError(f"Invalid {name} coordinate. Must increase downward.")
    if not _are_even(steps):
        raise ValueError(
            f"Invalid {name} coordinate with steps from {steps.min():g} to {steps.max():g} "
            f"{VERTICAL_UNITS[name]}. Must be even within {EVEN:.0%}."
        )


def _are_even(steps: NDArray[np.float64]) -> bool:
    return not steps.size or np.allclose(steps, np.median(steps), rtol=EVEN, atol=0)


def _check_lines(name: str, numbers: NDArray[Any]) -> None:
    found, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"Invalid {name} numbers: {found[counts > 1][0]} comes {counts.max()} times. "
            "Must come once."
        )


def _cast(variable: xr.Variable, kind: Any) -> xr.Variable:
    return variable if variable.dtype == kind else variable.astype(kind)  # astype would load it


def content_hash(volume: xr.Dataset) -> str:
    """
    Hash the samples and coordinates of a volume, whatever its attributes say.

    A few lines are read at a time, so that a lazy volume is never held whole.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256()
    for name in sorted(str(name) for name in (*volume.coords, *volume.data_vars)):
        array = volume[name]
        digest.update(f"{name}{array.dims}{array.shape}{array.dtype}".encode())
        for part in _cut_slabs(array) if array.ndim == 3 else (array,):
            digest.update(np.ascontiguousarray(part.values).tobytes())
    return digest.hexdigest()[:16]


def _cut_slabs(array: xr.DataArray) -> Iterator[xr.DataArray]:
    held = min(SLAB_BYTES, SLAB_SHARE * array.nbytes)
    lines = max(int(held * len(array) / max(array.nbytes, 1)), 1)
    for start in range(0, len(array), lines):
        yield array[start : start + lines]


def vertical_dim(volume: xr.Dataset | xr.DataArray) -> str:
    """
    Name of the vertical axis: ``"depth"`` (m) or ``"time"`` (ms).

    Raises
    ------
    ValueError
        If the volume has neither.
    """
    for name in VERTICAL_UNITS:
        if name in volume.dims:
            return name
    raise ValueError(f"Invalid volume with dims {tuple(volume.dims)}. Must have depth or time.")


def spacing_m(
    volume: xr.Dataset | xr.DataArray, *, velocity_m_s: float | None = None
) -> tuple[float, float, float] | None:
    """
    Spacing along (inline, crossline, vertical) in m, or None where it is not known or not even.

    Parameters
    ----------
    volume : Dataset or DataArray
        A volume.
    velocity_m_s : float, optional
        Turns the two-way time of a time volume into depth. Without it a time volume has no
        spacing in metres: milliseconds never pose as metres. An axis with a single line gets the
        spacing of the other lateral axis, so that it takes no part in any distance.

    Raises
    ------
    ValueError
        If ``velocity_m_s`` is not above 0.
    """
    if velocity_m_s is not None and not velocity_m_s > 0:
        raise ValueError(f"Invalid velocity_m_s {velocity_m_s!r}. Must be above 0.")
    steps: dict[str, float] = {}
    for line in ("inline", "crossline"):
        metres = f"{line}_m"
        if metres in volume.coords and volume.sizes[line] > 1:
            steps_m = np.diff(volume[metres].values)
            if not _are_even(steps_m):
                return None
            steps[line] = float(abs(np.median(steps_m)))
    single = [line for line in ("inline", "crossline") if volume.sizes[line] == 1]
    if single and len(steps) == 1:
        steps[single[0]] = next(iter(steps.values()))
    vertical = vertical_dim(volume)
    if len(steps) < 2 or volume.sizes[vertical] == 1:
        return None
    step = float(np.median(np.diff(volume[vertical].values)))
    if vertical == "time":
        if velocity_m_s is None:
            return None
        step = step / 1000.0 * velocity_m_s / 2.0
    return steps["inline"], steps["crossline"], step
