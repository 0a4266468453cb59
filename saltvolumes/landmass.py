"""LANDMASS: patches of migrated sections in four classes, as released by their authors."""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from saltvolumes._checks import check_choice, check_count, check_same_shape
from saltvolumes.archives import unpack_once
from saltvolumes.errors import DataError, as_data_error

CLASSES = ("chaotic", "fault", "horizon", "salt dome")
SHAPES = {1: (99, 99), 2: (150, 300)}
_NAMES = {"chaotic": 0, "chaotichorizon": 0, "fault": 1, "horizon": 2, "saltdome": 3}
_HDF5_ENDINGS = (".h5", ".hdf5")
_ROUNDING = 1e-6  # beyond -1..1
# Format 5 of MATLAB: types of elements, classes of arrays of numbers, and how numbers are stored.
_MATRIX, _COMPRESSED, _NUMBERS = 14, 15, range(6, 16)
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_LIMIT_BYTES = 2**24  # of a compressed array
_ROWS = 256  # read at a time


class Landmass(NamedTuple):
    """Images in the order of their class and number; neighbours in a class are near-duplicates."""

    images: NDArray[np.float32]  # (n, H, W), rows are time
    labels: NDArray[np.int64]  # (n,), positions in classes
    classes: tuple[str, ...]
    numbers: NDArray[np.int64]  # (n,), within the class, from 1


def open_landmass(root: str | Path, *, release: int = 1) -> Landmass:
    """
    Read a release of LANDMASS into memory (release 1: 693 MB, release 2: 720 MB).

    Parameters
    ----------
    root : str or Path
        The folder that was unpacked, a folder in it down to LANDMASS1 or LANDMASS2, the archive as
        it was downloaded (unpacked next to itself), or the HDF5 mirror with its groups LANDMASS-1
        and LANDMASS-2.
    release : {1, 2}
        1 has images of 99 x 99, 2 of 150 x 300 samples.

    Returns
    -------
    Landmass
        Images of shape (n, H, W), float32 in -1..1, labels, names of classes, and numbers within
        the class.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``root``.
    DataError
        If the release or a class is not in it, if a class is unknown, or if an image is damaged,
        of another size or beyond -1..1.

    References
    ----------
    .. [1] Alaudah & AlRegib (2015). LANDMASS seismic dataset.
       https://doi.org/10.5281/zenodo.3901644
    """
    check_choice("release", release, SHAPES)
    root = unpack_once(Path(root))
    if root.is_dir():
        return _read_folder(_find_release(root.resolve(), release), release)
    if root.suffix.lower() not in _HDF5_ENDINGS:
        raise DataError(f"{root.name} is not LANDMASS. Must be a folder, an archive or HDF5.")
    with as_data_error(f"{root.name} is not HDF5, or damaged"), h5py.File(root) as file:
        return _read_hdf5(file, release)


