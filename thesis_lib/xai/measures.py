"""Measures by which images that networks made are compared with data."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from saltvolumes._checks import check_count, check_range, check_same_shape
from thesis_lib._networks import check_images, full_precision
from thesis_lib.metrics import Mask, perimeter

WINDOW = 11  # pixels of the window of SSIM
BAND = 0.99  # fraction of the power of data that lies in their band
CLOSE_PX = 2.0  # largest distance between perimeters that agree
RIM_PX = 2  # width of the band on either side of a contour
SPECK = 0.01  # fraction of an image that a salt body fills at least
FLOOR = 1e-12  # fraction of an image's power below which a frequency counts as empty: -120 dB


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


def spectrum(images: Tensor) -> tuple[Tensor, Tensor]:
    """
    Fraction of each image's power at each radial frequency.

    Under a Hann window, without the mean, averaged over rings that are as wide as the lowest
    frequency of the shorter side.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
        At least 5 pixels high and wide.

    Returns
    -------
    tuple of (Tensor of shape (n_rings,), Tensor of shape (n, n_rings))
        Frequencies in cycles per pixel, up to 0.5, and mean power per coefficient of each ring,
        such that all coefficients of an image sum up to 1.

    Raises
    ------
    ValueError
        If the shape is not (n, 1, H, W), or an image has no spectrum, see `has_spectrum`.
    """
    tapered, there = _taper(images)
    if not there.all():
        row = int((~there).nonzero()[0, 0])
        raise ValueError(
            f"Invalid images: image {row} is constant beyond its first row and column. Must vary, "
            "to have a spectrum."
        )
    power = torch.fft.fft2(tapered).abs().square().flatten(1)
    height, width = images.shape[2:]
    rows, columns = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    radius = torch.hypot(rows[:, None], columns).flatten().to(power.device)
    n_rings = min(height, width) // 2
    ring = (radius * min(height, width)).round().long()
    kept = (ring >= 1) & (ring <= n_rings)
    fractions = (power / power.sum(dim=1, keepdim=True))[:, kept]
    rings = fractions.new_zeros(len(fractions), n_rings)
    rings.index_add_(1, ring[kept] - 1, fractions)
    frequencies = torch.arange(1, n_rings + 1, dtype=power.dtype, device=power.device)
    counts = torch.bincount(ring[kept] - 1, minlength=n_rings)
    return frequencies / min(height, width), rings / counts


def has_spectrum(images: Tensor) -> Tensor:
    """
    Whether each image varies where the window of `spectrum` lets it be seen.

    Constant images do not, nor do those that vary in their first row or column alone, at the rim
    of dead traces.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)

    Returns
    -------
    bool Tensor of shape (n,)

    Raises
    ------
    ValueError
        If the shape is not (n, 1, H, W).
    """
    return _taper(images)[1]


def _taper(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, H, W) under a Hann window, without the mean, and whether (n,) anything is left."""
    x = check_images("images", images)[:, 0].double()
    window = torch.outer(
        *(torch.hann_window(n, dtype=x.dtype, device=x.device) for n in x.shape[1:])
    )
    centred = x - (x * window).sum((1, 2), keepdim=True) / window.sum()  # no mean under the window
    tapered = centred * window
    power = tapered.square().sum((1, 2)) * window.numel()  # Parseval: that of all coefficients
    return tapered, power > FLOOR * x.square().sum((1, 2))


def band_limit(data: Tensor) -> float:
    """
    Frequency below which 99 % of the power of data lies, the top of their band.

    Parameters
    ----------
    data : Tensor of shape (n, 1, H, W)
        Patches. Power above 0.5 cycles per pixel does not count.

    Returns
    -------
    float
        In cycles per pixel.

    Raises
    ------
    ValueError
        As `spectrum`.
    """
    frequencies, power = spectrum(data)
    energy = (power.mean(dim=0) * frequencies).cumsum(dim=0)  # rings grow with their radius
    reached = energy >= BAND * energy[-1] * (1 - FLOOR)
    return float(frequencies[reached][0])


