"""What kinds of earth there are: every number of a preset, and the kinds of salt."""

import zlib
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import numpy as np

from thesis_lib._checks import check_choice, check_count, check_range
from thesis_lib._volume import VERTICAL_UNITS

Span = tuple[float, float]
Amount = float | Span


@dataclass(frozen=True)
class SaltKind:
    """
    Shape of one kind of salt body, in units of the distance between bodies.

    A body is the smooth union of a head (an ellipsoid), a stem under it and a pedestal (a dome on
    the base of salt). A length of 0 leaves the part out.
    """

    head_radius: Span = (0.0, 0.0)  # along and across the azimuth of the body
    head_height: float = 0.0  # vertical half axis
    head_shift: float = 0.0  # head against stem, along the azimuth
    stem_radius: float = 0.0
    pedestal_height: float = 0.0
    pedestal_width: float = 0.3


KINDS = {
    "diapir": SaltKind((0.23, 0.19), 0.26, 0.0, 0.13, 0.17, 0.30),
    "canopy": SaltKind((0.45, 0.36), 0.17, 0.0, 0.12, 0.15, 0.30),
    "tongue": SaltKind((0.42, 0.30), 0.15, 0.22, 0.11, 0.13, 0.28),
    "sheet": SaltKind((0.60, 0.45), 0.11, 0.10, 0.09, 0.10, 0.25),
    "wall": SaltKind((0.60, 0.18), 0.27, 0.0, 0.12, 0.17, 0.35),
    "pillow": SaltKind(pedestal_height=0.50, pedestal_width=0.48),
    "dome": SaltKind(pedestal_height=0.70, pedestal_width=0.32),
}


@dataclass(frozen=True)
class Preset:
    """
    Every choice of an earth. A number may be a range (low, high) that each seed draws from.

    Unless a unit says otherwise, lengths are fractions of the depth that the volume covers, so
    that a preset keeps its character at any shape and spacing.

    Raises
    ------
    TypeError
        If a number is neither a number nor a range.
    ValueError
        If a choice is unknown or a number outside what an earth can have.
    """

    name: str
    # Salt
    kinds: tuple[str, ...]
    n_bodies: int | None = None  # as many as fit, by default
    body_spacing_m: Amount = (1800.0, 3000.0)  # kept between half and all of the depth covered
    salt_fraction: Amount = (0.07, 0.30)  # of the voxels; bodies swell or shrink to it
    head_depth: Amount = (0.40, 0.55)  # centre of the head of each body
    base_depth: Amount = (0.92, 1.05)  # flat base of salt; beyond 1 it is not in the image
    cover: Amount = 0.06  # least sediment between sea floor and salt
    rugosity: Amount = (0.01, 0.03)  # roughness of the top of salt, standard deviation
    interior: Amount = (0.003, 0.03)  # random log impedance inside salt, standard deviation
    stringers: Amount = 0.15  # log impedance of thin sheets inside salt
    sutures: Amount = 0.10  # log impedance of seams between bodies
    # Sediments
    water: Amount = (0.12, 0.18)  # depth of the sea floor; negative: the image begins below it
    relief: Amount = 0.015  # of the sea floor, standard deviation
    fold: Amount = (0.01, 0.03)  # standard deviation at full depth
    arches: Amount = (0.0, 0.1)  # height of highs without salt, at full depth
    clinoforms: Amount = (0.0, 0.1)  # slope of the foresets in a prograding package
    upturn: Amount = (0.5, 0.95)  # slope of layers at the salt
    reach: Amount = (0.1, 0.25)  # of the upturn, in distances between bodies
    faults: Amount = (1.0, 5.0)  # number per squared distance between bodies
    throw: Amount = (0.01, 0.05)  # of each fault
    unconformity: Amount = (0.0, 0.06)  # missing section
    channel: Amount = 0.02  # depth of a channel, which other layers fill
    chaos: Amount = (0.0, 0.01)  # disturbance inside chaotic packages, standard deviation
    contrast: Amount = (0.03, 0.08)  # log velocity of layers, standard deviation
    facies: Amount = (0.1, 0.5)  # lateral change of that contrast, standard deviation
    markers: Amount = (0.0, 4.0)  # number of bright layers
    layer_wavelengths: Amount = (0.08, 0.25)  # mean thickness of a layer
    package: Amount = (0.05, 0.15)  # mean thickness of a package of layers
    surface_velocity_m_s: Amount = (1680.0, 2000.0)
    # Image
    vertical: str = "depth"  # or "time": samples of two-way time, see `imaging.turn_to_time`
    frequency_hz: Amount = (4.0, 8.5)  # middle of the wavelet's band, on a logarithmic scale
    octaves: Amount = (1.8, 2.6)  # width of that band, between half amplitudes
    max_dip_deg: Amount = (50.0, 70.0)
    shadow: Amount = (0.3, 0.8)  # amplitude lost under thick salt
    noise: Amount = (0.02, 0.3)  # share of the signal, root mean squares below the sea floor
    swings: Amount = (0.0, 0.1)  # migration swings, likewise
    polarity: int = 1  # 1: an increase of impedance is positive; -1: negative
    gain: Amount = (0.0, 0.6)  # window of an automatic gain; 0: none
    clip: Amount = 0.0  # share of the samples that are clipped, as in exports

    def __post_init__(self) -> None:
        """Refuse choices that no earth can have."""
        for kind in self.kinds:
            check_choice("salt kind", kind, KINDS)
        if not self.kinds:
            raise ValueError("Invalid kinds (). Must name at least one kind of salt.")
        if self.n_bodies is not None:
            check_count("n_bodies", self.n_bodies, high=40)
        check_choice("vertical", self.vertical, VERTICAL_UNITS)
        check_choice("polarity", self.polarity, (1, -1))
        for name, (low, high) in _RANGES.items():
            amount = getattr(self, name)
            numbers = amount if isinstance(amount, tuple) else (amount, amount)
            if len(numbers) != 2 or not all(isinstance(number, Real) for number in numbers):
                raise TypeError(f"Invalid {name} {amount!r}. Must be a number or (low, high).")
            for number in numbers:
                check_range(name, number, low=low, high=high)
            if numbers[0] > numbers[1]:
                raise ValueError(f"Invalid {name} {amount}. Must be (low, high).")

    def settle(self, seed: int) -> "Preset":
        """Draw every range that holds for a whole earth, each from a random stream of its own."""
        drawn: dict[str, Any] = {
            name: float(_stream(seed, name).uniform(*span))
            for name, span in ((field.name, getattr(self, field.name)) for field in fields(self))
            if name in _RANGES and name not in PER_OBJECT and isinstance(span, tuple)
        }
        return replace(self, **drawn)


