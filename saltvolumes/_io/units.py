"""Units that files state, converted to those of a volume: m, ms downward, m/s."""

from typing import Any

import numpy as np
import xarray as xr

from saltvolumes.errors import DataError
from saltvolumes.volume import AXES

_LENGTHS = {"m": 1.0, "metre": 1.0, "meter": 1.0, "km": 1000.0, "kilometre": 1000.0}
_LENGTHS |= {"kilometer": 1000.0, "ft": 0.3048, "foot": 0.3048, "feet": 0.3048}
_TIMES = {"ms": 1.0, "msec": 1.0, "millisecond": 1.0, "s": 1000.0, "sec": 1000.0}
_TIMES |= {"second": 1000.0, "us": 0.001, "µs": 0.001, "microsecond": 0.001}
_SPEEDS = {
    name + per: factor
    for name, factor in _LENGTHS.items()
    for per in ("/s", "/sec", " s-1", " s^-1", " s**-1")
}


def convert_axes(array: xr.DataArray, source: str) -> xr.DataArray:
    """
    Convert the coordinates of a volume to m and ms, downward; without a unit they are those.

    Parameters
    ----------
    array : DataArray
        With attributes ``units`` and ``positive`` of its coordinates, by CF conventions.
    source : str
        Name of the file, for messages.

    Raises
    ------
    DataError
        If a unit or direction is unknown.
    """
    for name in array.coords.keys() - set(AXES):
        values, attrs = array[name].values, array[name].attrs
        factor = _find_factor(str(name), attrs, source)
        direction = str(attrs.get("positive", "down")).lower()
        if direction not in ("down", "up"):
            raise DataError(f"{source}: {name} is positive {direction!r}. Must be 'down' or 'up'.")
        if factor != 1 or direction == "up":
            sign = -1.0 if direction == "up" else 1.0
            values = np.round(sign * factor * values, 9) + 0.0  # no minus zero
            array = array.assign_coords({name: (array[name].dims, values)})
        if direction == "up" and values.size > 1 and values[0] > values[-1]:
            array = array.isel({name: slice(None, None, -1)})
    return array


def convert_velocities(array: xr.DataArray, source: str) -> xr.DataArray:
    """
    Convert velocities to m/s; without a unit they are that.

    Raises
    ------
    DataError
        If the unit is unknown.
    """
    factor = _find_factor("velocity", array.attrs, source)
    return array if factor == 1 else array * np.float32(factor)


def _find_factor(name: str, attrs: Any, source: str) -> float:
    unit = str(attrs.get("units", "")).strip().lower()
    units = {"time": _TIMES, "velocity": _SPEEDS}.get(name, _LENGTHS) | {"": 1.0, "1": 1.0}
    factor = units.get(unit, units.get(unit.removesuffix("s") if len(unit) > 4 else unit))
    if factor is None:
        raise DataError(f"{source}: {name} is in {unit!r}. Must be in one of: {', '.join(units)}.")
    return factor
