"""Measures are admitted: known things of data that are drawn by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from explained_networks import CLASSES, JUDGE, make_classifier, run
from noise import make_noise
from scipy import ndimage

from thesis_lib.patches import LabelledPatches
from thesis_lib.study import MeasureData, tabulate
from thesis_lib.study.admission import admit_measures
from thesis_lib.study.claims import MIN_AUC

SIDE = 48
KNOWN = ["sharpness", "body", "recognised", "noise_db", "deficit_db"]


def draw_data(n=24):
    """Smooth noise; every other patch has a disc of salt with a bright rim."""
    images = make_noise(n, SIDE, SIDE).numpy()
    images = ndimage.gaussian_filter(images, (0, 1.0, 1.0))
    rows, columns = np.ogrid[:SIDE, :SIDE]
    masks = np.zeros(images.shape, bool)
    for number in range(1, n, 2):
        distance = np.hypot(rows - 20 - number % 5, columns - 24)
        masks[number] = distance < 14
        images[number] += 2 * (np.abs(distance - 14) < 2)
    return LabelledPatches(images, np.arange(n) % 2, CLASSES, masks)


DATA = draw_data()
TRUTH = torch.from_numpy(DATA.masks)[:, None]


def admit(found, data=DATA):
    """Area under the curve by measure."""
    return {each["measure"]: each["auc"] for each in admit_measures(data, found, 0.2, seed=0)}


def test_a_judge_that_sees_the_truth_admits_all():
    """Where the judge sees the true mask, every measure tells its known things apart."""
    areas = admit(TRUTH)
    assert list(areas) == KNOWN
    assert min(areas.values()) >= MIN_AUC


def test_a_blind_judge_admits_none_of_its_own():
    """One that sees a disc everywhere tells no body; one that sees nothing has no contour."""
    everywhere = admit(TRUTH[1:2].expand_as(TRUTH))
    assert everywhere["body"] == everywhere["recognised"] == 0.5
    assert everywhere["sharpness"] > MIN_AUC  # of contours that are there
    nothing = admit(TRUTH & False)
    assert np.isnan(nothing["sharpness"])
    assert nothing["body"] == 0.5
    assert nothing["noise_db"] == everywhere["noise_db"] >= MIN_AUC


def test_without_background_nothing_is_known():
    """Where every patch holds salt, what has to be told from background is NaN."""
    areas = admit(TRUTH[1::2], DATA.take(np.arange(1, 24, 2)))
    assert all(np.isnan(areas[name]) for name in KNOWN[:3])


@pytest.mark.parametrize("judge", [JUDGE, None], ids=["judge", "no judge"])
def test_data_are_measured_as_images(root, judge):
    """Patches drawn by the seed, some of each class, have rows, and measures have areas."""
    task = MeasureData(make_classifier(DATA), judge, n_per_class=3)
    found = run(task, root)
    table = tabulate([found], rows="images")
    assert table["class"].tolist() == ["background"] * 3 + ["salt"] * 3
    assert (DATA.labels[table["patch"]] == [0] * 3 + [1] * 3).all()
    assert table["patch"].nunique() == 6
    assert table["deficit_db"].notna().all()
    assert table["body"].isna().all() == (judge is None)
    areas = tabulate([found], rows="admissions")
    assert areas["measure"].tolist() == KNOWN
    assert areas.set_index("measure")["auc"].notna()["noise_db"]
    if judge is None:
        assert areas["auc"][:3].isna().all()


def test_too_few_patches_are_refused(tmp_path):
    """Each class needs as many patches as are drawn."""
    with pytest.raises(ValueError, match="Invalid n_per_class 0"):
        MeasureData(make_classifier(DATA), JUDGE, n_per_class=0)
    task = MeasureData(make_classifier(DATA), JUDGE, n_per_class=3)
    few = replace(task, judge=None, n_per_class=13)
    with pytest.raises(ValueError, match=r"of class .background. 12\. Must be at least 13"):
        run(few, tmp_path)
