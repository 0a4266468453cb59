import numpy as np
import pytest

from thesis_lib._volume import build_volume
from thesis_lib.study import (
    StudyData,
    load_splits,
    middle_section,
    open_source,
    richest_section,
)
from thesis_lib.study.splits import TEST_EARTH, VALIDATION_EARTH

SMALL = StudyData(source="gulf", shape=(16, 18, 32), n_train_volumes=2, n_test_volumes=2)


@pytest.fixture
def real(tmp_path):
    """Path of a volume of 10 inlines, 40 crosslines and 12 depths, salt in its lower half."""
    rng = np.random.default_rng(0)
    volume = build_volume(
        rng.standard_normal((10, 40, 12)),
        inline=np.arange(10),
        crossline=np.arange(100, 140),
        vertical=np.arange(12) * 10.0,
        salt=np.broadcast_to(np.arange(12) >= 6, (10, 40, 12)),
        attrs={"source": "test"},
    )
    path = tmp_path / "volume.nc"
    volume.to_netcdf(path, engine="h5netcdf")
    return str(path)


def test_earths_of_a_study_never_meet():
    """Training, validation and test earths are all different volumes."""
    splits = load_splits(SMALL, seed=0)
    volumes = [*splits.train, splits.validation, *splits.test]
    assert len({volume.attrs["content_hash"] for volume in volumes}) == 5


def test_seeds_share_test_but_not_training_earths():
    """Another seed trains on other earths and is scored on the same ones."""
    first, second = load_splits(SMALL, seed=0), load_splits(SMALL, seed=1)

    def hashes(volumes):
        return {volume.attrs["content_hash"] for volume in volumes}

    assert hashes(first.test) == hashes(second.test)
    assert not hashes(first.train) & hashes(second.train)


