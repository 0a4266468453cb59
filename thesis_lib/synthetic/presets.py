"""What kinds of earth there are: every number of a preset, and the kinds of salt."""

from dataclasses import dataclass, fields

from thesis_lib._checks import check_choice, check_range

Span = tuple[float, float]


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
    Every choice of an earth. Pairs are ranges that a seed draws from.

    Unless a unit says otherwise, lengths are fractions of the depth that the volume covers, so
    that a preset keeps its character at any shape and spacing.
    """

    name: str
    # Salt
    kinds: tuple[str, ...]
    body_spacing_m: float = 2100.0  # kept between half and all of the depth covered
    salt_fraction: Span = (0.10, 0.30)  # of the voxels; bodies swell or shrink into it
    head_depth: Span = (0.40, 0.55)  # centre of the head
    base_depth: Span = (0.92, 1.05)  # flat base of salt; beyond 1 it is not in the image
    cover: float = 0.06  # least sediment between sea floor and salt
    rugosity: float = 0.02  # roughness of the top of salt, standard deviation
    interior: float = 0.01  # random log impedance inside salt, standard deviation
    stringers: float = 0.15  # log impedance of thin sheets inside salt
    sutures: float = 0.10  # log impedance of seams between bodies
    # Sediments
    water: Span = (0.12, 0.18)  # depth of the sea floor; negative: the image begins below it
    relief: float = 0.015  # of the sea floor, standard deviation
    fold: float = 0.02  # standard deviation at full depth
    upturn: float = 0.8  # slope of layers at the salt
    reach: float = 0.16  # of the upturn, in distances between bodies
    faults: float = 3.0  # number per squared distance between bodies
    throw: Span = (0.015, 0.05)
    unconformity: float = 0.05  # missing section
    channel: float = 0.02  # depth of a channel, which other layers fill
    chaos: float = 0.0  # disturbance inside chaotic packages, standard deviation
    contrast: float = 0.06  # log velocity of layers, standard deviation
    layer_wavelengths: float = 0.2  # mean thickness of a layer
    package: float = 0.10  # mean thickness of a package of layers
    surface_velocity_m_s: float = 1700.0
    # Image
    frequency_hz: float = 12.0  # peak of the Ricker wavelet
    max_dip_deg: float = 60.0
    shadow: float = 0.6  # amplitude lost under thick salt
    noise: float = 0.2  # share of the signal, root mean squares below the sea floor

    def __post_init__(self) -> None:
        """Refuse choices that no earth can have."""
        for kind in self.kinds:
            check_choice("salt kind", kind, KINDS)
        if not self.kinds:
            raise ValueError("Invalid kinds (). Must name at least one kind of salt.")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _RANGES:
                low, high = _RANGES[field.name]
                for number in value if isinstance(value, tuple) else (value,):
                    check_range(field.name, number, low=low, high=high)
            if isinstance(value, tuple) and field.name != "kinds" and value[0] > value[1]:
                raise ValueError(f"Invalid {field.name} {value}. Must be (low, high).")


_RANGES: dict[str, Span] = {
    "body_spacing_m": (1.0, 1e5),
    "salt_fraction": (0.05, 0.4),
    "head_depth": (0.0, 1.0),
    "base_depth": (0.5, 2.0),
    "cover": (0.0, 0.2),
    "rugosity": (0.0, 0.1),
    "interior": (0.0, 0.5),
    "stringers": (0.0, 1.0),
    "sutures": (0.0, 1.0),
    "water": (-1.0, 0.25),
    "relief": (0.0, 0.03),
    "fold": (0.0, 0.1),
    "upturn": (0.0, 0.95),
    "reach": (0.01, 1.0),
    "faults": (0.0, 20.0),
    "throw": (0.0, 0.2),
    "unconformity": (0.0, 0.2),
    "channel": (0.0, 0.2),
    "chaos": (0.0, 0.1),
    "contrast": (0.0, 0.2),
    "layer_wavelengths": (0.02, 10.0),
    "package": (0.01, 1.0),
    "surface_velocity_m_s": (1660.0, 3500.0),
    "frequency_hz": (0.1, 200.0),
    "max_dip_deg": (10.0, 85.0),
    "shadow": (0.0, 0.99),
    "noise": (0.0, 100.0),
}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("gulf", kinds=("diapir", "canopy", "tongue", "wall", "sheet")),
        Preset(
            "north_sea",
            kinds=("pillow", "dome"),
            body_spacing_m=2600.0,
            base_depth=(1.05, 1.2),
            rugosity=0.012,
            interior=0.045,
            stringers=0.3,
            water=(-0.3, -0.2),
            fold=0.03,
            upturn=0.6,
            reach=0.3,
            throw=(0.005, 0.02),
            chaos=0.009,
            contrast=0.065,
            surface_velocity_m_s=2000.0,
            frequency_hz=18.0,
            max_dip_deg=50.0,
            shadow=0.3,
            noise=0.25,
        ),
    )
}
