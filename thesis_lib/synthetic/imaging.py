"""From rock to image: impedance, reflectivity, point-spread function, illumination, noise."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from thesis_lib.synthetic.earth import Array, Earth, Grid, ramp
from thesis_lib.synthetic.salt import inclusions
from thesis_lib.synthetic.sediments import layer_sequence, velocity_trend

SALT_VELOCITY_M_S = 4480.0
WATER_VELOCITY_M_S = 1500.0
SALT_DENSITY_KG_M3 = 2160.0
WATER_DENSITY_KG_M3 = 1030.0
MAX_MARGIN = 256  # samples that a wavelength may cover


def sediment_velocity(earth: Earth) -> Array:
    """Return velocity of sediments in m/s, as if there were neither water nor salt."""
    age, change = layer_sequence(earth, wavelength_m(earth, 0.0))
    velocity = velocity_trend(earth.buried_m, earth.preset.surface_velocity_m_s)
    for here in earth.grid.slabs():
        velocity[here] *= np.exp(np.interp(earth.age_m[here], age, change)).astype(np.float32)
    return velocity


def wavelength_m(earth: Earth, depth_m: float) -> float:
    """Return the dominant wavelength in sediments at a depth, m."""
    buried = np.float32(depth_m) - earth.sea_floor_m.mean()
    velocity = velocity_trend(buried, earth.preset.surface_velocity_m_s)
    return float(velocity) / earth.preset.frequency_hz


def gardner_density(velocity_m_s: Array) -> Array:
    """
    Return density in kg/m3 from velocity, 310 v^(1/4).

    References
    ----------
    .. [1] Gardner, Gardner and Gregory (1974). Formation velocity and density.
       https://doi.org/10.1190/1.1440465
    """
    density: Array = np.float32(310.0) * np.sqrt(np.sqrt(velocity_m_s))
    return density


def log_impedance(earth: Earth, sediments_m_s: Array) -> Array:
    """
    Return the logarithm of acoustic impedance, with voxels on a surface partly salt or water.

    What the salt includes (`salt.inclusions`) is thinner than a voxel: it changes the impedance,
    but neither the velocity nor the mask.
    """
    rock: Array = np.log(sediments_m_s * gardner_density(sediments_m_s))
    water = np.float32(np.log(WATER_VELOCITY_M_S * WATER_DENSITY_KG_M3))
    wet = ramp(-earth.buried_m, earth.grid.spacing_m[2])
    rock += wet * (water - rock)
    del wet
    salt = inclusions(earth)
    salt += np.float32(np.log(SALT_VELOCITY_M_S * SALT_DENSITY_KG_M3))
    salt -= rock
    salt *= ramp(earth.salt_m, earth.grid.spacing_m[2])
    rock += salt
    return rock


def reflectivity(log_impedance: Array) -> Array:
    """
    Return reflection coefficients along depth, half the change of log impedance.

    Positive where impedance grows downward; the last sample has none below it and is 0.
    """
    result = np.zeros_like(log_impedance)
    np.subtract(log_impedance[..., 1:], log_impedance[..., :-1], out=result[..., :-1])
    result *= np.float32(0.5)
    return result


def point_spread(
    kx: Array, ky: Array, kz: Array, *, wavelength_m: float, max_dip_deg: float
) -> Array:
    r"""
    Return the point-spread function of a migrated image in the wavenumber domain.

    .. math::
        P(k) = (|k| / k_p)^2 e^{1 - (|k| / k_p)^2} \; / \;
               \left(1 + (k_{xy} / k_z \tan\theta)^8\right), \quad k_p = 2 / \lambda

    A Ricker wavelet acts along the normal of a reflector; dips beyond θ fade, which also sets the
    lateral resolution.

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
    squared = (lateral + kz**2) * np.float32(wavelength_m**2 / 4)
    steep = lateral / (np.float32(np.tan(np.deg2rad(max_dip_deg)) ** 2) * kz**2 + np.float32(1e-12))
    steep = np.minimum(steep, np.float32(1e4))  # its fourth power stays finite
    spectrum: Array = squared * np.exp(1 - squared) / (1 + steep**4)
    return spectrum


