"""Flaws of real images: each does what it is named for, and nothing else."""

import numpy as np
import pytest
import xarray as xr
from flat_earths import SMALL

from saltearth import FLAWS, make_flawed, make_volume
from saltearth.flaws import add_footprint, add_multiples, smear_flanks, vary_wavelet

ALL = {**dict.fromkeys(FLAWS, 1.0), "drag": 1.0}


def drawing(amplitude, salt=None):
    """Volume of an amplitude, and salt where it is drawn."""
    dims = ("inline", "crossline", "depth")
    salt = np.zeros(amplitude.shape, bool) if salt is None else salt
    values = {"amplitude": (dims, amplitude.astype(np.float32)), "salt": (dims, salt)}
    return xr.Dataset(values)


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
    assert flawed["salt"].equals(plain["salt"])
    assert flawed.attrs["content_hash"] != plain.attrs["content_hash"]


def test_multiples_repeat_an_event_with_the_other_sign():
    """A spike comes again, weaker, negative, then positive at twice the distance."""
    amplitude = np.zeros((4, 5, 100), np.float32)
    amplitude[..., 10] = 1
    found = add_multiples(drawing(amplitude), 1.0, np.random.default_rng(0))
    for trace in found.reshape(-1, 100):
        first, second = np.flatnonzero(trace)[1:]
        assert trace[[10, first, second]] == pytest.approx([1, -0.4, 0.16])
        assert second - 10 == 2 * (first - 10)


def test_multiples_repeat_the_top_of_salt_at_twice_its_depth():
    """The event at the top of salt at sample 30 comes again at 60, with the other sign."""
    amplitude, salt = np.zeros((4, 5, 200)), np.zeros((4, 5, 200), bool)
    amplitude[..., 30], salt[..., 30:50] = 1, True
    with_salt = add_multiples(drawing(amplitude, salt), 0.5, np.random.default_rng(0))
    without = add_multiples(drawing(amplitude), 0.5, np.random.default_rng(0))
    difference = with_salt - without
    assert {*np.argwhere(difference)[:, 2]} == {60}
    assert difference[..., 60] == pytest.approx(-0.2)


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


def test_drag_bends_layers_at_faults():
    """Without faults there is nothing to bend."""
    plain = make_volume(SMALL, seed=1, faults=0.0)
    flawed = make_flawed(SMALL, seed=1, faults=0.0, flaws={"drag": 1.0})
    np.testing.assert_allclose(flawed["amplitude"], plain["amplitude"], atol=1e-5)


@pytest.mark.parametrize(("flaws", "match"), [({"fog": 1.0}, "fog"), ({"drag": 2.0}, "drag 2")])
def test_bad_flaws_are_refused(flaws, match):
    """What is no flaw, or stronger than all of it, is refused."""
    with pytest.raises(ValueError, match=match):
        make_flawed(SMALL, seed=0, flaws=flaws)
