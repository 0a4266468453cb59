"""The synthetic earth as a whole: guarantees for every seed and shape, presets and their draws."""

import json
import time
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import xarray as xr
from flat_earths import DEFORMATIONS, SMALL

from thesis_lib.synthetic import PRESETS, STEPS, Preset, build_earth, make_volume
from thesis_lib.synthetic.earth import Earth, Grid
from thesis_lib.synthetic.imaging import sediment_velocity, turn_to_time
from thesis_lib.synthetic.presets import BOUNDS, PER_OBJECT, as_span

EXTREME = [(16, 16, 16), (16, 512, 16), (512, 16, 16), (16, 16, 512), (17, 40, 33)]
SEEDS = range(40)
GULF = PRESETS["gulf"]

# Guarantees of a volume


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_volume(preset: str) -> None:
    """The same arguments give the same volume, bit for bit; another seed gives another."""
    first, again, other = (make_volume(SMALL, seed=seed, preset=preset) for seed in (3, 3, 4))
    xr.testing.assert_identical(first, again)
    assert first.attrs["content_hash"] != other.attrs["content_hash"]
    assert not first.salt.equals(other.salt)


@pytest.mark.parametrize("preset", PRESETS)
def test_salt_fraction_for_every_seed(preset: str) -> None:
    """The share of salt is drawn between 5 and 40 %, and met to two voxels, in depth and time."""
    for seed in SEEDS:
        earth = build_earth(SMALL, seed=seed, preset=preset)
        fraction = earth.value("salt_fraction")
        assert 0.05 <= fraction <= 0.4
        assert earth.salt.sum() == pytest.approx(fraction * np.prod(SMALL), abs=2)
        turn_to_time(earth)
        assert earth.salt.sum() == pytest.approx(fraction * np.prod(SMALL), abs=2)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", EXTREME)
def test_any_shape(preset: str, shape: tuple[int, int, int]) -> None:
    """Any shape from 16 to 512 per axis gives a finite volume with a fair share of salt."""
    volume = make_volume(shape, seed=sum(shape), preset=preset)
    assert volume.amplitude.shape == shape
    assert volume.amplitude.dtype == np.float32
    assert np.isfinite(volume.amplitude).all()
    assert 0.04 <= float(volume.salt.mean()) <= 0.4


@pytest.mark.parametrize("preset", PRESETS)
def test_mask_is_the_salt(preset: str) -> None:
    """Velocity is exactly 4480 m/s in the mask; elsewhere it is water or stays below 4400 m/s."""
    for seed in range(5):
        volume = make_volume(SMALL, seed=seed, preset=preset)
        velocity, salt = volume.velocity.values, volume.salt.values
        np.testing.assert_array_equal(velocity == 4480, salt)
        assert velocity[~salt].max() <= 4400
        assert velocity.min() >= 1500


@pytest.mark.parametrize("polarity", [1, -1])
def test_attributes(polarity: int) -> None:
    """A volume says where it comes from and what was drawn for it."""
    volume = make_volume(SMALL, seed=7, preset="north_sea", noise=0.25, polarity=polarity)
    assert volume.attrs["seed"] == 7
    assert volume.attrs["preset"] == "north_sea"
    assert volume.attrs["signal_to_noise"] == 4
    assert ("positive" in volume.attrs["polarity"]) == (polarity == 1)
    drawn = replace(PRESETS["north_sea"], noise=0.25, polarity=polarity).settle(7)
    assert json.loads(volume.attrs["preset_values"]) == json.loads(json.dumps(asdict(drawn)))


def test_coordinates() -> None:
    """Coordinates are metres and line numbers; in time a spacing d becomes 2 d / (4000 m/s)."""
    depth, time = (
        make_volume(SMALL, seed=7, spacing_m=(30.0, 20.0, 10.0), noise=0.0, vertical=vertical)
        for vertical in ("depth", "time")
    )
    assert depth.amplitude.dims == ("inline", "crossline", "depth")
    assert time.amplitude.dims == ("inline", "crossline", "time")
    np.testing.assert_allclose(depth.depth, 10 * np.arange(40))
    np.testing.assert_allclose(time.time, 5 * np.arange(40))
    assert float(depth.crossline_m[1]) == 20
    assert int(depth.inline[0]) == 1
    assert depth.attrs["signal_to_noise"] == np.inf


