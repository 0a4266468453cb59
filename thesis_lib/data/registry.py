"""The official data sets: what each is, how to get it, and how to open it as it was downloaded."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from thesis_lib._checks import check_choice
from thesis_lib._files import write_text
from thesis_lib._volume import build_volume
from thesis_lib.data.archives import find_file
from thesis_lib.data.downloads import DownloadError, ResumingDownloader
from thesis_lib.data.errors import DataError
from thesis_lib.data.landmass import Landmass, open_landmass
from thesis_lib.data.volumes import open_volume

SALT_VELOCITY_M_S = (4400.0, 4600.0)  # 4480 by SEAM, 4482 by SEG/EAGE


@dataclass(frozen=True)
class RemoteFile:
    """
    A file that anyone may download.

    Parameters
    ----------
    url : str
        Where it is.
    n_bytes : int
        Its size as somebody saw it, to tell users beforehand.
    sha256 : str, optional
        Its checksum, where known. Otherwise the first download decides.
    """

    url: str
    n_bytes: int
    sha256: str | None = None

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[-1]


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
    file : RemoteFile, optional
        What is openly downloadable. None where all has to be asked for.
    reader : callable
        What opens the file or folder that `members` lead to.
    members : tuple of str
        Patterns for `archives.find_file`.
    reading : mapping
        Arguments of ``reader``.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    homepage: str
    request: str = ""
    file: RemoteFile | None = None
    reader: Callable[..., xr.Dataset | Landmass] = open_volume
    members: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def access(self) -> str:
        """How to get it, in a sentence."""
        if self.file is None:
            return f"On request: {self.request}"
        sentence = f"Open: {self.file.n_bytes / 1e9:.2g} GB from {self.file.url}."
        return f"{sentence} Or on request: {self.request}" if self.request else sentence


def fetch(name: str, folder: str | Path | None = None, *, progress: bool = True) -> Path:
    """
    Download a data set, or go on with a download that broke off.

    The file is checked against its checksum. Where none is known, the first download is trusted
    and its SHA-256 kept beside it (``FILE.sha256``); a later one that differs is refused.

    Parameters
    ----------
    name : str
        A key of `DATA_SOURCES`.
    folder : str or Path, optional
        Where to put the file; the user's cache by default. Nothing is downloaded if it is there.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The file as it was downloaded: `open_source` takes it.

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses or breaks off, or the disk is full.
    DataError
        If the file is not the one that was seen before, or its stored checksum is damaged.
    ValueError
        If the name is unknown, or the data set has to be asked for.
    """
    source = find_source(name)
    if source.file is None:
        raise ValueError(f"{source.title} is not openly downloadable. {source.access}")
    # Imported where it is used: in a notebook its progress bars warn that widgets are missing.
    import pooch

    folder = Path(folder or pooch.os_cache("thesis_lib"))
    known = source.file.sha256 or read_checksum(folder / source.file.name)
    cache = pooch.create(
        path=folder,
        base_url="",
        registry={source.file.name: known},
        urls={source.file.name: source.file.url},
    )
    download = ResumingDownloader(folder / f".{source.file.name}.part", progress=progress)
    try:
        path = Path(cache.fetch(source.file.name, downloader=download))
    except DownloadError as error:
        raise DownloadError(f"{error} The page of the data is {source.homepage}") from error
    except ValueError as error:  # the only one of pooch: another checksum
        raise DataError(
            f"{source.file.name} has another SHA-256 than {known}, that of the file seen before. "
            f"If the publisher replaced it, delete {source.file.name}.sha256 and fetch again."
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
    source = find_source(name)
    return source.reader(find_file(path, *source.members), **source.reading)


def find_source(name: str) -> DataSource:
    """
    Find a data set by its name.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    return DATA_SOURCES[check_choice("data set", name, DATA_SOURCES)]


def read_checksum(path: Path) -> str | None:
    """
    SHA-256 that was kept beside a file when it was first downloaded; None where there is none.

    Raises
    ------
    DataError
        If what was kept is no checksum.
    """
    kept = path.with_name(f"{path.name}.sha256")
    if not kept.exists():
        return None
    digest = kept.read_text(encoding="utf-8", errors="replace").split(" ")[0]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise DataError(f"{kept} holds no SHA-256. Delete it to trust the next download.")
    return digest


