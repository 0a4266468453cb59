"""The synthetic earth: geology in closed form, physics of the image, guarantees for every seed."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from thesis_lib.synthetic import KINDS, PRESETS, STEPS, Preset, build_earth, make_volume
from thesis_lib.synthetic.earth import Earth, Grid, ramp, random_field, random_map
from thesis_lib.synthetic.imaging import (
    add_noise,
    blur,
    gardner_density,
    illumination,
    image_signal,
    log_impedance,
    point_spread,
    reflectivity,
    sediment_velocity,
)
from thesis_lib.synthetic.salt import ellipsoid_distance, fitting_level, sheet, smooth_maximum
from thesis_lib.synthetic.sediments import (
    carve,
    cut,
    disturb,
    erode,
    layer_sequence,
    upturn,
    velocity_trend,
)

SMALL = (24, 32, 40)
EXTREME = [(16, 16, 16), (16, 512, 16), (512, 16, 16), (16, 16, 512), (17, 40, 33)]


def flat_earth(shape: tuple[int, int, int] = SMALL, preset: str | Preset = "gulf") -> Earth:
    """Return an earth of horizontal layers, without water or salt."""
    chosen = PRESETS[preset] if isinstance(preset, str) else preset
    earth = Earth(Grid(shape, (25.0, 25.0, 20.0)), chosen, 0)
    earth.sea_floor_m = np.zeros((*shape[:2], 1), np.float32)
    earth.age_m = np.broadcast_to(earth.grid.z, shape).copy()
    earth.salt_m = np.full(shape, -1e6, np.float32)
    return earth


# Guarantees of a volume


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_volume(preset: str) -> None:
    """The same arguments give the same volume, bit for bit; another seed gives another."""
    first, again, other = (make_volume(SMALL, seed=seed, preset=preset) for seed in (3, 3, 4))
    xr.testing.assert_identical(first, again)
    assert first.attrs["content_hash"] != other.attrs["content_hash"]
    assert not first.salt.equals(other.salt)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(40))
def test_salt_fraction_for_every_seed(preset: str, seed: int) -> None:
    """Between 5 and 40 % of every volume is salt."""
    assert 0.05 <= build_earth(SMALL, seed=seed, preset=preset).salt.mean() <= 0.4


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", EXTREME)
def test_any_shape(preset: str, shape: tuple[int, int, int]) -> None:
    """Any shape from 16 to 512 per axis gives a finite volume with a fair share of salt."""
    for seed in range(3):
        volume = make_volume(shape, seed=seed, preset=preset)
        assert volume.amplitude.shape == shape
        assert volume.amplitude.dtype == np.float32
        assert np.isfinite(volume.amplitude).all()
        assert 0.05 <= float(volume.salt.mean()) <= 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_alone(kind: str) -> None:
    """Each kind of salt alone keeps the range of salt fraction."""
    preset = replace(PRESETS["gulf"], kinds=(kind,))
    for seed in range(5):
        salt = build_earth(SMALL, seed=seed, preset=preset).salt
        assert 0.05 <= salt.mean() <= 0.4


def test_chosen_salt_fraction() -> None:
    """A range of one value is met to a voxel."""
    preset = replace(PRESETS["gulf"], salt_fraction=(0.2, 0.2))
    for seed in range(5):
        count = build_earth(SMALL, seed=seed, preset=preset).salt.sum()
        assert abs(count - 0.2 * np.prod(SMALL)) <= 1


@pytest.mark.parametrize("preset", PRESETS)
def test_mask_is_the_salt(preset: str) -> None:
    """Velocity is exactly 4480 m/s in the mask, and nowhere else."""
    for seed in range(5):
        volume = make_volume(SMALL, seed=seed, preset=preset)
        np.testing.assert_array_equal(volume.velocity.values == 4480, volume.salt.values)
        assert float(volume.velocity.min()) >= 1500


def test_attributes() -> None:
    """A volume says where it comes from, and its coordinates are metres and line numbers."""
    volume = make_volume(SMALL, seed=7, spacing_m=(30.0, 20.0, 10.0), preset="north_sea")
    assert volume.attrs["seed"] == 7
    assert volume.attrs["preset"] == "north_sea"
    assert volume.attrs["signal_to_noise"] == 1 / PRESETS["north_sea"].noise
    assert "positive" in volume.attrs["polarity"]
    assert volume.amplitude.dims == ("inline", "crossline", "depth")
    assert float(volume.depth[-1]) == 390
    assert float(volume.crossline_m[1]) == 20


# Geology


def test_random_map_statistics() -> None:
    """A random map has mean 0, variance 1, and is smoother the larger its Hurst exponent."""
    grid = Grid((256, 256, 16), (25.0, 25.0, 20.0))
    rough, smooth = (
        np.stack([random_map(np.random.default_rng(s), grid, 200.0, hurst=h) for s in range(8)])
        for h in (0.5, 2.0)
    )
    for maps in (rough, smooth):
        assert abs(maps.mean()) < 0.1
        assert maps.var() == pytest.approx(1, abs=0.15)
    assert np.diff(rough, axis=1).std() > 2 * np.diff(smooth, axis=1).std()


def test_random_field_statistics() -> None:
    """A Gaussian field of length a has covariance exp(-d^2 / 4 a^2)."""
    grid = Grid((64, 64, 64), (10.0, 10.0, 10.0))
    values = random_field(np.random.default_rng(0), grid, (20.0, 20.0, 20.0))
    assert values.std() == pytest.approx(1, abs=1e-3)
    covariance = np.mean(values[:-2] * values[2:])
    assert covariance == pytest.approx(np.exp(-0.25), abs=0.05)


def test_sphere_distance() -> None:
    """The distance to a sphere is exact off its centre."""
    x = np.linspace(-3, 3, 31, dtype=np.float32)
    point = (x[:, None, None], x[None, :, None], x[None, None, :])
    radius = np.sqrt(sum(p**2 for p in point))
    off = radius > 0
    distance = ellipsoid_distance(point, (2.0, 2.0, 2.0))
    np.testing.assert_allclose(distance[off], (2 - radius)[off], atol=1e-5)


def test_ellipsoid_surface() -> None:
    """The distance to an ellipsoid vanishes on it and has slope 1 across it."""
    half = (3.0, 2.0, 1.0)
    for axis in range(3):
        tips = [np.zeros(3, np.float32) for _ in range(3)]
        tips[axis] = np.array([half[axis] - 0.01, half[axis], half[axis] + 0.01], np.float32)
        distance = ellipsoid_distance((tips[0], tips[1], tips[2]), half)
        np.testing.assert_allclose(distance, [0.01, 0, -0.01], atol=2e-4)


def test_smooth_maximum() -> None:
    """It is the maximum where the values differ, and rises a quarter of the width where equal."""
    first, second = np.float32([0, 5, 2]), np.float32([9, 1, 2])
    np.testing.assert_allclose(smooth_maximum(first, second, 4.0), [9, 5, 3])
    np.testing.assert_allclose(smooth_maximum(first, second, 0.0), [9, 5, 2])


def test_fitting_level() -> None:
    """The level is 0 inside the range, else the quantile of the nearer end."""
    inside = np.arange(-50, 50, dtype=np.float32).reshape(4, 5, 5)
    allowed = np.ones((4, 5, 5), bool)
    assert fitting_level(inside, allowed, (0.05, 0.6)) == 0
    for low, high in ((0.05, 0.2), (0.7, 0.9)):
        level = fitting_level(inside, allowed, (low, high))
        assert np.mean(inside > level) == pytest.approx(high if high < 0.49 else low, abs=0.011)


def test_salt_stays_covered() -> None:
    """Salt never reaches the sea floor: the cover of the preset lies between them."""
    for seed in range(10):
        earth = build_earth(SMALL, seed=seed)
        assert (earth.buried_m[earth.salt] > earth.preset.cover * earth.depth_m).all()


def test_age_is_depth_below_flat_sea_floor() -> None:
    """Without relief and deformation a layer's age is its depth below the sea floor."""
    calm = replace(
        PRESETS["gulf"], relief=0.0, fold=0.0, upturn=0.0, faults=0.0, unconformity=0.0, channel=0.0
    )
    earth = build_earth(SMALL, seed=0, preset=calm)
    np.testing.assert_allclose(earth.age_m, earth.buried_m, atol=1e-2)


