"""From rock to image: impedance, reflectivity, point-spread function, illumination."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from saltearth.earth import Array, Earth, Grid, ramp, random_map
from saltearth.salt import fit_salt, inclusions
from saltearth.sediments import layer_sequence, velocity_trend

SALT_VELOCITY_M_S = 4480.0
WATER_VELOCITY_M_S = 1500.0
SALT_DENSITY_KG_M3 = 2160.0
WATER_DENSITY_KG_M3 = 1030.0
MAX_SEDIMENT_M_S = 4400.0
TIME_VELOCITY_M_S = 4000.0  # what turns the grid's metres into two-way time
MAX_MARGIN = 256  # samples that a wavelength may cover


def sediment_velocity(earth: Earth) -> Array:
    """
    Return velocity of sediments in m/s, as if there were neither water nor salt.

    It stays between those of water and salt, so that a threshold on velocity finds the mask.
    """
    age, change = layer_sequence(earth, wavelength_m(earth, 0.0))
    velocity = velocity_trend(earth.buried_m, earth.value("surface_velocity_m_s"))
    turn = random_map(earth.rng("facies"), earth.grid, 0.3 * earth.body_spacing_m)
    turn *= np.float32(earth.value("facies"))
    for here in earth.grid.slabs():
        first, second = (np.interp(earth.age_m[here], age, values) for values in change.T)
        factor = np.exp(np.cos(turn[here]) * first + np.sin(turn[here]) * second)
        velocity[here] *= factor.astype(np.float32)
    return np.clip(velocity, WATER_VELOCITY_M_S, MAX_SEDIMENT_M_S, out=velocity)


def convert_to_time(earth: Earth) -> None:
    """
    Resample an earth from depth to two-way time, trace by trace.

    A grid spacing of d m becomes a sample interval of 2 d / (4000 m/s), so that the trace covers
    less depth than it did; under a trace that is almost all salt, which is faster, the deepest
    sample repeats. The salt swells or shrinks back to ``preset.salt_fraction``, now of the samples
    in time.

    Raises
    ------
    ValueError
        If so few samples lie below water and cover that the salt does not fit.
    """
    slowness = np.reciprocal(sediment_velocity(earth))
    slowness[earth.buried_m < 0] = 1 / WATER_VELOCITY_M_S
    slowness[earth.salt] = 1 / SALT_VELOCITY_M_S
    step = np.float32(earth.grid.spacing_m[2])
    at = np.cumsum(slowness, axis=2) - np.float32(0.5) * slowness  # by the trapezoidal rule
    at = (at - at[..., :1]) * (step * np.float32(TIME_VELOCITY_M_S))
    wanted, rank = earth.grid.z.ravel(), np.arange(earth.grid.shape[2], dtype=np.float32)
    earth.sample_depth_m = np.empty_like(at)
    for trace in np.ndindex(*earth.grid.shape[:2]):
        where = np.interp(wanted, at[trace], rank)
        earth.sample_depth_m[trace] = where * step
        for values in (earth.age_m, earth.salt_m):
            values[trace] = np.interp(where, rank, values[trace])
    fit_salt(earth)


def wavelength_m(earth: Earth, depth_m: float) -> float:
    """Return the dominant wavelength in sediments at a depth, m."""
    buried = np.float32(depth_m) - earth.sea_floor_m.mean()
    velocity = velocity_trend(buried, earth.value("surface_velocity_m_s"))
    return float(velocity) / earth.value("frequency_hz")


def image_wavelengths_m(earth: Earth) -> tuple[float, ...]:
    """
    Return the wavelength in the units of the image at its top, middle and bottom.

    In time it grows by a third, for absorption; in depth velocity lets it grow.
    """
    if earth.preset.vertical == "time":
        top = TIME_VELOCITY_M_S / earth.value("frequency_hz")
        return top, 7 / 6 * top, 4 / 3 * top
    return tuple(wavelength_m(earth, part * earth.depth_m) for part in (0.0, 0.5, 1.0))


def gardner_density(velocity_m_s: Array) -> Array:
    """
    Return density in kg/m3 from velocity, 310 v^(1/4).

    References
    ----------
    .. [1] Gardner, Gardner and Gregory (1974). Formation velocity and density.
       https://doi.org/10.1190/1.1440465
    """
    return np.asarray(np.float32(310.0) * np.sqrt(np.sqrt(velocity_m_s)))


def log_impedance(earth: Earth, sediments_m_s: Array) -> Array:
    """
    Return the logarithm of acoustic impedance, with voxels on a surface partly salt or water.

    What the salt includes (`salt.inclusions`) is thinner than a voxel: it changes the impedance,
    but neither the velocity nor the mask.
    """
    rock: Array = np.log(sediments_m_s * gardner_density(sediments_m_s))
    water = np.float32(np.log(WATER_VELOCITY_M_S * WATER_DENSITY_KG_M3))
    rock += ramp(-earth.buried_m, earth.grid.spacing_m[2]) * (water - rock)
    salt = inclusions(earth) + np.float32(np.log(SALT_VELOCITY_M_S * SALT_DENSITY_KG_M3))
    rock += ramp(earth.salt_m, earth.grid.spacing_m[2]) * (salt - rock)
    return rock


def reflectivity(log_impedance: Array) -> Array:
    """
    Return reflection coefficients along depth, half the change of log impedance.

    Positive where impedance grows downward; the last sample has none below it and is 0.
    """
    change = np.diff(log_impedance, axis=2, append=log_impedance[..., -1:])
    return np.float32(0.5) * change


def point_spread(
    kx: Array, ky: Array, kz: Array, *, wavelength_m: float, max_dip_deg: float, octaves: float
) -> Array:
    r"""
    Return the point-spread function of a migrated image in the wavenumber domain.

    .. math::
        P(k) = \frac{1}{1 + (k_1 / |k|)^4} \, \frac{1}{1 + (|k| / k_2)^{12}} \,
               \frac{1}{1 + (k_{xy} / k_z \tan\theta)^8}, \quad
        k_{1,2} = 2^{\mp o / 2} \, \frac{2}{\lambda}

    A zero-phase wavelet acts along the normal of a reflector, at half amplitude at the corners of
    its band of o octaves about the wavelength λ; dips beyond θ fade, which also sets the lateral
    resolution.

    Parameters
    ----------
    kx, ky, kz : arrays that broadcast
        Wavenumbers in cycles per m.

    References
    ----------
    .. [1] Lecomte (2008). Resolution and illumination analyses in PSDM: A ray-based approach.
       https://doi.org/10.1190/1.2919584
    """
    lateral = kx**2 + ky**2
    low = (lateral + kz**2) * np.float32(wavelength_m**2 / 4 * 2**octaves)  # (|k| / k_1)^2
    high = np.minimum(low * np.float32(4**-octaves), 100)  # its sixth power stays finite
    steep = lateral / (np.float32(np.tan(np.deg2rad(max_dip_deg)) ** 2) * kz**2 + np.float32(1e-12))
    steep = np.minimum(steep, np.float32(1e4))  # its fourth power stays finite
    return np.asarray(low**2 / (1 + low**2) / (1 + high**6) / (1 + steep**4))


def blur(
    values: Array, grid: Grid, wavelengths_m: tuple[float, ...], max_dip_deg: float, octaves: float
) -> Array:
    """
    Convolve with point-spread functions whose wavelength changes along depth.

    The functions lie at even steps from top to bottom of the volume; between two of them the
    image is blended linearly. Faces are mirrored, so that nothing wraps around.

    Raises
    ------
    ValueError
        If the longest wavelength covers so many samples that the mirrored margins explode.
    """
    least_m = max(wavelengths_m) / MAX_MARGIN
    if min(grid.spacing_m) < least_m:
        raise ValueError(
            f"Invalid spacing_m {grid.spacing_m} for a wavelength of {max(wavelengths_m):.0f} m. "
            f"Must be at least {least_m:.3g} m, or the frequency of the preset higher."
        )
    margin = [int(wavelengths_m[-1] / d) + 1 for d in grid.spacing_m]
    padded = np.pad(values, [(m, m) for m in margin], mode="symmetric")
    shape, inner = padded.shape, tuple(slice(m, -m) for m in margin)
    spectrum = fft.rfftn(padded)
    del padded
    kx = np.fft.fftfreq(shape[0], grid.spacing_m[0]).astype(np.float32)
    ky = np.fft.fftfreq(shape[1], grid.spacing_m[1]).astype(np.float32)[:, None]
    kz = np.fft.rfftfreq(shape[2], grid.spacing_m[2]).astype(np.float32)
    band = {"max_dip_deg": max_dip_deg, "octaves": octaves}
    position = np.linspace(0, len(wavelengths_m) - 1, grid.shape[2], dtype=np.float32)
    result = np.zeros(grid.shape, np.float32)
    for knot, wavelength in enumerate(wavelengths_m):
        filtered = spectrum.copy()
        for line, k in enumerate(kx):
            filtered[line] *= point_spread(k, ky, kz, wavelength_m=wavelength, **band)
        image = fft.irfftn(filtered, shape, overwrite_x=True)[inner]
        result += image * np.maximum(1 - np.abs(position - knot), 0)
    return result


def illumination(earth: Earth) -> Array:
    """
    Return how much of the amplitude arrives: 1 away from salt, less under it.

    With the salt thickness h above a voxel, blurred laterally: 1 - s (1 - exp(-h / .1 depth)).
    """
    vertical = earth.grid.spacing_m[2]
    thickness = np.cumsum(ramp(earth.salt_m, vertical), axis=2, dtype=np.float32)
    thickness *= np.float32(-vertical / (0.1 * earth.depth_m))
    sigmas = [0.03 * earth.body_spacing_m / step_m for step_m in earth.grid.spacing_m[:2]]
    ndimage.gaussian_filter(thickness, sigmas, output=thickness, truncate=3, axes=(0, 1))
    shadow = earth.value("shadow")
    return np.exp(thickness) * np.float32(shadow) + np.float32(1 - shadow)


def image_signal(earth: Earth, sediments_m_s: Array) -> Array:
    """Return the image without noise, with root mean square 1 below the sea floor."""
    coefficients = reflectivity(log_impedance(earth, sediments_m_s))
    max_dip_deg, octaves = earth.value("max_dip_deg"), earth.value("octaves")
    signal = blur(coefficients, earth.grid, image_wavelengths_m(earth), max_dip_deg, octaves)
    signal *= illumination(earth)
    signal *= np.float32(earth.preset.polarity / root_mean_square(signal, earth.buried_m >= 0))
    return signal


def root_mean_square(values: Array, where: NDArray[np.bool_]) -> float:
    """Return the root mean square of the chosen samples."""
    return float(np.sqrt(np.mean(np.square(values[where]), dtype=np.float64)))
