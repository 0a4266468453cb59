"""Tests of thesis_lib.study.attribution: what networks look at, as a task."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from explained_networks import CLASSES, make_classifier, make_patches, run

from thesis_lib.patches import LabelledPatches
from thesis_lib.study import Explain
from thesis_lib.study.attribution import tabulate_attribution
from thesis_lib.study.classification import load_classifier
from thesis_lib.xai.cam import cam, split_evidence

PATCHES = make_patches(12)


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    """An explained network, of which every other patch has salt below its middle."""
    task = Explain(make_classifier(PATCHES), n_patches=5, n_fills=2, n_shown=2)
    return run(task, tmp_path_factory.mktemp("runs"))


def test_evidence_is_that_of_the_maps(explained):
    """Fractions add up to 1, and are those of the maps of salt against background."""
    records = {record["map"]: record for record in explained.scores["evidence"]}
    assert list(records) == ["all", "block1", "block2", "block3", "block4"]
    assert records["all"]["n_silent"] < 3
    for record in records.values():
        if record["n_silent"] > 2:
            continue
        parts = (record[name] for name in ("band", "interior", "exterior"))
        assert sum(parts) == pytest.approx(1)
        assert record["band_area"] == pytest.approx(6 / 32)
        assert record["band_excess"] == pytest.approx(record["band"] - 6 / 32)
    rows = np.random.default_rng(0).permutation(np.arange(1, 12, 2))[:5]
    patches, masks = PATCHES.tensors()[rows], torch.from_numpy(PATCHES.masks)[rows, None]
    maps = cam(load_classifier(explained.parents["network"]), patches, 1, against=0).maps
    band = split_evidence(maps, masks, width_px=3)["band"]
    assert records["all"]["band"] == pytest.approx(band.nanmean().item(), rel=1e-4)
    shown = explained.load_tensors("shown")
    torch.testing.assert_close(shown["patches"], patches[:2])
    torch.testing.assert_close(shown["maps"], maps[:2], rtol=1e-3, atol=1e-4)


def test_what_few_patches_show_is_not_known(explained, tmp_path, monkeypatch):
    """Where too many maps have no evidence, their number is all that there is."""
    monkeypatch.setattr("thesis_lib.study.attribution.MAX_SILENT", -1.0)
    (first, *_) = run(replace(explained.task, n_patches=4), tmp_path).scores["evidence"]
    assert first["n_silent"] < 4
    assert first["band"] is first["band_excess"] is None


def test_all_patches_are_compared_that_have_room(explained):
    """Half-spaces have room for three regions of one size; narrow salt has not, and is counted."""
    scores = explained.scores
    assert (scores["n_patches"], scores["n_compared"]) == (5, 5)
    assert [record["region"] for record in scores["effects"]] == ["band", "interior", "exterior"]
    assert explained.load_tensors("shown")["replaced"].shape == (3, 1, 32, 32)


def test_narrow_salt_has_no_effect_to_compare(tmp_path):
    """Without a patch that has room there are maps and no effects, which is no error."""
    masks = PATCHES.masks & (np.arange(32) < 20)[:, None]
    narrow = LabelledPatches(PATCHES.images, PATCHES.labels, CLASSES, masks)
    outcome = run(Explain(make_classifier(narrow), n_patches=5, n_shown=2), tmp_path)
    assert outcome.scores["n_compared"] == 0
    assert [record["drop"] for record in outcome.scores["effects"]] == [None] * 3
    shown = outcome.load_tensors("shown")
    assert (len(shown["maps"]), len(shown["replaced"])) == (2, 0)
    assert tabulate_attribution([outcome])["drop"].isna().all()


def test_background_stands_in_where_no_patch_is_without_salt(explained, tmp_path):
    """What replaces a part has no salt, or, where such patches are few, the least that there is."""
    assert explained.scores["fill_salt"] == 0
    masks = PATCHES.masks.copy()
    masks[2::4, :4] = True
    masks[4::4, :2] = True
    few = LabelledPatches(PATCHES.images, PATCHES.labels, CLASSES, masks)
    task = replace(explained.task, network=make_classifier(few))
    assert run(task, tmp_path).scores["fill_salt"] == 2 / 32


def test_patches_are_the_same_for_all_networks_of_a_seed(explained, tmp_path):
    """Patches and what replaces their parts depend on the seed alone."""
    other = replace(explained.task, network=replace(explained.task.network, batch_size=2))
    tensors = [each.load_tensors("shown") for each in (explained, run(other, tmp_path))]
    for name in ("patches", "masks", "replaced"):
        assert torch.equal(tensors[0][name], tensors[1][name])


def test_shuffled_weights_are_followed_part_by_part(explained):
    """The cascade starts at the intact map and ends at the merger."""
    first, *_, last = explained.scores["cascade"]
    assert first == {"part": "intact", "correlation": pytest.approx(1)}
    assert (last["part"], abs(last["correlation"]) < 1) == ("merger", True)


def test_scores_of_claims_have_one_row_per_entry(explained):
    """An initialisation has its evidence, each of its regions a drop."""
    table = tabulate_attribution([explained]).set_index("entry")
    assert table.index.tolist() == ["untrained", *(f"untrained {name}" for name in REGION_NAMES)]
    assert table["band_excess"].notna().tolist() == [True, False, False, False]
    assert table["drop"].notna().tolist() == [False, True, True, True]


REGION_NAMES = ("band", "interior", "exterior")


@pytest.mark.parametrize(
    ("change", "patches", "message"),
    [
        ({"n_fills": 7}, PATCHES, "Invalid number of unseen patches of background 6"),
        ({}, PATCHES.take(slice(0, None, 2)), "salt and background 0"),
        ({}, replace(PATCHES, masks=None), "masks of its patches are not known"),
    ],
)
def test_what_cannot_be_explained_is_said(tmp_path, change, patches, message):
    """Patches without masks, without salt or all with salt are refused in one line."""
    task = Explain(make_classifier(patches), **change)
    with pytest.raises(ValueError, match=message):
        run(task, tmp_path)


def test_counts_are_refused(explained):
    """Counts are whole numbers of at least 1."""
    with pytest.raises(ValueError, match="Invalid n_fills 0"):
        replace(explained.task, n_fills=0)