def test_fault_throw_grows_downward() -> None:
    """A fault leaves the footwall alone; beside the plane the throw grows linearly to its end."""
    earth = flat_earth((32, 16, 100))
    before = earth.age_m.copy()
    cut(earth, place_m=(200.0, 200.0), strike=0.0, dip=np.pi / 2, throw_m=60.0, tip_m=400.0)
    drop = (before - earth.age_m)[:, 8]
    assert (drop[:8] == 0).all()
    np.testing.assert_array_equal(drop[:, :21], 0)
    roll = np.exp(-25 / (0.5 * earth.body_spacing_m))
    np.testing.assert_allclose(drop[9, 40], 60 * 400 / 800 * roll, rtol=1e-4)
    np.testing.assert_allclose(drop[9, 80:], 60 * roll, rtol=1e-4)


def test_upturn_decays_from_salt() -> None:
    """Deep at the salt, layers are lifted by slope times reach; far away not at all."""
    earth = flat_earth()
    earth.salt_m[:12] = 0
    before = earth.age_m.copy()
    upturn(earth)
    lift = earth.age_m - before
    full = earth.preset.upturn * earth.preset.reach * earth.body_spacing_m
    np.testing.assert_allclose(lift[:12, :, -1], full, rtol=1e-4)
    np.testing.assert_array_equal(lift[12:], 0)
    np.testing.assert_array_equal(lift[..., 0], 0)


