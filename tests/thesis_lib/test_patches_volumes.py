"""Volumes that networks learn from: they never touch, and keys know them by their content."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import saltearth
from saltvolumes import build_volume
from thesis_lib.patches import Earths, FlawedEarths, Survey, choose_data, open_test
from thesis_lib.patches.volumes import TEST_EARTH, VALIDATION_EARTH, hash_file
from thesis_lib.study.tasks import _identify

SMALL = Earths({"gulf": (20.0,)}, shape=(16, 18, 32), n_train=2)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Content of files is remembered in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_volume(path, *, salt=True, seed=0):
    """Volume of 10 inlines, 40 crosslines and 12 depths, salt in its lower half."""
    volume = build_volume(
        np.random.default_rng(seed).standard_normal((10, 40, 12)),
        inline=np.arange(10),
        crossline=np.arange(100, 140),
        vertical=np.arange(12) * 10.0,
        salt=salt if salt is None else np.broadcast_to((np.arange(12) >= 6) & salt, (10, 40, 12)),
        attrs={"source": "test"},
    )
    volume.to_netcdf(path, engine="h5netcdf")
    return str(path)


@pytest.fixture
def path(tmp_path):
    """Path of a volume with salt."""
    return write_volume(tmp_path / "volume.nc")


def hashes(volumes):
    """Content of volumes."""
    return {volume.attrs["content_hash"] for volume in volumes}


def lines(volumes):
    """Crosslines of volumes."""
    return [volume.crossline.values.tolist() for volume in volumes]


def test_earths_of_a_study_never_meet():
    """Training, validation and test earths are all different, and so are those of two seeds."""
    earths = [
        earth
        for seed in (0, 1)
        for earth in (*SMALL.train(seed), SMALL.validation(seed), *SMALL.test(seed, 2))
    ]
    assert len(hashes(earths)) == len(earths) == 10
    assert replace(SMALL, watched=False).validation(0) is None
    assert SMALL.train(0)[0] is SMALL.train(0)[0]  # made once


def test_earths_are_those_of_saltearth():
    """An earth is made by its preset, seed, shape and spacing, with changes of the preset."""
    (made,) = replace(SMALL, n_train=1, changes={"faults": 0.0}).train(3)
    expected = saltearth.make_volume((16, 18, 32), seed=3, preset="gulf", faults=0.0)
    assert made.attrs["content_hash"] == expected.attrs["content_hash"]


def test_training_earths_take_presets_and_spacings_in_turn():
    """Presets alternate, and each takes its own spacings one after the other."""
    mixed = Earths({"gulf": (20.0, 10.0), "north_sea": (15.0,)}, shape=(16, 18, 32), n_train=4)
    steps = [float(np.diff(volume[volume["amplitude"].dims[-1]])[0]) for volume in mixed.train(0)]
    assert steps[0] == 20.0
    assert steps[2] == 10.0
    assert [volume["amplitude"].dims[-1] for volume in mixed.train(0)] == ["depth", "time"] * 2


@pytest.mark.parametrize("flaws", [None, {"footprint": 1.0}])
def test_the_first_volume_to_test_is_opened_alone(flaws):
    """It equals the first of one test volume and of two."""
    data = FlawedEarths(SMALL.presets, SMALL.shape, flaws=flaws) if flaws else SMALL
    for n_volumes in (1, 2):
        assert open_test(data, 3, n_volumes).identical(data.test(3, n_volumes)[0])


@pytest.mark.parametrize("seed", [VALIDATION_EARTH // 2, TEST_EARTH, -1])
def test_earths_of_a_seed_stay_in_their_range(seed):
    """A seed whose training or test earths would serve for something else is refused."""
    for make in (SMALL.train, partial(SMALL.test, n_volumes=2)):
        with pytest.raises(ValueError, match=r"Invalid seed .* from 0 to 499999"):
            make(seed)


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ({}, r"Invalid presets \{\}\. Must map presets to spacings"),
        ({"gulf": ()}, "Must map presets to spacings"),
        ({"gulf": 20.0}, r"Invalid presets \{'gulf': 20.0\}"),
        ({"golf": (20.0,)}, "Invalid preset 'golf'"),
        ({"gulf": (0.0,)}, r"Invalid spacing of gulf 0\.0\. Must lie in \(0, inf"),
    ],
)
def test_earths_that_cannot_be_are_refused(presets, message):
    """Presets and spacings are checked before anything is made."""
    with pytest.raises(ValueError, match=message):
        Earths(presets)


def test_last_fifth_is_scored_by_default(path):
    """Without test lines the last fifth is scored, the tenth before watched, guards are left."""
    survey = Survey(path, guard_lines=3)
    assert lines(survey.test()) == [list(range(132, 140))]
    assert lines([survey.validation()]) == [list(range(125, 129))]
    assert lines(survey.train(0)) == lines(survey.train(1)) == [list(range(100, 122))]


def test_held_out_lines_split_the_training_volume(path):
    """Lines left out leave blocks, each the guard away; test lines apart are scored apart."""
    survey = Survey(path, test_lines=(120,), validation_lines=(110,), guard_lines=2)
    assert lines(survey.train(0)) == [
        list(range(100, 108)),
        list(range(113, 118)),
        list(range(123, 140)),
    ]
    assert lines([*survey.test(), survey.validation()]) == [[120], [110]]
    scored = Survey(path, test_lines=(*range(100, 105), *range(130, 135))).test()
    assert lines(scored) == [list(range(100, 105)), list(range(130, 135))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_lines": (105,)}, "validation_lines without test_lines"),
        ({"test_lines": (105,), "validation_lines": (105,)}, "contain duplicates"),
        ({"test_lines": (99,)}, r"numbers \[99\]\. Must be among the 40 lines from 100 to 139"),
        ({"test_lines": (120,), "guard_lines": 40}, "Must leave at least one of 40 lines"),
        ({"split_axis": "depth"}, "Invalid split_axis 'depth'"),
        ({"guard_lines": -1}, "Invalid guard_lines"),
        ({"reading": {"masks": "a"}}, r"name in reading 'masks'\. Must be one of: .*'mask'"),
    ],
)
def test_surveys_that_contradict_themselves_are_refused(path, changes, message):
    """Lines, axes and readings that cannot be are named."""
    with pytest.raises(ValueError, match=message):
        Survey(path, **changes).train(0)


@pytest.mark.parametrize(
    ("salt", "message"),
    [(False, "no salt in them"), (None, r"Must have a salt mask: .* in reading: \{mask: \.\.\.")],
)
def test_surveys_without_salt_are_refused(tmp_path, salt, message):
    """A survey needs a mask, with salt in the lines that are scored."""
    with pytest.raises(ValueError, match=message):
        Survey(write_volume(tmp_path / "bare.nc", salt=salt)).test()


def test_reading_is_that_of_open_volume(tmp_path):
    """A file is opened with the arguments given, lists as tuples; the same ones are read once."""
    path = tmp_path / "lines.npz"
    labels = np.ones((3, 12, 10), dtype=np.uint8)
    labels[:, 6:] = 4
    np.savez(path, image=np.random.default_rng(0).standard_normal(labels.shape), label=labels)
    reading = {
        "variable": "image",
        "mask": "label",
        "salt_label": 4,
        "dims": ["crossline", "time", "inline"],
        "sample_interval": 4.0,
    }
    survey = Survey(str(path), reading=reading)
    volume = survey.open()
    assert dict(volume.sizes) == {"inline": 10, "crossline": 3, "time": 12}
    assert volume["salt"].mean() == 0.5
    assert survey.reading["dims"] == ("crossline", "time", "inline")
    assert Survey(str(path), reading=dict(reading)).open() is volume


def test_key_knows_a_survey_by_its_content(path, tmp_path):
    """A moved or touched file is the same data; a changed one, split or file of a mask is not."""
    survey = Survey(path, test_lines=(110,))
    moved = tmp_path / "elsewhere.nc"
    moved.write_bytes((tmp_path / "volume.nc").read_bytes())
    os.utime(path, (1, 1))
    assert _identify(replace(survey, path=str(moved))) == _identify(survey)
    others = [
        replace(survey, path=write_volume(moved, seed=1)),
        replace(survey, validation_lines=tuple(range(111, 140))),
        replace(survey, reading={"sample_interval": 5.0}),
    ]
    for other in others:
        assert _identify(other) != _identify(survey)
    mask = tmp_path / "salt.txt"
    mask.write_text("a")
    masked = Survey(path, reading={"mask": (str(mask), str(mask))})
    before = _identify(masked)
    mask.write_text("b")
    assert _identify(masked) != before


def test_a_changed_file_is_opened_again(path, tmp_path):
    """Another content under the same name is another volume."""
    first = Survey(path).open().attrs["content_hash"]
    os.replace(write_volume(tmp_path / "new.nc", seed=1), path)  # noqa: PTH105
    assert Survey(path).open().attrs["content_hash"] != first


def test_key_knows_the_order_of_presets_and_values_by_size():
    """The first preset decides about held-out earths; 1 and 1.0 are one setting; inf is a value."""
    one, other = ({"gulf": (20,), "north_sea": (20.0,)}, {"north_sea": (20,), "gulf": (20,)})
    assert _identify(Earths(one)) != _identify(Earths(other))
    assert _identify(Earths(one)) == _identify(Earths(dict.fromkeys(one, (20.0,))))
    assert _identify((4400, np.inf)) == _identify((4400.0, np.inf)) != _identify((4400, None))


@pytest.mark.usefixtures("path")
def test_content_is_remembered(tmp_path, monkeypatch):
    """What has not changed is not read again, unless memory is damaged; a folder has names too."""
    known = hash_file(tmp_path / "volume.nc")
    with monkeypatch.context() as patch:
        patch.setattr("thesis_lib.patches.volumes.hashlib.file_digest", None)
        assert hash_file(tmp_path / "volume.nc") == known
    (memory,) = (tmp_path / "cache").rglob("hashes/*")
    memory.write_text("")
    assert hash_file(tmp_path / "volume.nc") == known
    (tmp_path / "blocked").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert hash_file(tmp_path / "volume.nc") == known
    folder = tmp_path / "volume.zarr"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = hash_file(folder)
    (folder / "a").rename(folder / "b")
    assert hash_file(folder) != first


def test_a_survey_that_comes_along_is_known_by_its_name():
    """F3 opens by name: salt on every crossline, two of them to score; no path is kept."""
    survey = choose_data("f3", shape=[1, 1, 1])
    assert (survey.path, survey.test_lines) == ("f3", (211, 231))
    volume = survey.open()
    assert volume["amplitude"].shape == (951, 4, 338)
    assert volume["salt"].any(("inline", "time")).all()
    scored, trained = (
        [line for part in parts for line in part["crossline"].values]
        for parts in (survey.test(), survey.train(0))
    )
    assert (scored, trained) == ([211, 231], [61, 281])
    assert "/" not in str(survey.identify())
    assert replace(survey, test_lines=(61,)).test()[0]["crossline"] == 61


def test_source_is_a_preset_or_a_file(path):
    """A preset gives earths, a path a survey; a misspelt preset and a reading of one are named."""
    assert choose_data("gulf", shape=[16, 18, 32], n_train=2, guard_lines=8) == SMALL
    assert choose_data(path, shape=[1, 1, 1], guard_lines=8) == Survey(path, guard_lines=8)
    with pytest.raises(
        ValueError, match=r"'gulff': .*gulff does not exist\. Must be a preset \(gulf"
    ):
        choose_data("gulff", shape=[1, 1, 1])
    with pytest.raises(ValueError, match=r"is a folder\. Must be .* or a \.zarr folder"):
        choose_data(str(Path(path).parent), shape=[1, 1, 1])
    for wrong in ({"reading": {"mask": "salt.nc"}}, {"test_lines": (3,)}):
        with pytest.raises(ValueError, match="for the synthetic earth 'gulf'"):
            choose_data("gulf", shape=[1, 1, 1], **wrong)
