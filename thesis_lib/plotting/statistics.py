"""Statistics of sections: densities, spectra and coherence of several volumes."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

from saltvolumes._checks import check_choice
from thesis_lib.plotting._layout import PAGE_WIDTH
from thesis_lib.plotting._style import thesis_style

_SAMPLES, _POWER = "fraction of samples", "fraction of the power"
_PANELS = {  # statistic: its coordinate, labels of the two axes, logarithmic y axis
    "amplitude": ("amplitude_value", "amplitude (standard deviations)", _SAMPLES, True),
    "vertical_power": ("vertical_frequency", "vertical (cycles per sample)", _POWER, True),
    "lateral_power": ("lateral_frequency", "lateral (cycles per trace)", _POWER, True),
    "dip": ("dip_value", "dip (degrees, in samples)", _SAMPLES, True),
    "planarity": ("planarity_value", "planarity", _SAMPLES, False),
    "coherence": ("coherence_value", "coherence of next traces", _SAMPLES, False),
    "coherence_of_lag": ("lag", "distance (traces)", "median coherence", False),
    "energy_change": ("energy_change_value", "change of energy (dB)", _SAMPLES, True),
}
_LIMITS = {"coherence": (0.0, 1.0), "energy_change": (-15.0, 15.0)}
_REFERENCE: dict[str, Any] = {"color": "0.15", "linewidth": 2.2, "zorder": 3}
_LOWEST = 1e-5  # fraction below which a curve is noise


@thesis_style()
def plot_statistics(volumes: Mapping[str, xr.Dataset], *, reference: str | None = None) -> Figure:
    """
    Draw what sections of volumes have in common: amplitudes, spectra, dips, coherence, energy.

    Parameters
    ----------
    volumes : mapping of name to Dataset
        See `saltearth.section_statistics`. Lines are means over sections.
    reference : str, optional
        The volume that the others are compared with: drawn thick and dark, the range of its
        sections shaded.

    Returns
    -------
    Figure
        One panel per statistic; every density is the fraction of samples in a step.

    Raises
    ------
    ValueError
        If ``reference`` is not one of the volumes.
    """
    if reference is not None:
        check_choice("reference", reference, tuple(volumes))
    fig, grid = plt.subplots(3, 3, figsize=(PAGE_WIDTH, 6.2))
    *panels, corner = grid.flat
    for ax, (name, (coordinate, xlabel, ylabel, is_log)) in zip(
        panels, _PANELS.items(), strict=True
    ):
        for title, part in volumes.items():
            values, positions = part[name], part[coordinate]
            style = _REFERENCE if title == reference else {"linewidth": 1.2}
            if title == reference:
                low, high = values.min("section"), values.max("section")
                ax.fill_between(positions, low, high, color="0.82", linewidth=0)
            ax.plot(positions, values.mean("section"), label=title, **style)
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=_LIMITS.get(name))
        if is_log:
            ax.set(yscale="log", ylim=(_LOWEST, None))
        ax.grid()
    corner.set_axis_off()
    corner.legend(*panels[0].get_legend_handles_labels(), loc="center left", frameon=False)
    return fig
