"""Flaws of real images: each does what it is named for, and nothing else."""

import json

import numpy as np
import pytest
import xarray as xr
from flat_earths import SMALL

from saltearth import FLAWS, make_flawed, make_volume
from saltearth.flaws import add_footprint, add_multiples, bend, smear_flanks, vary_wavelet

ALL = {**dict.fromkeys(FLAWS, 1.0), "drag": 1.0}


def drawing(amplitude, salt=None, *, n_wet=0, dim="time"):
    """Volume of an amplitude, with salt where it is drawn and water on top."""
    dims = ("inline", "crossline", dim)
    velocity = np.full(amplitude.shape, 3000.0, np.float32)
    velocity[..., :n_wet] = 1500
    values = {
        "amplitude": (dims, amplitude.astype(np.float32)),
        "salt": (dims, np.zeros(amplitude.shape, bool) if salt is None else salt),
        "velocity": (dims, velocity),
    }
    return xr.Dataset(values, attrs={"preset_values": '{"water": -0.1}'})


def spikes(trace):
    """Positions and values of what is not zero."""
    where = np.flatnonzero(np.abs(trace) > 1e-6)
    return where.tolist(), trace[where].tolist()


def test_no_flaws_are_the_plain_earth():
    """With all amounts 0 it is the volume of make_volume."""
    plain = make_volume(SMALL, seed=1, preset="north_sea")
    flawed = make_flawed(SMALL, seed=1, preset="north_sea", flaws=dict.fromkeys(ALL, 0.0))
    np.testing.assert_allclose(flawed["amplitude"], plain["amplitude"], atol=1e-5)
    assert flawed["salt"].equals(plain["salt"])


@pytest.mark.parametrize("name", ALL)
def test_each_flaw_changes_the_image_alone(name):
    """One flaw gives another image of the same power, known by another hash, and repeats."""
    given = {"seed": 1, "faults": 10.0, "throw": 0.1}
    plain = make_volume(SMALL, **given)
    flawed = make_flawed(SMALL, flaws={name: 1.0}, **given)
    again = make_flawed(SMALL, flaws={name: 1.0}, **given)
    xr.testing.assert_identical(flawed, again)
    assert flawed["amplitude"].dtype == np.float32
    assert not np.allclose(flawed["amplitude"], plain["amplitude"], atol=1e-3)
    if name != "drag":
        powers = [float(np.square(each["amplitude"]).mean()) for each in (flawed, plain)]
        assert powers[0] == pytest.approx(powers[1], rel=1e-4)
        assert flawed["velocity"].equals(plain["velocity"])
    assert flawed["salt"].equals(plain["salt"])
    assert flawed.attrs["content_hash"] != plain.attrs["content_hash"]
    assert 0 < json.loads(flawed.attrs["flaws"])[name] < 1


def test_water_repeats_a_trace_at_the_time_of_the_sea_floor():
    """20 samples of water: a spike at 30 comes again at 49 and 68, the time of its last sample."""
    amplitude = np.zeros((2, 3, 100), np.float32)
    amplitude[..., 30] = 1
    found = add_multiples(drawing(amplitude, n_wet=20), 1.0, np.random.default_rng(0))
    for trace in found.reshape(-1, 100):
        where, values = spikes(trace)
        assert where == [30, 49, 68]
        assert values == pytest.approx([1, -0.4, 0.16])


def test_water_repeats_deeper_rock_at_its_depth():
    """Rock is twice as fast as water: after the same time a multiple is twice as deep."""
    amplitude = np.zeros((2, 3, 100), np.float32)
    amplitude[..., 30] = 1
    volume = drawing(amplitude, n_wet=10, dim="depth")
    where, values = spikes(add_multiples(volume, 1.0, np.random.default_rng(0))[0, 0])
    assert where == [30, 50, 70]  # ten samples of water each
    assert values == pytest.approx([1, -0.4, 0.16])


def test_top_of_salt_repeats_at_twice_its_time_below_the_surface():
    """With the sea surface at the first sample but for 4 of water, that of 30 comes at 60."""
    amplitude, salt = np.zeros((4, 5, 200)), np.zeros((4, 5, 200), bool)
    amplitude[..., 30], salt[..., 30:50] = 1, True
    found, without = (
        add_multiples(drawing(amplitude, each, n_wet=4), 0.5, np.random.default_rng(0))
        for each in (salt, None)
    )
    where, values = spikes((found - without)[0, 0])
    assert where == [60]
    assert values == pytest.approx([-0.2])