def test_opposite_polarity_is_the_negative_image() -> None:
    """Without noise and swings the image of the other polarity is the negative, gain and all."""
    clean = {"noise": 0.0, "swings": 0.0, "gain": 0.3, "clip": 0.01}
    normal, reverse = (make_volume(SMALL, seed=2, polarity=sign, **clean) for sign in (1, -1))
    np.testing.assert_array_equal(normal.amplitude, -reverse.amplitude)
    assert normal.velocity.equals(reverse.velocity)


def test_speed() -> None:
    """The default earth takes some seconds, with a margin for slow machines."""
    start = time.process_time()
    make_volume(seed=0, preset="north_sea")
    assert time.process_time() - start < 10


# Ablation


@pytest.mark.parametrize(
    "name", [name for name in BOUNDS if isinstance(getattr(GULF, name), tuple)]
)
def test_a_field_leaves_the_draws_of_the_others(name: str) -> None:
    """Fixing one field leaves what a seed draws for all the others."""
    low = as_span(getattr(GULF, name))[0]
    before, after = (asdict(preset.settle(5)) for preset in (GULF, replace(GULF, **{name: low})))
    assert {other for other in before if before[other] != after[other]} <= {name}


def test_without_faults_only_layers_change() -> None:
    """Without faults an earth differs where faults moved its layers, and nowhere else."""
    faulted, whole = (
        build_earth(SMALL, seed=1, preset=replace(GULF, faults=n)) for n in (5.0, 0.0)
    )
    np.testing.assert_array_equal(faulted.salt_m, whole.salt_m)
    np.testing.assert_array_equal(faulted.sea_floor_m, whole.sea_floor_m)
    assert replace(faulted.preset, faults=0.0) == whole.preset
    first, second = (sediment_velocity(earth) for earth in (faulted, whole))
    moved = faulted.age_m != whole.age_m
    assert 0 < moved.mean() < 1
    np.testing.assert_array_equal(first[~moved], second[~moved])


@pytest.mark.parametrize("name", ["noise", "swings", "shadow", "gain", "clip"])
def test_imaging_leaves_the_earth(name: str) -> None:
    """What spoils the image changes neither salt nor velocity, and does change the image."""
    chosen = {"noise": 0.2, "swings": 0.2, "shadow": 0.5, "gain": 0.3, "clip": 0.05}
    spoilt, clean = (
        make_volume(SMALL, seed=1, **(chosen | change)) for change in ({}, {name: 0.0})
    )
    assert spoilt.salt.equals(clean.salt)
    assert spoilt.velocity.equals(clean.velocity)
    assert not spoilt.amplitude.equals(clean.amplitude)


# Presets


def test_settle() -> None:
    """A number stays, a range is drawn inside it, by the seed alone; each seed draws anew."""
    draws = [GULF.settle(seed) for seed in range(20)]
    assert draws[3] == GULF.settle(3)
    assert len({preset.fold for preset in draws}) == 20
    for name in BOUNDS:
        amount = getattr(GULF, name)
        for preset in draws:
            drawn = getattr(preset, name)
            if name in PER_OBJECT or not isinstance(amount, tuple):
                assert drawn == amount
            else:
                assert amount[0] <= drawn <= amount[1]
    assert draws[0].settle(9) == draws[0]


def test_draws_are_not_those_of_a_step() -> None:
    """How much of a step a seed draws says nothing about where the step puts it."""
    for name in ("clinoforms", "unconformity", "swings"):
        amount = getattr(GULF, name)
        earths = [Earth(Grid(SMALL, (25.0, 25.0, 20.0)), GULF, seed) for seed in range(100)]
        drawn = [np.interp(earth.value(name), amount, (0, 1)) for earth in earths]
        first = [earth.rng(name).uniform() for earth in earths]
        assert abs(np.corrcoef(drawn, first)[0, 1]) < 0.3


def test_draws_fill_their_range() -> None:
    """Over seeds a range is drawn from evenly: mean and spread of a uniform distribution."""
    drawn = np.array([GULF.settle(seed).shadow for seed in range(400)])
    assert drawn.mean() == pytest.approx(0.55, abs=0.03)
    assert drawn.std() == pytest.approx(0.5 / np.sqrt(12), abs=0.01)


