"""Images that a reader steps through: the frames of each panel below each other in one picture."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from saltvolumes._checks import check_same_shape
from thesis_lib.plotting import _panels
from thesis_lib.plotting._style import ORANGE, SIGNED

_OUTLINE = 255  # the last colour of the palette; those before it are steps of amplitude
_ZOOM = 2  # of images with an outline, which is one pixel wide


def make_film(
    panels: Mapping[str, NDArray[np.floating]],
    *,
    frames: Sequence[str],
    captions: Mapping[str, Sequence[str]] | None = None,
    mask: NDArray[np.bool_] | None = None,
    signed: bool = False,
    limit: float | None = None,
    n_columns: int = 4,
) -> dict[str, Any]:
    """
    Make a film for a page: its directive ``film`` shows one frame of all panels at a time.

    Parameters
    ----------
    panels : mapping of title to array of shape (n, H, W)
        The n frames of each panel, the first row of pixels on top.
    frames : sequence of n str
        What each frame is.
    captions : mapping of title to sequence of n str, optional
        A few words below each frame of a panel.
    mask : bool array of shape (H, W), optional
        True salt, outlined in all frames.
    signed : bool
        Whether frames are drawn red and blue about 0.
    limit : float, optional
        Where the colours of all panels end; by default at the 98th percentile of the magnitudes
        of each panel, or at the largest one where they are signed.
    n_columns : int
        Panels next to each other.

    Returns
    -------
    dict
        JSON-like: ``frames``, ``columns``, and ``panels`` with ``title``, ``captions``, ``height``
        and ``width`` of a frame in pixels and ``image``, a PNG of at most 256 colours in base64.

    Raises
    ------
    ValueError
        If there are no panels or frames, a panel or its captions are not as many as the frames, or
        the mask has another shape.
    """
    if not panels or not frames:
        raise ValueError(f"Invalid film of {len(panels)} panels, {len(frames)} frames. Must be >0.")
    made = []
    for title, images in panels.items():
        below = list((captions or {}).get(title, [""] * len(frames)))
        for name, part in (("panel", images), ("captions of", below)):
            if len(part) != len(frames):
                raise ValueError(f"Invalid {name} {title!r}: {len(part)}. Must be {len(frames)}.")
        percentile = 100.0 if signed else 98.0
        end = limit or _panels.color_limit(images, percentile=percentile)
        picture = _colour(images, end, mask)
        height, width = picture.shape[1:]
        image = _encode(np.concatenate(picture), SIGNED if signed else "gray")
        size = {"height": height, "width": width}
        made.append({"title": title, "captions": below, **size, "image": image})
    return {"frames": list(frames), "columns": n_columns, "panels": made}


def _colour(
    images: NDArray[np.floating], limit: float, mask: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Numbers of colours, (n, H, W), with an outline where there is a mask."""
    steps = (np.clip(np.nan_to_num(images) / limit, -1, 1) + 1) / 2 * (_OUTLINE - 1)
    numbers: NDArray[np.uint8] = steps.round().astype(np.uint8)
    if mask is None:
        return numbers
    check_same_shape("panel", images.shape[1:], "mask", mask.shape)
    numbers = numbers.repeat(_ZOOM, axis=1).repeat(_ZOOM, axis=2)
    large = mask.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
    numbers[:, large & ~binary_erosion(large, border_value=1)] = _OUTLINE
    return numbers


def _encode(numbers: NDArray[np.uint8], cmap: str) -> str:
    """PNG of (H, W) with a palette, in base64."""
    colours = colormaps[cmap](np.linspace(0, 1, _OUTLINE))[:, :3]
    palette = np.vstack([colours, to_rgb(ORANGE)]) * 255
    image = Image.fromarray(numbers)
    image.putpalette(palette.round().astype(np.uint8).tobytes())
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return b64encode(file.getvalue()).decode("ascii")
