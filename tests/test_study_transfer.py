"""Networks trained on synthetic earths are scored on sections of another volume, run by run."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from thesis_lib._volume import build_volume
from thesis_lib.data import Augmentation
from thesis_lib.metrics import dice_score
from thesis_lib.study import SegmentationConfig, StudyData, read_augmentation
from thesis_lib.study.tables import FULL, collect_transfer, format_transfer
from thesis_lib.study.transfer import (
    ABLATIONS,
    Ablation,
    TransferStudy,
    apply_ablation,
    load_prediction,
    open_target,
    run_transfer,
)
from thesis_lib.synthetic import PRESETS
from thesis_lib.training import TrainConfig

CONFIG = SegmentationConfig(
    loss="bce_dice",
    train=TrainConfig(epochs=1, precision="32-true"),
    patch=(16, 16),
    stride=(16, 16),
    n_patches=8,
    batch_size=4,
    augmentation=Augmentation(polarity=0.5),
    encoder="test_resnet",
)


def write_target(path, *, salt=True, crosslines=(61, 211, 231)):
    """Four-millisecond volume of noise, salt in the lower half of all crosslines but the first."""
    shape = (20, len(crosslines), 32)
    mask = np.zeros(shape, dtype=bool)
    mask[:, 1:, 16:] = salt
    volume = build_volume(
        np.random.default_rng(0).standard_normal(shape),
        inline=np.arange(20),
        crossline=crosslines,
        vertical=4.0 * np.arange(32),
        vertical_dim="time",
        salt=mask,
        attrs={"source": "test"},
    )
    volume.to_netcdf(path, engine="h5netcdf")
    return StudyData(source=str(path))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two presets, one ablation, scored on a file of three crosslines."""
    return TransferStudy(
        earths=dict.fromkeys(PRESETS, (20.0,)),
        target=write_target(tmp_path_factory.mktemp("target") / "lines.nc"),
        config=CONFIG,
        n_volumes=3,
        shape=(16, 16, 32),
        ablations=("mirrored patches",),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the runs that the tests of this file share."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(study, root):
    """The runs of the study, computed once."""
    return run_transfer(study, root=root, progress=False)


def test_full_network_comes_first(runs):
    """A seed trains the full network, then each ablation."""
    assert [(run.left_out, run.seed) for run in runs] == [(FULL, 0), ("mirrored patches", 0)]
    assert all(run.outcome.computed for run in runs)
    assert all(run.seconds > 0 for run in runs)


def test_sections_without_salt_are_not_scored(runs):
    """Only lines with salt get a Dice score, and the mean is theirs."""
    scores = runs[0].outcome.scores
    assert list(scores["sections"]) == ["211", "231"]
    assert scores["mean"] == pytest.approx(np.mean(list(scores["sections"].values())))


def test_scores_are_those_of_the_stored_prediction(study, runs):
    """Thresholded at one half, the stored probability has the Dice score that was written down."""
    probability = load_prediction(runs[0]).sel(crossline=231)
    truth = open_target(study)["salt"].sel(crossline=231)
    dice = dice_score((probability > 0.5).values, truth.transpose(*probability.dims).values)
    assert runs[0].outcome.scores["sections"]["231"] == pytest.approx(dice)


def test_earths_take_presets_in_turn(runs):
    """Three earths of two presets are three different volumes."""
    assert len(set(runs[0].outcome.scores["training"])) == 3


def test_nothing_is_computed_twice(study, root, runs, capsys, monkeypatch):
    """A second call finds every run without making an earth, and says so."""
    monkeypatch.delattr("thesis_lib.study.transfer_run.make_volume")
    again = run_transfer(study, root=root)
    assert not any(run.outcome.computed for run in again)
    pd.testing.assert_frame_equal(collect(again), collect(runs))
    assert capsys.readouterr().out.count("(found)") == 2


@pytest.mark.parametrize(
    "changes", [{"n_volumes": 2}, {"seeds": (1,)}, {"earths": {"gulf": (20.0,)}}, {"n_sections": 1}]
)
def test_another_study_is_another_run(study, root, runs, changes):
    """Earths, seed and sections are part of the key of a run."""
    (run,) = run_transfer(replace(study, ablations=(), **changes), root=root, progress=False)
    assert run.outcome.computed
    assert run.outcome.folder not in {known.outcome.folder for known in runs}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_changes_the_study(study, name):
    """Each entry of the registry names fields that exist and changes at least one of them."""
    presets, config = apply_ablation(study, name)
    full_presets, full_config = apply_ablation(study, FULL)
    assert (presets, config) != (full_presets, full_config)
    assert full_presets == {key: PRESETS[key] for key in study.earths}
    assert full_config == study.config


def test_an_ablation_changes_what_it_names(study):
    """Without noise on patches the augmentation has none, and the earths are as they were."""
    presets, config = apply_ablation(study, "noise on patches")
    assert config.augmentation == replace(CONFIG.augmentation, noise=0.0)
    assert presets["gulf"] == PRESETS["gulf"]


def test_a_preset_is_a_target(study, root):
    """The target may be an unseen synthetic earth, cut along inlines."""
    study = replace(
        study,
        target=StudyData(source="gulf", shape=(20, 20, 32)),
        axis="inline",
        n_sections=2,
        ablations=(),
    )
    (run,) = run_transfer(study, root=root, progress=False)
    assert len(run.outcome.scores["sections"]) == 2
    assert open_target(study).sizes["inline"] == 2


def collect(runs):
    """Tidy scores of runs."""
    return collect_transfer((run.left_out, run.seed, run.outcome.scores) for run in runs)


def make_scores(means):
    """Tidy scores of one section from {(left out, seed): Dice}."""
    rows = [(name, seed, 61, dice) for (name, seed), dice in means.items()]
    return pd.DataFrame(rows, columns=["left_out", "seed", "section", "dice"])


def test_table_pairs_seeds():
    """The difference is paired: two seeds that both lose 0.1 lose it without spread."""
    scores = make_scores({(FULL, 0): 0.5, (FULL, 1): 0.7, ("faults", 0): 0.4, ("faults", 1): 0.6})
    table = format_transfer(scores, ["faults", "folds"])
    assert table.to_dict("list") == {
        "Left out": [FULL, "faults", "folds"],
        "Dice": ["0.600 ± 0.141", "0.500 ± 0.141", "not run"],
        "Difference": ["–", "-0.100 ± 0.000", "–"],
        "61": ["0.600 ± 0.141", "0.500 ± 0.141", "–"],
    }


def test_table_of_one_seed_has_no_spread():
    """One seed gives a number, and a gain its sign."""
    table = format_transfer(make_scores({(FULL, 0): 0.5, ("faults", 0): 0.52}), ["faults"])
    assert table["Dice"].tolist() == ["0.500", "0.520"]
    assert table["Difference"].tolist() == ["–", "+0.020"]


def test_table_of_nothing_says_so():
    """Without a run every row reads not run."""
    table = format_transfer(make_scores({}), ["faults"])
    assert table["Dice"].tolist() == ["not run", "not run"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"earths": {}}, r"Invalid earths \{\}\. Must name presets and spacings"),
        ({"earths": {"gulf": ()}}, "Must name presets and spacings"),
        ({"earths": {"gulf": 20.0}}, r"Invalid earths \{'gulf': 20.0\}\. Must name presets and"),
        ({"earths": {"golf": (20.0,)}}, "Invalid preset 'golf'"),
        ({"earths": {"gulf": (0.0,)}}, r"Invalid spacing of gulf 0\.0\. Must lie in \(0, inf"),
        ({"ablations": ("fauts",)}, "Invalid ablation 'fauts'.*'faults'"),
        ({"ablations": ("faults", "faults")}, r"\['faults', 'faults'\]. Must be distinct"),
        ({"axis": "time"}, "Invalid axis 'time'"),
        ({"n_volumes": 0}, "Invalid n_volumes 0"),
        ({"n_sections": 0}, "Invalid n_sections 0"),
        ({"seeds": (0, 0)}, r"Invalid seeds \[0, 0\]"),
        ({"seeds": (10**6,)}, "Invalid seed 1000000"),
    ],
)
def test_studies_that_cannot_be_are_refused(study, changes, message):
    """Presets, ablations, counts and seeds are checked before anything is trained."""
    with pytest.raises(ValueError, match=message):
        replace(study, **changes)


