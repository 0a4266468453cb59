"""Measures by which images that networks made are compared with data."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from saltvolumes._checks import check_count, check_same_shape
from thesis_lib._networks import check_images, full_precision
from thesis_lib.metrics import Mask, perimeter

WINDOW = 11  # pixels of the window of SSIM
CLOSE_PX = 2.0  # largest distance between perimeters that agree
RIM_PX, AWAY_PX = 2, (4, 8)  # distances to a contour that count as along it, and as away from it
SPECK = 0.01  # fraction of an image that is filled by either side of a contour at least
BODY = (0.05, 0.8)  # fractions of an image that a salt body fills
MOST = 0.8  # fraction of all salt that belongs to a body which counts as the only one
FLOOR = 1e-12  # fraction of an image's power that is nothing: -120 dB


def correlation(images: Tensor, reference: Tensor) -> Tensor:
    """
    Pearson's correlation of each image with its reference.

    Parameters
    ----------
    images, reference : Tensors of shape (n, 1, H, W)

    Returns
    -------
    Tensor of shape (n,)
        In [-1, 1]; 0 where an image or its reference is constant.

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, 1, H, W).
    """
    first, second = _check_pair(images, reference)
    first, second = (x.flatten(1) - x.mean(dim=(1, 2, 3))[:, None] for x in (first, second))
    return F.cosine_similarity(first, second)


def structural_similarity(images: Tensor, reference: Tensor) -> Tensor:
    """
    Structural similarity (SSIM) of each image with its reference [1]_.

    Over the Gaussian windows (deviation 1.5 pixels) that lie inside the image. The range of each
    reference is that of its data, so that a common factor and the rest of the batch do not matter.

    Parameters
    ----------
    images, reference : Tensors of shape (n, 1, H, W)
        At least 11 pixels high and wide, as the window.

    Returns
    -------
    Tensor of shape (n,)
        At most 1, which only the reference itself reaches.

    Raises
    ------
    ValueError
        If the shapes differ, are not (n, 1, H, W) or too small, or a reference is constant.

    References
    ----------
    .. [1] Wang et al. (2004). Image quality assessment. https://doi.org/10.1109/TIP.2003.819861
    """
    images, reference = _check_pair(images, reference)
    if min(images.shape[2:]) < WINDOW:
        raise ValueError(
            f"Invalid images of {tuple(images.shape[2:])} pixels. Must be at least {WINDOW}."
        )
    span = reference.amax((1, 2, 3), keepdim=True) - reference.amin((1, 2, 3), keepdim=True)
    if not (span > 0).all():
        raise ValueError("Invalid reference: an image is constant. Must have a range above 0.")
    # Slow to import: it brings all of torchvision along.
    from torchmetrics.functional.image import structural_similarity_index_measure

    with full_precision(images.device):
        _, found = structural_similarity_index_measure(
            images / span,
            reference / span,
            kernel_size=WINDOW,
            data_range=1.0,
            reduction="none",
            return_full_image=True,
        )
    edge = WINDOW // 2  # where windows reach beyond the image, into its reflection
    return torch.as_tensor(found)[..., edge:-edge, edge:-edge].mean(dim=(1, 2, 3))


def match_patches(features: Tensor, data: Tensor) -> Tensor:
    """
    Match each image with a patch of the data, so that the distances sum up to the least [1]_.

    No patch is matched twice: images that are all alike do not end up with one and the same.

    Parameters
    ----------
    features : Tensor of shape (n, C)
        Features of the images.
    data : Tensor of shape (m, C)
        Features of at least as many patches.

    Returns
    -------
    int64 Tensor of shape (n,)
        Positions in the data.

    Raises
    ------
    ValueError
        If the features differ in shape, or there are fewer patches than images.

    References
    ----------
    .. [1] Crouse (2016). On implementing 2D rectangular assignment algorithms.
       https://doi.org/10.1109/TAES.2016.140952

    Examples
    --------
    >>> match_patches(torch.tensor([[0.0], [0.9]]), torch.tensor([[0.2], [9.0], [1.0]])).tolist()
    [0, 2]
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    check_same_shape("features", features.shape[1:], "data", data.shape[1:])
    check_count("number of patches", len(data), low=len(features))
    exact = "donot_use_mm_for_euclid_dist"  # the fast form loses small distances
    distances = torch.cdist(features.double(), data.double(), compute_mode=exact)
    return torch.from_numpy(linear_sum_assignment(distances.cpu().numpy())[1])


