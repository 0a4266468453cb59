from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from thesis_lib.study import inversion, maximization
from thesis_lib.study.explanation_tables import (
    summarise_depth,
    tabulate_inversion,
    tabulate_maximization,
)


def make_maximized(bodies, *, seed=0, classes=("salt", "salt", "background")):
    """Images whose value is 0, 1, 2, ..."""
    table = pd.DataFrame({"class": classes, "value": np.arange(3.0), "bodies": bodies})
    return SimpleNamespace(
        table=table.reindex(columns=["class", *maximization.MEASURES]), seed=seed
    )


def make_inverted(modification, *, residual=None, route="segmentation", seed=0):
    """Two patches with two restarts, from {block: their four modifications}."""
    rows = [
        {"block": block, "patch": i // 2, "ni_seed": i % 2, "modification": value}
        for block, values in modification.items()
        for i, value in enumerate(values)
    ]
    table = pd.DataFrame(rows)
    table["residual"] = 0.001 if residual is None else residual
    table["converged"] = (table["residual"] < 0.01).astype(float)
    columns = ["block", "patch", "ni_seed", *inversion.MEASURES]
    return SimpleNamespace(table=table.reindex(columns=columns), route=route, seed=seed)


def test_maximization_is_averaged_over_images_of_the_class():
    """A network's row is the mean over its images of salt, and the share of one body."""
    runs = [("segmentation", make_maximized([1, 2, 0])), ("naive", make_maximized([1, 1, 5]))]
    table = tabulate_maximization(runs)
    assert table["entry"].tolist() == ["segmentation", "naive"]
    assert table["seed"].tolist() == [0, 0]
    assert table["value"].tolist() == [0.5, 0.5]
    assert table["one_body"].tolist() == [0.5, 1.0]
    other = tabulate_maximization(runs, class_name="background")
    assert other["value"].tolist() == [2.0, 2.0]


def test_bodies_that_are_unknown_are_not_one():
    """Without a segmenter the share of images with one body is unknown, not 0."""
    table = tabulate_maximization([("naive", make_maximized([np.nan] * 3))])
    assert table["one_body"].isna().all()


def test_a_class_that_was_not_maximized_is_refused():
    """A misspelt class is named, with those that there are."""
    with pytest.raises(ValueError, match=r"Invalid class_name 'slat'.*'salt', 'background'"):
        tabulate_maximization([("naive", make_maximized([1, 1, 1]))], class_name="slat")


def test_entries_of_inversion_are_routes_and_depths():
    """Each block is an entry, and shallow is the mean of blocks 1 and 2."""
    run = make_inverted({"block1": [0, 0.2, 0, 0.2], "block2": [0.5] * 4, "block3": [0.9] * 4})
    table = tabulate_inversion([run]).set_index("entry")
    assert table["modification"].to_dict() == pytest.approx(
        {
            "segmentation block1": 0.1,
            "segmentation block2": 0.5,
            "segmentation block3": 0.9,
            "segmentation shallow": 0.3,
        }
    )


def test_without_both_shallow_blocks_there_is_no_shallow():
    """Block 1 alone is not called shallow."""
    table = tabulate_inversion([make_inverted({"block1": [0.1] * 4})])
    assert table["entry"].tolist() == ["segmentation block1"]


def test_only_converged_images_count():
    """An image that did not converge leaves the mean, but its share is told."""
    run = make_inverted({"block1": [0.1, 0.1, 0.4, 0.9]}, residual=[0, 0, 0, 0.5])
    (row,) = tabulate_inversion([run]).to_dict("records")
    assert row["modification"] == pytest.approx(0.2)
    assert row["converged"] == 0.75
    (row,) = tabulate_inversion([run], converged_only=False).to_dict("records")
    assert row["modification"] == pytest.approx(0.375)


def test_a_block_that_hardly_converged_is_unknown():
    """Where fewer than half of its images converged, a block and what rests on it are NaN."""
    run = make_inverted(
        {"block1": [0.1] * 4, "block2": [0.2] * 4}, residual=[0] * 4 + [0, 0.5, 0.5, 0.5]
    )
    table = tabulate_inversion([run]).set_index("entry")
    assert table["modification"].isna().to_dict() == {
        "segmentation block1": False,
        "segmentation block2": True,
        "segmentation shallow": True,
    }
    assert table.loc["segmentation block2", "converged"] == 0.25


def test_curves_have_t_intervals_over_patches_of_all_networks():
    """Four patches of means 0, 1, 2, 3 have the mean 1.5 and a half width of 3.182 s / 2."""
    runs = [
        make_inverted({"block1": [-0.5, 0.5, 1, 1]}),
        make_inverted({"block1": [2, 2, 2, 4]}, seed=1),
        make_inverted({"block1": [5] * 4}, route="untrained"),
    ]
    table = summarise_depth(runs).set_index("route")
    assert table["block"].tolist() == ["block1", "block1"]
    half = 3.182446 * np.std([0, 1, 2, 3], ddof=1) / 2
    row = table.loc["segmentation"]
    assert row["modification"] == pytest.approx(1.5)
    assert row["modification_low"] == pytest.approx(1.5 - half)
    assert row["modification_high"] == pytest.approx(1.5 + half)
    assert table.loc["untrained", "modification_low"] == 5


def test_curves_of_one_patch_have_no_interval():
    """One value has a mean without bounds, and no value has neither."""
    run = make_inverted({"block1": [1] * 4}, residual=[0, 0, 1, 1])
    (row,) = summarise_depth([run]).to_dict("records")
    assert row["modification"] == 1
    assert np.isnan([row["modification_low"], row["modification_high"]]).all()
    (row,) = summarise_depth([make_inverted({"block1": [1] * 4}, residual=1.0)]).to_dict("records")
    assert np.isnan(row["modification"])
    assert row["converged"] == 0


def test_curves_of_all_images_warn():
    """On request images that did not converge count, as at a fixed number of steps."""
    run = make_inverted({"block1": [1] * 4}, residual=1.0)
    (row,) = summarise_depth([run], converged_only=False).to_dict("records")
    assert row["modification"] == 1
