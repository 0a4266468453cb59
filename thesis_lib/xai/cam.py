"""Class activation maps: where a classifier sees what it takes for a class, and tests of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltvolumes._checks import check_count, check_same_shape
from thesis_lib._networks import check_images
from thesis_lib.xai._hooks import frozen, match_network
from thesis_lib.xai.measures import correlation, find_band

GROUPS = 20  # of pixels that are deleted or inserted together
MEAN_PX = 31  # odd side of the square whose mean a deleted pixel becomes


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


@dataclass(frozen=True)
class Curves:
    """
    What `trace_curves` found.

    Attributes
    ----------
    fractions : Tensor of shape (21,)
        Fraction of pixels deleted or inserted, from 0 to 1.
    deletion, insertion : Tensors of shape (n, 21)
        Probability of the class as pixels are deleted or inserted, largest values first.
    deletion_area, insertion_area : Tensors of shape (n,)
        Areas under the curves. A map that finds what decides has a small and a large one.
    """

    fractions: Tensor
    deletion: Tensor
    insertion: Tensor
    deletion_area: Tensor
    insertion_area: Tensor


def cam(model: nn.Module, patches: Tensor, class_index: int) -> Cam:
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
    patches = match_network(check_images("patches", patches), model)
    with frozen(model), torch.no_grad():
        features = compute_features(patches.to(head.weight.dtype))
        weights = head.weight[class_index].to(patches.dtype)
        sizes = [maps.shape[1] for maps in features]
        if sum(sizes) != head.in_features:
            raise ValueError(
                f"Invalid model: {head.in_features} inputs of the head. Must be as many as the "
                f"channels of the blocks, {sizes}."
            )
        blocks = tuple(
            torch.einsum("k,nkhw->nhw", part, maps.to(patches.dtype))[:, None]
            for part, maps in zip(torch.split(weights, sizes), features, strict=True)
        )
        size = tuple(patches.shape[2:])
        large = [F.interpolate(block, size=size, mode="bilinear") for block in blocks]
        return Cam(torch.stack(large).sum(dim=0), blocks)


@torch.inference_mode(False)  # a copy made in it could not be explained
def randomize_cascade(
    model: nn.Module, patches: Tensor, class_index: int, *, seed: int
) -> dict[str, Tensor]:
    """
    Sanity check: how similar a map stays as weights are destroyed from the head down [1]_.

    Stage by stage, the entries of each weight tensor of a copy of the model are shuffled, so that
    activations keep their order of magnitude. A map that explains the network has to change.

    Parameters
    ----------
    model, patches, class_index
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
    intact = cam(model, patches, class_index).maps
    shuffled = copy.deepcopy(model)
    found = {"intact": correlation(intact, intact)}
    for name, part in reversed(list(shuffled.named_children())):
        for weight in part.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.data = weight.data.flatten()[order].reshape(weight.shape)
        found[name] = correlation(cam(shuffled, patches, class_index).maps, intact)
    return found


def trace_curves(model: nn.Module, patches: Tensor, maps: Tensor, class_index: int) -> Curves:
    """
    Probability of a class as pixels are deleted from a patch, or inserted, by the order of a map.

    A deleted pixel becomes the mean of the 31 x 31 pixels about it that lie on the patch [1]_:
    zeros would add edges that no seismic image has. The pixels go in 20 groups.

    Parameters
    ----------
    model, patches, class_index
        As for `cam`.
    maps : Tensor of shape (n, 1, H, W)
        Pixels go in order of falling value; ties from top left to bottom right.

    Returns
    -------
    Curves

    Raises
    ------
    TypeError, ValueError
        If shapes differ, or there is no such class.

    References
    ----------
    .. [1] Petsiuk et al. (2018). RISE: randomized input sampling for explanation of black-box
       models. https://arxiv.org/abs/1806.07421
    """
    _, head = _split_classifier(model, class_index)
    check_same_shape("maps", maps.shape, "patches", patches.shape)
    images = check_images("patches", patches).to(head.weight)
    mean = F.avg_pool2d(images, MEAN_PX, 1, MEAN_PX // 2, count_include_pad=False)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).reshape(maps.shape).to(images.device)
    fractions = torch.linspace(0, 1, GROUPS + 1, device=images.device)
    counts = [round(fraction * rank[0].numel()) for fraction in fractions.tolist()]
    curves = []
    with frozen(model), torch.no_grad():
        for inside, outside in ((mean, images), (images, mean)):  # deletion, then insertion
            logits = [model(torch.where(rank < n, inside, outside)).float() for n in counts]
            curves.append(torch.stack(logits, dim=1).softmax(dim=2)[..., class_index])
    areas = (torch.trapezoid(curve, fractions, dim=1) for curve in curves)
    return Curves(fractions, *curves, *areas)


def split_energy(maps: Tensor, masks: Tensor, *, width_px: int = 5) -> dict[str, Tensor]:
    """
    Fractions of a map's energy along the perimeter of salt, inside and outside of it.

    Energy is the square of a map: evidence for and against the class both count. The fractions of
    a constant map are those of the areas, which is what to compare with.

    Parameters
    ----------
    maps : Tensor of shape (n, 1, H, W)
    masks : bool Tensor of the same shape
        True inside salt.
    width_px : int
        Pixels of the band on each side of the perimeter. The patch's edge is not a perimeter.

    Returns
    -------
    dict with "band", "inside" and "outside", Tensors of shape (n,)
        Inside and outside are without the band; the three add up to 1.

    Raises
    ------
    TypeError
        If the masks are not boolean or the width is not a whole number.
    ValueError
        If shapes differ, the width is below 1 or a map is zero.
    """
    check_same_shape("maps", maps.shape, "masks", masks.shape)
    band = find_band(masks, width_px=width_px).to(maps.device)
    energy = maps.double().square()
    total = energy.sum(dim=(1, 2, 3))
    if not (total > 0).all():
        raise ValueError("Invalid maps: one is zero everywhere. Must have energy.")
    masks = masks.to(maps.device)
    parts = {"band": band, "inside": masks & ~band, "outside": ~masks & ~band}
    return {name: (energy * part).sum(dim=(1, 2, 3)) / total for name, part in parts.items()}


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
