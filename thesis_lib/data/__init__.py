"""Volumes in and out, official data sets, blocks of lines, and batches of patches for training."""

from thesis_lib.data.archives import unpack
from thesis_lib.data.downloads import DownloadError
from thesis_lib.data.errors import DataError
from thesis_lib.data.labels import LabelBatches, LabelledPatches, cut_patches
from thesis_lib.data.landmass import Landmass, open_landmass, split_blocks
from thesis_lib.data.lines import Blocks, find_missing, select_lines, split_lines
from thesis_lib.data.patches import Augmentation, PatchBatches, salt_labels
from thesis_lib.data.registry import DATA_SOURCES, DataSource, fetch, open_source
from thesis_lib.data.saving import save_volume
from thesis_lib.data.volumes import open_volume

__all__ = [
    "DATA_SOURCES",
    "Augmentation",
    "Blocks",
    "DataError",
    "DataSource",
    "DownloadError",
    "LabelBatches",
    "LabelledPatches",
    "Landmass",
    "PatchBatches",
    "cut_patches",
    "fetch",
    "find_missing",
    "open_landmass",
    "open_source",
    "open_volume",
    "salt_labels",
    "save_volume",
    "select_lines",
    "split_blocks",
    "split_lines",
    "unpack",
]
