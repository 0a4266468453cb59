"""Tests of LANDMASS on small folders, archives and HDF5 files of its layout."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from saltvolumes.errors import DataError
from saltvolumes.landmass import CLASSES, SHAPES, open_landmass, split_blocks
from saltvolumes.landmass import _read_arrays as read_arrays

STEMS = {"chaotic": "chaotic", "fault": "fault", "horizon": "horizon", "salt dome": "saltdome"}
FAULT = "fault/fault_0001.mat"


def make_image(release, label, number):
    """An image whose samples are its release, class and number."""
    image = np.zeros(SHAPES[release])
    image[0, :3] = release / 10, label / 10, number / 100
    image[1, 0], image[-1, -1] = -1, 1
    return image


def save(path, *, compress=False, **content):
    """Write variables as MATLAB does."""
    scipy.io.savemat(path, content, do_compression=compress)


def write_folder(root, n_images=3, releases=(1, 2)):
    """A folder LANDMASS as it is in the archive, with few images."""
    for release in releases:
        for label, (folder, stem) in enumerate(STEMS.items()):
            place = root / "LANDMASS" / f"LANDMASS{release}" / folder
            place.mkdir(parents=True)
            for number in range(1, n_images + 1):
                save(place / f"{stem}_{number:04}.mat", img=make_image(release, label, number))
    return root / "LANDMASS"


def write_hdf5(path, n_images=3):
    """The HDF5 mirror, with the names of its classes and its last axis of one."""
    names = ("Chaotic Horizon", "Fault", "Horizon", "Salt Dome")
    with h5py.File(path, "w") as file:
        for release in SHAPES:
            for label, name in enumerate(names):
                images = [make_image(release, label, n + 1) for n in range(n_images)]
                file[f"LANDMASS-{release}/{name}"] = np.stack(images)[..., None]
    return path


def assert_complete(landmass, release, n_images=3):
    """All images are there, in the order of class and number, with what belongs to them."""
    n = n_images * len(CLASSES)
    assert landmass.images.shape == (n, *SHAPES[release])
    assert landmass.images.dtype == np.float32
    assert landmass.classes == CLASSES
    np.testing.assert_array_equal(landmass.labels, np.repeat(range(4), n_images))
    np.testing.assert_array_equal(landmass.numbers, np.tile(range(1, n_images + 1), 4))
    expected = np.stack([np.full(n, release / 10), landmass.labels / 10, landmass.numbers / 100], 1)
    np.testing.assert_allclose(landmass.images[:, 0, :3], expected, rtol=1e-6)
    np.testing.assert_array_equal(landmass.images[:, 1, 0], -1)  # rows stay rows


@pytest.fixture
def folder(tmp_path):
    """LANDMASS1 with one image a class, to be damaged."""
    return write_folder(tmp_path, 1, (1,)) / "LANDMASS1"


@pytest.mark.parametrize("release", [1, 2])
@pytest.mark.parametrize("root", [".", "LANDMASS", "LANDMASS/LANDMASS{}"])
def test_folder(tmp_path, release, root):
    """The folder may be any from where it was unpacked down to the release."""
    write_folder(tmp_path)
    assert_complete(open_landmass(tmp_path / root.format(release), release=release), release)


@pytest.mark.parametrize(("release", "n_images"), [(1, 5), (2, 3)])
def test_hdf5_mirror(tmp_path, monkeypatch, release, n_images):
    """The HDF5 mirror, read a few images at a time, holds the same as the folders."""
    monkeypatch.setattr("saltvolumes.landmass._ROWS", 2)
    path = write_hdf5(tmp_path / "L.h5", n_images)
    assert_complete(open_landmass(path, release=release), release, n_images)


def test_images_of_any_variable_and_version(folder):
    """The image is the only array of two dimensions; MATLAB 7.3 writes it as HDF5, transposed."""
    path = folder / FAULT
    others = {"n": 5.0, "note": "text", "rgb": np.zeros((9, 9, 3)), "row": np.zeros((1, 9))}
    save(path, x=IMAGE, **others)
    assert_complete(open_landmass(folder), 1, 1)
    path.unlink()
    with h5py.File(path, "w", userblock_size=512) as file:
        file["img"] = IMAGE.T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    assert_complete(open_landmass(folder), 1, 1)


def test_numbers_come_from_the_names(folder):
    """Images that were left out leave a gap in the numbers, and 10 comes after 9."""
    for number in (9, 10):
        save(folder / "fault" / f"fault_{number}.mat", img=make_image(1, 1, number))
    landmass = open_landmass(folder)
    np.testing.assert_array_equal(landmass.numbers[landmass.labels == 1], [1, 9, 10])


def put(**content):
    """What replaces an image by these variables."""
    return lambda folder: save(folder / FAULT, **content)


IMAGE = make_image(1, 1, 1)
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: shutil.rmtree(f / "fault"), "holds .* Must be one of each: chaotic, f"),
    "unknown class": (lambda f: (f / "pinnacle").mkdir(), "'pinnacle'.* Must be one of each"),
    "class twice": (lambda f: (f / "salt_dome").mkdir(), "'salt_dome'.* Must be one of each"),
    "empty class": (lambda f: (f / FAULT).unlink(), "holds no .mat files"),
    "no number": (lambda f: (f / "fault" / "a.mat").touch(), "fault/a.mat has no number of its"),
    "number twice": (lambda f: (f / "fault" / "fault_1.mat").touch(), "_0*1.mat has no number of"),
    "broken": (lambda f: (f / FAULT).write_bytes(b"no mat" * 99), f"{FAULT} is damaged"),
    "zero length": (lambda f: (f / FAULT).write_bytes(b""), f"{FAULT} is damaged"),
    "two arrays": (put(a=IMAGE, b=IMAGE), "holds 2 images. Must be one"),
    "no array": (put(a="text"), "holds 0 images. Must be one"),
    "other size": (put(a=IMAGE[:, 1:]), r"shape \(99, 98\). Must be \(99, 99\) in"),
    "uint8": (put(a=np.full((99, 99), 200, np.uint8)), "holds uint8 of 200 to 200"),
    "NaN": (put(a=np.full((99, 99), np.nan)), "float64 of nan to nan. Must be in"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_folders_are_refused_in_one_line(folder, fault):
    """What is wrong with a folder names the file or class that it is about."""
    damage, message = FAULTS[fault]
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        open_landmass(folder)
    assert "\n" not in str(caught.value)


def test_bad_roots(tmp_path):
    """A folder without LANDMASS, another file and an unknown release are named."""
    write_folder(tmp_path / "LANDMASS", 1, (1,))
    with pytest.raises(FileNotFoundError, match=r"No such file or folder: .*none"):
        open_landmass(tmp_path / "none")
    with pytest.raises(ValueError, match=r"Invalid release 3\. Must be one of: 1, 2"):
        open_landmass(tmp_path, release=3)
    with pytest.raises(DataError, match=r"holds 0 folders LANDMASS2\. Must be one"):
        open_landmass(tmp_path / "LANDMASS", release=2)
    (tmp_path / "a.npz").touch()
    with pytest.raises(DataError, match=r"a\.npz is not LANDMASS"):
        open_landmass(tmp_path / "a.npz")


def test_bad_hdf5(tmp_path):
    """An HDF5 file without the group, with other content or without any is named."""
    path = tmp_path / "L.h5"
    path.write_bytes(b"no hdf5")
    with pytest.raises(DataError, match=r"L\.h5 is not HDF5, or damaged"):
        open_landmass(path)
    with h5py.File(write_hdf5(path), "r+") as file:
        del file["LANDMASS-2"], file["LANDMASS-1/Fault"]
        file["LANDMASS-1/Fault"] = np.zeros(3)
    with pytest.raises(DataError, match="has no group LANDMASS-2"):
        open_landmass(path, release=2)
    with pytest.raises(DataError, match="/LANDMASS-1/Fault holds no images"):
        open_landmass(path)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_mat_reads_as_scipy_does(tmp_path, kind, compress):
    """Numbers of any type, compressed or not, and small ones in their tag, are those of scipy."""
    path = tmp_path / "a.mat"
    arrays = {"large": np.arange(6).reshape(2, 3).astype(kind), "x": np.ones((2, 2), kind)}
    save(path, **arrays, note="text", cell={"a": 1}, compress=compress)
    for read, name in zip(read_arrays(path.read_bytes()), arrays, strict=True):
        np.testing.assert_array_equal(read, scipy.io.loadmat(path)[name])


def test_each_image_is_tested_once():
    """Over all blocks, the tests are a partition of the images."""
    labels, numbers = np.repeat([0, 1, 2], [200, 61, 97]), np.r_[:200, :61, :97]
    for n in (2, 5, 7):
        tests = [split_blocks(labels, numbers, block, n_blocks=n)[1] for block in range(n)]
        np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(len(labels)))


def test_blocks_are_contiguous_and_apart():
    """In each class, the test is a run of numbers, and training keeps its distance from it."""
    rng = np.random.default_rng(2)
    labels, numbers = np.repeat([0, 1], [100, 250]), np.r_[1:101, 1:251]
    shuffled = rng.permutation(350)
    labels, numbers = labels[shuffled], numbers[shuffled]
    for block in range(5):
        training, test = split_blocks(labels, numbers, block, n_dropped=7)
        for label, size in ((0, 20), (1, 50)):
            tested = np.sort(numbers[test][labels[test] == label])
            np.testing.assert_array_equal(tested, block * size + np.arange(1, size + 1))
            distance = np.abs(numbers[training][labels[training] == label][:, None] - tested)
            assert distance.min() == 8
            n_borders = 1 if block in (0, 4) else 2
            assert len(distance) == 5 * size - size - 7 * n_borders


@pytest.mark.parametrize(
    ("n", "arguments", "message"),
    [
        (30, {"block": 5}, r"Invalid block 5\. Must be from 0 to 4"),
        (30, {"block": 2}, r"Class 0 has 30 images\. Must be enough for 5 blocks"),
        (3, {"block": 0, "n_dropped": 0}, "Class 0 has 3 images"),
        (3, {"block": 0, "labels": np.zeros(9)}, r"Shapes differ: labels \(9,\), numbers \(3,\)"),
        (30, {"block": 0, "n_dropped": -1}, "Invalid n_dropped -1"),
        (30, {"block": 0, "n_blocks": 1}, "Invalid n_blocks 1"),
    ],
)
def test_bad_splits(n, arguments, message):
    """Blocks that do not exist, classes that are too small and shapes that differ are refused."""
    with pytest.raises(ValueError, match=message):
        split_blocks(**{"labels": np.zeros(n, int), "numbers": np.arange(n), **arguments})


@pytest.mark.real_data
def test_real_layout(real_data):
    """Patches of F3 in the folders of LANDMASS are read, 200 of each class, in -1..1."""
    landmass = open_landmass(real_data / "landmass_layout")
    assert landmass.images.shape == (800, 99, 99)
    np.testing.assert_array_equal(np.bincount(landmass.labels), [200] * 4)
    np.testing.assert_array_equal(landmass.numbers.reshape(4, 200), [np.arange(1, 201)] * 4)
    assert np.abs(landmass.images).max() == 1


@pytest.mark.real_data
@pytest.mark.parametrize("release", [1, 2])
def test_genuine_pictures(real_data, tmp_path, release):
    """Genuine images are refused as the bytes they were published as, and read once in -1..1."""
    names = dict(zip(STEMS, ("Chaotic", "Faults", "Horizon", "SaltDome"), strict=True))
    with np.load(real_data / "landmass_8_crops.npz") as crops:
        images = {name: crops[f"LANDMASS{release}_{key}"] for name, key in names.items()}
    paths = {name: tmp_path / f"LANDMASS{release}" / name / "x_0001.mat" for name in images}
    for name, image in images.items():
        paths[name].parent.mkdir(parents=True)
        save(paths[name], img=image)
    with pytest.raises(DataError, match="holds uint8 of 0 to 255"):
        open_landmass(tmp_path, release=release)
    for name, image in images.items():
        save(paths[name], img=image / 127.5 - 1)
    expected = np.stack([image / 127.5 - 1 for image in images.values()])
    landmass = open_landmass(tmp_path, release=release)
    np.testing.assert_allclose(landmass.images, expected, atol=1e-6)
