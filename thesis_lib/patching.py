"""Cut arrays into overlapping patches, standardise them, and stitch patches together again."""

import itertools
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from saltvolumes._checks import (
    check_choice,
    check_count,
    check_same_shape,
    check_sizes,
)
from saltvolumes.lines import find_runs
from saltvolumes.volume import AXES, LATERAL, vertical_dim

if TYPE_CHECKING:  # torch is slow to import, and whether a patch fits is asked before
    from torch import Tensor

Floats = NDArray[np.float32]
Window = tuple[slice, ...]
Patches = TypeVar("Patches", NDArray[np.floating[Any]], "Tensor")

TAPERS = ("flat", "hann", "gauss")
MAX_CONTINUED = 8  # times that a section is continued by reflection to fit a patch
_CONSTANT = 1e-6  # standard deviation, as a fraction of the peak, below which there is no signal

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PatchGrid:
    """
    Windows that cover an array of one to four axes, each sample at least once.

    Along each axis the patches start every ``stride`` samples; the last one is flush with the
    end, so that no sample is lost and none invented.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    patch, stride : sequence of int, as long as ``shape``, or int for all axes
        Samples of a patch along each axis, and from one patch to the next. An axis that is not to
        be cut has a patch as long as itself; one that is to be cut into sections a patch of 1.

    Attributes
    ----------
    starts : tuple of tuples of int
        First sample of each patch, per axis.

    Raises
    ------
    TypeError
        If a size is not a whole number.
    ValueError
        If the sizes do not fit one another.

    Examples
    --------
    >>> grid = PatchGrid((77, 101), patch=(32, 32), stride=(20, 20))
    >>> grid.starts
    ((0, 20, 40, 45), (0, 20, 40, 60, 69))
    >>> len(grid), next(iter(grid))
    (20, (slice(0, 32, None), slice(0, 32, None)))
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    stride: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n_axes = len(np.atleast_1d(self.shape))
        for name in ("shape", "patch", "stride"):
            object.__setattr__(self, name, check_sizes(name, getattr(self, name), n_axes))
        check_count("number of axes", len(self.shape), high=4)
        if any(size > length for size, length in zip(self.patch, self.shape, strict=True)):
            raise ValueError(
                f"Patch {self.patch} is larger than the array {self.shape}. Must fit along "
                "each axis."
            )
        if any(step > size for step, size in zip(self.stride, self.patch, strict=True)):
            raise ValueError(
                f"Stride {self.stride} is larger than the patch {self.patch}, which would leave "
                "samples out. Must be at most the patch along each axis."
            )
        starts = tuple(
            (*range(0, length - size, step), length - size)
            for length, size, step in zip(self.shape, self.patch, self.stride, strict=True)
        )
        object.__setattr__(self, "starts", starts)

    def __len__(self) -> int:
        return math.prod(map(len, self.starts))

    def __iter__(self) -> Iterator[Window]:
        return map(self._cut, itertools.product(*self.starts))

    def __contains__(self, window: object) -> bool:
        parts = window if isinstance(window, tuple) else ()
        corner = [part.start for part in parts if isinstance(part, slice)]
        if len(corner) != len(self.starts):
            return False
        known = (start in starts for start, starts in zip(corner, self.starts, strict=True))
        return all(known) and window == self._cut(corner)

    def _cut(self, corner: Sequence[int]) -> Window:
        return tuple(map(slice, corner, map(sum, zip(corner, self.patch, strict=True))))

    def extract(self, array: Any) -> Iterator[tuple[Window, Any]]:
        """
        Go through the patches of an array, the last axis fastest.

        Parameters
        ----------
        array : array of shape ``shape``
            NumPy, torch or anything else that slices cut; a lazy array is read patch by patch.

        Yields
        ------
        window : tuple of slices
            Where the patch lies.
        patch : array of shape ``patch``
            ``array[window]``, a view wherever slicing gives one.

        Raises
        ------
        ValueError
            If the array has another shape than the grid.
        """
        check_same_shape("array", array.shape, "grid", self.shape)
        return ((window, array[window]) for window in self)


def check_axes(axes: Sequence[str]) -> tuple[str, ...]:
    """
    Return directions of sections as a tuple if they are one or two different ones.

    Raises
    ------
    ValueError
        If a direction is neither "inline" nor "crossline", or contained twice, or there is none.
    """
    for axis in axes:
        check_choice("axis", axis, AXES)
    if not 0 < len(axes) == len(set(axes)):
        raise ValueError(f"Invalid axes {tuple(axes)}. Must be one or two different directions.")
    return tuple(axes)


def check_patches(patch: Sequence[int], stride: Sequence[int]) -> None:
    """
    Refuse a height and width of patches, and steps between them, that fit no section.

    Raises
    ------
    TypeError
        If a size or step is not a whole number.
    ValueError
        If it is below 1, there are not two of each, or a step is larger than the patch.
    """
    PatchGrid(check_sizes("patch", tuple(patch), 2), tuple(patch), tuple(stride))


def grid_sections(
    volume: xr.Dataset, axis: str, patch: int | Sequence[int], stride: int | Sequence[int]
) -> PatchGrid:
    """
    Grid of patches over the sections of a volume in one direction.

    Parameters
    ----------
    volume : Dataset
        Its sizes are used, no sample is read.
    axis : {"inline", "crossline"}
        Direction: ``"inline"`` means sections at a fixed inline.
    patch, stride : int or (int, int)
        Height (along depth or time) and width of a patch, and the steps between patches, in
        samples.

    Returns
    -------
    PatchGrid
        Over (n_lines, H, W): line, vertical and lateral axis; each patch lies in one section.

    Raises
    ------
    ValueError
        If the axis is unknown, there is no section, a patch does not fit into it, or the stride is
        larger than the patch.

    Examples
    --------
    >>> amplitude = (("inline", "crossline", "depth"), np.zeros((5, 40, 30)))
    >>> grid_sections(xr.Dataset({"amplitude": amplitude}), "inline", (16, 16), (8, 8)).shape
    (5, 30, 40)
    """
    patch, stride = check_sizes("patch", patch, 2), check_sizes("stride", stride, 2)
    dims = section_dims(volume, axis)
    n_lines, *section = (volume.sizes[name] for name in dims)
    if not n_lines or any(size > length for size, length in zip(patch, section, strict=True)):
        raise ValueError(
            f"Invalid patch {tuple(patch)} for the {n_lines} sections along {axis} of shape "
            f"{tuple(section)} ({dims[1]}, {dims[2]}). Must fit, or leave {axis!r} out of axes."
        )
    return PatchGrid((n_lines, *section), (1, *patch), (1, *stride))


def split_sections(
    volume: xr.Dataset, axis: str, patch: int | Sequence[int]
) -> list[tuple[slice, xr.Dataset]]:
    """
    Parts of a volume whose sections in one direction hold neighbouring lines only.

    A part smaller than a patch is continued by reflection, at most eight times; one that would
    take more is left out. Both are logged.

    Parameters
    ----------
    volume : Dataset
        A volume; of one that is large enough, and has no jump between its lines, the only part is
        the volume itself.
    axis : {"inline", "crossline"}
        Direction: ``"inline"`` means sections at a fixed inline.
    patch : int or (int, int)
        Height (along depth or time) and width of a patch in samples.

    Returns
    -------
    list of (slice, Dataset)
        Position along the lateral axis, and part. What was continued lies at its end.

    Raises
    ------
    ValueError
        If the axis is unknown, or no part is large enough.
    """
    _, vertical, lateral = section_dims(volume, axis)
    sizes = dict(zip((vertical, lateral), check_sizes("patch", patch, 2), strict=True))
    runs = find_runs(volume[lateral].values)
    parts = [(run, volume if len(runs) == 1 else volume.isel({lateral: run})) for run in runs]
    kept = [
        (run, _continue(part, sizes))
        for run, part in parts
        if all(
            size <= max(part.sizes[dim], MAX_CONTINUED * (part.sizes[dim] - 1))
            for dim, size in sizes.items()
        )
    ]
    if not kept:
        _, longest = max(parts, key=lambda part: part[1].sizes[lateral])
        grid_sections(longest, axis, patch, (1, 1))  # which refuses it
    if len(kept) < len(parts):
        left_out = len(parts) - len(kept)
        logger.warning("%d runs of few %ss are left out of patches.", left_out, lateral)
    return kept


def _continue(part: xr.Dataset, sizes: Mapping[str, int]) -> xr.Dataset:
    """Continue a volume by reflection to at least the sizes given."""
    for dim, size in sizes.items():
        n = part.sizes[dim]
        if n < size:
            logger.warning(
                "Continued %d samples along %s by reflection to a patch of %d.", n, dim, size
            )
            part = part.isel({dim: np.pad(np.arange(n), (0, size - n), mode="reflect")})
    return part


def find_axes(volumes: Iterable[xr.Dataset], patch: Sequence[int]) -> tuple[str, ...]:
    """
    Find the directions in which patches fit the sections of all volumes.

    Raises
    ------
    ValueError
        If there is none.
    """
    volumes, fitting, reason = list(volumes), [], None
    for axis in AXES:
        try:
            for volume in volumes:
                split_sections(volume, axis, patch)
            fitting.append(axis)
        except ValueError as error:
            reason = error
    if not fitting and reason is not None:
        raise reason
    return tuple(fitting)


def section_dims(volume: xr.Dataset, axis: str) -> tuple[str, str, str]:
    """
    Axes of the sections in one direction: line, vertical, lateral.

    Raises
    ------
    ValueError
        If ``axis`` is neither "inline" nor "crossline".
    """
    return check_choice("axis", axis, AXES), vertical_dim(volume), LATERAL[axis]


def zscore(patches: Patches) -> Patches:
    """
    Shift and scale each patch to mean 0 and (population) standard deviation 1.

    A patch whose standard deviation is below 1e-6 of its largest magnitude holds nothing but
    rounding errors and becomes zeros.

    Parameters
    ----------
    patches : floating array or Tensor of shape (B, ...)
        A batch of patches, standardised one by one.

    Returns
    -------
    array or Tensor
        As given: same shape, dtype and device.

    Raises
    ------
    TypeError
        If the samples are not floating-point numbers.
    ValueError
        If there is no axis after the first, or a sample is NaN, infinite or masked. Patches with
        missing traces are to be left out or filled before.
    """
    import torch

    xp: Any
    if isinstance(patches, torch.Tensor):
        xp, is_floating = torch, patches.is_floating_point()
    else:
        xp = np
        is_floating = isinstance(patches, np.ndarray) and np.issubdtype(patches.dtype, np.floating)
    if not is_floating:
        kind = getattr(patches, "dtype", type(patches).__name__)
        raise TypeError(f"Invalid patches of type {kind}. Must be floating-point numbers.")
    if patches.ndim < 2:
        raise ValueError(f"Invalid patches of shape {tuple(patches.shape)}. Must be (B, ...).")
    flat = patches.reshape(len(patches), math.prod(patches.shape[1:]))  # (B, samples)
    peak = xp.amax(xp.abs(flat), axis=1, keepdims=True)  # (B, 1)
    if np.ma.is_masked(patches) or not xp.isfinite(peak).all():
        raise ValueError("Invalid patches with NaN or infinite samples. Must be finite.")
    flat = flat / xp.where(peak == 0, 1, peak)  # a constant patch is now exactly constant
    flat = flat - flat.mean(axis=1, keepdims=True)
    deviation = xp.sqrt((flat**2).mean(axis=1, keepdims=True))
    constant = deviation < _CONSTANT
    scaled = xp.where(constant, 0, flat / xp.where(constant, 1, deviation))
    return scaled.reshape(patches.shape)  # type: ignore[no-any-return]


class Stitcher:
    r"""
    Blend overlapping patches into one array.

    Each sample is the mean of the patches over it, weighted by a taper :math:`w` that is strictly
    positive. It is updated patch by patch in float32 [1]_,

    .. math:: W \leftarrow W + w, \qquad m \leftarrow m + \frac{w}{W} (v - m),

    so that patches which agree give back their common value exactly, whatever the taper. Blend
    probabilities, never logits.

    Parameters
    ----------
    grid : PatchGrid
        Where the patches lie.
    window : {"flat", "hann", "gauss"}
        Taper along each axis of n samples: 1, :math:`\sin^2(\pi (i + 1/2) / n)`, or a Gaussian
        with a standard deviation of n / 8 [2]_.

    Raises
    ------
    ValueError
        If the window is unknown.

    References
    ----------
    .. [1] West (1979). Updating mean and variance estimates.
       https://doi.org/10.1145/359146.359153
    .. [2] Isensee et al. (2021). nnU-Net. https://doi.org/10.1038/s41592-020-01008-z

    Examples
    --------
    >>> line = np.arange(7, dtype=np.float32)
    >>> grid = PatchGrid((7,), patch=(3,), stride=(2,))
    >>> stitcher = Stitcher(grid, window="hann")
    >>> for window, values in grid.extract(line):
    ...     stitcher.add(window, values)
    >>> bool((stitcher.merge() == line).all())
    True
    """

    def __init__(self, grid: PatchGrid, window: str = "flat") -> None:
        import torch

        check_choice("window", window, TAPERS)
        self.grid = grid
        self._mean = np.zeros(grid.shape, dtype=np.float32)
        self._weight = np.zeros(grid.shape, dtype=np.float32)
        tapers = [_make_taper(window, size) for size in grid.patch]
        self._taper = torch.from_numpy(reduce(np.multiply.outer, tapers))

    def add(self, window: Window, values: ArrayLike) -> None:
        """
        Blend one patch in.

        Parameters
        ----------
        window : tuple of slices
            Where the patch lies, as the grid gives it.
        values : array of shape ``grid.patch``
            Its samples, such as the probabilities of a network.

        Raises
        ------
        ValueError
            If the window is not one of the grid's, or the values have another shape than its
            patches.
        """
        import torch

        if window not in self.grid:
            raise ValueError(f"Invalid window {window}. Must be one of the windows of {self.grid}.")
        check_same_shape("values", np.shape(values), "patch", self.grid.patch)
        if isinstance(values, torch.Tensor):
            values = values.detach().to("cpu", torch.float32, copy=True)
        else:
            values = torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
        weight = torch.from_numpy(self._weight[window])  # views, which torch adds to faster
        mean = torch.from_numpy(self._mean[window])
        weight += self._taper
        mean += values.sub_(mean).mul_(self._taper / weight)  # a sample's first patch: its value

    def merge(self) -> Floats:
        """
        Return the blended array, of the grid's shape.

        Raises
        ------
        RuntimeError
            If a sample has not been covered by any patch yet.
        """
        n_left = self._weight.size - np.count_nonzero(self._weight)
        if n_left:
            raise RuntimeError(
                f"Cannot merge: {n_left} of {self._weight.size} samples are not covered by any "
                "patch yet. Add the missing patches first."
            )
        return self._mean


def _make_taper(window: str, size: int) -> Floats:
    centre = (np.arange(size) + 0.5) / size  # within (0, 1), symmetric
    if window == "hann":
        taper = np.sin(np.pi * centre) ** 2
    elif window == "gauss":
        taper = np.exp(-0.5 * ((centre - 0.5) * 8) ** 2)
    else:
        taper = np.ones(size)
    return taper.astype(np.float32)