def test_layers_follow_age() -> None:
    """Velocity is a function of burial and of the stratigraphic coordinate alone."""
    velocity = sediment_velocity(flat_earth())
    np.testing.assert_allclose(velocity, np.broadcast_to(velocity[:1, :1], velocity.shape))


def test_velocity_trend_compacts() -> None:
    """Velocity starts at the surface value, grows with burial, and stays below 4000 m/s."""
    trend = velocity_trend(np.linspace(-100, 20000, 500, dtype=np.float32), 1700.0)
    assert trend[0] == pytest.approx(1700)
    assert (np.diff(trend) >= 0).all()
    assert trend.max() <= 4000


def test_layer_sequence_bounded() -> None:
    """Layers change velocity by no more than a tenth, so that no sediment is as fast as salt."""
    earth = flat_earth((16, 16, 200), replace(PRESETS["gulf"], contrast=0.2))
    _, change = layer_sequence(earth, 120.0)
    assert np.abs(change).max() <= 0.1
    assert change.std() > 0.03
    assert sediment_velocity(earth).max() < 4480


def test_ramp() -> None:
    """The step is 0, 1/2 and 1 half a width before, at, and half a width after its place."""
    np.testing.assert_allclose(ramp(np.float32([-5, -1, 0, 1, 5]), 2.0), [0, 0, 0.5, 1, 1])


# Image


def test_gardner() -> None:
    """Gardner's rule gives 2192 kg/m3 at 2500 m/s."""
    assert gardner_density(np.float32([2500]))[0] == pytest.approx(310 * 2500**0.25)


def test_reflectivity_of_a_step() -> None:
    """A step of impedance by 10 % reflects ln(1.1)/2, positive downward, at the sample above."""
    impedance = np.log(np.where(np.arange(16) < 8, 1.0, 1.1)).astype(np.float32)
    coefficient = reflectivity(np.broadcast_to(impedance, (2, 2, 16)))
    assert coefficient[0, 0, 7] == pytest.approx(np.log(1.1) / 2, rel=1e-5)
    assert np.count_nonzero(coefficient[0, 0]) == 1


def test_point_spread_peaks_at_the_wavelength() -> None:
    """Along the vertical the spectrum is that of a Ricker wavelet with its peak, 1, at 2 / λ."""
    kz = np.linspace(0, 0.05, 501, dtype=np.float32)
    zero = np.zeros_like(kz)
    spectrum = point_spread(zero, zero, kz, wavelength_m=100.0, max_dip_deg=60.0)
    assert kz[spectrum.argmax()] == pytest.approx(2 / 100)
    assert spectrum.max() == pytest.approx(1)
    assert spectrum[0] == 0


def test_point_spread_halves_at_the_greatest_dip() -> None:
    """A reflector at the greatest dip is imaged at half amplitude; a steep one hardly."""
    for dip, share in ((0, 1.0), (60, 0.5), (80, 0.0)):
        k = np.float32(0.02)
        kx, kz = k * np.sin(np.deg2rad(dip)), k * np.cos(np.deg2rad(dip))
        value = point_spread(kx, np.float32(0), kz, wavelength_m=100.0, max_dip_deg=60.0)
        assert value == pytest.approx(share, abs=2e-3)


@pytest.mark.filterwarnings("error")
def test_point_spread_is_finite_at_fine_spacing() -> None:
    """A spacing of 5 m overflows nothing; what lies on its side is not imaged."""
    k = np.float32([0.1])
    value = point_spread(k, k, np.float32([0]), wavelength_m=100.0, max_dip_deg=60.0)
    assert value == pytest.approx(0, abs=1e-12)
    flat = point_spread(0 * k, 0 * k, k / 5, wavelength_m=100.0, max_dip_deg=60.0)
    assert flat == pytest.approx(1)


