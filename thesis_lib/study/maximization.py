"""Activation maximization of a classifier: images that excite its classes, and their measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from saltvolumes._checks import check_choice, check_count, check_range
from thesis_lib.model import SaltClassifier
from thesis_lib.patches import LabelledPatches
from thesis_lib.study.classification import Classify
from thesis_lib.study.judging import check_explanation, load_network, pick_device, predict_salt
from thesis_lib.study.segmentation import Train
from thesis_lib.study.tasks import Outcome, Parents, Task, save_tensors
from thesis_lib.xai import Fourier, Phase, Pixels, Robustness, class_logit, maximize, measures
from thesis_lib.xai.images import Parametrization

IMAGE_KINDS = ("fourier", "pixels", "phase")
BATCH = 64  # images that a network only looks at, at once
MAX_JITTER_PX, JITTER_FRACTION = 8.0, 1 / 8  # the fraction is of the shorter side of an image

Groups = Sequence[tuple[Tensor, Tensor]]  # rows of images, rows of the patches to compare with


@dataclass(frozen=True)
class Maximize(Task):
    """
    Maximise the logits of classes of one network for several seeds, and measure the images.

    Images are compared with the test patches of the network, its *data*. Those without a spectrum,
    such as constant ones, are left out.

    Parameters
    ----------
    network : Classify
        The network.
    judge : Train or None
        Segmentation network that finds salt in the images: one of another seed.
    am_seeds : tuple of int
        One image per class and seed.
    classes : tuple of int
        Positions of the classes in those of the network.
    steps, lr, snapshots
        As in :func:`thesis_lib.xai.maximize`.
    image : {"fourier", "pixels", "phase"}
        How images are written; ``"phase"`` has the mean magnitude spectrum of the data.
    robust : bool
        Whether images are moved at each step: by 8 pixels, or an eighth of the shorter side where
        that is less, by a tenth in size and by 10 degrees.
    precision : {"auto", "bf16-mixed", "32-true"}
        ``"auto"`` becomes what it means on this machine. Measures are always in float32.

    Raises
    ------
    TypeError, ValueError
        If ``image`` or ``precision`` is unknown, AM seeds or classes are empty or contain
        duplicates, or a number is not in its range.
    """

    network: Classify
    judge: Train | None
    am_seeds: tuple[int, ...]
    classes: tuple[int, ...]
    steps: int = 256
    lr: float = 0.05
    image: str = "fourier"
    robust: bool = True
    snapshots: tuple[int, ...] = ()
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_choice("image", self.image, IMAGE_KINDS)
        check_explanation(self, am_seeds=self.am_seeds, classes=self.classes)
        check_range("lr", self.lr, low=0, exclusive=True)

    @property
    def title(self) -> str:
        """Kind of image, and network."""
        robust = "robust" if self.robust else "naive"
        return f"Maximize {self.image}, {robust}, {self.network.title.removeprefix('Classify, ')}"

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Make the images and measure them.

        Returns
        -------
        dict
            ``images``: one record per image, sorted by class, then by AM seed: ``class`` (its
            name), ``am_seed`` and

            - ``value``, ``probability``: logit of the class, and its softmax;
            - ``spectral_distance_db``: log-spectral distance to the data of the class;
            - ``noise_db``: the same to all data, above their band and counting only what exceeds
              them; None where the band reaches to the highest frequency;
            - ``sparsity``: of the gradient (Hoyer);
            - ``nearest``: distance in the latent space to the nearest patch of the class, over
              that among such patches; ``nearest_patch``: row of that patch in the data;
            - ``sharpness``, ``bodies``: of the contour that the judge sees, and how many bodies;
              None without a judge.

            ``images.safetensors`` holds ``images`` (n, 1, H, W), z-scored as the network sees
            them, ``history`` (n, steps), the logit before each step, of the moved image, and
            ``snapshots.STEP``.
        """
        data = self.network.patches.test(self.network.seed)
        rows = _find_rows(parents["network"].scores["classes"], self.classes, data)
        model = load_network(parents["network"], self.precision)
        found = maximize(
            model,
            [class_logit(k) for k in self.classes],
            data.images.shape[1:],
            seeds=self.am_seeds,
            steps=self.steps,
            lr=self.lr,
            image=self._parametrize(data),
            robustness=self._move(data) if self.robust else None,
            snapshots=self.snapshots,
            precision=self.precision,
        )
        labels = torch.tensor(self.classes).repeat_interleave(len(self.am_seeds))
        groups = [((labels == k).nonzero()[:, 0], rows[k]) for k in self.classes]
        table = _measure(model, found.images, labels, data, parents.get("judge"), groups)
        table.insert(1, "am_seed", found.seeds)
        snapshots = {f"snapshots.{step}": images for step, images in found.snapshots.items()}
        tensors = {"images": found.images, "history": found.history, **snapshots}
        save_tensors(folder / "images.safetensors", tensors)
        return {"images": table.to_dict("records"), "data": {"test": data.content_hash}}

    def _parametrize(self, data: LabelledPatches) -> Parametrization:
        if self.image == "phase":
            return Phase(data.tensors())
        return Fourier() if self.image == "fourier" else Pixels()

    def _move(self, data: LabelledPatches) -> Robustness:
        shorter = min(data.images.shape[1:])
        return Robustness(jitter_px=min(MAX_JITTER_PX, JITTER_FRACTION * shorter))