def test_every_number_has_a_range() -> None:
    """Every field of a preset is a number with allowed bounds, or a choice that is checked."""
    choices = {"name", "kinds", "n_bodies", "vertical", "polarity"}
    assert {field.name for field in fields(Preset)} == choices | set(BOUNDS)


@pytest.mark.parametrize("name", BOUNDS)
def test_refuse_what_is_out_of_range(name: str) -> None:
    """Each number is refused just outside its bounds, as a number and as an end of a range."""
    low, high = BOUNDS[name]
    for wrong in (low - 1e-3, high * 1.01, float("nan"), (low, high * 1.01)):
        with pytest.raises(ValueError, match=f"Invalid {name} "):
            replace(GULF, **{name: wrong})
    assert getattr(replace(GULF, **{name: (low, high)}), name) == (low, high)


def test_refuse_ranges() -> None:
    """A range is two numbers, the lower one first."""
    with pytest.raises(ValueError, match=r"Invalid fold \(0.03, 0.01\). Must be \(low, high\)"):
        replace(GULF, fold=(0.03, 0.01))
    for wrong in ((0.1,), (0.1, 0.2, 0.3), [0.1, 0.2], "0.1", None, ("0.1", "0.2")):
        with pytest.raises(TypeError, match=r"Invalid salt_fraction .* a number or \(low, high\)"):
            replace(GULF, salt_fraction=wrong)


def test_refuse_choices() -> None:
    """A preset refuses unknown kinds, none at all, and other unknown choices."""
    with pytest.raises(ValueError, match="Invalid salt kind 'glacier'"):
        replace(GULF, kinds=("glacier",))
    with pytest.raises(ValueError, match="at least one kind"):
        replace(GULF, kinds=())
    with pytest.raises(ValueError, match=r"Invalid n_bodies 0. Must be from 1 to 40"):
        replace(GULF, n_bodies=0)
    with pytest.raises(
        ValueError, match=r"Invalid vertical 'twt'. Must be one of: 'depth', 'time'"
    ):
        replace(GULF, vertical="twt")
    with pytest.raises(ValueError, match=r"Invalid polarity 0. Must be one of: 1, -1"):
        replace(GULF, polarity=0)


def test_refuse_arguments() -> None:
    """A negative seed, an unknown preset and an unknown field are refused."""
    for make in (make_volume, build_earth):
        with pytest.raises(ValueError, match="Invalid seed -1"):
            make(SMALL, seed=-1)
        with pytest.raises(ValueError, match="one of: 'gulf', 'north_sea'"):
            make(SMALL, seed=0, preset="moon")
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        make_volume(SMALL, seed=0, colour="red")


def test_refuse_coarse_samples() -> None:
    """Samples are at most half the shortest period of the wavelet's band apart."""
    band = {"frequency_hz": 8.0, "octaves": 2.0, "surface_velocity_m_s": 1680.0}
    coarsest = 1680 / 8 / 2 / 2 / 2  # two-way, half a period, an octave above the middle
    preset = replace(GULF, **band)
    build_earth(SMALL, seed=0, spacing_m=(25.0, 25.0, coarsest), preset=preset)
    with pytest.raises(ValueError, match=r"Invalid spacing_m along depth 26\.3.*\[0, 26\.25\]"):
        build_earth(SMALL, seed=0, spacing_m=(25.0, 25.0, 26.3), preset=preset)


def test_the_default_spacing_fits_every_seed() -> None:
    """At 20 m the highest frequency that any preset may draw is still sampled."""
    for preset in PRESETS.values():
        worst = {"frequency_hz": as_span(preset.frequency_hz)[1]}
        worst |= {"octaves": as_span(preset.octaves)[1]}
        worst |= {"surface_velocity_m_s": as_span(preset.surface_velocity_m_s)[0]}
        build_earth((16, 16, 16), seed=0, preset=replace(preset, **worst))


def test_age_is_depth_below_a_flat_sea_floor() -> None:
    """With every deformation off, the age of a layer is its depth below a flat sea floor."""
    calm = replace(GULF, relief=0.0, **dict.fromkeys(DEFORMATIONS, 0.0))
    earth = build_earth(SMALL, seed=0, preset=calm)
    np.testing.assert_allclose(earth.age_m, earth.buried_m, atol=1e-2)
    assert list(STEPS)[:3] == ["sea_floor", "salt", "deposit"]
