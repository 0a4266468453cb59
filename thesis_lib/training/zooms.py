"""Prediction of sections at several sizes, for surveys sampled otherwise than what was learned."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltvolumes._checks import check_choice, check_range
from saltvolumes.volume import is_large
from thesis_lib._networks import check_images, first_weight
from thesis_lib.patching import section_dims
from thesis_lib.training.prediction import predict_volume

ZOOM_RULES = ("mean", "surest")


def predict_zoomed(
    model: nn.Module,
    volume: xr.Dataset,
    *,
    axis: str,
    zooms: Sequence[float] = (1.0,),
    rule: str = "mean",
    **options: Any,
) -> xr.DataArray:
    """
    Predict the sections of a volume enlarged by several factors, and combine what is predicted.

    Parameters
    ----------
    model : Module
        As in :func:`predict_volume`.
    volume : Dataset
        With ``amplitude`` that fits into memory.
    axis : {"inline", "crossline"}
        Direction of the sections.
    zooms : sequence of float
        Factors, the same along depth and across; 2 makes twice as many samples and traces.
    rule : {"mean", "surest"}
        The mean of the probabilities, or for each section those of the factor at which the
        network is surest: the mean of ``|2 p - 1|`` is largest. Neither needs a mask.
    **options
        Those of :func:`predict_volume`, but ``axes``.

    Returns
    -------
    DataArray
        ``probability``, float32 in [0, 1] over (axis, vertical, lateral); NaN where the amplitude
        is.

    Raises
    ------
    ValueError
        If no factor is given, one is not above 0, the rule is unknown, the volume is larger than
        256 MiB, or as `predict_volume`, at a factor that makes sections smaller than a patch.
    """
    check_choice("rule", rule, ZOOM_RULES)
    check_zooms(zooms)
    if is_large(volume["amplitude"]):
        raise ValueError("Invalid volume larger than 256 MiB for zooms. Must be cut into parts.")
    dims = section_dims(volume, axis)
    sections = volume["amplitude"].transpose(*dims).load()
    known, size = np.isfinite(sections.values), sections.shape[1:]
    found = []
    for zoom in zooms:
        enlarged = _enlarge(sections, [max(round(zoom * n), 1) for n in size])
        predicted = predict_volume(model, enlarged.to_dataset(), axes=(axis,), **options)
        values = predicted["probability"].transpose(*dims).values
        found.append(_resample(np.nan_to_num(values), size))
    chosen = _combine(np.stack(found), rule)
    return sections.copy(data=np.where(known, chosen, np.nan)).rename("probability")


def check_zooms(zooms: Sequence[float]) -> None:
    """
    Refuse factors of `predict_zoomed` that are not above 0, or none at all.

    Raises
    ------
    ValueError
        If they are.
    """
    if not len(zooms):
        raise ValueError("Invalid zooms: none given. Must be at least one.")
    for zoom in zooms:
        check_range("zoom", zoom, low=0, exclusive=True)


def _combine(found: np.ndarray[Any, Any], rule: str) -> np.ndarray[Any, Any]:
    """Probabilities (n_zooms, n_lines, H, W) as one for each sample."""
    if rule == "mean":
        return np.asarray(found.mean(axis=0))
    surest = np.abs(2 * found - 1).mean(axis=(2, 3)).argmax(axis=0)  # (n_lines,)
    return np.asarray(found[surest, np.arange(found.shape[1])])


def _enlarge(sections: xr.DataArray, size: Sequence[int]) -> xr.DataArray:
    """Sections of other sizes; what is missing stays missing."""
    if tuple(size) == sections.shape[1:]:
        return sections
    missing = _resample(np.isnan(sections.values).astype(np.float32), size) > 0.5
    values = _resample(np.nan_to_num(sections.values), size)
    axis, *dims = sections.dims
    coords = {
        dim: np.linspace(float(sections[dim][0]), float(sections[dim][-1]), n)
        for dim, n in zip(dims, size, strict=True)
    }
    return xr.DataArray(
        np.where(missing, np.nan, values).astype(np.float32),
        {axis: sections[axis].values} | coords,
        sections.dims,
        "amplitude",
    )


def _resample(values: np.ndarray[Any, Any], size: Sequence[int]) -> np.ndarray[Any, Any]:
    """Sections (n_lines, H, W) at another size, without aliases."""
    if tuple(size) == values.shape[1:]:
        return values
    images = torch.from_numpy(np.ascontiguousarray(values, np.float32))[:, None]
    resized = F.interpolate(images, size=tuple(size), mode="bilinear", antialias=True)
    found: np.ndarray[Any, Any] = resized[:, 0].numpy()
    return found


@torch.no_grad()
def mix_statistics(
    model: nn.Module, images: Tensor, *, weight: float, batch_size: int = 64
) -> None:
    """
    Move the statistics of BatchNorm layers towards those of patches of another survey.

    Parameters
    ----------
    model : Module
        Changed in place. One without BatchNorm layers stays as it is.
    images : Tensor of shape (n, 1, H, W)
        Z-scored patches of the survey, n at least 2; no mask is needed.
    weight : float
        0 keeps the statistics that were learned, 1 takes those of the patches, 0.5 the mean.
    batch_size : int
        Patches at a time; the statistics are means over batches.

    Raises
    ------
    ValueError
        If the weight lies outside [0, 1].
    """
    images = check_images("images", images)
    check_range("weight", weight, low=0, high=1)
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [each.momentum for each in layers]
    learned = [{k: v.clone() for k, v in each.named_buffers()} for each in layers]
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
            layer.momentum = None  # the mean over all batches
        for batch in torch.split(images, batch_size):
            model(batch.to(first_weight(model)))
    except BaseException:
        weight = 0.0  # half of the patches are no statistics
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, momentum, before in zip(layers, momenta, learned, strict=True):
            layer.momentum = momentum
            for name, values in layer.named_buffers():
                if values.is_floating_point() and weight:
                    values.lerp_(before[name], 1 - weight)
                else:
                    values.copy_(before[name])