def test_augmentation_is_read_by_its_fields():
    """Names set the fields of the default augmentation, and a misspelt one is refused."""
    assert read_augmentation({"polarity": 0.5}) == Augmentation(polarity=0.5)
    with pytest.raises(ValueError, match=r"Invalid name in augmentation 'flop'.*'flip'"):
        read_augmentation({"flop": 0.5})


def test_an_ablation_of_an_unknown_field_is_refused(study, monkeypatch):
    """A misspelt field of an ablation is an error, not a silent copy of the full network."""
    monkeypatch.setitem(ABLATIONS, "typo", Ablation(earth={"fauts": 0.0}))
    with pytest.raises(TypeError, match="fauts"):
        apply_ablation(study, "typo")


def test_targets_without_salt_are_refused(study, tmp_path):
    """A target needs a mask with salt, and sections that hold a patch."""
    empty = write_target(tmp_path / "empty.nc", salt=False)
    with pytest.raises(ValueError, match="without salt"):
        open_target(replace(study, target=empty))
    with pytest.raises(ValueError, match=r"Invalid patch \(64, 64\)"):
        open_target(replace(study, config=replace(CONFIG, patch=(64, 64))))
    volume = build_volume(
        np.ones((4, 4, 8)), inline=range(4), crossline=range(4), vertical=range(8)
    )
    volume.to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="without a mask"):
        open_target(replace(study, target=StudyData(source=str(tmp_path / "bare.nc"))))
