"""The task behind Figure 3: images that excite the classes of one network, and their measures."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from thesis_lib import xai
from thesis_lib._checks import check_choice, check_count, check_same_shape
from thesis_lib.data.labels import LabelledPatches
from thesis_lib.model import SaltClassifier
from thesis_lib.study.classification import ClassifierRun
from thesis_lib.study.explanation import (
    load_network,
    make_run,
    pick_device,
    predict_salt,
    read_records,
    to_records,
)
from thesis_lib.study.runs import Outcome, complete, source_hash
from thesis_lib.study.tensors import read_tensors, save_tensors
from thesis_lib.training import pick_precision
from thesis_lib.training.config import PRECISIONS
from thesis_lib.xai import measures
from thesis_lib.xai.images import Parametrization

TASK = __name__
source_hash(TASK)  # of the code that is loaded, whatever is edited from here on
IMAGE_KINDS = ("fourier", "pixels", "phase")
MEASURES = (
    "value",
    "probability",
    "spectral_distance_db",
    "noise_db",
    "sparsity",
    "nearest",
    "sharpness",
    "bodies",
)
LABELS = ("class", "am_seed", "nearest_patch")
IMAGES = "images.safetensors"
BATCH = 64  # images that a network only looks at, at once
MAX_JITTER_PX, JITTER_SHARE = 8.0, 1 / 8  # the share is of the shorter side of an image

Groups = Sequence[tuple[Tensor, Tensor]]  # rows of images, rows of the patches to hold them against


@dataclass(frozen=True)
class MaximizationConfig:
    """
    Settings of the activation maximization of one network.

    Parameters
    ----------
    shape : tuple of two int
        Height and width of the images, those of the real patches.
    am_seeds : tuple of int
        One image per class and seed.
    classes : tuple of int
        Positions of the classes in those of the network.
    steps, lr, snapshots, batch_size
        As in :func:`thesis_lib.xai.maximize`.
    image : {"fourier", "pixels", "phase"}
        How images are written; ``"phase"`` has the mean magnitude spectrum of the real patches.
    robust : bool
        Whether images are moved at each step: by 8 pixels, or an eighth of the shorter side where
        that is less, by a tenth in size and by 10 degrees.
    precision : {"auto", "bf16-mixed", "32-true"}
        ``"auto"`` is bf16 autocast where the hardware computes in bf16, else float32. Measures
        are always in float32.

    Raises
    ------
    ValueError
        If ``image`` or ``precision`` is unknown, or AM seeds or classes are none or not distinct.
    """

    shape: tuple[int, int]
    am_seeds: tuple[int, ...]
    classes: tuple[int, ...]
    steps: int = 256
    lr: float = 0.05
    image: str = "fourier"
    robust: bool = True
    snapshots: tuple[int, ...] = ()
    precision: str = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("image", self.image, IMAGE_KINDS)
        check_choice("precision", self.precision, PRECISIONS)
        for name, values in (("am_seeds", self.am_seeds), ("classes", self.classes)):
            if not 0 < len(values) == len(set(values)):
                raise ValueError(f"Invalid {name} {values}. Must be distinct, at least one.")


@dataclass(frozen=True)
class MaximizedClasses:
    """
    Images that excite the classes of one network, sorted by class, then by AM seed.

    Attributes
    ----------
    route : str
        Way in which the network was trained.
    seed : int
        Its seed.
    config : MaximizationConfig
        Settings.
    images : Tensor of shape (n, 1, H, W)
        Z-scored, as the network sees them.
    table : DataFrame
        One row an image: ``class`` (its name), ``am_seed`` and

        - ``value``, ``probability``: logit of the class, and its softmax;
        - ``spectral_distance_db``: log-spectral distance to the real patches of the class;
        - ``noise_db``: the same to all real patches, above their band and counting only what
          exceeds them; NaN where the band reaches to the highest frequency;
        - ``sparsity``: of the gradient (Hoyer);
        - ``nearest``: distance in the latent space to the nearest real patch of the class, over
          that among real patches; ``nearest_patch``: row of that patch;
        - ``sharpness``, ``bodies``: of the contour that the segmenter sees, and how many bodies;
          NaN without a segmenter.
    history : Tensor of shape (n, steps)
        Logit before each step, of the moved image.
    snapshots : dict of int to Tensor of shape (n, 1, H, W)
        Images after the numbers of steps asked for.
    outcome : Outcome
        Folder of the run, and whether it was computed now.
    """

    route: str
    seed: int
    config: MaximizationConfig
    images: Tensor
    table: pd.DataFrame
    history: Tensor
    snapshots: dict[int, Tensor]
    outcome: Outcome

    @property
    def nearest_patches(self) -> NDArray[np.int64]:
        """Row of the nearest real patch of each image."""
        return self.table["nearest_patch"].to_numpy(copy=True)


def maximize_classes(
    network: ClassifierRun,
    config: MaximizationConfig,
    *,
    real: LabelledPatches,
    segmenter: Path | None,
    root: str | os.PathLike[str],
    progress: bool = True,
) -> MaximizedClasses:
    """
    Maximise the logit of classes of one network for several seeds, and measure the images.

    Parameters
    ----------
    network : ClassifierRun
        Which network.
    config : MaximizationConfig
        Settings.
    real : LabelledPatches
        Real patches that images are held against. Those without a spectrum, such as constant ones,
        take no part.
    segmenter : Path, optional
        Folder of the segmentation run that finds salt in the images: one of another seed.
    root : path
        Folder of all runs. A run that is there is not repeated.
    progress : bool
        Whether to draw a progress bar.

    Raises
    ------
    ValueError
        If the network has no such class, or real patches have other classes or another shape,
        or are fewer than two for a class; if a file of the run was damaged; or as
        :func:`thesis_lib.xai.maximize`.
    """
    rows = _find_rows(network, config.classes, real)
    check_same_shape("shape", config.shape, "real patches", real.images.shape[1:])
    run = make_run(TASK, network, config, real.content_hash, segmenter)

    def compute(folder: Path) -> dict[str, Any]:
        model = load_network(network, config.precision)
        found = _maximize(model, config, real, progress=progress)
        labels = torch.tensor(config.classes).repeat_interleave(len(config.am_seeds))
        groups = [((labels == k).nonzero()[:, 0], rows[k]) for k in config.classes]
        table = _measure(model, found.images, labels, real, segmenter, groups)
        table.insert(1, "am_seed", found.seeds)
        snapshots = {f"snapshots.{step}": images for step, images in found.snapshots.items()}
        tensors = {"images": found.images, "history": found.history, **snapshots}
        save_tensors(folder / IMAGES, tensors)
        return {"images": to_records(table)}

    return _read(network, config, complete(run, compute, root=root))


def measure_real(
    network: ClassifierRun,
    real: LabelledPatches,
    *,
    segmenter: Path | None,
    n_per_class: int,
    seed: int,
) -> pd.DataFrame:
    """
    Measure real patches as if they were images of their class: the control of the others.

    Parameters
    ----------
    network, real, segmenter
        As in `maximize_classes`. Each patch is held against the others of its class.
    n_per_class : int
        Patches drawn from each class that there is.
    seed : int
        Decides which.

    Returns
    -------
    DataFrame
        As that of `MaximizedClasses`, with ``patch``, the row in ``real``, for ``am_seed``.

    Raises
    ------
    ValueError
        If real patches have other classes than the network, or are fewer than three for a class
        or than asked for.
    """
    rows = _find_rows(network, np.unique(real.labels).tolist(), real, low=3)
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(others)[: check_count("n_per_class", n_per_class, high=len(others))]
        for others in rows.values()
    ]
    patches = torch.from_numpy(np.sort(drawn).flatten())
    labels = torch.from_numpy(real.labels)[patches]
    groups = []
    for i, (k, patch) in enumerate(zip(labels.tolist(), patches, strict=True)):
        groups.append((torch.tensor([i]), rows[k][rows[k] != patch]))
    model = load_network(network, "32-true")
    table = _measure(model, real.tensors()[patches], labels, real, segmenter, groups)
    table.insert(1, "patch", patches.numpy())
    return table


def _find_rows(
    network: ClassifierRun, classes: Sequence[int], real: LabelledPatches, *, low: int = 2
) -> dict[int, Tensor]:
    """Rows of the real patches of each class, as many as it takes at least."""
    if tuple(real.classes) != tuple(network.classes):
        raise ValueError(
            f"Invalid real patches of classes {real.classes}. Must be those of the network, "
            f"{network.classes}."
        )
    signal = measures.has_spectrum(real.tensors())
    rows = {}
    for k in classes:
        check_count("class", k, low=0, high=len(network.classes) - 1)
        rows[k] = (signal & (torch.from_numpy(real.labels) == k)).nonzero()[:, 0]
        check_count(f"number of real patches of class {real.classes[k]!r}", len(rows[k]), low=low)
    return rows


def _maximize(
    model: SaltClassifier, config: MaximizationConfig, real: LabelledPatches, *, progress: bool
) -> xai.Maximization:
    jitter_px = min(MAX_JITTER_PX, JITTER_SHARE * min(config.shape))
    images: dict[str, Callable[[], Parametrization]] = {
        "fourier": xai.Fourier,
        "pixels": xai.Pixels,
        "phase": lambda: xai.Phase(real.tensors()),
    }
    return xai.maximize(
        model,
        [xai.class_logit(k) for k in config.classes],
        config.shape,
        seeds=config.am_seeds,
        steps=config.steps,
        lr=config.lr,
        image=images[config.image](),
        robustness=xai.Robustness(jitter_px=jitter_px) if config.robust else None,
        snapshots=config.snapshots,
        precision=pick_precision(config.precision, pick_device()),
        batch_size=config.batch_size,
        progress=progress,
    )


def _measure(
    model: SaltClassifier,
    images: Tensor,
    labels: Tensor,
    real: LabelledPatches,
    segmenter: Path | None,
    groups: Groups,
) -> pd.DataFrame:
    """One row an image (n, 1, H, W) of class ``labels`` (n,), each in one of the groups."""
    data = real.tensors().to(pick_device())
    images = images.to(data)
    latent, logits = _read_network(model, images)
    real_latent, _ = _read_network(model, data)
    distance, nearest = torch.empty(2, len(images), dtype=torch.float64)
    patch = torch.empty(len(images), dtype=torch.int64)
    for rows, others in groups:
        distance[rows] = measures.log_spectral_distance(images[rows], data[others]).cpu()
        found, place = measures.nearest_distance(latent[rows], real_latent[others])
        nearest[rows], patch[rows] = found.double().cpu(), others[place.cpu()]
    every = torch.arange(len(images))
    columns = {
        "nearest_patch": patch,
        "value": logits[every, labels],
        "probability": logits.softmax(dim=1)[every, labels],
        "spectral_distance_db": distance,
        "noise_db": _measure_noise(images, data[measures.has_spectrum(data)]),
        "sparsity": measures.gradient_sparsity(images),
        "nearest": nearest,
        **_find_bodies(images, segmenter),
    }
    table = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
    table.insert(0, "class", [real.classes[k] for k in labels])
    return table


@torch.no_grad()
def _read_network(model: SaltClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Latent representations (n, C) and logits (n, n_classes) of images, in float32."""
    latent = torch.cat([model.latent(batch) for batch in torch.split(images, BATCH)])
    return latent, model.head(latent)


