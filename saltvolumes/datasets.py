"""The official data sets: what each is, how to get it, and how to open it as it was downloaded."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

from saltvolumes._checks import check_choice
from saltvolumes._files import write_text
from saltvolumes.archives import find_file
from saltvolumes.downloads import DownloadError, ResumingDownloader
from saltvolumes.errors import DataError, as_data_error
from saltvolumes.landmass import Landmass, open_landmass
from saltvolumes.opening import open_volume
from saltvolumes.volume import build_volume


@dataclass(frozen=True)
class DataSource:
    """
    An official data set.

    Parameters
    ----------
    name, title, description : str
        Short name on the command line, full name, and what it holds.
    licence, citation, homepage : str
        The licence as far as it is known, what to cite, and the page of its publisher.
    request : str
        Whom to ask, and how. Empty where nobody has to be asked.
    file : str
        Name of the file that comes with this package. Empty for all that is got elsewhere.
    url : str
        The file that anyone may download. Empty where all has to be asked for.
    n_bytes : int
        Its size as somebody saw it, for users to know beforehand.
    sha256 : str, optional
        Its checksum, where known. Otherwise the first download decides.
    reader : {"open_volume", "open_landmass", "open_velocity_grid"}
        What opens the file or folder that `members` lead to.
    members : sequence of str
        Patterns for `archives.find_file`.
    reading : mapping
        Arguments of ``reader``.
    test_lines : sequence of int
        Crosslines that are kept for scoring.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    homepage: str
    request: str = ""
    file: str = ""
    url: str = ""
    n_bytes: int = 0
    sha256: str | None = None
    reader: str = "open_volume"
    members: Sequence[str] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    test_lines: Sequence[int] = ()

    @property
    def path(self) -> Path:
        """Where the file is that comes with this package."""
        return Path(__file__).with_name("surveys") / self.file

    @property
    def file_name(self) -> str:
        """Name of the file to download."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def access(self) -> str:
        """How to get it, in a sentence."""
        if self.file:
            return f"Comes with this project: use the name {self.name} in place of a path."
        if not self.url:
            return f"On request: {self.request}"
        sentence = f"Open: {self.n_bytes / 1e9:.2g} GB from {self.url}."
        return f"{sentence} Or on request: {self.request}" if self.request else sentence


def _read_sources() -> dict[str, DataSource]:
    listed = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
    return {name: DataSource(name=name, **entry) for name, entry in listed.items()}


DATA_SOURCES: Mapping[str, DataSource] = _read_sources()
SURVEYS: Mapping[str, DataSource] = {  # those that can be opened by name
    name: source for name, source in DATA_SOURCES.items() if source.file
}


def fetch(name: str, folder: str | Path | None = None) -> Path:
    """
    Download a data set, or go on with a download that broke off.

    The file is checked against its checksum. Where that is not known, the first download is
    trusted and its SHA-256 kept next to it (``FILE.sha256``); a later one that differs is refused.

    Parameters
    ----------
    name : str
        A key of `DATA_SOURCES`.
    folder : str or Path, optional
        Where to put the file; the user's cache by default. Nothing is downloaded if it is there.

    Returns
    -------
    Path
        The file as it was downloaded, or as it comes with this package: `open_source` takes it.

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses or breaks off, or the disk is full.
    DataError
        If the file is not the one that was seen before, or its stored checksum is damaged.
    ValueError
        If the name is unknown, or the data set has to be asked for.
    """
    source = _find_source(name)
    if source.file:
        return source.path
    if not source.url:
        raise ValueError(f"{source.title} is not openly downloadable. {source.access}")
    # Imported where it is used: in a notebook its progress bars warn that widgets are missing.
    import pooch

    folder = Path(folder or pooch.os_cache("thesis_lib"))
    path = folder / source.file_name
    known = source.sha256 or read_checksum(path)
    where, checksum = {path.name: source.url}, {path.name: known}
    cache = pooch.create(folder, base_url="", registry=checksum, urls=where)
    download = ResumingDownloader(folder / f".{path.name}.part")
    try:
        cache.fetch(path.name, downloader=download)
    except DownloadError as error:
        raise DownloadError(f"{error} The page of the data is {source.homepage}") from error
    except ValueError as error:  # the only one of pooch: another checksum
        raise DataError(
            f"{path.name} has another SHA-256 than {known}, that of the file seen before. If the "
            f"publisher replaced it, delete {path.name}.sha256 and fetch again."
        ) from error
    if known is None:
        digest = pooch.file_hash(str(path))
        write_text(path.with_name(f"{path.name}.sha256"), f"{digest}  {path.name}\n")
    return path


def open_source(name: str, path: str | Path) -> xr.Dataset | Landmass:
    """
    Open a data set as it was downloaded: the archive, its folder or the file in it.

    Parameters
    ----------
    name : str
        A key of `DATA_SOURCES`.
    path : str or Path
        What `fetch` returned, or what was sent on request.

    Returns
    -------
    Dataset or Landmass
        A volume, or for LANDMASS its images.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    DataError
        If the archive or the file in it is not what it should be.
    ValueError
        If the name is unknown.
    """
    source = _find_source(name)
    readers: dict[str, Callable[..., xr.Dataset | Landmass]] = {
        "open_volume": open_volume,
        "open_landmass": open_landmass,
        "open_velocity_grid": open_velocity_grid,
    }
    return readers[source.reader](find_file(path, *source.members), **source.reading)


def _find_source(name: str) -> DataSource:
    return DATA_SOURCES[check_choice("data set", name, DATA_SOURCES)]


def read_checksum(path: Path) -> str | None:
    """
    SHA-256 that was kept next to a file when it was first downloaded; None without one.

    Raises
    ------
    DataError
        If what was kept is not a checksum.
    """
    kept = path.with_name(f"{path.name}.sha256")
    if not kept.exists():
        return None
    digest = kept.read_text(encoding="utf-8", errors="replace").split(" ")[0]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise DataError(f"{kept} does not hold a SHA-256. Delete it to trust the next download.")
    return digest


def open_velocity_grid(
    path: Path,
    *,
    shape: Sequence[int],
    spacing_m: Sequence[float],
    salt_velocity_m_s: Sequence[float],
) -> xr.Dataset:
    """
    Read the bare grid of the SEG/EAGE salt model: big-endian float32, x fastest, depth slowest.

    Parameters
    ----------
    path : Path
        The file.
    shape : (int, int, int)
        Number of samples along x, y and depth.
    spacing_m : (float, float, float)
        Their spacing in m.
    salt_velocity_m_s : (float, float)
        Which velocities mean salt, both ends included.

    Returns
    -------
    Dataset
        A volume with x as inline and y as crossline; amplitude and velocity are both the velocity
        in m/s.

    Raises
    ------
    DataError
        If the file does not have the size of the grid, or holds other values than velocities.
    """
    with as_data_error(path.name):
        stored = np.fromfile(path, ">f4").reshape(shape[::-1])
    velocity = stored.T.astype(np.float32, order="C")
    if not (np.isfinite(velocity).all() and velocity.min() > 0):
        raise DataError(f"{path.name} holds no velocities. Must be above 0 and finite.")
    x, y, z = (step * np.arange(n) for n, step in zip(shape, spacing_m, strict=True))
    inside = (velocity >= salt_velocity_m_s[0]) & (velocity <= salt_velocity_m_s[1])
    lines: dict[str, Any] = {"inline": range(shape[0]), "crossline": range(shape[1])}
    lines |= {"inline_m": x, "crossline_m": y, "vertical": z}
    attrs = {"source": path.name}
    return build_volume(velocity, **lines, salt=inside, velocity=velocity, attrs=attrs)
