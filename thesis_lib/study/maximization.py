"""Activation maximization of a classifier: images that excite its classes, and their measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from saltvolumes._checks import check_choice, check_count, check_range
from thesis_lib.model import SaltClassifier
from thesis_lib.patches import LabelledPatches
from thesis_lib.study.classification import Classify
from thesis_lib.study.judging import check_explanation, load_network, pick_device, predict_salt
from thesis_lib.study.segmentation import THRESHOLD, Train
from thesis_lib.study.tasks import Outcome, Parents, Task, save_tensors
from thesis_lib.xai import (
    Fourier,
    Phase,
    Pixels,
    Robustness,
    class_logit,
    class_margin,
    maximize,
    measures,
    spectra,
)
from thesis_lib.xai._hooks import activate
from thesis_lib.xai.images import Parametrization

IMAGE_KINDS = ("phase", "fourier", "pixels")
OBJECTIVES = {"logit": class_logit, "margin": class_margin}
LAYERS = ("stem", "block1", "block2", "block3", "block4")
N_SHOWN = 4  # images of an ascent that a figure shows at most
BATCH = 64  # images that a network only looks at, at once
MAX_JITTER_PX, JITTER_FRACTION = 8.0, 1 / 8  # the fraction is of the shorter side of an image


@dataclass(frozen=True)
class Maximize(Task):
    """
    Maximise an objective for classes of one network from several starts, and measure the images.

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
    steps, lr
        As in :func:`thesis_lib.xai.maximize`.
    image : {"phase", "fourier", "pixels"}
        How images are written; ``"phase"`` has the mean magnitude spectrum of the data.
    robust : bool
        Whether images are moved at each step: by 8 pixels, or an eighth of the shorter side where
        that is less, by a tenth in size and by 10 degrees.
    objective : {"logit", "margin"}
        The logit of a class, or what it exceeds the largest other one by.
    precision : {"auto", "bf16-mixed", "32-true"}
        ``"auto"`` becomes what it means on this machine. Measures are always in float32.

    Raises
    ------
    TypeError, ValueError
        If ``image``, ``objective`` or ``precision`` is unknown, AM seeds or classes are empty or
        contain duplicates, or a number is not in its range.
    """

    network: Classify
    judge: Train | None
    am_seeds: tuple[int, ...]
    classes: tuple[int, ...]
    steps: int = 256
    lr: float = 0.05
    image: str = "phase"
    robust: bool = True
    objective: str = "logit"
    precision: str = "auto"
    recorded_rows: ClassVar[Mapping[str, int]] = {"images": N_SHOWN}

    def __post_init__(self) -> None:
        check_choice("image", self.image, IMAGE_KINDS)
        check_choice("objective", self.objective, tuple(OBJECTIVES))
        check_explanation(self, am_seeds=self.am_seeds, classes=self.classes)
        check_range("lr", self.lr, low=0, exclusive=True)

    @property
    def title(self) -> str:
        """Objective, kind of image, and network."""
        robust = "robust" if self.robust else "naive"
        network = self.network.title.removeprefix("Classify, ")
        return f"Maximize {self.objective}, {self.image}, {robust}, {network}"

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Make the images and measure them.

        Returns
        -------
        dict
            ``images``: one record per image, sorted by class, then by AM seed: ``class`` (its
            name), ``am_seed``, ``value``, the objective, ``nearest_patch``, the row in the data of
            a similar patch of the class (by the latent space; each patch once), and the measures
            of `measure_images`. ``paths``: for every class and layer, the mean ``similarity`` of
            the images' path to that of data (`measures.path_similarity`).

            ``images.safetensors`` holds ``images`` (n, 1, H, W), z-scored as the network sees
            them, and ``history`` (n, steps), the objective before each step, of the moved image.
        """
        data = self.network.patches.test(self.network.seed)
        names = parents["network"].scores["classes"]
        rows = find_rows(names, self.classes, data, low=len(self.am_seeds))
        model = load_network(parents["network"], self.precision)
        found = maximize(
            model,
            [OBJECTIVES[self.objective](k) for k in self.classes],
            data.images.shape[1:],
            seeds=self.am_seeds,
            steps=self.steps,
            lr=self.lr,
            image=self._parametrize(data),
            robustness=self._move(data) if self.robust else None,
            precision=self.precision,
        )
        labels = torch.tensor(self.classes).repeat_interleave(len(self.am_seeds))
        nearest, paths = self._compare(model, found.images, labels, data, rows)
        columns = {
            "class": [names[k] for k in labels],
            "am_seed": found.seeds,
            "value": found.values.cpu().numpy(),
            "nearest_patch": nearest.numpy(),
        }
        threshold = getattr(self.network.patches, "threshold", None)
        judge = parents.get("judge")
        measured = measure_images(found.images, labels, data, judge=judge, threshold=threshold)
        save_tensors(
            folder / "images.safetensors", {"images": found.images, "history": found.history}
        )
        return {
            "images": pd.DataFrame(columns).join(measured).to_dict("records"),
            "paths": [{"class": names[k], **path} for k, path in paths],
            "data": {"test": data.content_hash},
        }

    def _parametrize(self, data: LabelledPatches) -> Parametrization:
        if self.image == "phase":
            return Phase(data.tensors())
        return Fourier() if self.image == "fourier" else Pixels()

    def _move(self, data: LabelledPatches) -> Robustness:
        shorter = min(data.images.shape[1:])
        return Robustness(jitter_px=min(MAX_JITTER_PX, JITTER_FRACTION * shorter))

    def _compare(
        self,
        model: SaltClassifier,
        images: Tensor,
        labels: Tensor,
        data: LabelledPatches,
        rows: Mapping[int, Tensor],
    ) -> tuple[Tensor, list[tuple[int, dict[str, Any]]]]:
        """Nearest patch of each image, and how similar the paths of each class are."""
        of_images, of_data = (read_layers(model, x) for x in (images, data.tensors()))
        nearest = torch.empty(len(images), dtype=torch.int64)
        paths = []
        for k in self.classes:
            mine, others = labels == k, torch.from_numpy(data.labels) != k
            latent = [torch.cat([*part.values()][1:], dim=1) for part in (of_images, of_data)]
            nearest[mine] = rows[k][measures.match_patches(latent[0][mine], latent[1][rows[k]])]
            for layer in LAYERS:
                own, other = (of_data[layer][part] for part in (rows[k], others))
                similarity = measures.path_similarity(of_images[layer][mine], own, other).mean()
                paths.append((k, {"layer": layer, "similarity": float(similarity)}))
        return nearest, paths