def open_velocity_grid(
    path: Path,
    *,
    shape: tuple[int, int, int],
    spacing_m: tuple[float, float, float],
    salt_velocity_m_s: tuple[float, float],
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
        If the file has not the size of the grid, or holds no velocities.
    """
    n_bytes = 4 * int(np.prod(shape))
    if path.stat().st_size != n_bytes:
        raise DataError(f"{path.name} has {path.stat().st_size} bytes. Must be {n_bytes}: {shape}.")
    velocity = np.fromfile(path, ">f4").reshape(shape[::-1]).T.astype(np.float32, order="C")
    if not (np.isfinite(velocity).all() and velocity.min() > 0):
        raise DataError(f"{path.name} holds no velocities. Must be above 0 and finite.")
    x, y, z = (np.arange(n) for n in shape)
    return build_volume(
        velocity,
        inline=x,
        crossline=y,
        vertical=z * spacing_m[2],
        inline_m=x * spacing_m[0],
        crossline_m=y * spacing_m[1],
        salt=(velocity >= salt_velocity_m_s[0]) & (velocity <= salt_velocity_m_s[1]),
        velocity=velocity,
        attrs={"source": path.name},
    )


_SEAM_BUCKET = "https://seam-open-data.s3.us-west-2.amazonaws.com/Phase+I"
_SEAM_PAGE = "https://seg.org/seam/open-data/"
_SEAM_CITATION = (
    "Fehler & Keliher (2011). SEAM Phase 1: challenges of subsalt imaging in Tertiary basins, with "
    "emphasis on deepwater Gulf of Mexico. Society of Exploration Geophysicists."
)
_SEAM_LICENCE = (
    "SEAM's own terms for open data (LICENSE-TO-SEAM-OPEN-DATA.pdf of the publisher); not to be "
    "redistributed."
)
_landmass = partial(
    DataSource,
    licence="CC BY-SA 3.0 by the Zenodo record; the authors' form has its own terms.",
    citation="Alaudah & AlRegib (2015). LANDMASS seismic dataset. "
    "https://doi.org/10.5281/zenodo.3901644",
    homepage="https://github.com/olivesgatech/LANDMASS",
    request="fill in the form of its authors, https://goo.gl/forms/at44srIuVaT6sYye2.",
    file=RemoteFile("https://zenodo.org/records/3901644/files/LANDMASS.zip", 2_325_243_284),
    reader=open_landmass,
)
_SOURCES = (
    DataSource(
        "seam-depth",
        "SEAM Phase I interpretation challenge 1, depth",
        "Migrated image of a synthetic earth with a large salt body in deep water, the volume of "
        "the thesis: 1169 x 1002 traces 30 m apart with line numbers 1499-8507 and 1499-7505 in "
        "steps of 6, 751 samples of 20 m, SEG-Y. Sources disagree which direction is the inline, "
        "and whether the samples are IBM or IEEE floats. It has no public mask: that takes the "
        "velocity (seam-earth-model) or an interpretation.",
        _SEAM_LICENCE,
        _SEAM_CITATION,
        _SEAM_PAGE,
        file=RemoteFile(f"{_SEAM_BUCKET}/SEAM_Interpretation_Challenge_1_Depth.zip", 3_026_841_906),
        members=("SEAM_Interpretation_Challenge_1_Depth.sgy",),
        reading={"vertical": "depth", "iline_byte": 189, "xline_byte": 193},
    ),
    DataSource(
        "seam-2d-elastic",
        "SEAM Phase I 2-D elastic model",
        "One line through the same earth: P and S velocity and density, a SEG-Y file each, 1751 "
        "traces 20 m apart, 1501 samples of 10 m. What is opened is the P velocity, in m/s, "
        "4480 in salt.",
        _SEAM_LICENCE,
        _SEAM_CITATION,
        _SEAM_PAGE,
        file=RemoteFile(f"{_SEAM_BUCKET}/SEAM_I_2D_Model.zip", 16_185_850),
        members=("SEAM_Vp_Elastic_N23900.sgy",),
        reading={"vertical": "depth", "single_line": True},
    ),
    DataSource(
        "seam-earth-model",
        "SEAM Phase I 3-D earth model",
        "The velocities and densities behind the image. Salt has a P velocity of 4480 m/s: "
        "open_volume takes the file as the mask of the image, with salt_velocity_m_s.",
        "not stated by the publisher.",
        _SEAM_CITATION,
        "https://seg.org/seam/data-sets/",
        request="write to SEG Advanced Modeling by https://seg.org/seam/data-sets/.",
        members=("*.s*gy",),
        reading={"vertical": "depth"},
    ),
    DataSource(
        "seg-eage-salt",
        "SEG/EAGE 3-D salt model",
        "P velocity of a salt body in layered sediments: 676 x 676 x 210 samples 20 m apart, "
        "a bare grid (Saltf@@ in SALTF.ZIP in the archive). There is no image: the volume has the "
        "velocity as its amplitude, and a mask where that is the 4482 m/s of salt.",
        "CC BY 4.0, copyright 1997 Society of Exploration Geophysicists.",
        "Aminzadeh, Brac & Kunz (1997). SEG/EAGE 3-D salt and overthrust models. Society of "
        "Exploration Geophysicists.",
        "https://wiki.seg.org/wiki/SEG/EAGE_Salt_and_Overthrust_Models",
        file=RemoteFile(
            "https://s3.amazonaws.com/open.source.geoscience/open_data/seg_eage_models_cd/"
            "Salt_Model_3D.tar.gz",
            513_098_004,
        ),
        reader=open_velocity_grid,
        members=("SALTF.ZIP", "Saltf@@"),
        reading={
            "shape": (676, 676, 210),
            "spacing_m": (20.0, 20.0, 20.0),
            "salt_velocity_m_s": SALT_VELOCITY_M_S,
        },
    ),
    _landmass(
        name="landmass-1",
        title="LANDMASS, release 1",
        description="17,667 patches of F3 of 99 x 99 samples: 9385 horizon, 5140 chaotic, 1251 "
        "fault, 1891 salt dome. Both releases are in one archive.",
        reading={"release": 1},
    ),
    _landmass(
        name="landmass-2",
        title="LANDMASS, release 2",
        description="4000 patches of F3 of 150 x 300 samples, 1000 of each of the same classes.",
        reading={"release": 2},
    ),
)
DATA_SOURCES: Mapping[str, DataSource] = {source.name: source for source in _SOURCES}
