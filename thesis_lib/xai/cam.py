"""Where a classifier sees what it takes for a class: activation maps, and what changes its mind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from saltvolumes._checks import check_count, check_same_shape
from thesis_lib._networks import check_images
from thesis_lib.xai._hooks import frozen, match_network
from thesis_lib.xai.measures import correlation, find_band

REGIONS = ("band", "interior", "exterior")
FEATHER_PX = 1.0  # standard deviation of the edge of what is replaced: 2 pixels on either side


@dataclass(frozen=True)
class Cam:
    """
    What `cam` found. Signed: positive where the patch speaks for the class, negative against it.

    Attributes
    ----------
    maps : Tensor of shape (n, 1, H, W)
        Sum over the blocks, up-sampled to the patch.
    blocks : tuple of Tensors of shape (n, 1, h, w)
        Map of each block at its own resolution. The sum of their means and the bias of the head is
        the logit of the class.
    """

    maps: Tensor
    blocks: tuple[Tensor, ...]


def cam(model: nn.Module, patches: Tensor, class_index: int, *, against: int | None = None) -> Cam:
    r"""
    Class activation maps :math:`C = \sum_k w_k f_k` of patches [1]_.

    For a classifier on several blocks, as `SaltClassifier`, each block has a map made of its own
    channels and weights; up-sampled (bilinear, pixels are areas) they add up.

    Parameters
    ----------
    model : Module
        Classifier whose logits are a linear ``head`` on the means of the maps (n, C, h, w) that
        ``features(x)`` lists, as `SaltClassifier`. Used in eval mode, on its own device and with
        its own dtype; left as it was.
    patches : Tensor of shape (n, 1, H, W)
        Z-scored, as the network was trained on.
    class_index : int
        The class.
    against : int, optional
        Another class: the maps are those of the difference between the two logits, all that the
        softmax of two classes sees. What both logits have in common decides nothing.

    Returns
    -------
    Cam
        On the device of the network, in at least float32.

    Raises
    ------
    TypeError
        If the class is not a whole number, or the model has no linear head on its features.
    ValueError
        If there is no such class, or the head does not fit the channels.

    References
    ----------
    .. [1] Zhou et al. (2016). Learning deep features for discriminative localization.
       https://doi.org/10.1109/CVPR.2016.319
    """
    compute_features, head = _split_classifier(model, class_index)
    if against is not None:
        check_count("against", against, low=0, high=head.out_features - 1)
    patches = match_network(check_images("patches", patches), model)
    with frozen(model), torch.no_grad():
        features = compute_features(patches.to(head.weight.dtype))
        weights = head.weight[class_index]
        if against is not None:
            weights = weights - head.weight[against]
        sizes = [maps.shape[1] for maps in features]
        if sum(sizes) != head.in_features:
            raise ValueError(
                f"Invalid model: {head.in_features} inputs of the head. Must be as many as the "
                f"channels of the blocks, {sizes}."
            )
        blocks = tuple(
            torch.einsum("k,nkhw->nhw", part, maps.to(patches.dtype))[:, None]
            for part, maps in zip(
                torch.split(weights.to(patches.dtype), sizes), features, strict=True
            )
        )
        size = tuple(patches.shape[2:])
        large = [F.interpolate(block, size=size, mode="bilinear") for block in blocks]
        return Cam(torch.stack(large).sum(dim=0), blocks)


@torch.inference_mode(False)  # a copy made in it could not be explained
def randomize_cascade(
    model: nn.Module, patches: Tensor, class_index: int, *, against: int | None = None, seed: int
) -> dict[str, Tensor]:
    """
    Sanity check: how similar a map stays as weights are destroyed from the head down [1]_.

    Stage by stage, the entries of each weight tensor of a copy of the model are shuffled, so that
    activations keep their order of magnitude. A map that explains the network has to change.

    Parameters
    ----------
    model, patches, class_index, against
        As for `cam`. The model stays as it is.
    seed : int
        Decides the shuffles.

    Returns
    -------
    dict of str to Tensor of shape (n,)
        Correlation with the map of the intact network, after each part of the model (its named
        children, last first) and all before it have been shuffled; ``"intact"`` comes first.

    Raises
    ------
    TypeError, ValueError
        As `cam`, or if the seed is not a whole number of at least 0.

    References
    ----------
    .. [1] Adebayo et al. (2018). Sanity checks for saliency maps.
       https://arxiv.org/abs/1810.03292
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, low=0))
    intact = cam(model, patches, class_index, against=against).maps
    shuffled = copy.deepcopy(model)
    found = {"intact": correlation(intact, intact)}
    for name, part in reversed(list(shuffled.named_children())):
        for weight in part.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.data = weight.data.flatten()[order].reshape(weight.shape)
        maps = cam(shuffled, patches, class_index, against=against).maps
        found[name] = correlation(maps, intact)
    return found