def split_blocks(
    labels: ArrayLike, numbers: ArrayLike, block: int, *, n_blocks: int = 5, n_dropped: int = 20
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Split images into training and test by blocks of neighbours, since neighbours look alike.

    The images of each class, in the order of their numbers, make ``n_blocks`` blocks of equal
    size. One is the test; the next ``n_dropped`` images on either side of it are left out.

    Parameters
    ----------
    labels, numbers : int array of shape (n,)
        Class of each image, and its number within the class.
    block : int
        The block to test on, from 0. Going through all of them tests each image once.
    n_blocks : int
        Number of blocks.
    n_dropped : int
        Number of images left out on either side. In patches cut from F3 in this layout, faults 20
        numbers apart still correlate by .54 and 40 apart by .25: choose 40 where the classes are
        large enough, as in both releases they are.

    Returns
    -------
    int array, int array
        Positions of the training images and of the test images.

    Raises
    ------
    ValueError
        If ``block`` is out of range, or a class is too small to train and test on.
    """
    labels, numbers = np.asarray(labels), np.asarray(numbers)
    check_same_shape("labels", labels.shape, "numbers", numbers.shape)
    check_count("n_blocks", n_blocks, low=2)
    check_count("block", block, low=0, high=n_blocks - 1)
    check_count("n_dropped", n_dropped, low=0)
    training, test = [], []
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        ordered = of_class[np.argsort(numbers[of_class], kind="stable")]
        begin, end = (len(ordered) * step // n_blocks for step in (block, block + 1))
        test.append(ordered[begin:end])
        training += [ordered[: max(begin - n_dropped, 0)], ordered[end + n_dropped :]]
        if begin == end or not training[-1].size + training[-2].size:
            rule = f"{n_blocks} blocks with {n_dropped} left out on either side"
            raise ValueError(f"Class {label} has {len(ordered)} images. Must be enough for {rule}.")
    return np.sort(np.concatenate(training)), np.sort(np.concatenate(test))


def _find_release(root: Path, release: int) -> Path:
    names = (f"landmass{release}", f"landmass-{release}")
    folders: Iterable[Path] = (root, *root.glob("*/"), *root.glob("*/*/"))
    folders = (path for path in folders if "__MACOSX" not in path.parts)
    found = [path for path in folders if path.name.lower() in names]
    if len(found) != 1:
        raise DataError(f"{root.name} holds {len(found)} folders LANDMASS{release}. Must be one.")
    return found[0]


def _read_folder(folder: Path, release: int) -> Landmass:
    classes = _sort_classes({path.name: path for path in folder.iterdir() if path.is_dir()}, folder)
    files = [_sort_files(path) for path in classes]
    images = ((path.name, _read_mat(path)) for of_class in files for path in of_class.values())
    return _gather(images, [list(of_class) for of_class in files], release)


def _read_hdf5(file: h5py.File, release: int) -> Landmass:
    where = Path(file.filename)
    group = file.get(f"LANDMASS-{release}")
    if not isinstance(group, h5py.Group):
        raise DataError(f"{where.name} has no group LANDMASS-{release}.")
    arrays = _sort_classes(group, where)
    for array in arrays:
        if not isinstance(array, h5py.Dataset) or array.ndim < 3 or array.dtype.kind not in "iuf":
            raise DataError(f"{where.name}: {array.name} holds no images.")
    rows = ((array, start) for array in arrays for start in range(0, len(array), _ROWS))
    images = (
        (array.name, image[..., 0] if image.ndim == 3 else image)  # (H, W, 1)
        for array, start in rows
        for image in array[start : start + _ROWS]
    )
    return _gather(images, [range(1, len(array) + 1) for array in arrays], release)


def _sort_classes(found: Mapping[str, Any], where: Path) -> list[Any]:
    """What was found of each class, in their order."""
    labels = [_NAMES.get(re.sub(r"[\s_-]", "", name.lower()), -1) for name in found]
    if sorted(labels) != [*range(len(CLASSES))]:
        shown = ", ".join(map(repr, found)) or "no class"
        raise DataError(f"{where.name} holds {shown}. Must be one of each: {', '.join(CLASSES)}.")
    by_label = dict(zip(labels, found.values(), strict=True))
    return [by_label[label] for label in range(len(CLASSES))]


def _sort_files(folder: Path) -> dict[int, Path]:
    by_number: dict[int, Path] = {}
    for path in folder.glob("*.mat"):
        digits = re.search(r"(\d+)\.mat$", path.name)
        if digits is None or int(digits[1]) in by_number:
            raise DataError(f"{folder.name}/{path.name} has no number of its own.")
        by_number[int(digits[1])] = path
    if not by_number:
        raise DataError(f"{folder.name} holds no .mat files.")
    return dict(sorted(by_number.items()))


def _read_mat(path: Path) -> NDArray[Any]:
    """The only image of a file: the name of its variable is not documented."""
    with as_data_error(f"{path.parent.name}/{path.name} is damaged"):
        if h5py.is_hdf5(path):  # MATLAB 7.3, with its axes turned round
            with h5py.File(path) as file:
                arrays = [v[()].T for v in file.values() if isinstance(v, h5py.Dataset)]
        else:
            arrays = list(_read_arrays(path.read_bytes()))
    images = [a for a in arrays if a.ndim == 2 and min(a.shape) > 1 and a.dtype.kind in "iuf"]
    if len(images) != 1:
        raise DataError(f"{path.parent.name}/{path.name} holds {len(images)} images. Must be one.")
    image: NDArray[Any] = images[0]
    return image


def _read_arrays(content: bytes) -> Iterator[NDArray[Any]]:
    """Matrices of real numbers in MATLAB's format 5; scipy may crash where they are damaged."""
    order = {b"IM": "<", b"MI": ">"}[content[126:128]]
    for kind, matrix in _read_elements(content[128:], order):
        if kind != _MATRIX:
            continue
        (_, flags), (_, sizes), _, *parts = _read_elements(matrix, order)
        shape = np.frombuffer(sizes, f"{order}i4")
        if flags[0 if order == "<" else 3] in _NUMBERS and shape.size == 2 and len(parts) == 1:
            stored, values = parts[0]
            numbers = np.frombuffer(values, f"{order}{_STORED[stored]}")
            yield numbers.reshape(shape[::-1]).T


def _read_elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element, those that are compressed unpacked."""
    position = 0
    while position < len(content):
        kind, n_bytes = struct.unpack_from(f"{order}II", content, position)
        begin, padded = position + 8, -(-n_bytes // 8) * 8
        if kind >> 16:  # a small one is stored in its tag
            kind, n_bytes, begin, padded = kind % 2**16, kind >> 16, position + 4, 4
        element = content[begin : begin + n_bytes]
        if len(element) < n_bytes:
            raise EOFError("an element is cut off")
        if kind == _COMPRESSED:
            unpacked = zlib.decompressobj().decompress(element, _LIMIT_BYTES)
            yield from _read_elements(unpacked, order)
        else:
            yield kind, element
        position = begin + (n_bytes if kind == _COMPRESSED else padded)


def _gather(
    images: Iterator[tuple[str, NDArray[Any]]], numbers: Sequence[Sequence[int]], release: int
) -> Landmass:
    """Copy images one by one, so that they are never held twice."""
    shape = SHAPES[release]
    n_images = [len(of_class) for of_class in numbers]
    gathered = np.empty((sum(n_images), *shape), np.float32)
    for row, (name, image) in zip(gathered, images, strict=True):
        if image.shape != shape:
            raise DataError(
                f"{name} has shape {image.shape}. Must be {shape} in release {release}."
            )
        low, high = float(image.min()), float(image.max())
        if not (low >= -1 - _ROUNDING and high <= 1 + _ROUNDING):  # NaN is neither
            raise DataError(f"{name} holds {image.dtype} of {low:g} to {high:g}. Must be in -1..1.")
        row[...] = image
    labels = np.repeat(np.arange(len(CLASSES)), n_images)
    return Landmass(gathered, labels, CLASSES, np.concatenate([*numbers]).astype(np.int64))