def _measure_noise(images: Tensor, data: Tensor) -> Tensor:
    """Log-spectral excess above the band of data; NaN where nothing lies above."""
    limit = measures.band_limit(data)
    if limit >= measures.spectrum(data[:1])[0][-1]:
        return torch.full((len(images),), torch.nan)
    return measures.log_spectral_distance(images, data, above=limit, excess=True)


def _find_bodies(images: Tensor, segmenter: Path | None) -> dict[str, Tensor]:
    """Sharpness and number of the bodies that a segmenter sees."""
    if segmenter is None:
        unknown = torch.full((len(images),), torch.nan)
        return {"sharpness": unknown, "bodies": unknown}
    probability = predict_salt(segmenter, images)
    bodies = measures.count_bodies(probability).double()
    return {"sharpness": measures.contour_sharpness(images, probability), "bodies": bodies}


def _read(network: ClassifierRun, config: MaximizationConfig, outcome: Outcome) -> MaximizedClasses:
    """Images and table of a finished run."""
    tensors = read_tensors(outcome.folder / IMAGES)
    images, history = tensors.pop("images"), tensors.pop("history")
    return MaximizedClasses(
        route=network.route,
        seed=network.seed,
        config=config,
        images=images,
        table=read_records(outcome.scores["images"], LABELS, MEASURES),
        history=history,
        snapshots={step: tensors[f"snapshots.{step}"] for step in sorted(config.snapshots)},
        outcome=outcome,
    )
