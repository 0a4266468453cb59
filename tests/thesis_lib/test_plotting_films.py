"""Films: frames below each other in one picture with a palette."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from thesis_lib.plotting import make_film

RAMP = np.linspace(-1, 1, 12).reshape(1, 3, 4)
FRAMES = np.concatenate([RAMP, -RAMP])


def open_picture(film, number=0):
    """Picture of a panel, as its readers get it."""
    return Image.open(io.BytesIO(base64.b64decode(film["panels"][number]["image"])))


def test_frames_are_below_each_other_in_gray():
    """Amplitudes from minus to plus the limit are black to white, frame after frame."""
    film = make_film({"a": FRAMES, "b": FRAMES}, frames=["x", "y"], limit=1.0, n_columns=2)
    assert (film["frames"], film["columns"]) == (["x", "y"], 2)
    panel = film["panels"][1]
    assert (panel["title"], panel["height"], panel["width"]) == ("b", 3, 4)
    assert panel["captions"] == ["", ""]
    picture = open_picture(film)
    assert (picture.mode, picture.size) == ("P", (4, 6))
    gray = np.asarray(picture.convert("RGB"))
    expected = (np.concatenate([RAMP[0], -RAMP[0]]) + 1) / 2 * 255
    np.testing.assert_allclose(gray, np.stack([expected] * 3, axis=-1), atol=2)


def test_signed_frames_are_red_and_blue():
    """What speaks for a class is red, what speaks against it blue, up to the largest magnitude."""
    picture = open_picture(make_film({"a": FRAMES}, frames=["x", "y"], signed=True))
    colours = np.asarray(picture.convert("RGB")).astype(int)
    (red, _, blue), (other_red, _, other_blue) = colours[2, 3], colours[0, 0]
    assert red > 2 * blue
    assert other_blue > 2 * other_red


def test_salt_is_outlined_inside_of_its_boundary():
    """The outline, in orange, covers the samples of salt next to others, and no edge of a frame."""
    mask = np.zeros((8, 8), bool)
    mask[3:, 2:6] = True
    picture = open_picture(make_film({"a": np.zeros((1, 8, 8))}, frames=["x"], mask=mask, limit=1))
    assert picture.size == (16, 16)
    orange = (np.asarray(picture.convert("RGB")) == (255, 169, 14)).all(axis=-1)
    expected = np.zeros((16, 16), bool)
    expected[6:, 4:12] = True
    expected[7:, 5:11] = False
    np.testing.assert_array_equal(orange, expected)


@pytest.mark.parametrize(
    ("panels", "options", "message"),
    [
        ({}, {}, "film of 0 panels, 2 frames"),
        ({"a": FRAMES[:1]}, {}, "panel 'a': 1. Must be 2"),
        ({"a": FRAMES}, {"captions": {"a": ["x"]}}, "captions of 'a': 1. Must be 2"),
        ({"a": FRAMES}, {"mask": np.ones((4, 4), bool)}, "mask"),
    ],
)
def test_refuses(panels, options, message):
    """What does not fit together is named."""
    with pytest.raises(ValueError, match=message):
        make_film(panels, frames=["x", "y"], **options)
