"""Arrays that are written slab by slab, of which a killed run leaves the finished ones."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr

from saltvolumes._files import write_text
from thesis_lib._json import format_json

IDENTITY, ARRAYS, FINISHED = "identity.json", "arrays.zarr", "finished"


@dataclass(frozen=True)
class SlabStore:
    """
    A folder of float32 arrays, and of which slabs of them are finished.

    Parameters
    ----------
    folder : Path
        Made where it is absent. Workers on several machines have to share it.
    key : str
        What the arrays depend on. Arrays of another key in the folder are deleted.
    """

    folder: Path
    key: str

    @classmethod
    def make_temporary(cls) -> Self:
        """Make a store that is gone when the process ends."""
        folder = Path(tempfile.mkdtemp(prefix="thesis-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return cls(folder, "")

    def open(
        self, names: Sequence[str], shape: Sequence[int], chunks: Sequence[int], settings: Any
    ) -> dict[str, zarr.Array[Any]]:
        """
        Open arrays of NaN, or those of a killed run.

        Parameters
        ----------
        names : sequence of str
            An array each.
        shape, chunks : sequence of int
            Of every array. Slabs are made of whole chunks.
        settings : JSON-like
            What the arrays depend on beside ``key``.

        Returns
        -------
        dict of str to Array
        """
        identity = format_json([self.key, [*names], [*shape], settings])
        known = self.folder / IDENTITY
        if not known.is_file() or known.read_text(encoding="utf-8") != identity:
            self.remove()
            (self.folder / FINISHED).mkdir(parents=True)
            group = zarr.open_group(self.folder / ARRAYS, mode="w")
            how: dict[str, Any] = {"shape": shape, "chunks": chunks, "dtype": np.float32}
            for name in names:
                group.create_array(name, **how, fill_value=np.nan)
            write_text(known, identity)  # last: what it names is there
        group = zarr.open_group(self.folder / ARRAYS, mode="r+")
        return {name: group[name] for name in names}  # type: ignore[misc]

    def is_finished(self, slab: tuple[str, int]) -> bool:
        """Whether a slab, the name of its array and its first line, has been written."""
        return self._mark(slab).exists()

    def finish(self, slab: tuple[str, int]) -> None:
        """Note that a slab has been written."""
        self._mark(slab).touch()

    def remove(self) -> None:
        """Delete what there is of the store, and nothing else that lies in its folder."""
        (self.folder / IDENTITY).unlink(missing_ok=True)  # first: what is left then is of no use
        for name in (ARRAYS, FINISHED):
            if (self.folder / name).exists():
                shutil.rmtree(self.folder / name)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _mark(self, slab: tuple[str, int]) -> Path:
        return self.folder / FINISHED / "-".join(map(str, slab))