def path_similarity(images: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """
    Whether a layer sees in images what it sees in data of their class (after [1]_).

    The cosine of activations, whose channels are centred between the two sets of data and divided
    by their standard deviation, is averaged over the data of the class. It is then scaled so that
    1 is as similar as other data of the class and 0 as similar as data of other classes. Above 1
    is what exaggerates the class.

    Parameters
    ----------
    images, own, others : Tensors of shape (n, C), (m, C), (k, C)
        Activations, averaged over the patch as the head of the classifier reads them: of images,
        of at least two patches of their class, and of patches of other classes.

    Returns
    -------
    Tensor of shape (n,)
        NaN where data of the class are no more similar to each other than to others.

    Raises
    ------
    ValueError
        If numbers of channels differ, or there are too few patches.

    References
    ----------
    .. [1] Geirhos et al. (2023). Don't trust your eyes: on the (un)reliability of feature
       visualizations. https://doi.org/10.48550/arXiv.2306.04719
    """
    for part in (own, others):
        check_same_shape("images", images.shape[1:], "data", part.shape[1:])
    check_count("number of patches of the class", len(own), low=2)
    check_count("number of patches of others", len(others))
    images, own, others = (part.double() for part in (images, own, others))  # also in autocast
    centre = (own.mean(dim=0) + others.mean(dim=0)) / 2
    spread = torch.cat([own, others]).std(dim=0)
    scale = torch.where(spread > 0, 1 / spread, 0)  # a silent channel says nothing
    images, own, others = (F.normalize((part - centre) * scale) for part in (images, own, others))
    among = own @ own.T
    same = (among.sum() - among.trace()) / (len(own) * (len(own) - 1))
    other = (own @ others.T).mean()
    scaled = ((images @ own.T).mean(dim=1) - other) / (same - other)
    return torch.where(same > other, scaled, torch.nan)


def area_under_curve(known: Tensor, other: Tensor) -> float:
    """
    Area under the ROC curve of a measure: how often it is larger for one kind of thing [1]_.

    Parameters
    ----------
    known, other : Tensors of shape (n,) and (m,)
        The measure of things that should score high, and of others. NaN is left out.

    Returns
    -------
    float
        1 if all of the first are larger, 0.5 if it tells nothing; ties count half. NaN where a
        side is empty.

    References
    ----------
    .. [1] Hanley & McNeil (1982). The meaning and use of the area under a ROC curve.
       https://doi.org/10.1148/radiology.143.1.7063747

    Examples
    --------
    >>> area_under_curve(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0]))
    0.875
    """
    first, second = (part[~part.isnan()].double() for part in (known, other))
    wins = torch.sign(first[:, None] - second) / 2 + 0.5
    return float(wins.mean())


def boundary_f1(prediction: Mask, truth: Mask) -> float:
    """
    F1 score of the pixels of two perimeters that lie within 2 pixels of the other perimeter [1]_.

    Parameters
    ----------
    prediction, truth : bool arrays of shape (H, W)

    Returns
    -------
    float
        In [0, 1]. Two masks without perimeters score 1; if only one has none, the score is 0.

    Raises
    ------
    TypeError, ValueError
        If the masks are not boolean arrays of one shape.

    References
    ----------
    .. [1] Csurka et al. (2013). What is a good evaluation measure for semantic segmentation?
       https://doi.org/10.5244/C.27.32
    """
    borders = perimeter(prediction), perimeter(truth)
    check_same_shape("prediction", prediction.shape, "truth", truth.shape)
    first, second = (border.any() for border in borders)
    if not (first and second):
        return float(first == second)
    precision, recall = (
        np.mean(ndimage.distance_transform_edt(~other)[border] <= CLOSE_PX)
        for border, other in (borders, borders[::-1])
    )
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def has_contour(masks: Tensor) -> Tensor:
    """
    Whether salt and background each fill at least 1 % of an image, so that a contour parts them.

    Parameters
    ----------
    masks : bool Tensor of shape (n, 1, H, W)
        True inside salt.

    Returns
    -------
    bool Tensor of shape (n,)

    Raises
    ------
    TypeError, ValueError
        If masks are not boolean or not (n, 1, H, W).
    """
    fraction = _check_masks(masks).double().mean(dim=(1, 2, 3))
    return (fraction >= SPECK) & (fraction <= 1 - SPECK)


def contour_sharpness(images: Tensor, masks: Tensor) -> Tensor:
    r"""
    How much a contour stands out in each image, in dB.

    :math:`10 \log_{10}` of the mean square of the amplitude within 2 pixels of the contour over
    that at 4 to 8 pixels, on both sides. Noise without an edge scores about 0, a bright reflector
    along the contour more. A factor on an image and a constant added do not matter.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
    masks : bool Tensor of shape (n, 1, H, W)
        Salt, as seen by a segmenter that was not used to make the images.

    Returns
    -------
    Tensor of shape (n,)
        NaN where there is no contour, see `has_contour`, or the image is constant about it.

    Raises
    ------
    TypeError, ValueError
        If shapes differ or are not (n, 1, H, W), or masks are not boolean.
    """
    there = has_contour(masks)
    images, _ = _check_pair(images, masks, "masks")
    energies = (images - images.mean(dim=(1, 2, 3), keepdim=True)).square()
    depth = torch.stack([_measure_depth(mask) for mask in masks[:, 0]]).to(energies)[:, None]
    parts = (depth <= RIM_PX, (depth >= AWAY_PX[0]) & (depth <= AWAY_PX[1]))
    along, away = ((energies * part).sum(dim=(1, 2, 3)) / part.sum(dim=(1, 2, 3)) for part in parts)
    floor = FLOOR * energies.mean(dim=(1, 2, 3))
    decibels = 10 * ((along + floor) / (away + floor)).log10()
    return torch.where(there.to(images.device), decibels, torch.nan)


def _measure_depth(mask: Tensor) -> Tensor:
    """Distance (H, W) in pixels of each pixel to the other side of the mask; at least 1."""
    salt = mask.cpu().numpy()
    if salt.all() or not salt.any():
        return torch.full(mask.shape, torch.inf)
    inside, outside = (ndimage.distance_transform_edt(part) for part in (salt, ~salt))
    return torch.from_numpy(inside + outside)


def has_body(masks: Tensor) -> Tensor:
    """
    Whether an image holds one salt body.

    A body is a set of salt pixels that touch at sides or corners. It counts as the only one if it
    fills 5 to 80 % of the image, so that a boundary lies within, and at least 80 % of all salt
    belongs to it: the rest are specks.

    Parameters
    ----------
    masks : bool Tensor of shape (n, 1, H, W)
        True inside salt.

    Returns
    -------
    bool Tensor of shape (n,)

    Raises
    ------
    TypeError, ValueError
        As `has_contour`.
    """
    found = []
    for salt in _check_masks(masks)[:, 0].cpu().numpy():
        sizes = np.bincount(ndimage.label(salt, np.ones((3, 3)))[0].ravel())[1:]
        largest = sizes.max(initial=0)
        found.append(BODY[0] <= largest / salt.size <= BODY[1] and largest >= MOST * sizes.sum())
    return torch.tensor(found, device=masks.device)


def find_band(masks: Tensor, *, width_px: int) -> Tensor:
    """
    Band along the perimeters of masks; the edge of an image is not a perimeter.

    Parameters
    ----------
    masks : bool Tensor of shape (n, 1, H, W)
    width_px : int
        Pixels of the band on each side.

    Returns
    -------
    bool Tensor of shape (n, 1, H, W)

    Raises
    ------
    TypeError
        If the masks are not boolean or the width is not a whole number.
    ValueError
        If the width is below 1.
    """
    bands = [
        perimeter(mask, width_px=width_px) | perimeter(~mask, width_px=width_px)
        for mask in masks[:, 0].cpu().numpy()
    ]
    return torch.as_tensor(np.stack(bands)).to(masks.device)[:, None]


def _check_masks(masks: Tensor) -> Tensor:
    """Return masks if they are boolean and a batch of one channel."""
    check_images("masks", masks)
    if masks.dtype != torch.bool:
        raise TypeError(f"Invalid masks of type {masks.dtype}. Must be boolean.")
    return masks


def _check_pair(images: Tensor, other: Tensor, name: str = "reference") -> tuple[Tensor, Tensor]:
    """Both in at least float32 on one device, after a check of their shapes."""
    images, other = check_images("images", images), check_images(name, other)
    check_same_shape("images", images.shape, name, other.shape)
    return images, other.to(images)
