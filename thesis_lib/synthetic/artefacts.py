"""What an image holds besides the signal: noise, migration swings, gain and clipping."""

import numpy as np
from scipy import fft, ndimage

from thesis_lib.synthetic.earth import Array, Earth, draw
from thesis_lib.synthetic.imaging import image_wavelengths_m, point_spread, root_mean_square

QUIET = np.float32(0.1)  # share of noise left in the water, which is muted before migration


def add_noise(earth: Earth, signal: Array) -> None:
    """
    Add random noise: in the band of the wavelet along a trace, hardly related between traces.

    ``preset.noise`` is its ratio to the signal, root mean squares below the sea floor. In the
    water, which is muted before migration, a tenth of the noise is left.
    """
    if earth.value("noise") == 0:
        return
    rng, grid = earth.rng("noise"), earth.grid
    noise = rng.standard_normal(grid.shape, dtype=np.float32)
    for axis in (0, 1):
        sigma = rng.uniform(0.2, 0.8)
        ndimage.gaussian_filter1d(noise, sigma, axis=axis, output=noise, truncate=3)
    zero = np.zeros(1, np.float32)
    kz = np.fft.rfftfreq(grid.shape[2], grid.spacing_m[2]).astype(np.float32)
    band = point_spread(
        zero,
        zero,
        kz,
        wavelength_m=image_wavelengths_m(earth)[1],
        max_dip_deg=45.0,
        octaves=earth.value("octaves"),
    )
    for here in grid.slabs():
        noise[here] = fft.irfft(fft.rfft(noise[here]) * band, grid.shape[2])
    _add(earth, signal, noise, earth.value("noise"))


def add_swings(earth: Earth, signal: Array) -> None:
    """
    Add migration swings: pieces of bowls that isolated recorded noise is smeared along.

    Half of them lie near salt, where illumination is poor. ``preset.swings`` is their ratio to
    the signal, as for `add_noise`.
    """
    if earth.value("swings") == 0:
        return
    rng, swings = earth.rng("swings"), np.zeros_like(signal)
    for number in range(earth.count(80.0, least=32, most=800)):
        place = rng.uniform((0, 0), earth.grid.extent_m[:2])
        if number % 2 and len(earth.tops_m):
            spread = 0.3 * earth.body_spacing_m
            place = earth.tops_m[number % len(earth.tops_m)] + rng.normal(0, spread, 2)
        draw_swing(
            earth,
            swings,
            place_m=(float(place[0]), float(place[1]), draw(rng, (0.1, 1.0)) * earth.depth_m),
            dip=np.deg2rad(draw(rng, (0.0, 65.0))),
            toward=draw(rng, (0, 2 * np.pi)),
            radius_m=draw(rng, (0.1, 0.6)) * earth.depth_m,
            strength=rng.choice((-1.0, 1.0)) * draw(rng, (0.3, 1.0)),
        )
    _add(earth, signal, swings, earth.value("swings"))


def draw_swing(
    earth: Earth,
    image: Array,
    *,
    place_m: tuple[float, float, float],
    dip: float,
    toward: float,
    radius_m: float,
    strength: float,
) -> None:
    """
    Draw a piece of the lower half of a sphere, as a Ricker wavelet along its normal.

    Parameters
    ----------
    place_m : tuple of three floats
        Middle of the piece, m across inlines, across crosslines and down.
    dip, toward : float
        Radians: its dip there, and the direction in which it rises.
    radius_m : float
        Radius of the sphere, m; the piece fades over a quarter of it.
    strength : float
        Amplitude in the middle.
    """
    reach = 0.25 * radius_m
    here = tuple(
        slice(max(int((p - 2 * reach) / d), 0), max(int((p + 2 * reach) / d) + 1, 0))
        for p, d in zip(place_m, earth.grid.spacing_m, strict=True)
    )
    x, y = earth.grid.x[here[0]] - place_m[0], earth.grid.y[:, here[1]] - place_m[1]
    z = earth.grid.z[..., here[2]] - np.float32(place_m[2])
    near = np.exp((x**2 + y**2 + z**2) / np.float32(-(reach**2)))
    x += np.float32(radius_m * np.sin(dip) * np.cos(toward))
    y += np.float32(radius_m * np.sin(dip) * np.sin(toward))
    z += np.float32(radius_m * np.cos(dip))
    off = np.sqrt(x**2 + y**2 + z**2) - np.float32(radius_m)
    argument = np.square(np.float32(2 * np.pi / image_wavelengths_m(earth)[1]) * off)
    wavelet = (1 - 2 * argument) * np.exp(-argument)
    image[here] += np.float32(strength) * near * wavelet


def _add(earth: Earth, signal: Array, noise: Array, share: float) -> None:
    """Add noise at a share of the signal, whose root mean square below the sea floor is 1."""
    below = earth.buried_m >= 0
    noise *= np.float32(share / root_mean_square(noise, below))
    noise[~below] *= QUIET
    signal += noise


def equalise(earth: Earth, image: Array) -> None:
    """
    Divide by the running root mean square along a trace: an automatic gain.

    Its window is ``preset.gain`` of the depth covered; a tenth of the whole image's mean square
    keeps silence silent. Afterwards the root mean square below the sea floor is 1.
    """
    if earth.value("gain") == 0:
        return
    window = max(int(earth.value("gain") * earth.grid.shape[2]), 3)
    below = earth.buried_m >= 0
    floor = np.float32(0.1 * root_mean_square(image, below) ** 2)
    for here in earth.grid.slabs():
        power = ndimage.uniform_filter1d(np.square(image[here]), window, axis=2, mode="nearest")
        image[here] /= np.sqrt(power + floor)
    image /= np.float32(root_mean_square(image, below))


def clip(earth: Earth, image: Array) -> None:
    """Clip the share ``preset.clip`` of the samples with the largest magnitudes."""
    if earth.value("clip") == 0:
        return
    rank = int((1 - earth.value("clip")) * (image.size - 1))
    limit = np.partition(np.abs(image), rank, axis=None)[rank]
    np.clip(image, -limit, limit, out=image)
