"""What kinds of earth there are: every number of a preset, and the kinds of salt."""

import zlib
from dataclasses import dataclass, replace
from numbers import Real
from typing import Annotated, Any, get_origin, get_type_hints

import numpy as np

from saltvolumes._checks import check_choice, check_count, check_range, keep_plain
from saltvolumes.volume import VERTICAL_UNITS

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

    The type of a number holds its bounds.

    Lengths without a unit are fractions of the depth that the volume covers, so
    that a preset keeps its character at any shape and spacing. A spread is a standard deviation,
    a fraction of the signal one of root mean squares.

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
    body_spacing_m: Annotated[Amount, 1.0, 1e5] = (1800.0, 3000.0)  # half to all of the depth
    salt_fraction: Annotated[Amount, 0.05, 0.4] = (0.07, 0.30)  # of all voxels; bodies swell to it
    head_depth: Annotated[Amount, 0.0, 0.7] = (0.40, 0.55)  # centre of the head of each body
    base_depth: Annotated[Amount, 0.75, 2.0] = (0.92, 1.05)  # flat; beyond 1: below the image
    cover: Annotated[Amount, 0.0, 0.2] = 0.06  # least sediment between sea floor and salt
    rugosity: Annotated[Amount, 0.0, 0.1] = (0.01, 0.03)  # roughness of the top of salt, spread
    interior: Annotated[Amount, 0.0, 0.5] = (0.003, 0.03)  # spread of log impedance inside salt
    stringers: Annotated[Amount, 0.0, 1.0] = 0.15  # log impedance of thin sheets inside salt
    sutures: Annotated[Amount, 0.0, 1.0] = 0.10  # log impedance of seams between bodies
    # Sediments
    water: Annotated[Amount, -1.0, 0.25] = (0.12, 0.18)  # sea floor; below 0: above the image
    relief: Annotated[Amount, 0.0, 0.03] = 0.015  # spread of the sea floor
    fold: Annotated[Amount, 0.0, 0.1] = (0.01, 0.03)  # spread at full depth
    arches: Annotated[Amount, 0.0, 0.3] = (0.0, 0.1)  # height of highs without salt, at full depth
    clinoforms: Annotated[Amount, 0.0, 0.5] = (0.0, 0.1)  # slope of the foresets of one package
    upturn: Annotated[Amount, 0.0, 0.95] = (0.5, 0.95)  # slope of layers at the salt
    reach: Annotated[Amount, 0.01, 1.0] = (0.1, 0.25)  # of the upturn, in distances between bodies
    faults: Annotated[Amount, 0.0, 20.0] = (1.0, 5.0)  # number per squared distance between bodies
    throw: Annotated[Amount, 0.0, 0.2] = (0.01, 0.05)  # of each fault
    unconformity: Annotated[Amount, 0.0, 0.2] = (0.0, 0.06)  # missing section
    channel: Annotated[Amount, 0.0, 0.2] = 0.02  # depth of a channel, which other layers fill
    chaos: Annotated[Amount, 0.0, 0.1] = (0.0, 0.01)  # spread of the push in chaotic packages
    contrast: Annotated[Amount, 0.0, 0.2] = (0.03, 0.08)  # spread of the log velocity of layers
    facies: Annotated[Amount, 0.0, 1.0] = (0.1, 0.5)  # spread of its lateral change
    markers: Annotated[Amount, 0.0, 20.0] = (0.0, 4.0)  # number of bright layers
    layer_wavelengths: Annotated[Amount, 0.02, 10.0] = (0.08, 0.25)  # mean thickness of a layer
    package: Annotated[Amount, 0.01, 1.0] = (0.05, 0.15)  # mean thickness of a package of layers
    surface_velocity_m_s: Annotated[Amount, 1660.0, 3500.0] = (1680.0, 2000.0)
    # Image
    vertical: str = "depth"  # or "time": samples of two-way time, see `imaging.convert_to_time`
    frequency_hz: Annotated[Amount, 0.1, 200.0] = (4.0, 8.5)  # middle of the band, by octaves
    octaves: Annotated[Amount, 1.0, 6.0] = (1.8, 2.6)  # width of that band, between half amplitudes
    max_dip_deg: Annotated[Amount, 10.0, 85.0] = (50.0, 70.0)
    shadow: Annotated[Amount, 0.0, 0.99] = (0.3, 0.8)  # amplitude lost under thick salt
    noise: Annotated[Amount, 0.0, 100.0] = (0.02, 0.3)  # fraction of the signal below sea floor
    swings: Annotated[Amount, 0.0, 100.0] = (0.0, 0.1)  # migration swings, likewise
    polarity: int = 1  # 1: an increase of impedance is positive; -1: negative
    gain: Annotated[Amount, 0.0, 1.0] = (0.0, 0.6)  # window of automatic gain control; 0: none
    clip: Annotated[Amount, 0.0, 0.5] = 0.0  # fraction of the samples clipped, as in exports

    def __post_init__(self) -> None:
        """Refuse choices that no earth can have."""
        keep_plain(self)
        for kind in self.kinds:
            check_choice("salt kind", kind, KINDS)
        if not self.kinds:
            raise ValueError("Invalid kinds (). Must name at least one kind of salt.")
        if self.n_bodies is not None:
            check_count("n_bodies", self.n_bodies, high=40)
        check_choice("vertical", self.vertical, VERTICAL_UNITS)
        check_choice("polarity", self.polarity, (1, -1))
        for name, (low, high) in BOUNDS.items():
            amount = getattr(self, name)
            numbers = as_span(amount)
            if len(numbers) != 2 or not all(isinstance(number, Real) for number in numbers):
                raise TypeError(f"Invalid {name} {amount!r}. Must be a number or (low, high).")
            for number in numbers:
                check_range(name, number, low=low, high=high)
            if numbers[0] > numbers[1]:
                raise ValueError(f"Invalid {name} {amount}. Must be (low, high).")

    def draw(self, seed: int) -> "Preset":
        """Draw every range that holds for a whole earth, each from a random stream of its own."""
        drawn: dict[str, Any] = {
            name: random_stream(seed, f"preset {name}").uniform(*getattr(self, name))
            for name in BOUNDS
            if name not in PER_OBJECT and isinstance(getattr(self, name), tuple)
        }
        return replace(self, **drawn)


def random_stream(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers of one step or field: a new one leaves the others alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def as_span(amount: Amount) -> Span:
    """Return a number as the range of that one number."""
    return amount if isinstance(amount, tuple) else (amount, amount)


PER_OBJECT = ("head_depth", "throw")  # drawn for each body or fault

BOUNDS: dict[str, Span] = {
    name: hint.__metadata__
    for name, hint in get_type_hints(Preset, include_extras=True).items()
    if get_origin(hint) is Annotated
}

PRESETS = {
    "gulf": Preset("gulf", kinds=("diapir", "canopy", "tongue", "wall", "sheet")),
    "north_sea": Preset(
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
}
