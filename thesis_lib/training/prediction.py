"""Prediction of whole volumes, section by section, in one direction or two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NoReturn

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from saltvolumes._checks import check_count
from saltvolumes.volume import AXES
from thesis_lib.patching import (
    Floats,
    Stitcher,
    check_axes,
    grid_sections,
    section_dims,
    zscore,
)
from thesis_lib.training.config import mix_precision


def predict_volume(
    model: nn.Module,
    volume: xr.Dataset,
    *,
    patch: tuple[int, int],
    stride: tuple[int, int],
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
    the network as zeros, and their probability is NaN.

    Parameters
    ----------
    model : Module
        Turns (B, 1, H, W) into logits of the same shape. It is run in eval mode on the device of
        its weights, and each of its parts is left in the mode that it was in.
    volume : Dataset
        With ``amplitude`` over (inline, crossline, depth or time).
    patch, stride : (int, int)
        Height (along depth) and width of the patches, and the steps between them, in samples.
    axes : sequence of {"inline", "crossline"}
        Directions: ``"inline"`` means sections at a fixed inline.
    batch_size : int
        Patches that the network sees at once, from as many sections as it takes.
    window : {"flat", "hann", "gauss"}
        Taper that blends overlapping patches.
    precision : {"auto", "bf16-mixed", "32-true"}
        Arithmetic of the network; ``"auto"`` is bf16 where the hardware computes in bf16.
    progress : bool
        Whether to draw a progress bar.

    Returns
    -------
    Dataset
        ``probability``, float32 in [0, 1] over the dims of ``amplitude``; for two directions also
        ``disagreement``, the absolute difference between the two.

    Raises
    ------
    ValueError
        If a patch does not fit the sections, a direction is unknown, repeated or missing, or
        another argument is out of its range.
    """
    axes = check_axes(axes)
    check_count("batch_size", batch_size)
    amplitude = volume["amplitude"].compute()
    grids = {axis: grid_sections(volume, axis, patch, stride) for axis in axes}
    n_batches = sum(-(-len(grid) // batch_size) for grid in grids.values())
    found = []
    with (
        _evaluating(model, precision),
        tqdm(total=n_batches, unit="batch", disable=not progress) as bar,
    ):
        for axis, grid in grids.items():
            sections = amplitude.fillna(np.float32(0)).transpose(*section_dims(volume, axis))
            blended = _predict(model, sections.values, Stitcher(grid, window), batch_size, bar)
            found.append(sections.copy(data=blended).transpose(*amplitude.dims).values)
    predicted = {"probability": ("probability of salt", np.mean(found, axis=0, dtype=np.float32))}
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
    check_count("number of patches", len(images))
    device = next(model.parameters()).device
    starts = range(0, len(images), check_count("batch_size", batch_size))
    batches = (images[start : start + batch_size] for start in starts)
    with _evaluating(model, precision):
        found = [model(batch.to(device)).float().cpu() for batch in batches]
    return torch.cat(found)  # outside, so that it is no inference tensor


def _predict(
    model: nn.Module,
    sections: Floats,
    stitcher: Stitcher,
    batch_size: int,
    bar: tqdm[NoReturn],
) -> Floats:
    """Blended probabilities of sections (line, vertical, lateral)."""
    device = next(model.parameters()).device
    patches = stitcher.grid.extract(sections)
    while batch := list(islice(patches, batch_size)):
        windows, views = zip(*batch, strict=True)
        images = torch.from_numpy(zscore(np.stack(views)))  # (B, 1, H, W)
        probabilities = torch.sigmoid(model(images.to(device)).float()).cpu().numpy()
        for position, values in zip(windows, probabilities, strict=True):
            stitcher.add(position, values)
        bar.update()
    return stitcher.merge()


@contextmanager
def _evaluating(model: nn.Module, precision: str) -> Iterator[None]:
    """Eval mode without gradients in the precision asked for; every module gets its mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with (
            torch.inference_mode(),
            mix_precision(precision, next(model.parameters()).device),
        ):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