def test_blur_refuses_margins_that_explode() -> None:
    """A wavelength of more than 256 samples is refused before memory runs out."""
    with pytest.raises(ValueError, match=r"for a wavelength of 300 m. Must be at least 1\.17 m"):
        blur(
            np.zeros((16, 16, 16), np.float32), Grid((16, 16, 16), (1.0, 5.0, 5.0)), (300.0,), 60.0
        )


def test_blur_of_a_plane_is_a_ricker_wavelet() -> None:
    """A horizontal reflector becomes the Ricker wavelet of its wavelength, symmetric about it."""
    grid = Grid((16, 16, 128), (25.0, 25.0, 5.0))
    spike = np.zeros(grid.shape, np.float32)
    spike[..., 64] = 1
    trace = blur(spike, grid, (100.0,), 60.0)[8, 8]
    argument = (np.pi * 2 / 100 * (np.arange(128) - 64) * 5) ** 2
    ricker = (1 - 2 * argument) * np.exp(-argument)
    np.testing.assert_allclose(trace / trace[64], ricker, atol=2e-3)


def test_resolution_falls_with_depth() -> None:
    """Between knots the wavelet lengthens with depth."""
    grid = Grid((16, 16, 256), (25.0, 25.0, 5.0))
    spikes = np.zeros(grid.shape, np.float32)
    spikes[..., [40, 216]] = 1
    trace = blur(spikes, grid, (60.0, 120.0), 60.0)[8, 8]
    shallow, deep = trace[41:80], trace[217:256]
    assert deep.argmin() > 1.4 * shallow.argmin()


def test_water_is_silent() -> None:
    """Without noise the water is silent but for the wavelet of the sea floor."""
    preset = replace(PRESETS["gulf"], noise=0.0, water=(0.2, 0.25))
    for seed in range(3):
        earth = build_earth((24, 32, 96), seed=seed, preset=preset)
        signal = image_signal(earth, sediment_velocity(earth))
        water = np.abs(signal[earth.buried_m < -200])
        assert water.size > 0
        assert water.max() < 0.02 * np.abs(signal).max()


def test_illumination_under_salt() -> None:
    """Illumination is 1 away from salt and falls toward 1 - shadow under thick salt."""
    earth = flat_earth((64, 64, 40))
    earth.salt_m[:32, :, 5:20] = 100
    light = illumination(earth)
    np.testing.assert_allclose(light[-2:], 1, atol=1e-5)
    expected = 1 - 0.6 * (1 - np.exp(-15 / 40 / 0.1))
    np.testing.assert_allclose(light[0, 32, -1], expected, rtol=1e-3)


def test_image_dims_under_salt() -> None:
    """The same layers are weaker in the image under salt than without it."""
    lit, dim = flat_earth((32, 32, 96)), flat_earth((32, 32, 96))
    dim.salt_m[:, :, 20:40] = 100
    earths = (lit, dim)
    images = [
        blur(reflectivity(log_impedance(e, sediment_velocity(e))), e.grid, (150.0,), 60.0)
        * illumination(e)
        for e in earths
    ]
    deep = [np.sqrt(np.mean(image[..., 60:] ** 2)) for image in images]
    share = 1 - 0.6 * (1 - np.exp(-20 / 96 / 0.1))
    assert deep[1] == pytest.approx(share * deep[0], rel=0.02)


def test_noise_at_the_stated_level() -> None:
    """Below the sea floor the noise has the stated share of the signal's root mean square."""
    for ratio in (0.25, 1.0):
        preset = replace(PRESETS["gulf"], noise=ratio)
        noisy = make_volume(SMALL, seed=1, preset=preset)
        clean = make_volume(SMALL, seed=1, preset=replace(preset, noise=0.0))
        below = build_earth(SMALL, seed=1, preset=preset).buried_m >= 0
        noise = (noisy.amplitude - clean.amplitude).values
        measured = noise[below].std() / clean.amplitude.values[below].std()
        assert measured == pytest.approx(ratio, rel=0.02)
        assert noise[~below].std() == pytest.approx(0.1 * noise[below].std(), rel=0.3)


def test_no_noise_leaves_the_signal() -> None:
    """No noise adds nothing."""
    earth = flat_earth(preset=replace(PRESETS["gulf"], noise=0.0))
    signal = np.ones(SMALL, np.float32)
    add_noise(earth, signal)
    np.testing.assert_array_equal(signal, 1)


# Inclusions and cuts


def test_inclusions_change_only_the_impedance() -> None:
    """Inclusions change the image inside salt, but neither the mask nor the velocity."""
    plain = replace(PRESETS["gulf"], interior=0.0, stringers=0.0, sutures=0.0, noise=0.0)
    rich = replace(plain, interior=0.05, stringers=0.5, sutures=0.5)
    first, second = (make_volume(SMALL, seed=2, preset=preset) for preset in (plain, rich))
    assert first.salt.equals(second.salt)
    assert first.velocity.equals(second.velocity)
    inside = first.salt.values
    spread = [volume.amplitude.values[inside].std() for volume in (first, second)]
    assert spread[1] > spread[0]


