"""Patches of synthetic earths in the four classes of LANDMASS."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from saltearth.earth import Grid
from saltearth.features import make_features
from saltearth.presets import Preset
from saltvolumes._checks import check_count
from saltvolumes.landmass import CLASSES
from saltvolumes.volume import vertical_dim

# Every seed of patches has earths of its own, with seeds above those in other use.
FIRST_EARTH, MAX_EARTHS = 10_000_000, 200
MIN_EARTHS = 6  # that the patches of a class come from

SPACING_M = (100.0, 25.0, 20.0)  # inlines far apart, so that neighbours are no near-duplicates
COMMON: dict[str, Any] = {
    "kinds": ("diapir", "dome", "wall", "pillow"),  # no canopies, whose base is no dome
    "base_depth": (1.0, 1.1),  # the base of salt is below the image, the sea floor above it
    "water": (-0.12, -0.05),
    "head_depth": (0.3, 0.45),
    "salt_fraction": (0.08, 0.2),
    "package": (0.02, 0.06),  # thin, so that a patch is seldom all transparent
    "gain": (0.1, 0.4),
    "channel": 0.0,
    "swings": 0.0,  # an interpreter might take their crossing events for faults
    "frequency_hz": (6.5, 8.5),
    "chaos": 0.0,
    "faults": 0.0,
}
# Versions of an earth: what each changes, and which classes are taken from it. Chaos and throw are
# in m here. The rarest class comes first: the others are taken from about the same depth.
VERSIONS: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({"chaos": (80.0, 140.0)}, ("chaotic",)),
    ({}, ("salt dome", "horizon")),
    ({"faults": (15.0, 20.0), "throw": (120.0, 300.0)}, ("fault",)),
)
CHAOS, THROW = 0.2, 0.4  # in periods of the image, what counts as chaotic and as a fault
VISIBLE = 0.5  # energy of a feature, as a fraction of that of its patch

Masks = NDArray[np.bool_]
Version = tuple[xr.Dataset, tuple[str, ...]]  # sections, and the classes that they show


class ClassPatches(NamedTuple):
    """Patches of an earth with their classes and masks, in the order of the classes."""

    images: NDArray[np.float32]  # (n, H, W), depth or time downward
    labels: NDArray[np.int64]  # (n,), positions in classes
    classes: tuple[str, ...]
    masks: NDArray[np.bool_]  # (n, H, W), True inside salt


def make_class_patches(
    *, preset: str | Preset, shape: tuple[int, int, int], patch: int, n_per_class: int, seed: int
) -> ClassPatches:
    """
    Make patches of the synthetic earth in the classes of LANDMASS.

    Labels come from the geology (`make_features`), not from the image. Each earth is made in
    three versions with one seed: plain, with chaotic layers, and with faults. So the classes share
    layers, salt, noise and gain, and differ in their feature alone. An earth gives as many patches
    to each class as to the others, from about the same depth. As in LANDMASS only patches that an
    interpreter would not argue about are taken:

    - chaotic: more than a quarter lies in chaotic layers, which reflect; no salt;
    - fault: on more than three fifths of the rows, faults cross the middle half with a throw of
      more than .4 periods of the image, through layers that reflect; no salt;
    - horizon: neither salt, nor faults, nor chaotic layers;
    - salt dome: .15 to .7 of the patch and of its middle are salt, most of it in the lower half.

    Parameters
    ----------
    preset : str or Preset
        Of :data:`saltearth.PRESETS`; `COMMON` and `VERSIONS` change it.
    shape : tuple of three ints
        (n_inline, n_crossline, n_depth) of each earth, at a spacing of 100, 25 and 20 m. Patches
        are cut from sections at a fixed inline. From 80 samples deep; four patches are a good
        depth, since chaotic packages are up to an eighth of it thick.
    patch : int
        Height and width in samples, at least 16.
    n_per_class : int
        Patches of each class.
    seed : int
        Not negative. Two seeds share no earth: train on one and test on another.

    Returns
    -------
    ClassPatches
        In the order of the classes, with masks of salt.

    Raises
    ------
    TypeError
        If a count is not a whole number.
    ValueError
        If an argument is out of its range, the patch does not fit the sections, or 200 earths give
        too few patches of a class.
    """
    grid = Grid(shape, SPACING_M)
    check_count("n_depth", shape[2], low=80)
    check_count("patch", patch, low=16, high=min(shape[1:]))
    check_count("n_per_class", n_per_class)
    first = FIRST_EARTH + check_count("seed", seed, low=0) * MAX_EARTHS
    rng = np.random.default_rng(seed)
    at_once, missing = -(-n_per_class // MIN_EARTHS), n_per_class
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in CLASSES}
    lacking: Counter[str] = Counter()
    for earth in range(first, first + MAX_EARTHS):
        cut = _cut_earth(_make_versions(earth, preset, grid), patch, min(at_once, missing), rng)
        rarest = min(cut, key=lambda name: len(cut[name]))
        n_cut = len(cut[rarest])
        for name, pairs in cut.items():
            found[name].append(pairs[:n_cut])
        lacking[rarest] += 1
        missing -= n_cut
        if not missing:
            break
    else:
        raise ValueError(
            f"Found {n_per_class - missing} of {n_per_class} patches of each class in {MAX_EARTHS} "
            f"earths of shape {tuple(shape)}; most lack the class {lacking.most_common(1)[0][0]}. "
            "Must be larger earths, about four patches deep."
        )
    patches = np.concatenate([part for name in CLASSES for part in found[name]])  # (n, 2, H, W)
    labels = np.repeat(np.arange(len(CLASSES)), n_per_class)
    return ClassPatches(patches[:, 0], labels, CLASSES, patches[:, 1] > 0)


def _cut_earth(
    versions: Iterable[Version], patch: int, n_patches: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Cut amplitude and mask of patches (n, 2, H, W) of each class, up to one that is lacking."""
    cut: dict[str, NDArray[np.float32]] = {}
    level = None
    for sections, names in versions:
        for name in names:
            corners = _pick(find_class(sections, name, patch), patch, n_patches, level, rng)
            cut[name] = _read(sections, corners, patch)
            n_patches = len(corners)
            if not n_patches:
                return cut
            level = corners[:, 1].mean() if level is None else level
    return cut


