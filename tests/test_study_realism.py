"""Statistics of sections have the values that waves and noise have in closed form."""

import numpy as np
import pytest
import xarray as xr

from thesis_lib._volume import build_volume
from thesis_lib.study.realism import (
    DISTANCES,
    N_LAGS,
    compare_all,
    compare_statistics,
    local_dip,
    section_statistics,
    summarise_statistics,
    trace_coherence,
)

N_VERTICAL, N_LATERAL = 160, 144


def plane_wave(dip: float, *, wavelength: float = 16.0) -> np.ndarray:
    """Sine whose crests fall by ``dip`` samples a trace."""
    z, x = np.mgrid[:N_VERTICAL, :N_LATERAL]
    return np.sqrt(2) * np.sin(2 * np.pi * (z - dip * x) / wavelength)


def white_noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Independent standard normal amplitudes."""
    return np.random.default_rng(seed).standard_normal(shape)


def as_volume(section: np.ndarray, **coords) -> xr.Dataset:
    """Volume of one crossline."""
    n_vertical, n_inline = section.shape
    return build_volume(
        section.T[:, None, :],
        inline=np.arange(n_inline),
        crossline=[7],
        vertical=4.0 * np.arange(n_vertical),
        vertical_dim="time",
        attrs={"source": "test"},
        **coords,
    )


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.2, 1.0])
def test_a_plane_wave_has_its_own_dip(slope: float) -> None:
    """A plane wave that falls by p samples a trace dips by atan(p), and its planarity is 1."""
    dip, planarity = local_dip(plane_wave(slope))
    inside = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(dip[inside], np.degrees(np.arctan(slope)), atol=0.2)
    np.testing.assert_allclose(planarity[inside], 1.0, atol=1e-3)


def test_crossed_waves_have_no_direction() -> None:
    """Two waves of the same strength at right angles have a planarity near 0."""
    _, planarity = local_dip(plane_wave(1.0, wavelength=8) + plane_wave(-1.0, wavelength=8))
    assert planarity[30:-30, 30:-30].max() < 0.1


@pytest.mark.parametrize("lag", [1, 5, N_LAGS])
def test_level_layers_are_coherent(lag: int) -> None:
    """Traces of level layers are the same however far apart."""
    np.testing.assert_allclose(trace_coherence(plane_wave(0.0), lag), 1.0, atol=1e-9)


@pytest.mark.parametrize("lag", [1, 3, 8])
def test_coherence_of_a_dipping_sine_is_a_cosine(lag: int) -> None:
    """A sine and itself shifted by s samples correlate as cos(2 pi s / wavelength)."""
    values = trace_coherence(plane_wave(0.5, wavelength=16.0), lag)
    np.testing.assert_allclose(values, np.cos(2 * np.pi * 0.5 * lag / 16.0), atol=1e-9)


def test_white_noise_is_flat_gaussian_and_incoherent() -> None:
    """White noise has flat spectra, excess kurtosis 0, coherence 0 and all dips alike."""
    described = section_statistics(as_volume(white_noise(1024, 1024))).isel(section=0)
    for name in ("vertical", "lateral"):
        inner = described[f"{name}_power"][2:-1]  # the taper's share of the mean and Nyquist aside
        np.testing.assert_allclose(inner / inner.mean(), 1.0, atol=0.05)
    assert abs(described["kurtosis"]) < 0.02
    assert abs(described["coherence_of_lag"]).max() < 0.01
    magnitude = described["dip"].values.reshape(4, -1).sum(axis=1)
    np.testing.assert_allclose(magnitude, 0.25, atol=0.02)


def test_amplitudes_of_noise_are_normal() -> None:
    """The amplitude density of Gaussian noise is that of the standard normal distribution."""
    from scipy import stats

    density = section_statistics(as_volume(5.0 + 3.0 * white_noise(512, 512)))["amplitude"][0]
    edges = np.linspace(-6.0, 6.0, 121)
    np.testing.assert_allclose(density, np.diff(stats.norm.cdf(edges)), atol=2e-3)


def test_a_sine_peaks_at_its_frequency() -> None:
    """A wave of 16 samples peaks at 1/16 cycles per sample down and at dip/16 across."""
    described = section_statistics(as_volume(plane_wave(0.5, wavelength=16.0))).isel(section=0)
    assert described["vertical_power"].idxmax() == 1 / 16
    assert described["lateral_power"].idxmax() == 1 / 32


def test_a_sine_has_kurtosis_minus_three_halves() -> None:
    """The excess kurtosis of a sine over whole periods is -1.5."""
    described = section_statistics(as_volume(plane_wave(0.0)))
    np.testing.assert_allclose(described["kurtosis"], -1.5, atol=1e-5)


def test_a_step_of_energy_is_found() -> None:
    """Traces twice as strong from the middle on change by 6 dB over 16 traces."""
    section = plane_wave(0.0)
    section[:, 72:] *= 2
    density = section_statistics(as_volume(section))["energy_change"][0]
    values = density["energy_change_value"]
    assert float(values[density > 0].min()) == pytest.approx(0.25)
    assert float(values[density > 0].max()) == pytest.approx(6.25)
    # The 8 traces of one window end before the step and those of the other begin behind it.
    assert float(density.sel(energy_change_value=6.25)) == pytest.approx(9 / 128)


def test_missing_traces_cut_a_section_in_two() -> None:
    """A missing trace leaves two stretches, each the same as if it were a section of its own."""
    section = white_noise(N_VERTICAL, N_LATERAL).astype(np.float32)
    section[:, 60] = np.nan
    section[:, -5:] = np.nan
    both = section_statistics(as_volume(section))
    left = section_statistics(as_volume(section[:, :60]))
    right = section_statistics(as_volume(section[:, 61:-5]))
    xr.testing.assert_allclose(
        both.drop_attrs(), xr.concat([left, right], dim="section").drop_attrs()
    )


def test_statistics_ignore_scale_and_level() -> None:
    """A gain and a constant change no statistic."""
    section = white_noise(N_VERTICAL, N_LATERAL)
    distances = compare_statistics(
        section_statistics(as_volume(section)), section_statistics(as_volume(40.0 * section + 9.0))
    )
    assert distances.max() < 1e-4


def test_silent_water_leaves_no_dip() -> None:
    """Samples without amplitude count in the histogram alone."""
    section = np.vstack([np.zeros((200, N_LATERAL)), plane_wave(0.5)])
    described = section_statistics(as_volume(section)).isel(section=0)
    fall = abs(described["dip_value"] - np.degrees(np.arctan(0.5))) < 3
    assert float(described["dip"].where(fall).sum()) > 0.85
    assert float(described["coherence"].sum()) == pytest.approx(1)


def test_distances_are_symmetric_and_zero_to_oneself() -> None:
    """d(a, a) = 0 and d(a, b) = d(b, a) > 0 for every statistic of wave and noise."""
    wave = section_statistics(as_volume(plane_wave(0.3)))
    noise = section_statistics(as_volume(white_noise(N_VERTICAL, N_LATERAL)))
    assert list(compare_statistics(wave, noise).index) == list(DISTANCES)
    assert (compare_statistics(wave, wave) == 0).all()
    assert (compare_statistics(wave, noise) > 0).all()
    np.testing.assert_allclose(compare_statistics(wave, noise), compare_statistics(noise, wave))


def test_distance_of_dips_is_their_difference() -> None:
    """Wasserstein's distance between two waves is about the difference of their dips."""
    level, falling = (section_statistics(as_volume(plane_wave(dip))) for dip in (0.0, 0.2))
    table = compare_all({"falling": falling}, level)
    assert table.loc["falling", "dip"] == pytest.approx(np.degrees(np.arctan(0.2)), abs=1.5)