def split_evidence(maps: Tensor, masks: Tensor, *, width_px: int) -> dict[str, Tensor]:
    """
    Fractions of a map's positive values along the boundary of salt, inside and outside of it.

    Those of a constant map are the fractions of the area, which is what to compare with.

    Parameters
    ----------
    maps : Tensor of shape (n, 1, H, W)
    masks : bool Tensor of the same shape
        True inside salt.
    width_px : int
        Pixels of the band on each side of the boundary. The patch's edge is not a boundary.

    Returns
    -------
    dict with "band", "interior" and "exterior", float64 Tensors of shape (n,)
        The last two are without the band; the three add up to 1. NaN where a map has no positive
        value.

    Raises
    ------
    TypeError
        If the masks are not boolean or the width is not a whole number.
    ValueError
        If shapes differ or the width is below 1.
    """
    check_same_shape("maps", maps.shape, "masks", masks.shape)
    evidence, masks = maps.double().clamp(min=0), masks.to(maps.device)
    band = find_band(masks, width_px=width_px)
    parts = (band, masks & ~band, ~masks & ~band)
    total = evidence.sum(dim=(1, 2, 3))
    return {
        name: (evidence * part).sum(dim=(1, 2, 3)) / total
        for name, part in zip(REGIONS, parts, strict=True)
    }


def find_regions(masks: Tensor, *, width_px: int) -> dict[str, Tensor]:
    """
    Find the band along the boundary of salt, and as many pixels inside and outside of it.

    Those of the interior and of the exterior are the pixels beyond the band that are farthest from
    the boundary; of equally far ones, the upper and left ones.

    Parameters
    ----------
    masks, width_px
        As in `split_evidence`.

    Returns
    -------
    dict with "band", "interior" and "exterior", bool Tensors of shape (n, 1, H, W)
        A side that has fewer pixels beyond the band than the band itself has fewer here, too.

    Raises
    ------
    TypeError, ValueError
        As `split_evidence`.
    """
    band = find_band(masks, width_px=width_px)
    regions = {"band": band}
    for name, side in (("interior", masks), ("exterior", ~masks)):
        found = [
            _take_farthest((mask & ~taken).cpu().numpy(), mask.cpu().numpy(), int(taken.sum()))
            for mask, taken in zip(side[:, 0], band[:, 0], strict=True)
        ]
        regions[name] = torch.from_numpy(np.stack(found))[:, None].to(masks.device)
    return regions


def replace_regions(images: Tensor, regions: Tensor, fills: Tensor) -> Tensor:
    """
    Replace a region of each image by the same pixels of another, over a soft edge.

    The region is blurred by 1 pixel, which keeps its area. Unlike zeros or a local mean, a piece of
    other data is nothing that a network has never seen, or takes for smooth salt.

    Parameters
    ----------
    images, fills : Tensors of shape (n, 1, H, W)
    regions : bool Tensor of the same shape

    Returns
    -------
    Tensor of shape (n, 1, H, W)

    Raises
    ------
    ValueError
        If shapes differ.
    """
    check_same_shape("images", images.shape, "regions", regions.shape)
    check_same_shape("images", images.shape, "fills", fills.shape)
    sigma = (0.0, 0.0, FEATHER_PX, FEATHER_PX)
    soft = ndimage.gaussian_filter(regions.cpu().numpy().astype(np.float64), sigma, mode="reflect")
    return torch.lerp(images, fills.to(images), torch.from_numpy(soft).to(images))


def measure_drops(
    decide: Callable[[Tensor], Tensor],
    images: Tensor,
    regions: Mapping[str, Tensor],
    fills: Iterable[Tensor],
) -> dict[str, Tensor]:
    """
    By how much a decision drops as each region alone is replaced: a test by intervention.

    Parameters
    ----------
    decide : callable
        Gives images (n, 1, H, W) a number each, (n,): a difference of logits, say.
    images : Tensor of shape (n, 1, H, W)
    regions : mapping of str to bool Tensor of the same shape
        As `find_regions` returns them.
    fills : iterable of Tensors of the same shape
        What they are replaced by, in turn: of class background.

    Returns
    -------
    dict of str to Tensor of shape (n,)
        Drop by region, mean over the fills.
    """
    before, fills = decide(images), list(fills)
    return {
        name: before
        - torch.stack([decide(replace_regions(images, region, fill)) for fill in fills]).mean(dim=0)
        for name, region in regions.items()
    }


def _take_farthest(
    allowed: NDArray[np.bool_], side: NDArray[np.bool_], n_pixels: int
) -> NDArray[np.bool_]:
    """Return the allowed pixels (H, W) of a side that are farthest from the other one."""
    distance = np.where(allowed, ndimage.distance_transform_edt(side), -1.0).ravel()
    farthest = np.argsort(-distance, kind="stable")[:n_pixels]
    taken = np.zeros(allowed.size, dtype=bool)
    taken[farthest] = True
    return taken.reshape(allowed.shape) & allowed


def _split_classifier(
    model: nn.Module, class_index: int
) -> tuple[Callable[[Tensor], list[Tensor]], nn.Linear]:
    """Features and head of a classifier that has the class."""
    features, head = getattr(model, "features", None), getattr(model, "head", None)
    if not isinstance(head, nn.Linear) or not callable(features):
        raise TypeError(
            f"Invalid model {type(model).__name__}. Must have features(x) and a linear head on "
            "their means, as SaltClassifier."
        )
    check_count("class_index", class_index, low=0, high=head.out_features - 1)
    return features, head
