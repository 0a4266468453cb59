"""Statistics of sections: densities, spectra and coherence of several volumes."""

from collections.abc import Mapping
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thesis_lib._checks import check_choice
from thesis_lib.plotting._style import new_figure, styled

_PANELS = {  # statistic: coordinate, label of the x axis, logarithmic y axis
    "amplitude": ("amplitude_value", "amplitude (standard deviations)", True),
    "vertical_power": ("vertical_frequency", "vertical (cycles per sample)", True),
    "lateral_power": ("lateral_frequency", "lateral (cycles per trace)", True),
    "dip": ("dip_value", "dip (degrees, in samples)", True),
    "planarity": ("planarity_value", "planarity", False),
    "coherence": ("coherence_value", "coherence of next traces", False),
    "coherence_of_lag": ("lag", "distance (traces)", False),
    "energy_change": ("energy_change_value", "change of energy (dB)", True),
}
_NAMES = {
    "vertical_power": "share of the power",
    "lateral_power": "share of the power",
    "coherence_of_lag": "median coherence",
}
_LIMITS = {"coherence": (0.0, 1.0), "energy_change": (-15.0, 15.0)}
_LOWEST = 1e-5  # share below which a curve is noise
_REFERENCE: dict[str, Any] = {"color": "0.15", "linewidth": 2.2, "zorder": 3}


@styled
def plot_statistics(volumes: Mapping[str, xr.Dataset], *, reference: str | None = None) -> Figure:
    """
    Draw what sections of volumes have in common: amplitudes, spectra, dips, coherence, energy.

    Parameters
    ----------
    volumes : mapping of name to Dataset
        See :func:`thesis_lib.study.section_statistics`. Lines are means over sections.
    reference : str, optional
        The volume that the others are compared with: drawn thick and dark, the range of its
        sections shaded.

    Returns
    -------
    Figure
        One panel a statistic; every density is the share of samples in a step.

    Raises
    ------
    ValueError
        If ``reference`` names none of the volumes.
    """
    if reference is not None:
        check_choice("reference", reference, tuple(volumes))
    fig, grid = new_figure(3, 3, height=6.2)
    *panels, corner = grid.flat
    for ax, name in zip(panels, _PANELS, strict=True):
        _draw_statistic(ax, name, volumes, reference)
    corner.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    corner.legend(handles, labels, loc="center left", frameon=False)
    return fig


def _draw_statistic(
    ax: Axes, name: str, volumes: Mapping[str, xr.Dataset], reference: str | None
) -> None:
    coordinate, label, is_logarithmic = _PANELS[name]
    for title, part in volumes.items():
        style = _REFERENCE if title == reference else {"linewidth": 1.2}
        values, places = part[name], part[coordinate]
        if title == reference:
            low, high = values.min("section"), values.max("section")
            ax.fill_between(places, low, high, color="0.82", linewidth=0)
        ax.plot(places, values.mean("section"), label=title, **style)
    ax.set(xlabel=label, ylabel=_NAMES.get(name, "share of samples"), xlim=_LIMITS.get(name))
    if is_logarithmic:
        ax.set_yscale("log")
        ax.set_ylim(bottom=_LOWEST)
    ax.grid()