def _make_versions(seed: int, preset: str | Preset, grid: Grid) -> Iterator[Version]:
    """Make the versions of an earth, axes in the order inline, vertical, crossline."""
    for changes, names in VERSIONS:
        fields = COMMON | changes
        for name in {"chaos", "throw"} & changes.keys():
            fields[name] = tuple(metres / grid.extent_m[2] for metres in changes[name])
        volume = make_features(grid.shape, seed=seed, spacing_m=SPACING_M, preset=preset, **fields)
        yield volume.transpose("inline", vertical_dim(volume), "crossline"), names


def find_class(sections: xr.Dataset, name: str, patch: int) -> Masks:
    """
    Find the windows of an earth that show a class, as `make_class_patches` defines it.

    Parameters
    ----------
    sections : Dataset
        Of `make_features`, its axes in the order inline, vertical, crossline.
    name : str
        One of the classes of LANDMASS. Horizons are found in the plain version of an earth alone,
        which has neither faults nor chaotic layers.
    patch : int
        Height and width of a window in samples.

    Returns
    -------
    bool array of shape (n_inline, n_vertical - patch + 1, n_crossline - patch + 1)
        By the first sample of the window.
    """
    half, quarter, window = patch // 2, patch // 4, (patch, patch)
    salt = sections["salt"].values
    filled = mean_in(salt, window)
    if name == "salt dome":
        inner = mean_in(salt, window, (quarter, quarter, half, half))
        lower = mean_in(salt, window, (half, 0, patch - half, patch))
        partly = (filled > 0.15) & (filled < 0.7) & (inner > 0.15) & (inner < 0.7)
        return np.asarray(partly & (lower > 1.2 * filled))
    fits: Masks = filled == 0
    if name == "chaotic":
        chaotic = sections["chaos"].values > CHAOS
        fits &= mean_in(chaotic, window) > 0.25
        fits &= _reflects(sections, chaotic, window)
    if name == "fault":
        faulted = sections["throw"].values > THROW
        crossed = mean_in(faulted, (1, patch), (0, quarter, 1, half)) > 0
        fits &= mean_in(crossed, (patch, 1)) > 0.6
        fits &= _reflects(sections, faulted, window)
    return fits


def mean_in(
    values: NDArray[Any], window: tuple[int, int], part: tuple[int, int, int, int] | None = None
) -> NDArray[np.float64]:
    """
    Return the mean in each window of sections.

    Parameters
    ----------
    values : array of shape (n, H, W)
        Sections.
    window : (int, int)
        Height and width of a window in samples.
    part : (top, left, height, width), optional
        Part of the window to average over; all of it by default.

    Returns
    -------
    array of shape (n, H - window height + 1, W - window width + 1)

    Examples
    --------
    >>> mean_in(np.array([[[1, 2, 3], [4, 5, 6]]]), (2, 2)).tolist()
    [[[3.0, 4.0]]]
    """
    top, left, height, width = part or (0, 0, *window)
    sums = np.ascontiguousarray(values).cumsum(axis=1, dtype=np.float64).cumsum(axis=2)
    sums = np.pad(sums, ((0, 0), (1, 0), (1, 0)))
    rows = sums[:, height:] - sums[:, :-height]
    boxes = rows[..., width:] - rows[..., :-width]
    n_rows, n_columns = (n - size + 1 for n, size in zip(values.shape[1:], window, strict=True))
    boxes = boxes[:, top : top + n_rows, left : left + n_columns]
    return np.asarray(boxes / (height * width))


def _reflects(sections: xr.Dataset, feature: Masks, window: tuple[int, int]) -> Masks:
    """Find where a feature is no weaker than the rest of its window, or not much."""
    energy = np.square(sections["amplitude"].values)
    there = mean_in(energy * feature, window)
    return np.asarray(there > VISIBLE * mean_in(energy, window) * mean_in(feature, window))


def _pick(
    fits: Masks, patch: int, n_patches: int, level: float | None, rng: np.random.Generator
) -> NDArray[np.intp]:
    """First samples (n, 3) of windows that hardly overlap, at random or near a vertical level."""
    step = patch // 8
    corners: NDArray[np.intp] = rng.permutation(np.argwhere(fits[:, ::step, ::step]))
    corners *= (1, step, step)
    if level is not None:
        corners = corners[np.argsort(np.abs(corners[:, 1] - level), kind="stable")]
    apart, kept = (2, patch // 2, patch // 2), corners[:0]
    for corner in corners:
        if (np.abs(kept - corner) >= apart).any(axis=1).all():
            kept = np.vstack([kept, corner])
        if len(kept) == n_patches:
            break
    return kept


def _read(sections: xr.Dataset, corners: NDArray[np.intp], patch: int) -> NDArray[np.float32]:
    """Amplitude and mask of windows, (n, 2, H, W)."""
    windows = [
        sliding_window_view(sections[name].values, (patch, patch), axis=(1, 2))[tuple(corners.T)]
        for name in ("amplitude", "salt")
    ]
    return np.stack(windows, axis=1, dtype=np.float32, casting="unsafe")
