"""Units that files state, converted to those of a volume: m, ms downward, m/s."""

from typing import Any

import numpy as np
import xarray as xr

from saltvolumes.errors import DataError
from saltvolumes.volume import AXES

Units = dict[float, tuple[str, ...]]
_LENGTHS: Units = {
    1.0: ("m", "metre", "metres", "meter", "meters"),
    1000.0: ("km", "kilometre", "kilometres", "kilometer", "kilometers"),
    0.3048: ("ft", "foot", "feet"),
}
_TIMES: Units = {
    1.0: ("ms", "msec", "millisecond", "milliseconds"),
    1000.0: ("s", "sec", "second", "seconds"),
    0.001: ("us", "µs", "microsecond", "microseconds"),
}
_PER_SECOND = ("/s", "/sec", " s-1", " s^-1", " s**-1", ".s-1")
_SPEEDS: Units = {
    factor: tuple(name + per for name in names for per in _PER_SECOND)
    for factor, names in _LENGTHS.items()
}
_UNITS = {"time": _TIMES, "velocity": _SPEEDS}  # and of all else lengths


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
    if unit in ("", "1"):
        return 1.0
    units = _UNITS.get(name, _LENGTHS)
    for factor, names in units.items():
        if unit in names:
            return factor
    allowed = ", ".join(names[0] for names in units.values())
    raise DataError(f"{source}: {name} is in {unit!r}. Must be in one of: {allowed}.")
