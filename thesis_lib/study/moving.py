"""What moves on the pages: a predicted volume, an ascent step by step, maps block by block."""

import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from saltvolumes._checks import check_count
from saltvolumes.volume import vertical_dim
from thesis_lib.patching import zscore
from thesis_lib.study.attribution import Explain
from thesis_lib.study.inversion import BLOCKS
from thesis_lib.study.judging import load_network
from thesis_lib.study.maximization import OBJECTIVES, Maximize
from thesis_lib.study.segmentation import THRESHOLD, Train, load_model, predict
from thesis_lib.study.tasks import Outcome, Parents, Task, save_tensors
from thesis_lib.xai import cam, maximize
from thesis_lib.xai.images import Parametrization

MOST_SAMPLES = 128  # along an axis of a volume that a page loads
_CLIP, _MIDDLE, _UNKNOWN = 98.0, 128, 0  # percentile of the magnitude; bytes of amplitudes


@dataclass(frozen=True)
class Predict(Task):
    """
    Predict a test volume, and keep where salt is predicted.

    Of a volume that is longer than what a page loads, the middle block is predicted.

    Parameters
    ----------
    network : Train
        The network.
    n_earths : int
        Unseen earths of the network's seed, as in `Score`; the first of them is predicted.
    """

    network: Train
    n_earths: int = 1
    title_format = "Predict {0.network.loss}, seed {0.network.seed}"

    def __post_init__(self) -> None:
        check_count("n_earths", self.n_earths)

    def open_volume(self) -> xr.Dataset:
        """Return what is predicted, with its mask and dims (inline, crossline, depth or time)."""
        volume = self.network.data.test(self.network.seed, self.n_earths)[0]
        most = max(MOST_SAMPLES, *self.network.patch)
        middle = {
            dim: slice(max(size - most, 0) // 2, max(size - most, 0) // 2 + most)
            for dim, size in volume.sizes.items()
        }
        dims = ("inline", "crossline", vertical_dim(volume))
        return volume[["amplitude", "salt"]].isel(middle).transpose(*dims).load()

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Predict.

        Returns
        -------
        dict
            ``n_salt``, samples of predicted salt. ``salt.safetensors`` holds the mask, eight
            samples in a byte, the first in the highest bit.
        """
        volume = self.open_volume()
        predicted = predict(load_model(parents["network"]), volume, self.network)
        salt = predicted["probability"].transpose(*volume["salt"].dims).values > THRESHOLD
        bits = torch.from_numpy(np.packbits(salt))
        save_tensors(folder / "salt.safetensors", {"bits": bits})
        data = {"test": volume.attrs["content_hash"]}
        return {"n_salt": int(salt.sum()), "data": data}


@dataclass(frozen=True)
class Film(Task):
    """
    Climb again from the first start of an ascent, and keep images on the way.

    It goes through the network alone, so that its sums are rounded otherwise than those of the
    ascent, and after hundreds of steps its image is not quite the same.

    Parameters
    ----------
    ascent : Maximize
        Of one class or more, the first of which is climbed for.
    n_frames : int
        Images at most: steps are spaced evenly on a logarithmic scale.
    """

    ascent: Maximize
    n_frames: int = 17

    def __post_init__(self) -> None:
        check_count("n_frames", self.n_frames, low=2)

    @property
    def title(self) -> str:
        """That of the ascent."""
        return f"Film, {self.ascent.title}"

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Climb.

        Returns
        -------
        dict
            ``frames``: one record per kept image: ``step``, how many steps led to it, and
            ``value``, the objective. ``film.safetensors`` holds the ``images`` (n, 1, H, W).
        """
        ascent = self.ascent
        data = ascent.network.patches.test(ascent.network.seed)
        model = load_network(parents["ascent"].parents["network"], ascent.precision)
        objective = OBJECTIVES[ascent.objective](ascent.classes[0])
        camera = _Camera(ascent._parametrize(data), pick_steps(ascent.steps, self.n_frames))
        maximize(
            model,
            objective,
            data.images.shape[1:],
            seeds=ascent.am_seeds[:1],
            steps=ascent.steps,
            lr=ascent.lr,
            image=camera,
            robustness=ascent._move(data) if ascent.robust else None,
            precision=ascent.precision,
        )
        images = torch.cat([*camera.taken.values()])
        with torch.no_grad():
            values = objective.read(model(images)).tolist()
        save_tensors(folder / "film.safetensors", {"images": images})
        rows = zip(camera.taken, values, strict=True)
        frames = [{"step": step, "value": value} for step, value in rows]
        return {"frames": frames, "data": {"test": data.content_hash}}


@dataclass(frozen=True)
class MapBlocks(Task):
    """
    Take the activation maps of shown patches apart by block.

    Parameters
    ----------
    explained : Explain
        Whose shown patches are mapped.
    """

    explained: Explain
    title_format = "Maps of blocks, {0.explained.network.initialisation}"

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Map.

        Returns
        -------
        dict
            ``n_patches``. ``blocks.safetensors`` holds the signed maps of salt against background
            (n, 1, h, w) by block, each at its own resolution.
        """
        explained = parents["explained"]
        salt = explained.parents["network"].scores["classes"].index("salt")
        patches = explained.load_tensors("shown")["patches"]
        model = load_network(explained.parents["network"], "32-true")
        found = cam(model, patches, salt, against=1 - salt)
        save_tensors(folder / "blocks.safetensors", dict(zip(BLOCKS, found.blocks, strict=True)))
        return {"n_patches": len(patches)}


class _Camera:
    """A parametrisation of images that keeps what it renders at some steps."""

    def __init__(self, image: Parametrization, steps: tuple[int, ...]) -> None:
        self.image, self.steps, self.step = image, steps, 0
        self.taken: dict[int, Tensor] = {}

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        return self.image.start(shape, generator)

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:
        images = self.image.render(parameters, shape)
        if self.step in self.steps:
            self.taken[self.step] = zscore(images.detach())
        self.step += 1
        return images


def pick_steps(steps: int, n_frames: int) -> tuple[int, ...]:
    """
    Steps after which an ascent is shown, from 0 to the last, ever farther apart.

    Examples
    --------
    >>> pick_steps(256, 9)
    (0, 1, 2, 5, 11, 24, 53, 116, 256)
    """
    later = np.geomspace(1, steps, n_frames - 1).round().astype(int)
    return (0, *dict.fromkeys(later.tolist()))


def load_mask(outcome: Outcome) -> NDArray[np.bool_]:
    """Predicted mask of a `Predict`, flat, in the order of the samples of its volume."""
    bits = outcome.load_tensors("salt")["bits"].numpy()
    return np.unpackbits(bits).astype(bool)


def pack_volume(volume: xr.Dataset, predictions: Mapping[str, Outcome]) -> dict[str, Any]:
    """
    Pack a volume and what networks predict in it, for the section browser of a page.

    Parameters
    ----------
    volume : Dataset
        Of `Predict.open_volume`.
    predictions : mapping of str to Outcome
        Finished `Predict` of that volume, by the name that readers see.

    Returns
    -------
    dict
        JSON-like. ``axes``: name, unit, first position, step and number of samples of each dim.
        ``amplitude``: a byte per sample, 1 to 255 for minus to plus the 98th percentile of the
        magnitude, 0 where it is unknown; ``truth`` and ``predictions``: eight samples in a byte.
        All three are compressed by zlib and written in base64.

    Raises
    ------
    ValueError
        If a prediction is one of another number of samples.
    """
    amplitude = volume["amplitude"].values
    known = np.isfinite(amplitude)
    limit = np.percentile(np.abs(amplitude[known]), _CLIP) if known.any() else 1.0
    scaled = np.clip(amplitude / (limit or 1.0), -1, 1)
    steps = np.where(known, (_MIDDLE - 1) * np.nan_to_num(scaled) + _MIDDLE, _UNKNOWN)
    masks = {name: load_mask(outcome) for name, outcome in predictions.items()}
    for name, mask in masks.items():
        if not 0 <= mask.size - amplitude.size < 8:  # the last byte may be longer
            raise ValueError(
                f"Invalid prediction {name!r} of {mask.size} samples. Must be {amplitude.size}."
            )
    return {
        "axes": [_describe_axis(volume, str(dim)) for dim in volume["amplitude"].dims],
        "amplitude": _compress(steps.round().astype(np.uint8)),
        "truth": _compress(np.packbits(volume["salt"].values)),
        "predictions": {name: _compress(np.packbits(mask)) for name, mask in masks.items()},
    }


def _describe_axis(volume: xr.Dataset, dim: str) -> dict[str, Any]:
    """Where the samples along an axis lie, in its own unit."""
    metres = f"{dim}_m"
    values = volume[metres if metres in volume.coords else dim].values.astype(float)
    unit = {"depth": "m", "time": "ms"}.get(dim, "m" if metres in volume.coords else "")
    step = (values[-1] - values[0]) / max(values.size - 1, 1)
    return {"name": dim, "unit": unit, "first": values[0], "step": step, "size": values.size}


def _compress(array: NDArray[np.uint8]) -> str:
    return b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii")
