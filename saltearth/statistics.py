"""How alike two volumes look: statistics of their sections that need no mask."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from saltvolumes._checks import check_choice, check_count
from saltvolumes.volume import AXES, vertical_dim

Floats = NDArray[np.float64]

WINDOW = 32  # samples along a trace in which traces and energies are compared
N_LAGS = 16  # traces
SEGMENT = 128  # samples of one periodogram
GRADIENT_PX, TENSOR_PX = 1.0, 4.0  # Gaussians of the structure tensor
SILENT = 0.05  # fraction of a section's root mean square below which a window is left out
FLOOR_DB = -40.0  # below the strongest frequency, where spectra are noise alone
_EDGES = {  # of the histograms; what lies beyond counts in the outermost step
    "amplitude": np.linspace(-6.0, 6.0, 121),
    "dip": np.linspace(-90.0, 90.0, 121),
    "planarity": np.linspace(0.0, 1.0, 51),
    "coherence": np.linspace(-1.0, 1.0, 101),
    "energy_change": np.linspace(-30.0, 30.0, 121),
}
_UNITS = {"amplitude": "standard deviations", "dip": "degrees", "energy_change": "dB"}
DISTANCES = {  # what `compare_statistics` returns, and its name in tables
    "amplitude": "Amplitude (standard deviations)",
    "vertical_power": "Vertical spectrum (dB)",
    "lateral_power": "Lateral spectrum (dB)",
    "dip": "Dip (degrees)",
    "planarity": "Planarity",
    "coherence": "Coherence of neighbours",
    "coherence_of_lag": "Coherence over distance",
    "energy_change": "Change of energy (dB)",
}


def section_statistics(
    volume: xr.Dataset, *, axes: Sequence[str] = ("crossline",), n_sections: int = 16
) -> xr.Dataset:
    r"""
    Describe sections of a volume by statistics that need no mask.

    Each stretch of neighbouring traces without a missing one, longer than 16 traces, is brought to
    mean 0 and standard deviation 1 and counts as one section. Lengths are in samples, as a network
    sees them: a reflector that falls by one sample per trace dips by 45 degrees. Windows below
    5 % of the section's root mean square are silent (water) and leave no dip, planarity, coherence
    or energy.

    Parameters
    ----------
    volume : Dataset
        A volume; 32 samples along the vertical axis at least.
    axes : sequence of {"inline", "crossline"}
        Directions of the sections; ``"crossline"`` means sections at a fixed crossline.
    n_sections : int
        Sections along each direction at most, evenly spaced.

    Returns
    -------
    Dataset
        One entry per section along ``section``:

        - ``amplitude`` (density over ``amplitude_value``) and its excess ``kurtosis``;
        - ``vertical_power``, ``lateral_power``: Welch periodograms [2]_ of 128 samples under a
          Hann taper, over cycles per sample, scaled to the sum 1;
        - ``dip`` (degrees, positive downward to the right) and ``planarity``
          :math:`(\lambda_1 - \lambda_2) / (\lambda_1 + \lambda_2)`, densities of both, from the
          structure tensor [1]_ (Gaussians of 1 and 4 samples);
        - ``coherence``, the density of :math:`\langle ab \rangle / \sqrt{\langle a^2 \rangle
          \langle b^2 \rangle}` of neighbouring traces a and b in windows of 32 samples, and
          ``coherence_of_lag``, its median at 1 to 16 traces apart;
        - ``energy_change``, the density of the change of energy, in dB, between windows of 32
          samples by 8 traces that lie 16 traces apart.

    Raises
    ------
    ValueError
        If an axis is unknown, the volume has fewer than 32 samples along a trace, or no section
        has a stretch of live traces that varies.

    References
    ----------
    .. [1] Bigün & Granlund (1987). Optimal orientation detection of linear symmetry. ICCV.
    .. [2] Welch (1967). https://doi.org/10.1109/TAU.1967.1161901
    """
    check_count("n_sections", n_sections)
    down = vertical_dim(volume)
    check_count(f"length along {down}", volume.sizes[down], low=WINDOW)
    rows = []
    for axis in axes:
        n_lines = volume.sizes[check_choice("axis", axis, AXES)]
        for line in np.linspace(0, n_lines - 1, min(n_sections, n_lines)).round().astype(int):
            section = volume["amplitude"].isel({axis: line}).transpose(down, ...)
            rows += [_describe(part) for part in _cut_stretches(section.values)]
    if not rows:
        raise ValueError(
            f"Invalid volume without a stretch of {N_LAGS + 1} live traces that vary along "
            f"{tuple(axes)}. Must have one."
        )
    source = {k: v for k, v in volume.attrs.items() if k in ("source", "content_hash")}
    return xr.concat(rows, dim="section").assign_attrs(source)


def compare_statistics(first: xr.Dataset, second: xr.Dataset) -> "pd.Series[float]":
    """
    Distance between two volumes, one number per statistic, each averaged over sections first.

    Densities are compared by Wasserstein's distance in the unit of the quantity, power spectra by
    the root mean square of their difference in dB (the constant left out, and whatever lies more
    than 40 dB below the strongest frequency counted as 40 dB), coherence over lag by the root mean
    square of the difference. Symmetric; 0 for a volume with itself.

    Parameters
    ----------
    first, second : Dataset
        See :func:`section_statistics`.

    Returns
    -------
    Series
        Indexed by the keys of ``DISTANCES``.
    """
    from scipy import stats  # slow to import

    a, b = first.mean("section"), second.mean("section")
    distances = {}
    for name in DISTANCES:
        if name in _EDGES:
            values = a[f"{name}_value"]
            distances[name] = stats.wasserstein_distance(values, values, a[name], b[name])
        else:
            decibels = name.endswith("_power")
            x, y = (_decibels(part[name]) if decibels else part[name] for part in (a, b))
            distances[name] = float(np.sqrt(np.mean((x - y) ** 2)))
    return pd.Series(distances, name="distance")


def compare_all(volumes: Mapping[str, xr.Dataset], reference: xr.Dataset) -> pd.DataFrame:
    """
    Distance of each volume to a reference: one row per volume, one column per statistic.

    Where the reference has several sections, a last row, *between its halves*, compares every other
    one of them with the rest.
    """
    rows = {name: compare_statistics(part, reference) for name, part in volumes.items()}
    if reference.sizes["section"] > 1:
        even, odd = (reference.isel(section=slice(start, None, 2)) for start in (0, 1))
        rows["between its halves"] = compare_statistics(even, odd)
    return pd.DataFrame(rows).T.rename_axis("volume")


def summarise_statistics(volumes: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """
    Summarise the statistics of several volumes as numbers, one row per volume.

    Returns
    -------
    DataFrame
        Number of sections, excess kurtosis, coherence of traces 16 apart, and the mean magnitude
        of each quantity in its unit; of the spectra, the mean frequency in cycles per sample.
    """
    rows = {name: _summarise(part) for name, part in volumes.items()}
    return pd.DataFrame(rows).T.rename_axis("volume")


def _cut_stretches(section: NDArray[np.float32]) -> Iterator[Floats]:
    """Stretches of live traces, each with mean 0 and standard deviation 1."""
    live = np.isfinite(section).all(axis=0)
    for (stretch,) in ndimage.find_objects(ndimage.label(live)[0]):
        part = section[:, stretch].astype(np.float64)
        spread = part.std()
        if part.shape[1] > N_LAGS and spread > 1e-6 * np.abs(part).max():
            yield (part - part.mean()) / spread


def _describe(section: Floats) -> xr.Dataset:
    loud = ndimage.gaussian_filter(section**2, TENSOR_PX) > SILENT**2
    dip, planarity = local_dip(section)
    coherences = [trace_coherence(section, lag) for lag in range(1, N_LAGS + 1)]
    samples = {
        "amplitude": section,
        "dip": dip[loud],
        "planarity": planarity[loud],
        "coherence": coherences[0],
        "energy_change": _change_energy(section),
    }
    from scipy import stats  # slow to import

    medians = [np.median(values) if values.size else np.nan for values in coherences]
    densities = {name: _density(name, values) for name, values in samples.items()}
    others = {
        "vertical_power": _power("vertical", section, 0),
        "lateral_power": _power("lateral", section, 1),
        "coherence_of_lag": xr.DataArray(medians, [("lag", np.arange(1, N_LAGS + 1))]),
        "kurtosis": stats.kurtosis(section.ravel()),
    }
    return xr.Dataset(densities | others)


def local_dip(section: Floats) -> tuple[Floats, Floats]:
    """
    Dip and planarity at every sample of a section, from the structure tensor.

    Parameters
    ----------
    section : array of shape (n_vertical, n_lateral)
        Amplitudes without missing traces.

    Returns
    -------
    dip : array of the same shape
        Degrees from -90 to 90, positive downward to the right; one sample per trace is 45.
    planarity : array of the same shape
        1 where all gradients are parallel, 0 where they have no direction.
    """
    gz = ndimage.gaussian_filter(section, GRADIENT_PX, order=(1, 0))
    gx = ndimage.gaussian_filter(section, GRADIENT_PX, order=(0, 1))
    zz, xx, zx = (ndimage.gaussian_filter(p, TENSOR_PX) for p in (gz * gz, gx * gx, gz * gx))
    length = np.hypot(zz - xx, 2 * zx)  # difference of the eigenvalues
    dip = np.degrees(-0.5 * np.arctan2(2 * zx, zz - xx))
    return dip, np.divide(length, zz + xx, out=np.zeros_like(length), where=zz + xx > 0)


def trace_coherence(section: Floats, lag: int) -> Floats:
    """
    Normalised correlation of traces some traces apart, in vertical windows of 32 samples.

    Parameters
    ----------
    section : array of shape (n_vertical, n_lateral)
        Amplitudes without missing traces, standard deviation 1.
    lag : int
        Distance of the traces, less than their number.

    Returns
    -------
    array of shape (n,)
        Values from -1 to 1 of all windows inside the section that are not silent.
    """
    a, b = section[:, :-lag], section[:, lag:]
    products, first, second = (_window_means(part) for part in (a * b, a * a, b * b))
    loud = np.minimum(first, second) > SILENT**2
    return np.asarray(products[loud] / np.sqrt(first * second)[loud])


def _window_means(values: Floats) -> Floats:
    """Means over windows along the vertical axis, one for every position inside."""
    sums = np.cumsum(np.insert(values, 0, 0.0, axis=0), axis=0)
    return np.asarray(sums[WINDOW:] - sums[:-WINDOW]) / WINDOW


def _change_energy(section: Floats) -> Floats:
    energy = ndimage.uniform_filter1d(_window_means(section**2), N_LAGS // 2, axis=1)
    a, b = energy[:, :-N_LAGS], energy[:, N_LAGS:]
    loud = np.minimum(a, b) > SILENT**2
    return np.asarray(10 * np.log10(b[loud] / a[loud]))


def _power(name: str, section: Floats, axis: int) -> xr.DataArray:
    """Fraction of the power at 1/128 to 1/2 cycles per sample."""
    from scipy import signal  # slow to import

    length = min(SEGMENT, section.shape[axis])
    _, power = signal.welch(section, window="hann", nperseg=length, nfft=SEGMENT, axis=axis)
    power = power.mean(axis=1 - axis)[1:]
    frequencies = np.arange(1, SEGMENT // 2 + 1) / SEGMENT
    return xr.DataArray(power / power.sum(), [(f"{name}_frequency", frequencies)])


def _density(name: str, values: Floats) -> xr.DataArray:
    """Fraction of the values in each step; 0 everywhere where there is no value."""
    edges = _EDGES[name]
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    middles = (edges[1:] + edges[:-1]) / 2
    coordinate = (f"{name}_value", middles, {"units": _UNITS.get(name, "1")})
    return xr.DataArray(counts / max(values.size, 1), [coordinate])


def _decibels(power: xr.DataArray) -> Floats:
    return np.asarray(10 * np.log10(np.maximum(power / power.max(), 10 ** (FLOOR_DB / 10))))


def _summarise(described: xr.Dataset) -> dict[str, float]:
    mean = described.mean("section")
    summary = {"sections": float(described.sizes["section"]), "kurtosis": float(mean["kurtosis"])}
    summary[f"coherence at {N_LAGS}"] = float(mean["coherence_of_lag"][-1])
    for name in DISTANCES:
        density, (coordinate,) = mean[name], mean[name].dims
        if coordinate != "lag":
            quantity = str(coordinate).removesuffix("_value").replace("_", " ")
            weighted = density * abs(density[coordinate])
            summary[f"mean {quantity}"] = float(weighted.sum() / density.sum())
    return summary
