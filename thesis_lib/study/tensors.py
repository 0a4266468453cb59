"""Tensors in the folder of a run: written whole, and read with a word on damage."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from thesis_lib._files import replace_when_done


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, whole or not at all."""
    with replace_when_done(path) as partial:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial)
        partial.chmod(0o644)  # safetensors makes files that only their owner reads


def read_tensors(path: Path) -> dict[str, Tensor]:
    """
    Read what `save_tensors` left in the folder of a finished run, on the CPU.

    Raises
    ------
    ValueError
        If the file was damaged or deleted after it was written.
    """
    try:
        return load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(
            f"Cannot read {path}: {error}. Delete the folder {path.parent} to compute the run "
            "again."
        ) from error
