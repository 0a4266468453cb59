"""Prediction of whole volumes, section by section, in one direction or two."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from itertools import islice
from typing import NoReturn

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from saltvolumes._checks import check_count
from saltvolumes.volume import AXES
from thesis_lib._networks import check_images, evaluating, first_weight
from thesis_lib.patching import (
    Floats,
    Stitcher,
    check_axes,
    grid_sections,
    section_dims,
    split_sections,
    zscore,
)
from thesis_lib.training.config import mix_precision

logger = logging.getLogger(__name__)


def predict_volume(
    model: nn.Module,
    volume: xr.Dataset,
    *,
    patch: int | tuple[int, int],
    stride: int | tuple[int, int],
    axes: Sequence[str] = AXES,
    batch_size: int = 64,
    window: str = "hann",
    precision: str = "auto",
    progress: bool = False,
) -> xr.Dataset:
    """
    Predict the probability of salt in a volume.

    Sections along each direction are cut into overlapping patches, z-scored, and the
    probabilities blended; those of two directions are averaged. Missing samples (NaN) are given to
    the network as zeros, and their probability is NaN. No patch reaches across lines far apart. A
    volume somewhat smaller than a patch is continued by reflection, and a direction with too few
    lines for that is left out, both of which is logged; see
    :func:`thesis_lib.patching.split_sections`.

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
        Patches that the network sees at once, from as many sections as it takes.
    window : {"flat", "hann", "gauss"}
        Taper that blends overlapping patches.
    precision : {"auto", "bf16-mixed", "32-true"}
        Arithmetic of the network; ``"auto"`` is bf16 on GPUs with bf16 and CPUs with AMX.
    progress : bool
        Whether to draw a progress bar in a terminal.

    Returns
    -------
    Dataset
        ``probability``, float32 in [0, 1] over the dims of ``amplitude``; for two directions also
        ``disagreement``, the absolute difference between the two.

    Raises
    ------
    ValueError
        If a patch does not fit the sections of any direction, a direction is unknown, repeated or
        missing, or another argument is out of its range.
    """
    axes = check_axes(axes)
    check_count("batch_size", batch_size)
    amplitude = volume["amplitude"].compute()
    parts = _split(amplitude.to_dataset(name="amplitude"), axes, patch)
    grids = {
        axis: [grid_sections(part, axis, patch, stride) for _, part in parts[axis]]
        for axis in parts
    }
    n_batches = sum(-(-len(grid) // batch_size) for grid in itertools.chain(*grids.values()))
    found = []
    with (
        mix_precision(precision, model),
        evaluating(model),
        torch.inference_mode(),
        tqdm(total=n_batches, unit="batch", disable=not progress or None) as bar,
    ):
        for axis in parts:
            dims = section_dims(volume, axis)
            whole = xr.full_like(amplitude, np.nan, np.float32).transpose(*dims)
            for (run, part), grid in zip(parts[axis], grids[axis], strict=True):
                sections = part["amplitude"].fillna(np.float32(0)).transpose(*dims)
                blended = _predict(model, sections.values, Stitcher(grid, window), batch_size, bar)
                inside = whole[..., run]
                inside[:] = blended[:, : inside.shape[1], : inside.shape[2]]
            found.append(whole.transpose(*amplitude.dims).values)
    mean = np.mean(found, axis=0, dtype=np.float32)
    mean = np.where(np.isnan(mean), np.fmax.reduce(found), mean)  # where one direction has none
    predicted = {"probability": ("probability of salt", mean)}
    if len(found) == 2:
        predicted["disagreement"] = ("difference between directions", np.abs(np.subtract(*found)))
    return xr.Dataset(
        {
            name: xr.DataArray(
                values, amplitude.coords, amplitude.dims, attrs={"long_name": text, "units": "1"}
            ).where(amplitude.notnull())
            for name, (text, values) in predicted.items()
        }
    )


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


def _predict(
    model: nn.Module,
    sections: Floats,
    stitcher: Stitcher,
    batch_size: int,
    bar: tqdm[NoReturn],
) -> Floats:
    """Blended probabilities of sections (line, vertical, lateral)."""
    weight = first_weight(model)
    patches = stitcher.grid.extract(sections)
    while batch := list(islice(patches, batch_size)):
        windows, views = zip(*batch, strict=True)
        images = torch.from_numpy(zscore(np.stack(views)))  # (B, 1, H, W)
        probabilities = torch.sigmoid(model(images.to(weight)).float()).cpu().numpy()
        for position, values in zip(windows, probabilities, strict=True):
            stitcher.add(position, values)
        bar.update()
    return stitcher.merge()