def test_multiples_count_what_lies_above_the_image():
    """Without water in the image the top of salt comes later: by the water, and a tenth cut off."""
    amplitude, salt = np.zeros((2, 2, 200)), np.zeros((2, 2, 200), bool)
    amplitude[..., 30], salt[..., 30:50] = 1, True
    found = add_multiples(drawing(amplitude, salt), 1.0, np.random.default_rng(0))[0, 0]
    water = 200 * np.random.default_rng(0).uniform(0.04, 0.15)
    late = 30 + (30 + water + 20)
    last = np.arange(int(late) - 5, int(late) + 6)  # the water repeats the trace earlier than that
    assert 30 + 2 * water < last[0]
    assert found[last].sum() == pytest.approx(-0.4)
    assert (last * found[last]).sum() / found[last].sum() == pytest.approx(late, abs=1e-3)


def test_order_of_flaws_does_not_count():
    """The image is the same however they are listed, as the key of a task is."""
    flaws = {"smear": 1.0, "multiples": 1.0, "drag": 1.0}
    first, second = (
        make_flawed(SMALL, seed=1, flaws=each) for each in (flaws, dict(reversed(flaws.items())))
    )
    assert first["amplitude"].equals(second["amplitude"])


def test_footprint_fades_and_averages_out():
    """Stripes have no trend, are strongest at the top, and the same along depth but for that."""
    ones = np.ones((200, 200, 20), np.float32)
    change = add_footprint(drawing(ones), 1.0, np.random.default_rng(0)) - 1
    assert abs(change.mean()) < 0.02
    assert 0.45 < np.abs(change[..., 0]).max() <= 0.5
    np.testing.assert_allclose(change[..., -1], change[..., 0] * np.exp(-3.3), atol=1e-6)


def test_smear_acts_near_salt():
    """Traces that differ from their neighbours become alike at the salt, and stay far away."""
    rng = np.random.default_rng(0)
    amplitude, salt = rng.standard_normal((40, 40, 100)), np.zeros((40, 40, 100), bool)
    salt[..., 90:] = True
    found = smear_flanks(drawing(amplitude, salt), 1.0, rng)
    np.testing.assert_allclose(found[..., :60], amplitude[..., :60], atol=1e-5)
    assert found[..., 90].std() < 0.3 * amplitude[..., 90].std()
    nothing = smear_flanks(drawing(amplitude), 1.0, rng)
    np.testing.assert_allclose(nothing, amplitude, atol=1e-6)


def test_wavelet_turns_along_depth():
    """A cosine of one sample in eight stays at the top and is a sine at the bottom."""
    n = 800
    trace = np.cos(2 * np.pi * np.arange(n) / 8) * np.ones((2, 2, 1))
    found = vary_wavelet(drawing(trace), 1.0, np.random.default_rng(0))[0, 0]
    np.testing.assert_allclose(found[:40], trace[0, 0, :40], atol=0.1)
    assert abs(found[-40:] @ trace[0, 0, -40:]) < 2
    assert 0.6 < np.abs(found[-40:]).max() < 0.9  # smoothed by a Gaussian of one sample


def test_half_of_a_throw_bends():
    """At a fault the jump is half of it and a step of the bend; far away nothing changes."""
    shift = np.zeros((40, 40, 3), np.float32)
    shift[:, 20:] = 100
    bent = bend(shift, 4.0)
    np.testing.assert_allclose(bent[:, [0, -1]], shift[:, [0, -1]], atol=1e-3)
    jump = bent[:, 20] - bent[:, 19]
    np.testing.assert_allclose(jump, 50 + 50 * 0.0995, atol=0.2)  # a normal density at half a trace


def test_drag_needs_faults():
    """Without faults there is nothing to bend."""
    plain = make_volume(SMALL, seed=1, faults=0.0)
    flawed = make_flawed(SMALL, seed=1, faults=0.0, flaws={"drag": 1.0})
    np.testing.assert_allclose(flawed["amplitude"], plain["amplitude"], atol=1e-5)


@pytest.mark.parametrize(("flaws", "match"), [({"fog": 1.0}, "fog"), ({"drag": 2.0}, "drag 2")])
def test_bad_flaws_are_refused(flaws, match):
    """What is no flaw, or stronger than all of it, is refused."""
    with pytest.raises(ValueError, match=match):
        make_flawed(SMALL, seed=0, flaws=flaws)