def test_sheet() -> None:
    """A sheet is 1 at its place and 1/e at its thickness."""
    np.testing.assert_allclose(sheet(np.float32([0, 2, -2]), 2.0), [1, np.exp(-1), np.exp(-1)])


def test_unconformity_only_below() -> None:
    """An unconformity leaves younger layers alone and removes section below it."""
    earth = flat_earth((32, 32, 128))
    before = earth.age_m.copy()
    erode(earth)
    missing = earth.age_m - before
    assert (missing[..., :19] == 0).all()
    assert (np.ptp(missing[..., 60:], axis=2) < 0.01).all()
    assert np.ptp(missing[..., -1]) > 20


def test_channel_is_confined() -> None:
    """A channel is filled with younger layers, no deeper than its depth."""
    earth = flat_earth((64, 64, 128))
    before = earth.age_m.copy()
    carve(earth)
    cut_in = earth.age_m < before
    assert 0 < cut_in.mean() < 0.05
    thickness_m = cut_in.sum(axis=2) * 20
    assert thickness_m.max() <= earth.preset.channel * earth.depth_m + 3 * 20
    assert (earth.age_m <= before).all()


def test_chaos_is_confined_to_packages() -> None:
    """Chaotic packages are disturbed; most of the section is left alone."""
    earth = flat_earth((32, 32, 128), replace(PRESETS["gulf"], chaos=0.01))
    before = earth.age_m.copy()
    disturb(earth)
    changed = (earth.age_m != before).any(axis=(0, 1))
    assert 0.02 < changed.mean() < 0.25
    assert np.abs(earth.age_m - before).max() > 20


def test_steps_switched_off_leave_the_layers() -> None:
    """A step whose amount is 0 does nothing."""
    none = replace(
        PRESETS["gulf"], unconformity=0.0, channel=0.0, chaos=0.0, fold=0.0, upturn=0.0, faults=0.0
    )
    for step in ("fold", "erode", "carve", "disturb", "fault", "upturn"):
        earth = flat_earth(preset=none)
        before = earth.age_m.copy()
        STEPS[step](earth)
        np.testing.assert_array_equal(earth.age_m, before)


# Refusals


@pytest.mark.parametrize("shape", [(15, 32, 32), (32, 513, 32)])
def test_refuse_shape(shape: tuple[int, int, int]) -> None:
    """A volume outside 16 to 512 samples per axis is refused."""
    with pytest.raises(ValueError, match="Must be from 16 to 512"):
        make_volume(shape, seed=0)


def test_refuse_two_axes() -> None:
    """A section is refused."""
    with pytest.raises(ValueError, match=r"Invalid shape \(32, 32\). Must have 3 axes"):
        make_volume((32, 32), seed=0)  # type: ignore[arg-type]


def test_refuse_spacing() -> None:
    """A spacing of 0, and one too coarse for the wavelet, are refused."""
    with pytest.raises(ValueError, match="Invalid spacing_m 0"):
        make_volume(SMALL, seed=0, spacing_m=(0.0, 25.0, 20.0))
    with pytest.raises(ValueError, match="Invalid spacing_m along depth 80"):
        make_volume(SMALL, seed=0, spacing_m=(25.0, 25.0, 80.0))


def test_refuse_seed_and_preset() -> None:
    """A negative seed and an unknown preset are refused, with what is allowed."""
    with pytest.raises(ValueError, match="Invalid seed -1"):
        make_volume(SMALL, seed=-1)
    with pytest.raises(ValueError, match="one of: 'gulf', 'north_sea'"):
        make_volume(SMALL, seed=0, preset="moon")


def test_refuse_preset_values() -> None:
    """A preset refuses unknown kinds, none at all, reversed ranges and values out of range."""
    gulf = PRESETS["gulf"]
    with pytest.raises(ValueError, match="Invalid salt kind 'glacier'"):
        replace(gulf, kinds=("glacier",))
    with pytest.raises(ValueError, match="at least one kind"):
        replace(gulf, kinds=())
    with pytest.raises(ValueError, match=r"Must be \(low, high\)"):
        replace(gulf, salt_fraction=(0.3, 0.1))
    with pytest.raises(ValueError, match=r"Invalid salt_fraction 0\.5"):
        replace(gulf, salt_fraction=(0.1, 0.5))