def low_pass(images: Tensor, limit: float) -> Tensor:
    """
    Images without the frequencies above a limit, such as `band_limit` of data.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
    limit : float
        Radial frequency, in cycles per pixel.

    Returns
    -------
    Tensor of shape (n, 1, H, W)
    """
    images = check_images("images", images)
    rows, columns = torch.fft.fftfreq(images.shape[2]), torch.fft.rfftfreq(images.shape[3])
    kept = (torch.hypot(rows[:, None], columns) <= limit).to(images.device)
    low: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * kept, s=images.shape[2:])
    return low


def log_spectral_distance(
    images: Tensor, data: Tensor, *, above: float = 0.0, excess: bool = False
) -> Tensor:
    r"""
    Distance of the spectrum of each image to the mean spectrum of data, in dB.

    The root mean square of :math:`10 \log_{10} P_x(f) - 10 \log_{10} P_{data}(f)` over the rings
    of `spectrum`. A factor on an image does not matter: spectra are fractions of power.

    Parameters
    ----------
    images, data : Tensors of shape (n, 1, H, W) and (m, 1, H, W)
        Images, and patches of the same size.
    above : float
        Only frequencies above it, in cycles per pixel, such as `band_limit` of the data, count.
    excess : bool
        Whether only power in excess of the data's counts, and rings with less are at distance 0.
        Noise above the band is measured with it: without, an image smoother than the data is as
        far away as a noisy one.

    Returns
    -------
    Tensor of shape (n,)

    Raises
    ------
    ValueError
        As `spectrum`, or if the sizes differ or no frequency lies above.
    """
    frequencies, found = spectrum(images)
    check_same_shape("images", images.shape[1:], "data", data.shape[1:])
    counted = frequencies > check_range("above", above, low=0)
    if not counted.any():
        raise ValueError(f"Invalid above {above:g}. Must be below {frequencies[-1]:g}.")
    expected = spectrum(data.to(images))[1].mean(dim=0)
    decibels = 10 * (found.clamp_min(FLOOR) / expected.clamp_min(FLOOR)).log10()
    decibels = decibels[:, counted].clamp_min(0.0 if excess else -torch.inf)
    return decibels.square().mean(dim=1).sqrt()


def gradient_sparsity(images: Tensor) -> Tensor:
    r"""
    Hoyer's sparsity of the gradient: 1 for a single edge pixel, 0 for an even slope [1]_.

    :math:`(\sqrt N - \lVert g \rVert_1 / \lVert g \rVert_2) / (\sqrt N - 1)` of the N magnitudes
    g of forward differences inside the image.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)

    Returns
    -------
    Tensor of shape (n,)
        In [0, 1]; 0 for a constant image.

    Raises
    ------
    ValueError
        If the shape is not (n, 1, H, W), or smaller than 3 x 2 or 2 x 3.

    References
    ----------
    .. [1] Hoyer (2004). Non-negative matrix factorization with sparseness constraints.
       https://www.jmlr.org/papers/v5/hoyer04a.html
    """
    images = check_images("images", images)
    if images.shape[2] < 2 or images.shape[3] < 2 or images.shape[2] + images.shape[3] < 5:
        raise ValueError(f"Invalid images of shape {tuple(images.shape)}. Must be at least 2 x 3.")
    dy, dx = images.diff(dim=2)[..., :-1], images.diff(dim=3)[:, :, :-1]
    slopes = torch.hypot(dy, dx).flatten(1)
    root = float(slopes.shape[1] ** 0.5)
    length: Tensor = torch.linalg.vector_norm(slopes, dim=1)
    ratio = torch.where(length > 0, slopes.sum(dim=1) / length, root)
    return (root - ratio) / (root - 1)


