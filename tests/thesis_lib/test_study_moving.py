"""What moves on the pages: masks as bits, ascents on film, maps block by block."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from explained_networks import UNWATCHED, make_classifier, make_patches, run

from thesis_lib.metrics import dice_score
from thesis_lib.study import Explain, Film, MapBlocks, Maximize, Predict, Score, moving
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.moving import load_mask, pack_volume, pick_steps
from thesis_lib.study.records import read_records, write_records
from thesis_lib.study.segmentation import load_model, predict

pytestmark = pytest.mark.usefixtures("one_thread")

PATCHES = make_patches(12)
CLASSIFIER = make_classifier(PATCHES)
ASCENT = Maximize(CLASSIFIER, None, (3, 4), (1,), steps=6, precision="32-true")


@pytest.fixture(scope="module")
def predicted(root):
    """A predicted earth."""
    return run(Predict(UNWATCHED), root)


def unpack(text):
    """Bytes of a packed array."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def test_bits_are_the_mask_that_the_network_predicts(predicted, root):
    """
    The stored bits unpack to the mask of `predict`, whose Dice is that of the score.

    Two predictions of one process may differ by rounding: samples at the threshold are left out.
    """
    volume = predicted.task.open_volume()
    network = load_model(predicted.parents["network"])
    predicted_again = predict(network, volume, UNWATCHED)["probability"]
    probability = predicted_again.transpose(*volume["salt"].dims).values
    mask = load_mask(predicted).reshape(probability.shape)
    clear = np.abs(probability - 0.5) > 1e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(mask[clear], probability[clear] > 0.5)
    assert predicted.scores["n_salt"] == mask.sum()
    (scored,) = run(Score(UNWATCHED), root).scores["volumes"]
    limit = (~clear).sum() / volume["salt"].values.sum()  # each of these moves it by less
    assert abs(dice_score(mask, volume["salt"].values) - scored["dice"]) <= limit


def test_records_keep_every_bit(predicted, tmp_path):
    """A record of a prediction unpacks to the same mask."""
    write_records(tmp_path, [predicted])
    recorded = read_records(tmp_path)[predicted.task.key]
    np.testing.assert_array_equal(load_mask(recorded), load_mask(predicted))


def test_the_middle_of_a_long_volume_is_predicted(monkeypatch):
    """An axis longer than a page loads is cut on both sides, but never below a patch."""
    monkeypatch.setattr(moving, "MOST_SAMPLES", 16)
    whole = UNWATCHED.data.test(0, 1)[0]
    cut = Predict(UNWATCHED).open_volume()
    assert dict(cut.sizes) == {"inline": 16, "crossline": 16, "depth": 16}
    np.testing.assert_array_equal(cut["depth"], whole["depth"][8:24])
    large = replace(UNWATCHED, patch=(16, 24), stride=(16, 24))
    assert Predict(large).open_volume().sizes["depth"] == 24


def test_a_packed_volume_unpacks(predicted):
    """Masks come back bit by bit, amplitudes to half a byte, and axes say where samples are."""
    volume = predicted.task.open_volume()
    packed = pack_volume(volume, {"Dice": predicted})
    n = volume["salt"].size
    truth, salt = (
        np.unpackbits(unpack(text))[:n] for text in (packed["truth"], packed["predictions"]["Dice"])
    )
    np.testing.assert_array_equal(truth, volume["salt"].values.ravel())
    np.testing.assert_array_equal(salt, load_mask(predicted))
    amplitude = volume["amplitude"].values.ravel()
    limit = np.percentile(np.abs(amplitude), 98)
    shown = (unpack(packed["amplitude"]).astype(float) - 128) / 127 * limit
    np.testing.assert_allclose(shown, np.clip(amplitude, -limit, limit), atol=limit / 254 * 1.01)
    assert [axis["size"] for axis in packed["axes"]] == [*volume["salt"].shape]
    for axis, name in zip(packed["axes"], ("inline_m", "crossline_m", "depth"), strict=True):
        places = axis["first"] + axis["step"] * np.arange(axis["size"])
        np.testing.assert_allclose(places, volume[name])


def test_unknown_amplitudes_are_marked(predicted):
    """Samples without a known amplitude are byte 0, and no other sample is."""
    volume = predicted.task.open_volume()
    volume["amplitude"][2, 3, :5] = np.nan
    values = unpack(pack_volume(volume, {})["amplitude"]).reshape(volume["salt"].shape)
    np.testing.assert_array_equal(values == 0, volume["amplitude"].isnull())


def test_a_prediction_of_another_volume_is_refused(predicted):
    """Another number of samples is named."""
    part = predicted.task.open_volume().isel(inline=slice(8))
    with pytest.raises(ValueError, match=r"'Dice' of 8192 samples\. Must be 4096"):
        pack_volume(part, {"Dice": predicted})


def test_a_film_follows_the_ascent(root):
    """Its first image is the start, its last that of the ascent, its values those of the images."""
    film = run(Film(ASCENT, n_frames=4), root)
    images = film.load_tensors("film")["images"]
    assert [frame["step"] for frame in film.scores["frames"]] == [0, 1, 2, 6]
    assert images.shape == (4, 1, 32, 32)
    ascent = film.parents["ascent"]
    last = ascent.load_tensors("images")["images"][:1]
    torch.testing.assert_close(images[-1:], last, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        logits = load_classifier(ascent.parents["network"])(images)[:, 1]
    values = [frame["value"] for frame in film.scores["frames"]]
    torch.testing.assert_close(torch.tensor(values), logits, rtol=1e-4, atol=1e-4)
    assert values[-1] > values[0]


@pytest.mark.parametrize(("steps", "n", "expected"), [(1, 5, (0, 1)), (4, 3, (0, 1, 4))])
def test_steps_of_a_film(steps, n, expected):
    """Steps begin with the start, end with the last one, and none comes twice."""
    assert pick_steps(steps, n) == expected


def test_maps_of_blocks_add_up(root):
    """Maps of the blocks, enlarged to the patch, add up to the map that was shown."""
    apart = run(MapBlocks(Explain(CLASSIFIER, n_patches=5, n_fills=2, n_shown=2)), root)
    blocks = apart.load_tensors("blocks")
    assert [*blocks] == ["block1", "block2", "block3", "block4"]
    parts = [
        torch.nn.functional.interpolate(block, size=(32, 32), mode="bilinear")
        for block in blocks.values()
    ]
    shown = apart.parents["explained"].load_tensors("shown")["maps"]
    torch.testing.assert_close(sum(parts), shown, rtol=1e-4, atol=1e-4)


def test_refuses():
    """Films of one frame, and no earths, are refused when the task is made."""
    with pytest.raises(ValueError, match="Invalid n_frames 1"):
        Film(ASCENT, n_frames=1)
    with pytest.raises(ValueError, match="Invalid n_earths 0"):
        Predict(UNWATCHED, n_earths=0)
