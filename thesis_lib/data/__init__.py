"""Volumes in and out, blocks of lines, and batches of patches for training."""

from thesis_lib.data.errors import DataError
from thesis_lib.data.lines import Blocks, find_missing, select_lines, split_lines
from thesis_lib.data.patches import Augmentation, PatchBatches, salt_labels
from thesis_lib.data.saving import save_volume
from thesis_lib.data.volumes import open_volume

__all__ = [
    "Augmentation",
    "Blocks",
    "DataError",
    "PatchBatches",
    "find_missing",
    "open_volume",
    "salt_labels",
    "save_volume",
    "select_lines",
    "split_lines",
]