def nearest_distance(features: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
    """
    Distance of images to the nearest patch of the data, relative to that between patches.

    Parameters
    ----------
    features : Tensor of shape (n, ...)
        Features of the images.
    data : Tensor of shape (m, ...)
        Features of at least two patches.

    Returns
    -------
    tuple of (Tensor of shape (n,), int Tensor of shape (n,))
        Distance over the mean distance of a patch to its nearest other: about 1 for what lies
        among the data; and the numbers of the nearest patches.

    Raises
    ------
    ValueError
        If the features differ in shape, or patches are fewer than two or all the same.
    """
    check_same_shape("features", features.shape[1:], "data", data.shape[1:])
    check_count("number of patches", len(data), low=2)
    exact = "donot_use_mm_for_euclid_dist"  # the fast form loses small distances
    dtype = torch.promote_types(torch.promote_types(features.dtype, data.dtype), torch.float32)
    features, data = features.to(dtype).flatten(1), data.to(dtype).flatten(1)
    among = torch.cdist(data, data, compute_mode=exact)
    scale = among.fill_diagonal_(torch.inf).amin(dim=1).mean()
    if not scale > 0:
        raise ValueError("Invalid data: each patch has a copy. Must differ, to scale distances by.")
    nearest = torch.cdist(features, data, compute_mode=exact).min(dim=1)
    return nearest.values / scale, nearest.indices


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


def contour_sharpness(images: Tensor, probability: Tensor) -> Tensor:
    r"""
    How much the salt boundary that a segmenter found stands out in each image.

    Mean slope within 2 pixels of the contour of probability 0.5, over the mean slope of the whole
    image; a pixel's slope is the root mean square of the differences to its neighbours on either
    side, both axes added. An even slope scores 1, noise without an edge about 1, and a step that
    crosses an image of W columns and is its only slope W / 4, the maximum for such a contour. A
    factor on an image and a constant added do not matter.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
    probability : Tensor of shape (n, 1, H, W)
        Of salt, from a segmenter that was not used to make the images.

    Returns
    -------
    Tensor of shape (n,)
        At least 0; 0 where the segmenter sees no boundary, or the image is constant.

    Raises
    ------
    ValueError
        If shapes differ or are not (n, 1, H, W) with H and W at least 2, or a probability is
        outside of [0, 1].
    """
    images, probability = _check_pair(images, probability, "probability")
    if min(images.shape[2:]) < 2:
        raise ValueError(f"Invalid images of shape {tuple(images.shape)}. Must be at least 2 x 2.")
    band = find_band(_find_salt(probability), width_px=RIM_PX)
    slopes = (_square_slopes(images) + _square_slopes(images.mT).mT).sqrt()
    along = (slopes * band).sum(dim=(1, 2, 3)) / band.sum(dim=(1, 2, 3)).clamp_min(1)
    everywhere = slopes.mean(dim=(1, 2, 3))
    return torch.where(everywhere > 0, along / everywhere, 0)


def count_bodies(probability: Tensor) -> Tensor:
    """
    Number of salt bodies that a segmenter sees in each image.

    A body is a set of pixels of probability above 0.5 that touch at sides or corners, and fill 1 %
    of the image at least: smaller ones are specks.

    Parameters
    ----------
    probability : Tensor of shape (n, 1, H, W)
        Of salt.

    Returns
    -------
    int Tensor of shape (n,)

    Raises
    ------
    ValueError
        If the shape is not (n, 1, H, W), or a probability is outside of [0, 1].
    """
    probability = check_images("probability", probability)
    salt = _find_salt(probability)[:, 0].cpu().numpy()
    labels = [ndimage.label(mask, np.ones((3, 3)))[0] for mask in salt]
    sizes = [np.bincount(label.ravel())[1:] for label in labels]  # without the background, 0
    counts = [int((size >= SPECK * salt[0].size).sum()) for size in sizes]
    return torch.tensor(counts, device=probability.device)


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


def _find_salt(probability: Tensor) -> Tensor:
    """Where probabilities exceed 0.5, a bool Tensor."""
    if not ((probability >= 0) & (probability <= 1)).all():
        low, high = probability.amin(), probability.amax()
        raise ValueError(f"Invalid probability from {low:g} to {high:g}. Must lie in [0, 1].")
    return probability > 0.5


def _square_slopes(images: Tensor) -> Tensor:
    """Mean square of the differences to the rows before and after, where they exist."""
    squares = F.pad(images.diff(dim=2).square(), (0, 0, 1, 1), mode="replicate")
    return F.avg_pool2d(squares, (2, 1), stride=1)


def _check_pair(images: Tensor, other: Tensor, name: str = "reference") -> tuple[Tensor, Tensor]:
    """Both in at least float32 on one device, after a check of their shapes."""
    images, other = check_images("images", images), check_images(name, other)
    check_same_shape("images", images.shape, name, other.shape)
    return images, other.to(images)