def blur(values: Array, grid: Grid, wavelengths_m: tuple[float, ...], max_dip_deg: float) -> Array:
    """
    Convolve with point-spread functions whose wavelength changes along depth.

    The functions stand at even steps from top to bottom of the volume; between two of them the
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
    shape = padded.shape
    inner = tuple(slice(m, -m) for m in margin)
    spectrum = fft.rfftn(padded)
    del padded
    kx, ky = (
        np.fft.fftfreq(n, d).astype(np.float32)
        for n, d in zip(shape[:2], grid.spacing_m[:2], strict=True)
    )
    kz = np.fft.rfftfreq(shape[2], grid.spacing_m[2]).astype(np.float32)
    place = np.linspace(0, len(wavelengths_m) - 1, grid.shape[2], dtype=np.float32)
    result = np.zeros(grid.shape, np.float32)
    for knot, wavelength in enumerate(wavelengths_m):
        filtered = spectrum.copy()
        for line, k in enumerate(kx):
            filtered[line] *= point_spread(
                k, ky[:, None], kz, wavelength_m=wavelength, max_dip_deg=max_dip_deg
            )
        image = fft.irfftn(filtered, shape, overwrite_x=True)[inner]
        result += image * np.maximum(1 - np.abs(place - knot), 0)
    return result


def illumination(earth: Earth) -> Array:
    """
    Return how much of the amplitude arrives, 1 beside salt, less under it.

    With the salt thickness h above a voxel, blurred laterally: 1 - s (1 - exp(-h / .1 depth)).
    """
    vertical = earth.grid.spacing_m[2]
    thickness = np.cumsum(ramp(earth.salt_m, vertical), axis=2, dtype=np.float32)
    thickness *= np.float32(-vertical / (0.1 * earth.depth_m))
    for axis in (0, 1):
        sigma = 0.03 * earth.body_spacing_m / earth.grid.spacing_m[axis]
        ndimage.gaussian_filter1d(thickness, sigma, axis=axis, output=thickness, truncate=3)
    np.exp(thickness, out=thickness)
    thickness *= np.float32(earth.preset.shadow)
    thickness += np.float32(1 - earth.preset.shadow)
    return thickness


def image_signal(earth: Earth, sediments_m_s: Array) -> Array:
    """Return the image without noise, with root mean square 1 below the sea floor."""
    signal = blur(
        reflectivity(log_impedance(earth, sediments_m_s)),
        earth.grid,
        tuple(wavelength_m(earth, share * earth.depth_m) for share in (0.0, 0.5, 1.0)),
        earth.preset.max_dip_deg,
    )
    signal *= illumination(earth)
    signal /= np.float32(root_mean_square(signal, earth.buried_m >= 0))
    return signal


def add_noise(earth: Earth, signal: Array) -> None:
    """
    Add noise of the image's own band, with dips up to 80 degrees.

    ``preset.noise`` is its ratio to the signal, root mean squares below the sea floor. In the
    water, which is muted before migration, a tenth of the noise is left.
    """
    if earth.preset.noise == 0:
        return
    white = earth.rng("noise").standard_normal(earth.grid.shape, dtype=np.float32)
    noise = blur(white, earth.grid, (wavelength_m(earth, 0.5 * earth.depth_m),), 80.0)
    below = earth.buried_m >= 0
    ratio = root_mean_square(signal, below) / root_mean_square(noise, below)
    noise *= np.float32(ratio * earth.preset.noise)
    noise[~below] *= np.float32(0.1)
    signal += noise


def root_mean_square(values: Array, where: NDArray[np.bool_]) -> float:
    """Return the root mean square of the chosen samples."""
    return float(np.sqrt(np.mean(np.square(values[where]), dtype=np.float64)))