def measure_images(
    images: Tensor,
    labels: Tensor,
    data: LabelledPatches,
    *,
    judge: Outcome | None,
    threshold: float | None = None,
) -> pd.DataFrame:
    """
    Measure images by what does not depend on the network that made them.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
        Z-scored.
    labels : int64 Tensor of shape (n,)
        The class that each is an image of.
    data : LabelledPatches
        Patches to compare with.
    judge : Outcome or None
        Of the `Train` that finds salt in them.
    threshold : float, optional
        Fraction of salt above which a patch is salt.

    Returns
    -------
    DataFrame
        One row per image:

        - ``noise_db``: what its spectrum exceeds that of the data by, above their band; NaN where
          the band reaches to the highest frequency; ``deficit_db``: what it lacks within the band;
        - ``contour``, ``body``: whether the judge sees a contour, and one body;
          ``sharpness``: of that contour in dB, NaN without one;
        - ``recognised``: whether the judge sees salt in a larger fraction than the threshold, or
          not, as the class says.

        The last four are NaN without a judge; ``recognised`` with other classes than background
        and salt, too.
    """
    images, patches = images.cpu(), data.tensors()
    patches = patches[spectra.has_spectrum(patches)]
    limit = spectra.band_limit(patches)
    lacking = spectra.log_spectral_distance(images, patches, below=limit, side="deficit")
    table = {"noise_db": measure_noise(images, patches, limit), "deficit_db": lacking}
    unknown = torch.full((len(images),), torch.nan)
    table |= dict.fromkeys(("contour", "body", "sharpness", "recognised"), unknown)
    if judge is not None:
        masks = find_salt(judge, images)
        table |= {
            "contour": measures.has_contour(masks),
            "body": measures.has_body(masks),
            "sharpness": measures.contour_sharpness(images, masks),
        }
        if threshold is not None and data.classes == ("background", "salt"):
            table["recognised"] = call_salt(masks, threshold) == labels.bool()
    return pd.DataFrame({name: column.double().numpy() for name, column in table.items()})


def find_salt(judge: Outcome, images: Tensor) -> Tensor:
    """Salt (n, 1, H, W), bool on the CPU, that a segmentation network sees in z-scored images."""
    return (predict_salt(judge, images.to(pick_device())) > THRESHOLD).cpu()


def call_salt(masks: Tensor, threshold: float) -> Tensor:
    """Whether salt fills a larger fraction of masks (n, 1, H, W) than a threshold."""
    return masks.double().mean(dim=(1, 2, 3)) > threshold


def find_rows(
    names: Sequence[str], classes: Sequence[int], data: LabelledPatches, *, low: int = 2
) -> dict[int, Tensor]:
    """
    Find the rows of the data of each class, without patches that have no spectrum.

    Raises
    ------
    ValueError
        If there is no such class, or fewer than two rows or ``low`` of it.
    """
    signal = spectra.has_spectrum(data.tensors())
    rows = {}
    for k in classes:
        check_count("class", k, low=0, high=len(names) - 1)
        rows[k] = (signal & (torch.from_numpy(data.labels) == k)).nonzero()[:, 0]
        check_count(f"number of patches of class {names[k]!r}", len(rows[k]), low=max(low, 2))
    return rows


@torch.no_grad()
def read_layers(model: SaltClassifier, images: Tensor) -> dict[str, Tensor]:
    """Mean (n, C) of each channel over the patch, on the CPU in float32, for each of `LAYERS`."""
    parts: list[list[Tensor]] = []
    for batch in torch.split(images.to(pick_device()), BATCH):
        maps = [activate(model, LAYERS[0], batch, precision="32-true"), *model.features(batch)]
        parts.append([each.mean(dim=(2, 3)).cpu() for each in maps])
    joined = [torch.cat(each) for each in zip(*parts, strict=True)]
    return dict(zip(LAYERS, joined, strict=True))


def measure_noise(images: Tensor, data: Tensor, limit: float) -> Tensor:
    """Log-spectral excess above the band of data; NaN where nothing lies above."""
    if limit >= spectra.spectrum(data[:1])[0][-1]:
        return torch.full((len(images),), torch.nan)
    return spectra.log_spectral_distance(images, data, above=limit, side="excess")
