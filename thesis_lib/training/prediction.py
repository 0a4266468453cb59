"""Prediction of whole volumes, section by section, in one direction or two."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import NoReturn, TypeAlias

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from thesis_lib._checks import check_choice, check_count
from thesis_lib._volume import vertical_dim
from thesis_lib.patching import PatchGrid, Stitcher, zscore
from thesis_lib.training.config import pick_precision

AXES = ("inline", "crossline")
Floats = NDArray[np.float32]
Bar: TypeAlias = "tqdm[NoReturn]"


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
        If a patch does not fit the sections, a direction is unknown, doubled or missing, or
        another argument is out of its range.
    """
    axes = _check_axes(axes)
    check_count("batch_size", batch_size)
    amplitude = volume["amplitude"].transpose(*AXES, vertical_dim(volume)).values
    missing = np.isnan(amplitude)
    amplitude = np.where(missing, np.float32(0), amplitude)
    grids = [_make_grid(volume, axis, patch, stride) for axis in axes]
    n_batches = sum(-(-len(grid) // batch_size) for grid in grids)
    with (
        _evaluating(model, precision),
        tqdm(total=n_batches, unit="batch", disable=not progress) as bar,
    ):
        found = [
            _predict(model, amplitude, axis, grid, window, batch_size, bar)
            for axis, grid in zip(axes, grids, strict=True)
        ]
    for probability in found:
        probability[missing] = np.nan
    return _assemble(volume, found)


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
        If there is no patch, or ``precision`` is none of the three.
    """
    check_count("number of patches", len(images))
    device = next(model.parameters()).device
    starts = range(0, len(images), check_count("batch_size", batch_size))
    batches = (images[start : start + batch_size] for start in starts)
    with _evaluating(model, precision):
        found = [model(batch.to(device)).float().cpu() for batch in batches]
    return torch.cat(found)  # outside, so that it is no inference tensor


def _check_axes(axes: Sequence[str]) -> tuple[str, ...]:
    for axis in axes:
        check_choice("axis", axis, AXES)
    if not 0 < len(axes) == len(set(axes)):
        raise ValueError(f"Invalid axes {tuple(axes)}. Must be one or two different ones.")
    return tuple(axes)


def _make_grid(
    volume: xr.Dataset, axis: str, patch: tuple[int, int], stride: tuple[int, int]
) -> PatchGrid:
    """Grid of patches over the sections (line, vertical, lateral) of one direction."""
    vertical, lateral = vertical_dim(volume), AXES[1 - AXES.index(axis)]
    n_lines, *section = (volume.sizes[name] for name in (axis, vertical, lateral))
    if any(size > length for size, length in zip(patch, section, strict=True)):
        raise ValueError(
            f"Invalid patch {tuple(patch)} for sections along {axis} of shape {tuple(section)} "
            f"({vertical}, {lateral}). Must fit, or leave {axis!r} out of axes."
        )
    return PatchGrid((n_lines, *section), (1, *patch), (1, *stride))


def _predict(
    model: nn.Module,
    amplitude: Floats,
    axis: str,
    grid: PatchGrid,
    window: str,
    batch_size: int,
    bar: Bar,
) -> Floats:
    """Blended probabilities (inline, crossline, vertical) from the sections of one direction."""
    order = (0, 2, 1) if axis == AXES[0] else (1, 2, 0)  # (line, vertical, lateral)
    stitcher = Stitcher(grid, window=window)
    device = next(model.parameters()).device
    patches = grid.extract(np.ascontiguousarray(amplitude.transpose(order)))
    while batch := list(islice(patches, batch_size)):
        windows, views = zip(*batch, strict=True)
        images = torch.from_numpy(zscore(np.stack(views)))  # (B, 1, H, W)
        probabilities = torch.sigmoid(model(images.to(device)).float()).cpu().numpy()
        for place, values in zip(windows, probabilities, strict=True):
            stitcher.add(place, values)
        bar.update()
    blended: Floats = stitcher.merge()
    return blended.transpose(np.argsort(order))


@contextmanager
def _evaluating(model: nn.Module, precision: str) -> Iterator[None]:
    """Eval mode without gradients in the precision asked for; every module gets its mode back."""
    device = next(model.parameters()).device
    mixed = pick_precision(precision, device) == "bf16-mixed"
    casting: AbstractContextManager[object] = (
        torch.autocast(device.type, dtype=torch.bfloat16) if mixed else nullcontext()
    )
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode(), casting:
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _assemble(volume: xr.Dataset, found: Sequence[Floats]) -> xr.Dataset:
    dims = (*AXES, vertical_dim(volume))
    names = {"probability": ("probability of salt", np.mean(found, axis=0, dtype=np.float32))}
    if len(found) == 2:
        names["disagreement"] = ("difference between directions", np.abs(found[0] - found[1]))
    variables = {
        name: (dims, values, {"long_name": text, "units": "1"})
        for name, (text, values) in names.items()
    }
    coords = {name: volume.coords[name] for name in volume["amplitude"].coords}
    return xr.Dataset(variables, coords=coords).transpose(*volume["amplitude"].dims)