def measure_data(
    network: Outcome, *, judge: Outcome | None, n_per_class: int, seed: int
) -> pd.DataFrame:
    """
    Measure data as if they were images of their class: the control of the others.

    Parameters
    ----------
    network : Outcome
        Of a `Classify`; its test patches are measured, each against the others of its class.
    judge : Outcome or None
        Of the `Train` that finds salt in them.
    n_per_class : int
        Patches drawn from each class that there is.
    seed : int
        Decides which.

    Returns
    -------
    DataFrame
        As the records of `Maximize`, with ``patch``, the row in the data, for ``am_seed``.

    Raises
    ------
    ValueError
        If there are fewer than three patches of a class, or than asked for.
    """
    data = network.task.patches.test(network.task.seed)
    rows = _find_rows(network.scores["classes"], np.unique(data.labels).tolist(), data, low=3)
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(others)[: check_count("n_per_class", n_per_class, high=len(others))]
        for others in rows.values()
    ]
    patches = torch.from_numpy(np.sort(drawn).flatten())
    labels = torch.from_numpy(data.labels)[patches]
    groups = [
        (torch.tensor([i]), rows[k][rows[k] != patch])
        for i, (k, patch) in enumerate(zip(labels.tolist(), patches, strict=True))
    ]
    model = load_network(network, "32-true")
    table = _measure(model, data.tensors()[patches], labels, data, judge, groups)
    table.insert(1, "patch", patches.numpy())
    return table


def _find_rows(
    names: Sequence[str], classes: Sequence[int], data: LabelledPatches, *, low: int = 2
) -> dict[int, Tensor]:
    """Rows of the data of each class, as many as it takes at least."""
    signal = measures.has_spectrum(data.tensors())
    rows = {}
    for k in classes:
        check_count("class", k, low=0, high=len(names) - 1)
        rows[k] = (signal & (torch.from_numpy(data.labels) == k)).nonzero()[:, 0]
        check_count(f"number of patches of class {names[k]!r}", len(rows[k]), low=low)
    return rows


def _measure(
    model: SaltClassifier,
    images: Tensor,
    labels: Tensor,
    patches: LabelledPatches,
    judge: Outcome | None,
    groups: Groups,
) -> pd.DataFrame:
    """One row per image (n, 1, H, W) of class ``labels`` (n,), each in one of the groups."""
    data = patches.tensors().to(pick_device())
    images = images.to(data)
    latent, logits = _read_network(model, images)
    data_latent, _ = _read_network(model, data)
    distance, nearest = torch.empty(2, len(images), dtype=torch.float64)
    patch = torch.empty(len(images), dtype=torch.int64)
    for rows, others in groups:
        distance[rows] = measures.log_spectral_distance(images[rows], data[others]).cpu()
        found, position = measures.nearest_distance(latent[rows], data_latent[others])
        nearest[rows], patch[rows] = found.double().cpu(), others[position.cpu()]
    every = torch.arange(len(images))
    columns = {
        "nearest_patch": patch,
        "value": logits[every, labels],
        "probability": logits.softmax(dim=1)[every, labels],
        "spectral_distance_db": distance,
        "noise_db": _measure_noise(images, data[measures.has_spectrum(data)]),
        "sparsity": measures.gradient_sparsity(images),
        "nearest": nearest,
        **_find_bodies(images, judge),
    }
    table = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
    table.insert(0, "class", [patches.classes[k] for k in labels])
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


def _find_bodies(images: Tensor, judge: Outcome | None) -> dict[str, Tensor]:
    """Sharpness and number of the bodies that a judge sees."""
    if judge is None:
        unknown = torch.full((len(images),), torch.nan)
        return {"sharpness": unknown, "bodies": unknown}
    probability = predict_salt(judge, images)
    bodies = measures.count_bodies(probability).double()
    return {"sharpness": measures.contour_sharpness(images, probability), "bodies": bodies}
