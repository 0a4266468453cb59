"""What an image holds besides the signal: noise, migration swings, gain and clipping."""

import numpy as np
from scipy import fft, ndimage

from saltearth.earth import Array, Earth, draw_position
from saltearth.imaging import image_wavelengths_m, point_spread, root_mean_square

QUIET = np.float32(0.1)  # fraction of the noise left in the water, which is muted before migration


def add_noise(earth: Earth, signal: Array) -> None:
    """
    Add random noise: in the band of the wavelet along a trace, hardly related between traces.

    ``preset.noise`` is its ratio to the signal, root mean squares below the sea floor. In the
    water, which is muted before migration, a tenth of the noise is left.
    """
    rng, grid = earth.rng("noise"), earth.grid
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    sigmas = rng.uniform(0.2, 0.8, 2)
    ndimage.gaussian_filter(noise, sigmas, output=noise, truncate=3, axes=(0, 1))
    zero, kz = np.zeros(1, np.float32), np.fft.rfftfreq(grid.shape[2], grid.spacing_m[2])
    middle_m, octaves = image_wavelengths_m(earth)[1], earth.value("octaves")
    band = point_spread(
        zero, zero, kz.astype(np.float32), wavelength_m=middle_m, max_dip_deg=45.0, octaves=octaves
    )
    for here in grid.slabs():
        noise[here] = fft.irfft(fft.rfft(noise[here]) * band, grid.shape[2])
    _add_at_level(earth, signal, noise, earth.value("noise"))


def add_swings(earth: Earth, signal: Array) -> None:
    """
    Add migration swings: pieces of bowls that isolated recorded noise is smeared along.

    Half of them lie near salt, where illumination is poor. ``preset.swings`` is their ratio to
    the signal, as for `add_noise`.
    """
    rng, swings, depth_m = earth.rng("swings"), np.zeros_like(signal), earth.depth_m
    for number in range(earth.count(80.0, least=32, most=800)):
        x_m, y_m = draw_position(earth, rng, number, near=earth.tops_m, spread=0.3)
        draw_swing(
            earth,
            swings,
            centre_m=(x_m, y_m, rng.uniform(0.1, 1.0) * depth_m),
            dip=np.deg2rad(rng.uniform(0.0, 65.0)),
            azimuth=rng.uniform(0, 2 * np.pi),
            radius_m=rng.uniform(0.1, 0.6) * depth_m,
            strength=rng.choice((-1.0, 1.0)) * rng.uniform(0.3, 1.0),
        )
    _add_at_level(earth, signal, swings, earth.value("swings"))


def draw_swing(
    earth: Earth,
    image: Array,
    *,
    centre_m: tuple[float, float, float],
    dip: float,
    azimuth: float,
    radius_m: float,
    strength: float,
) -> None:
    """
    Draw a piece of the lower half of a sphere, as a Ricker wavelet along its normal.

    Parameters
    ----------
    centre_m : tuple of three floats
        Middle of the piece, m across inlines, across crosslines and down.
    dip, azimuth : float
        Radians: its dip there, and the direction in which it rises.
    radius_m : float
        Radius of the sphere, m; the piece fades over a quarter of it.
    strength : float
        Amplitude in the middle.
    """
    reach = 0.25 * radius_m
    here = tuple(
        slice(max(int((c - 2 * reach) / d), 0), max(int((c + 2 * reach) / d) + 1, 0))
        for c, d in zip(centre_m, earth.grid.spacing_m, strict=True)
    )
    x, y = earth.grid.x[here[0]] - centre_m[0], earth.grid.y[:, here[1]] - centre_m[1]
    z = earth.grid.z[..., here[2]] - np.float32(centre_m[2])
    near = np.exp((x**2 + y**2 + z**2) / np.float32(-(reach**2)))
    x += np.float32(radius_m * np.sin(dip) * np.cos(azimuth))
    y += np.float32(radius_m * np.sin(dip) * np.sin(azimuth))
    z += np.float32(radius_m * np.cos(dip))
    off = np.sqrt(x**2 + y**2 + z**2) - np.float32(radius_m)
    argument = np.square(np.float32(2 * np.pi / image_wavelengths_m(earth)[1]) * off)
    wavelet = (1 - 2 * argument) * np.exp(-argument)
    image[here] += np.float32(strength) * near * wavelet


def _add_at_level(earth: Earth, signal: Array, noise: Array, level: float) -> None:
    """Add noise at a ratio to the signal, whose root mean square below the sea floor is 1."""
    below = earth.buried_m >= 0
    noise *= np.float32(level / root_mean_square(noise, below))
    noise[~below] *= QUIET
    signal += noise


def apply_agc(earth: Earth, image: Array) -> None:
    """
    Apply automatic gain control: divide by the running root mean square along a trace.

    Its window is ``preset.gain`` of the depth covered; a tenth of the whole image's mean square
    keeps silence silent. Afterwards the root mean square below the sea floor is 1.
    """
    window = max(int(earth.value("gain") * earth.grid.shape[2]), 3)
    below = earth.buried_m >= 0
    floor = np.float32(0.1 * root_mean_square(image, below) ** 2)
    for here in earth.grid.slabs():
        power = ndimage.uniform_filter1d(np.square(image[here]), window, axis=2, mode="nearest")
        image[here] /= np.sqrt(power + floor)
    image /= np.float32(root_mean_square(image, below))


def clip(earth: Earth, image: Array) -> None:
    """Clip the fraction ``preset.clip`` of the samples with the largest magnitudes."""
    rank = int((1 - earth.value("clip")) * (image.size - 1))
    limit = np.partition(np.abs(image), rank, axis=None)[rank]
    np.clip(image, -limit, limit, out=image)