def test_halves_of_a_reference_are_compared_where_it_has_two() -> None:
    """Of two sections each is a half; of one there is no half, and no row for it."""
    noise = white_noise(N_VERTICAL, N_LATERAL)
    noise[:, 70] = np.nan
    both = section_statistics(as_volume(noise))
    one = both.isel(section=[0])
    table = compare_all({"one": one}, both)
    expected = compare_statistics(one, both.isel(section=[1]))
    assert table.loc["between its halves"].to_dict() == expected.to_dict()
    assert list(compare_all({"both": both}, one).index) == ["both"]


def test_summary_of_a_wave() -> None:
    """The summary of a dipping wave states its frequencies, dip and planarity."""
    table = summarise_statistics({"wave": section_statistics(as_volume(plane_wave(0.5)))})
    row = table.loc["wave"]
    assert row["mean vertical frequency"] == pytest.approx(1 / 16, rel=0.05)
    assert row["mean lateral frequency"] == pytest.approx(1 / 32, rel=0.05)
    assert row["mean dip"] == pytest.approx(np.degrees(np.arctan(0.5)), abs=1)
    assert row["mean planarity"] > 0.98
    assert row["mean amplitude"] == pytest.approx(2 * np.sqrt(2) / np.pi, abs=0.05)  # half a step
    assert row["coherence at 16"] == pytest.approx(-1, abs=1e-6)


def test_sections_of_both_directions() -> None:
    """Both directions give sections, evenly spaced, at most as many as asked for in each."""
    volume = build_volume(
        white_noise(20, 40, 64),
        inline=np.arange(20),
        crossline=np.arange(40),
        vertical=20.0 * np.arange(64),
    )
    described = section_statistics(volume, axes=("inline", "crossline"), n_sections=3)
    assert described.sizes["section"] == 6


def test_what_cannot_be_described_is_refused() -> None:
    """Unknown axes, short traces, volumes without variation and lags too long are refused."""
    noise = as_volume(white_noise(64, 40))
    with pytest.raises(ValueError, match="Invalid axis 'time'"):
        section_statistics(noise, axes=("time",))
    with pytest.raises(ValueError, match="Invalid n_sections 0"):
        section_statistics(noise, n_sections=0)
    with pytest.raises(ValueError, match=r"Invalid length along time 31\. Must be at least 32"):
        section_statistics(as_volume(white_noise(31, 40)))
    with pytest.raises(ValueError, match="without a stretch of 17 live traces"):
        section_statistics(as_volume(np.ones((64, 40))))
    with pytest.raises(ValueError, match=r"Invalid lag 40\. Must be from 1 to 39"):
        trace_coherence(white_noise(64, 40), 40)