@pytest.mark.parametrize("seed", [VALIDATION_EARTH // 2, TEST_EARTH, -1])
def test_training_earths_stay_below_the_held_out_ones(seed):
    """A seed whose training earths would be held-out ones is refused."""
    with pytest.raises(ValueError, match=r"Invalid seed .* from 0 to 499999"):
        load_splits(SMALL, seed=seed)


def test_splits_that_differ_in_roles_differ_in_hash(real):
    """The same blocks in other roles are other data, so that no run is mistaken for another."""
    first = load_splits(StudyData(source=real, test_lines=(110,)), seed=0)
    second = load_splits(
        StudyData(source=real, test_lines=(110,), validation_lines=tuple(range(111, 140))), seed=0
    )
    assert first.content_hash != second.content_hash


def test_lines_apart_are_scored_apart(real):
    """Test lines with a gap between them are two volumes: no boundary runs across the gap."""
    lines = (*range(100, 105), *range(130, 135))
    splits = load_splits(StudyData(source=real, test_lines=lines), seed=0)
    assert [list(part.crossline.values) for part in splits.test] == [
        list(range(100, 105)),
        list(range(130, 135)),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_lines": (105,)}, "validation_lines without test_lines"),
        ({"test_lines": (105,), "validation_lines": (105,)}, "Must be distinct"),
        ({"test_lines": (99,)}, r"numbers \[99\]\. Must be among the 40 lines from 100 to 139"),
    ],
)
def test_contradicting_lines_are_refused(real, changes, message):
    """Lines that contradict each other or are not there are named."""
    with pytest.raises(ValueError, match=message):
        load_splits(StudyData(source=real, **changes), seed=0)


@pytest.mark.parametrize("changes", [{"reading": {"mask": "salt.nc"}}, {"test_lines": (3,)}])
def test_arguments_of_a_file_are_refused_for_an_earth(changes):
    """A synthetic earth has its own mask and split."""
    with pytest.raises(ValueError, match="they belong to a file"):
        StudyData(**changes)


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
    source = StudyData(source=str(path), reading=reading)
    volume = open_source(source)
    assert dict(volume.sizes) == {"inline": 10, "crossline": 3, "time": 12}
    assert volume["salt"].mean() == 0.5
    assert source.reading["dims"] == ("crossline", "time", "inline")
    assert open_source(StudyData(source=str(path), reading=dict(reading))) is volume


def test_misspelt_reading_is_refused():
    """An argument that open_volume does not have is named beside those that it has."""
    with pytest.raises(ValueError, match=r"name in reading 'masks'\. Must be one of: .*'mask'"):
        StudyData(reading={"masks": "salt.nc"})


def test_misspelt_preset_is_refused():
    """A source that is neither a preset nor a file names the presets."""
    with pytest.raises(ValueError, match=r"Invalid source 'gulff'\. Must be a preset \(gulf"):
        StudyData(source="gulff")


def test_last_fifth_is_scored_by_default(real):
    """Without test lines the last fifth is scored, the tenth before watched, guards are left."""
    splits = load_splits(StudyData(source=real, guard_lines=3), seed=0)
    assert splits.test[0].crossline.values.tolist() == list(range(132, 140))
    assert splits.validation.crossline.values.tolist() == list(range(125, 129))
    assert [list(part.crossline.values) for part in splits.train] == [list(range(100, 122))]


def test_held_out_lines_split_the_training_volume(real):
    """A line left out of the middle leaves two blocks, each the guard away from it."""
    source = StudyData(source=real, test_lines=(120,), validation_lines=(110,), guard_lines=2)
    splits = load_splits(source, seed=0)
    assert [list(part.crossline.values) for part in splits.train] == [
        list(range(100, 108)),
        list(range(113, 118)),
        list(range(123, 140)),
    ]
    assert splits.test[0].crossline.values.tolist() == [120]
    assert splits.validation.crossline.values.tolist() == [110]


def test_seed_does_not_move_a_real_split(real):
    """All seeds train on and score the same lines of a real volume."""
    source = StudyData(source=real, test_lines=(120,))
    assert load_splits(source, seed=0).content_hash == load_splits(source, seed=1).content_hash


def test_too_wide_guard_is_refused(real):
    """Held-out lines that leave nothing to train on are an error."""
    source = StudyData(source=real, test_lines=(120,), guard_lines=40)
    with pytest.raises(ValueError, match=r"Must leave at least one of 40 lines along crossline"):
        load_splits(source, seed=0)


def test_test_lines_without_salt_are_refused(tmp_path):
    """Scores of empty masks say nothing, so a test block without salt is an error."""
    salt = np.zeros((10, 40, 12), dtype=bool)
    salt[:, :20, 6:] = True
    volume = build_volume(
        np.random.default_rng(0).standard_normal(salt.shape),
        inline=np.arange(10),
        crossline=np.arange(40),
        vertical=np.arange(12) * 10.0,
        salt=salt,
        attrs={"source": "test"},
    )
    volume.to_netcdf(tmp_path / "volume.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="no salt in them"):
        load_splits(StudyData(source=str(tmp_path / "volume.nc")), seed=0)


def test_volume_without_mask_is_refused(tmp_path):
    """A real volume needs a mask to be studied, and the error says how to name one."""
    volume = build_volume(
        np.random.default_rng(0).standard_normal((10, 40, 12)),
        inline=np.arange(10),
        crossline=np.arange(40),
        vertical=np.arange(12) * 10.0,
        attrs={"source": "test"},
    )
    volume.to_netcdf(tmp_path / "volume.nc", engine="h5netcdf")
    with pytest.raises(
        ValueError, match=r"Must have a salt mask: .* in reading: \{mask: \.\.\.\}\."
    ):
        load_splits(StudyData(source=str(tmp_path / "volume.nc")), seed=0)


def test_unknown_axis_is_refused():
    """Volumes are split along lateral axes only."""
    with pytest.raises(ValueError, match="Invalid split_axis 'depth'"):
        StudyData(split_axis="depth")


@pytest.mark.parametrize("axis", ["inline", "crossline"])
def test_middle_section_is_vertical_by_lateral(axis):
    """A middle section has depth down and the other lateral axis across."""
    lateral = {"inline": "crossline", "crossline": "inline"}[axis]
    section = middle_section(open_source(SMALL, earth=0), axis)
    assert section["amplitude"].dims == ("depth", lateral)


def test_richest_section_holds_the_most_salt():
    """The line with the most salt is taken; without a mask it is the middle one."""
    volume = open_source(SMALL, earth=0)
    section = richest_section(volume, "crossline")
    assert section["salt"].dims == ("depth", "inline")
    assert section["salt"].sum() == volume["salt"].sum(("inline", "depth")).max()
    bare = volume.drop_vars("salt")
    assert richest_section(bare, "inline").identical(middle_section(bare, "inline"))
    for find in (middle_section, richest_section):
        with pytest.raises(ValueError, match="Invalid axis 'depth'"):
            find(volume, "depth")
