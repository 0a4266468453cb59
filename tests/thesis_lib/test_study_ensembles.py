"""The mean of several predictions next to one of them."""

import numpy as np
import pytest
import xarray as xr

from saltvolumes import middle_section
from thesis_lib.patches import Earths
from thesis_lib.study import Score, Train
from thesis_lib.study.ensembles import COLUMNS, tabulate_ensembles
from thesis_lib.study.segmentation import SECTIONS
from thesis_lib.study.tasks import Outcome

EARTHS = Earths({"gulf": (20.0,)}, (16, 24, 32))


@pytest.fixture
def keep(tmp_path):
    """Score of a network that sees salt with one probability in both axes, and none elsewhere."""

    def make(seed, loss, probability, missing=0):
        task = Score(Train(seed, loss, EARTHS))
        volume = EARTHS.test(seed, 1)[0]
        sections = xr.Dataset()
        for axis in task.network.axes:
            salt = middle_section(volume, axis)["salt"].reset_coords(drop=True)
            found = xr.where(salt, probability, 0.1)
            found[:missing] = np.nan
            sections[f"{axis}_section"] = found
        folder = tmp_path / f"{seed}{loss}"
        folder.mkdir()
        sections.to_netcdf(folder / SECTIONS, engine="h5netcdf")
        return Outcome(task, folder, {}, computed=False, seconds=0.0)

    return make


def test_a_network_that_is_sure_helps_one_that_is_not(keep):
    """One sees all salt with .9, one none with .4: the mean of .65 sees all; alone, one half."""
    table = tabulate_ensembles([keep(0, "dice", 0.9), keep(0, "bce", 0.4)])
    assert table.to_dict("records") == [
        {"seed": 0, "n_networks": 2, "mean": 0.5, "highest": 1.0, "together": 1.0}
    ]


def test_seeds_are_apart_and_need_two_networks(keep):
    """Each seed has its own earths; one network is no ensemble, and nothing is an empty table."""
    found = [keep(0, "dice", 0.9), keep(1, "dice", 0.4), keep(1, "bce", 0.3)]
    table = tabulate_ensembles(found)
    assert table[["seed", "mean", "together"]].values.tolist() == [[1, 0.0, 0.0]]
    assert tabulate_ensembles([]).columns.tolist() == [*COLUMNS]


def test_missing_samples_do_not_count(keep):
    """Salt that one network has no prediction of is not missed by the mean of two."""
    missing = 20  # rows, of which some hold salt in either section
    volume = EARTHS.test(0, 1)[0]
    for axis in ("inline", "crossline"):
        assert middle_section(volume, axis)["salt"][:missing].any()
    table = tabulate_ensembles([keep(0, "dice", 0.9, missing=missing), keep(0, "bce", 0.8)])
    assert table["together"].tolist() == [1.0]
