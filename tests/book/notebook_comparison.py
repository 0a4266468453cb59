"""
Compare what a chapter shows now with its stored reference; `notebooks/conftest.py` plugs it in.

Words must be the same. Numbers may be off by a tolerance t, relative above 1 and absolute below.
Without a tag t is 1e-6 and pictures are compared pixel by pixel. In a cell tagged ``training``
(``training-0.3``) t is 0.1 (0.3), and of pictures only their presence counts. Standard error
(progress, timing) is never compared.
"""

import base64
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

ARITHMETIC = 1e-6
TRAINING = 0.1
PIXEL_LEVELS = 8  # of 255: rounding moves a colour by a level or two, another picture by many
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)")
_FIGURE_SIZE = re.compile(r"<Figure size [\d.]+x[\d.]+")
_TRAINING_TAG = re.compile(r"training(?:-(\d*\.?\d+))?$")


def compare_outputs(
    new: Iterable[Mapping[str, Any]], old: Iterable[Mapping[str, Any]], tags: Iterable[str] = ()
) -> list[str]:
    """Say what differs between the outputs of a cell and its reference, a line each."""
    band = read_band(tags)
    new_parts, old_parts = list(_split(new)), list(_split(old))
    new_kinds, old_kinds = [kind for kind, _ in new_parts], [kind for kind, _ in old_parts]
    if new_kinds != old_kinds:
        return [f"outputs are {new_kinds}, were {old_kinds}"]
    differences = []
    for (kind, new_part), (_, old_part) in zip(new_parts, old_parts, strict=True):
        if not kind.startswith("image/") or kind == "image/svg+xml":
            if band is not None:  # the size of a picture is no more fixed than the picture
                new_part, old_part = (_FIGURE_SIZE.sub("<Figure", x) for x in (new_part, old_part))
            differences += compare_text(new_part, old_part, band or ARITHMETIC)
        elif band is None:
            differences += compare_image(new_part, old_part)
    return differences


def read_band(tags: Iterable[str]) -> float | None:
    """Tolerance that a tag ``training`` or ``training-BAND`` states; None without one."""
    for tag in tags:
        if found := _TRAINING_TAG.match(tag):
            return float(found[1]) if found[1] else TRAINING
    return None


def compare_text(new: str, old: str, tolerance: float) -> list[str]:
    """Compare words exactly (but for white space) and numbers within the tolerance."""
    new_words, old_words = (_NUMBER.sub("#", text).split() for text in (new, old))
    if new_words != old_words:
        return [f"text is {new!r}, was {old!r}"]
    pairs = zip(_NUMBER.findall(new), _NUMBER.findall(old), strict=True)
    return [
        f"{a} was {b} (tolerance {tolerance:g})"
        for a, b in pairs
        if not abs(float(a) - float(b)) <= tolerance * max(1.0, abs(float(b)))
    ]


def compare_image(new: str, old: str) -> list[str]:
    """Compare two base64 pictures pixel by pixel."""
    new_pixels, old_pixels = _decode(new), _decode(old)
    if new_pixels.shape != old_pixels.shape:
        return [f"picture has shape {new_pixels.shape}, had {old_pixels.shape}"]
    off = np.abs(new_pixels - old_pixels).max(axis=-1) > PIXEL_LEVELS
    return [f"picture differs in {off.sum()} of {off.size} pixels"] if off.any() else []


def _split(outputs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for output in outputs:
        if output["output_type"] == "stream":
            if output["name"] == "stdout":
                yield "stdout", output["text"]
        elif output["output_type"] == "error":
            yield "error", f"{output['ename']}: {output['evalue']}"
        else:
            yield from sorted((kind, str(part)) for kind, part in output["data"].items())


def _decode(picture: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    return np.asarray(image, dtype=np.int16)  # (H, W, 4)