def _stream(seed: int, name: str) -> np.random.Generator:
    """Random stream of one field, not that of a step of the same name (`Earth.rng`)."""
    return np.random.default_rng([seed, zlib.crc32(f"preset {name}".encode())])


def as_span(amount: Amount) -> Span:
    """Return a number as the range of that one number."""
    return amount if isinstance(amount, tuple) else (amount, amount)


PER_OBJECT = ("head_depth", "throw")  # drawn for each body or fault

_RANGES: dict[str, Span] = {
    "body_spacing_m": (1.0, 1e5),
    "salt_fraction": (0.05, 0.4),
    "head_depth": (0.0, 0.7),  # stems need some way down to the base
    "base_depth": (0.75, 2.0),
    "cover": (0.0, 0.2),
    "rugosity": (0.0, 0.1),
    "interior": (0.0, 0.5),
    "stringers": (0.0, 1.0),
    "sutures": (0.0, 1.0),
    "water": (-1.0, 0.25),
    "relief": (0.0, 0.03),
    "fold": (0.0, 0.1),
    "arches": (0.0, 0.3),
    "clinoforms": (0.0, 0.5),
    "upturn": (0.0, 0.95),
    "reach": (0.01, 1.0),
    "faults": (0.0, 20.0),
    "throw": (0.0, 0.2),
    "unconformity": (0.0, 0.2),
    "channel": (0.0, 0.2),
    "chaos": (0.0, 0.1),
    "contrast": (0.0, 0.2),
    "facies": (0.0, 1.0),
    "markers": (0.0, 20.0),
    "layer_wavelengths": (0.02, 10.0),
    "package": (0.01, 1.0),
    "surface_velocity_m_s": (1660.0, 3500.0),
    "frequency_hz": (0.1, 200.0),
    "octaves": (1.0, 6.0),
    "max_dip_deg": (10.0, 85.0),
    "shadow": (0.0, 0.99),
    "noise": (0.0, 100.0),
    "swings": (0.0, 100.0),
    "gain": (0.0, 1.0),
    "clip": (0.0, 0.5),
}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("gulf", kinds=("diapir", "canopy", "tongue", "wall", "sheet")),
        Preset(
            "north_sea",
            kinds=("pillow", "dome", "diapir"),
            body_spacing_m=(2200.0, 5200.0),
            base_depth=(0.8, 1.15),
            rugosity=(0.005, 0.02),
            interior=(0.01, 0.07),
            stringers=(0.05, 0.4),
            water=(-0.3, -0.1),
            fold=(0.01, 0.04),
            arches=(0.0, 0.15),
            clinoforms=(0.0, 0.2),
            upturn=(0.3, 0.95),
            reach=(0.15, 0.4),
            faults=(0.0, 8.0),
            throw=(0.003, 0.025),
            chaos=(0.002, 0.012),
            layer_wavelengths=(0.04, 0.12),
            surface_velocity_m_s=(1900.0, 2800.0),
            vertical="time",
            frequency_hz=(5.0, 10.0),
            octaves=(3.0, 4.0),
            shadow=(0.0, 0.5),
            noise=(0.05, 0.3),
            swings=(0.0, 0.15),
            gain=(0.1, 0.5),
            clip=(0.0, 0.01),
        ),
    )
}
