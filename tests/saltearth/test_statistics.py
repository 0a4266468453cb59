"""Statistics of sections have the values that waves and noise have in closed form."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from saltearth import DISTANCES, compare_all, compare_statistics, section_statistics
from saltearth import summarise_statistics as summarise
from saltearth.statistics import N_LAGS, local_dip, trace_coherence
from saltvolumes.volume import build_volume

N_VERTICAL, N_LATERAL = 160, 144


def plane_wave(dip: float, *, wavelength: float = 16.0) -> np.ndarray:
    """Sine whose crests fall by ``dip`` samples per trace."""
    z, x = np.mgrid[:N_VERTICAL, :N_LATERAL]
    return np.sqrt(2) * np.sin(2 * np.pi * (z - dip * x) / wavelength)


def white_noise(*shape: int) -> np.ndarray:
    """Independent standard normal amplitudes."""
    return np.random.default_rng(0).standard_normal(shape or (N_VERTICAL, N_LATERAL))


def describe(section: np.ndarray, **options) -> xr.Dataset:
    """Statistics of a volume of one crossline."""
    lines = {"inline": np.arange(section.shape[1]), "crossline": [7]}
    time = 4.0 * np.arange(section.shape[0])
    volume = build_volume(section.T[:, None, :], vertical=time, vertical_dim="time", **lines)
    return section_statistics(volume, **options)


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.2, 1.0])
def test_a_plane_wave_has_its_own_dip(slope: float) -> None:
    """A plane wave falling p samples per trace dips by atan(p), planarity 1; crossed waves 0."""
    dip, planarity = local_dip(plane_wave(slope))
    inside = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(dip[inside], np.degrees(np.arctan(slope)), atol=0.2)
    np.testing.assert_allclose(planarity[inside], 1.0, atol=1e-3)
    _, planarity = local_dip(plane_wave(1.0, wavelength=8) + plane_wave(-1.0, wavelength=8))
    assert planarity[30:-30, 30:-30].max() < 0.1


@pytest.mark.parametrize("dip", [0.0, 0.5])
@pytest.mark.parametrize("lag", [1, 3, 8, N_LAGS])
def test_coherence_of_a_dipping_sine_is_a_cosine(dip: float, lag: int) -> None:
    """A sine and itself shifted by s samples correlate as cos(2 pi s / wavelength)."""
    values = trace_coherence(plane_wave(dip, wavelength=16.0), lag)
    np.testing.assert_allclose(values, np.cos(2 * np.pi * dip * lag / 16.0), atol=1e-9)


def test_white_noise_is_flat_gaussian_and_incoherent() -> None:
    """White noise has flat spectra, normal amplitudes, coherence 0 and all dips alike."""
    described = describe(5.0 + 3.0 * white_noise(1024, 1024)).isel(section=0)
    for name in ("vertical", "lateral"):
        inner = described[f"{name}_power"][2:-1]  # without what the taper does to mean and Nyquist
        np.testing.assert_allclose(inner / inner.mean(), 1.0, atol=0.05)
    normal = np.diff(stats.norm.cdf(np.linspace(-6.0, 6.0, 121)))
    np.testing.assert_allclose(described["amplitude"], normal, atol=2e-3)
    assert abs(described["kurtosis"]) < 0.02
    assert abs(described["coherence_of_lag"]).max() < 0.01
    quarters = described["dip"].values.reshape(4, -1).sum(axis=1)
    np.testing.assert_allclose(quarters, 0.25, atol=0.02)


def test_a_step_of_energy_is_found() -> None:
    """Traces twice as strong from the middle on change by 6 dB over 16 traces."""
    section = plane_wave(0.0)
    section[:, 72:] *= 2
    density = describe(section)["energy_change"][0]
    values = density["energy_change_value"]
    assert float(values[density > 0].min()) == pytest.approx(0.25)
    assert float(values[density > 0].max()) == pytest.approx(6.25)
    # The 8 traces of one window end before the step and those of the other begin behind it.
    assert float(density.sel(energy_change_value=6.25)) == pytest.approx(9 / 128)


def test_missing_traces_cut_a_section_in_two() -> None:
    """A missing trace leaves two stretches, each the same as if it were a section of its own."""
    section = white_noise().astype(np.float32)
    section[:, 60] = section[:, -5:] = np.nan
    parts = xr.concat([describe(section[:, :60]), describe(section[:, 61:-5])], dim="section")
    xr.testing.assert_allclose(describe(section).drop_attrs(), parts.drop_attrs())


def test_silent_water_leaves_no_dip() -> None:
    """Samples without amplitude count in the histogram alone."""
    section = np.vstack([np.zeros((200, N_LATERAL)), plane_wave(0.5)])
    described = describe(section).isel(section=0)
    fall = abs(described["dip_value"] - np.degrees(np.arctan(0.5))) < 3
    assert float(described["dip"].where(fall).sum()) > 0.85
    assert float(described["coherence"].sum()) == pytest.approx(1)


def test_distances_are_symmetric_and_zero_to_oneself() -> None:
    """d(a, b) = d(b, a) > 0, of dips about their difference; d(a, c a + e) = 0."""
    wave, noise = describe(plane_wave(0.3)), describe(white_noise())
    assert list(compare_statistics(wave, noise).index) == list(DISTANCES)
    assert (compare_statistics(wave, wave) == 0).all()
    assert compare_statistics(noise, describe(40.0 * white_noise() + 9.0)).max() < 1e-4
    assert (compare_statistics(wave, noise) > 0).all()
    np.testing.assert_allclose(compare_statistics(wave, noise), compare_statistics(noise, wave))
    dip = compare_statistics(wave, describe(plane_wave(0.0)))["dip"]
    assert dip == pytest.approx(np.degrees(np.arctan(0.3)), abs=1.5)


def test_halves_of_a_reference_are_compared_where_it_has_two() -> None:
    """Of two sections each is a half; of one there is no half, and no row for it."""
    noise = white_noise()
    noise[:, 70] = np.nan
    both = describe(noise)
    one, other = both.isel(section=[0]), both.isel(section=[1])
    halves = compare_all({"one": one}, both).loc["between its halves"]
    assert halves.to_dict() == compare_statistics(one, other).to_dict()
    assert list(compare_all({"both": both}, one).index) == ["both"]


def test_a_sine_has_its_frequency_dip_and_kurtosis() -> None:
    """A sine of 16 samples peaks at 1/16 cycles per sample down, dip/16 across; kurtosis -1.5."""
    described = describe(plane_wave(0.5))
    assert described["vertical_power"][0].idxmax() == 1 / 16
    assert described["lateral_power"][0].idxmax() == 1 / 32
    rows = summarise({"wave": described, "flat": describe(plane_wave(0.0))})
    row = rows.loc["wave"]
    assert row["mean vertical frequency"] == pytest.approx(1 / 16, rel=0.05)
    assert row["mean lateral frequency"] == pytest.approx(1 / 32, rel=0.05)
    assert row["mean dip"] == pytest.approx(np.degrees(np.arctan(0.5)), abs=1)
    assert row["mean planarity"] > 0.98
    assert row["mean amplitude"] == pytest.approx(2 * np.sqrt(2) / np.pi, abs=0.05)  # half a step
    assert row["coherence at 16"] == pytest.approx(-1, abs=1e-6)
    assert rows.loc["flat", "kurtosis"] == pytest.approx(-1.5, abs=1e-5)


def test_sections_of_both_directions() -> None:
    """Both directions give sections, evenly spaced, at most as many as asked for in each."""
    lines = {"inline": np.arange(20), "crossline": np.arange(40)}
    volume = build_volume(white_noise(20, 40, 64), vertical=20.0 * np.arange(64), **lines)
    described = section_statistics(volume, axes=("inline", "crossline"), n_sections=3)
    assert described.sizes["section"] == 6
    for line, kurtosis in zip((0, 10, 19), described["kurtosis"], strict=False):
        alone = section_statistics(volume.isel(inline=[line]), axes=("inline",))
        assert alone["kurtosis"].item() == pytest.approx(kurtosis.item())


def test_what_cannot_be_described_is_refused() -> None:
    """Unknown axes, short traces and volumes without variation are refused."""
    with pytest.raises(ValueError, match="Invalid axis 'time'"):
        describe(white_noise(64, 40), axes=("time",))
    with pytest.raises(ValueError, match=r"Invalid length along time 31\. Must be at least 32"):
        describe(white_noise(31, 40))
    with pytest.raises(ValueError, match="without a stretch of 17 live traces"):
        describe(np.ones((64, 40)))
