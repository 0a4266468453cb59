"""Prediction of whole volumes, slab by slab of sections, in one direction or two."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask.array as da
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from saltvolumes._checks import check_count, check_sizes
from saltvolumes.volume import AXES, BLOCK_LINES, is_large
from thesis_lib._networks import check_images, evaluating, first_weight
from thesis_lib.patching import (
    Floats,
    PatchGrid,
    Stitcher,
    check_axes,
    grid_sections,
    section_dims,
    split_sections,
    zscore,
)
from thesis_lib.training.config import mix_precision, pick_precision
from thesis_lib.training.slabs import SlabStore

# Sections that are read, predicted and stored together. Batches never mix slabs, so that a result
# depends on the volume and these numbers, not on chunks, workers or where a killed run stopped.
SLAB_LINES = BLOCK_LINES
TAPER = "hann"  # blends overlapping patches
STITCHED = 2**22  # samples of the sections that are stitched together, and share batches

Slab = tuple[str, int]  # direction, and first line

logger = logging.getLogger(__name__)


def predict_volume(
    model: nn.Module,
    volume: xr.Dataset,
    *,
    patch: int | tuple[int, int],
    stride: int | tuple[int, int],
    axes: Sequence[str] = AXES,
    batch_size: int = 64,
    precision: str = "auto",
    progress: bool = False,
    store: SlabStore | None = None,
    client: Any | None = None,
) -> xr.Dataset:
    """
    Predict the probability of salt in a volume.

    Sections along each direction are cut into overlapping patches, z-scored, and the
    probabilities blended; those of two directions are averaged. Missing samples (NaN) are given to
    the network as zeros, and their probability is NaN. No patch reaches across lines far apart. A
    volume somewhat smaller than a patch is continued by reflection, and a direction with too few
    lines for that is left out, both of which is logged; see
    :func:`thesis_lib.patching.split_sections`.

    Slabs of 16 sections are read, predicted and stored one by one, so that a lazy volume may be
    larger than memory. A constant patch is zeros to the network, which sees it once.

    Parameters
    ----------
    model : Module
        Turns (B, 1, H, W) into logits of the same shape. It is run in eval mode on the device and
        in the dtype of its weights, and each of its parts is left in the mode that it was in.
    volume : Dataset
        With ``amplitude`` over (inline, crossline, depth or time).
    patch, stride : int or (int, int)
        Height (along depth) and width of the patches, and the steps between them, in samples.
    axes : sequence of {"inline", "crossline"}
        Directions: ``"inline"`` means sections at a fixed inline.
    batch_size : int
        Patches that the network sees at once, from as many sections of a slab as it takes.
    precision : {"auto", "bf16-mixed", "32-true"}
        Arithmetic of the network; ``"auto"`` is bf16 on GPUs with bf16 and CPUs with AMX.
    progress : bool
        Whether to draw a progress bar in a terminal.
    store : SlabStore, optional
        Where the slabs go, and where those of a killed run are found. By default memory, or a
        temporary folder where the volume is lazy and larger than 256 MiB, or there is a client.
    client : dask.distributed.Client, optional
        Spreads the slabs over its workers, which have to see the files of the volume and the
        store. The result is the same.

    Returns
    -------
    Dataset
        ``probability``, float32 in [0, 1] over the dims of ``amplitude``; for two directions also
        ``disagreement``, the absolute difference between the two. Lazy where it is stored.

    Raises
    ------
    ValueError
        If a patch does not fit the sections of any direction, a direction is unknown, repeated or
        missing, or another argument is out of its range.
    """
    axes = check_axes(axes)
    amplitude = volume["amplitude"]
    parts = _split(amplitude.to_dataset(name="amplitude"), axes, patch)
    for axis in parts:
        for _, part in parts[axis]:
            grid_sections(part, axis, patch, stride)  # which refuses a stride
    settings: dict[str, Any] = {
        "patch": check_sizes("patch", patch, 2),
        "stride": check_sizes("stride", stride, 2),
        "batch_size": check_count("batch_size", batch_size),
        "precision": pick_precision(precision, first_weight(model).device),
    }
    if store is None and (client is not None or is_large(amplitude)):
        store = SlabStore.make_temporary()
    arrays: Mapping[str, Any]
    if store is None:
        arrays = {axis: np.full(amplitude.shape, np.nan, np.float32) for axis in parts}
    else:
        chunks = [min(BLOCK_LINES, n) if dim in AXES else n for dim, n in amplitude.sizes.items()]
        arrays = store.open([*parts], amplitude.shape, chunks, settings)
    with evaluating(model):
        work = _Work(model, amplitude, parts, arrays, **settings)
        _compute(work, store, client, progress)
    return _combine(amplitude, arrays)


def _split(
    volume: xr.Dataset, axes: Sequence[str], patch: int | tuple[int, int]
) -> dict[str, list[tuple[slice, xr.Dataset]]]:
    """Parts of a volume by direction, without a direction that has none."""
    parts, reasons = {}, []
    for axis in axes:
        try:
            parts[axis] = split_sections(volume, axis, patch)
        except ValueError as error:
            reasons.append(error)
    for reason in reasons:
        if not parts:
            raise reason
        logger.warning("One direction is left out: %s", reason)
    return parts


def _compute(work: _Work, store: SlabStore | None, client: Any | None, progress: bool) -> None:
    """Compute the slabs that are not finished, here or by the workers of a cluster."""
    lengths = {
        (axis, first): min(SLAB_LINES, work.amplitude.sizes[axis] - first)
        for axis in work.parts
        for first in range(0, work.amplitude.sizes[axis], SLAB_LINES)
    }
    waiting = [slab for slab in lengths if store is None or not store.is_finished(slab)]
    n_left = sum(lengths[slab] for slab in waiting)
    n_lines = sum(lengths.values())
    hidden = not progress or None  # None: where there is no terminal
    with tqdm(total=n_lines, initial=n_lines - n_left, unit="line", disable=hidden) as bar:
        for slab in map(work.write, waiting) if client is None else _spread(work, waiting, client):
            if store is not None:
                store.finish(slab)
            bar.update(lengths[slab])


def _spread(work: _Work, slabs: Sequence[Slab], client: Any) -> Iterator[Slab]:
    """Slabs as the workers finish them."""
    from dask.distributed import as_completed  # slow to import, and few need it

    shared, n_threads = client.scatter(work, broadcast=True), torch.get_num_threads()
    futures = [client.submit(_write_slab, shared, slab, n_threads, pure=False) for slab in slabs]
    for future in as_completed(futures):  # type: ignore[no-untyped-call]
        yield future.result()


def _write_slab(work: _Work, slab: Slab, n_threads: int) -> Slab:
    """Compute in a worker process, with as many threads: sums in another order are other sums."""
    torch.set_num_threads(n_threads)
    return work.write(slab)


def _combine(amplitude: xr.DataArray, arrays: Mapping[str, Any]) -> xr.Dataset:
    """Mean of the directions, or the one that there is, and their difference."""
    found = [
        amplitude.copy(
            data=array
            if isinstance(array, np.ndarray)
            else da.from_array(array, array.chunks, name=False)  # type: ignore[no-untyped-call]
        )
        for array in arrays.values()
    ]
    first, last = found[0], found[-1]
    mean = first if len(found) == 1 else ((first + last) / 2).fillna(first).fillna(last)
    predicted = {"probability": ("probability of salt", mean)}
    if len(found) == 2:
        predicted["disagreement"] = ("difference between directions", abs(first - last))
    for text, array in predicted.values():
        array.attrs = {"long_name": text, "units": "1"}
    return xr.Dataset({name: array for name, (_, array) in predicted.items()})


def predict_patches(
    model: nn.Module, images: Tensor, *, batch_size: int = 64, precision: str = "auto"
) -> Tensor:
    """
    Output of a network for patches, in eval mode and without gradients.

    Parameters
    ----------
    model : Module
        Every part of it keeps its mode.
    images : Tensor of shape (n, 1, H, W)
        Z-scored patches, n at least 1.
    batch_size : int
        Patches at a time.
    precision : {"auto", "bf16-mixed", "32-true"}
        As in `predict_volume`.

    Returns
    -------
    float32 Tensor of shape (n, ...)
        Logits, on the CPU.

    Raises
    ------
    ValueError
        If there is no patch, or ``precision`` is unknown.
    """
    images, weight = check_images("images", images), first_weight(model)
    starts = range(0, len(images), check_count("batch_size", batch_size))
    batches = (images[start : start + batch_size] for start in starts)
    with mix_precision(precision, model), evaluating(model), torch.inference_mode():
        found = [model(batch.to(weight)).float().cpu() for batch in batches]
    return torch.cat(found)  # outside, so that it is no inference tensor


@dataclass
class _Work:
    """All that the slabs of a prediction have in common."""

    model: nn.Module
    amplitude: xr.DataArray
    parts: Mapping[str, Sequence[tuple[slice, xr.Dataset]]]
    arrays: Mapping[str, Any]  # by direction, with the dims of the amplitude
    patch: tuple[int, int]
    stride: tuple[int, int]
    batch_size: int
    precision: str

    def write(self, slab: Slab) -> Slab:
        """Compute a slab, and put it into the array of its direction."""
        axis, first = slab
        lines = slice(first, first + SLAB_LINES)
        dims = section_dims(self.amplitude.to_dataset(), axis)
        n_lines, height, width = (self.amplitude.sizes[dim] for dim in dims)
        found = [
            (run, self._blend(part["amplitude"].isel({axis: lines}).transpose(*dims)))
            for run, part in self.parts[axis]
        ]
        values = np.full((min(SLAB_LINES, n_lines - first), height, width), np.nan, np.float32)
        for run, blended in found:
            inside = values[..., run]
            inside[:] = blended[:, :height, : inside.shape[2]]
        where = tuple(lines if dim == axis else slice(None) for dim in self.amplitude.dims)
        self.arrays[axis][where] = values.transpose(*map(dims.index, self.amplitude.dims))
        return slab

    def _blend(self, lazy: xr.DataArray) -> Floats:
        """Blended probabilities of sections (line, vertical, lateral), NaN where these are."""
        read = lazy.compute(scheduler="threads")  # here, also within a task of a worker
        sections: Floats = np.array(read.values, np.float32, order="C")
        del read  # as large as the slab
        missing = np.isnan(sections)
        sections[missing] = 0
        varying = _find_varying(sections, self._cut(sections))
        active = varying.any(axis=(1, 2))
        if not active.all():  # one for all of them
            constant = self._stitch(np.zeros_like(sections[:1]), np.zeros_like(varying[:1]))
            sections[~active] = constant
        n_at_once = max(1, STITCHED // sections[0].size)
        lines = np.flatnonzero(active)
        for start in range(0, lines.size, n_at_once):
            few = lines[start : start + n_at_once]
            sections[few] = self._stitch(sections[few], varying[few])
        sections[missing] = np.nan
        return sections

    def _stitch(self, sections: Floats, varying: NDArray[np.bool_]) -> Floats:
        stitcher = Stitcher(self._cut(sections), TAPER)
        windows, varies = [*stitcher.grid], varying.ravel()
        for index in np.flatnonzero(~varies):
            stitcher.add(windows[index], self._constant)
        indices = np.flatnonzero(varies)
        for start in range(0, len(indices), self.batch_size):
            batch = [windows[index] for index in indices[start : start + self.batch_size]]
            images = zscore(np.stack([sections[window] for window in batch]))  # (B, 1, H, W)
            for window, values in zip(batch, self._infer(images), strict=True):
                stitcher.add(window, values)
        return stitcher.merge()

    def _cut(self, sections: Floats) -> PatchGrid:
        return PatchGrid(sections.shape, (1, *self.patch), (1, *self.stride))

    @cached_property
    def _constant(self) -> Floats:
        """Probability (1, H, W) of a constant patch."""
        # Two of them: a single small patch goes through another kernel.
        constant: Floats = self._infer(np.zeros((2, 1, *self.patch), np.float32))[0]
        return constant

    def _infer(self, images: Floats) -> Floats:
        weight = first_weight(self.model)
        with torch.inference_mode(), mix_precision(self.precision, self.model):
            logits = self.model(torch.from_numpy(images).to(weight)).float()
            probabilities: Floats = torch.sigmoid(logits).cpu().numpy()
        return probabilities


def _find_varying(sections: Floats, grid: PatchGrid) -> NDArray[np.bool_]:
    """Which patches (line, top, left) hold different samples: all others are zeros once scored."""
    low = high = sections
    for axis in (1, 2):
        cuts = [
            (slice(None),) * axis + (slice(s, s + grid.patch[axis]),) for s in grid.starts[axis]
        ]
        low = np.stack([low[cut].min(axis=axis) for cut in cuts], axis=axis)
        high = np.stack([high[cut].max(axis=axis) for cut in cuts], axis=axis)
    return np.asarray((low != high) | np.isinf(low))  # infinite ones are refused by the z-score
