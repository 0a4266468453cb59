"""Measures are admitted: data are measured like images, and known things have to be told apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saltvolumes._checks import check_count
from thesis_lib.patches import LabelledPatches
from thesis_lib.patching import zscore
from thesis_lib.study.classification import Classify
from thesis_lib.study.maximization import (
    call_salt,
    find_rows,
    find_salt,
    measure_images,
    measure_noise,
)
from thesis_lib.study.segmentation import Train
from thesis_lib.study.tasks import Parents, Task
from thesis_lib.xai import measures, spectra

KNOWN_SALT = (0.2, 0.8)  # true fractions of salt of patches that are known to hold some
NOISE = 0.5  # standard deviation of the white noise that is added to z-scored data: 6 dB below
LOW_PASS = 0.5  # fraction of the data's band that low-passed data keep


@dataclass(frozen=True)
class MeasureData(Task):
    """
    Measure data as if they were images, and find out which measures tell known things apart.

    The data are the test patches of a classifier. Known salt are patches that salt truly fills to
    20 to 80 %, known background those without any. A measure is admitted by the area under its ROC
    curve (AUC) for

    - ``sharpness``: the judge's contours in known salt, against the same contours laid over known
      background;
    - ``body``: known salt whose true mask is one body, against known background;
    - ``recognised``: known salt against known background;
    - ``noise_db``: data with white noise added, 6 dB below them, against the data;
    - ``deficit_db``: data without the upper half of their band, against the data.

    Parameters
    ----------
    network : Classify
        Whose test patches are measured.
    judge : Train or None
        Segmentation network of another seed; without one nothing that it sees is known.
    n_per_class : int
        Patches drawn from each class as the controls of images.

    Raises
    ------
    TypeError, ValueError
        If the number is not a whole one above 0.
    """

    network: Classify
    judge: Train | None
    n_per_class: int
    title_format = "Measure data, seed {0.network.seed}"

    def __post_init__(self) -> None:
        check_count("n_per_class", self.n_per_class)

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:  # noqa: ARG002
        """
        Measure.

        Returns
        -------
        dict
            ``images``: one record for each patch that was drawn: ``class``, ``patch``, its row in
            the data, and the measures of `measure_images`. ``admissions``: one record per measure:
            ``measure``, ``auc`` (None where a side is empty), ``n_known`` and ``n_other``.
        """
        data, judge = self.network.patches.test(self.network.seed), parents.get("judge")
        names = parents["network"].scores["classes"]
        rows = find_rows(names, range(len(names)), data, low=self.n_per_class)
        rng = np.random.default_rng(self.network.seed)
        drawn = [np.sort(rng.permutation(part)[: self.n_per_class]) for part in rows.values()]
        patches = torch.from_numpy(np.concatenate(drawn))
        labels = torch.from_numpy(data.labels)[patches]
        threshold = self.network.patches.threshold  # type: ignore[union-attr]
        table = measure_images(
            data.tensors()[patches], labels, data, judge=judge, threshold=threshold
        )
        table.insert(0, "class", [names[k] for k in labels])
        table.insert(1, "patch", patches.numpy())
        found = None if judge is None else find_salt(judge, data.tensors())
        return {
            "images": table.to_dict("records"),
            "admissions": admit_measures(data, found, threshold, seed=self.network.seed),
            "data": {"test": data.content_hash},
        }


def admit_measures(
    data: LabelledPatches, found: Tensor | None, threshold: float, *, seed: int
) -> list[dict[str, Any]]:
    """
    Find out how well measures tell known things apart.

    Parameters
    ----------
    data : LabelledPatches
        Patches with masks.
    found : bool Tensor of shape (n, 1, H, W), or None
        Salt that a judge sees in them, where there is one.
    threshold : float
        Fraction of salt above which a patch is salt.
    seed : int
        Of the noise, and of the backgrounds that contours are laid over.

    Returns
    -------
    list of dict
        As `MeasureData` returns them.
    """
    images, truth = data.tensors(), torch.from_numpy(np.asarray(data.masks, bool))[:, None]
    fraction = truth.double().mean(dim=(1, 2, 3))
    salt = (fraction >= KNOWN_SALT[0]) & (fraction <= KNOWN_SALT[1])
    background = fraction == 0
    generator = torch.Generator().manual_seed(seed)
    pairs = dict.fromkeys(("sharpness", "body", "recognised"), (torch.empty(0), torch.empty(0)))
    if found is not None:
        body, called = measures.has_body(found).double(), call_salt(found, threshold).double()
        pairs = {
            "sharpness": _lay_over(images, found, salt, background, generator),
            "body": (body[salt & measures.has_body(truth)], body[background]),
            "recognised": (called[salt], called[background]),
        }
    pairs |= _change_spectra(images[spectra.has_spectrum(images)], generator)
    return [
        {
            "measure": name,
            "auc": measures.area_under_curve(known, other),
            "n_known": int((~known.isnan()).sum()),
            "n_other": int((~other.isnan()).sum()),
        }
        for name, (known, other) in pairs.items()
    ]


def _lay_over(
    images: Tensor, found: Tensor, salt: Tensor, background: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sharpness of contours in known salt, and of the same ones over some known background."""
    masks, others = found[salt], images[background]
    chosen = torch.randint(max(len(others), 1), (len(masks),), generator=generator)
    if not len(others) or not len(masks):
        return torch.empty(0), torch.empty(0)
    known = measures.contour_sharpness(images[salt], masks)
    return known, measures.contour_sharpness(others[chosen], masks)


def _change_spectra(images: Tensor, generator: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
    """Noise of noisy data against the data's, and deficit of low-passed data against theirs."""
    noisy = zscore(images + NOISE * torch.randn(images.shape, generator=generator))
    limit = spectra.band_limit(images)
    height, width = images.shape[2:]
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width))
    smooth = torch.fft.irfft2(
        torch.fft.rfft2(images) * (radius <= LOW_PASS * limit), s=(height, width)
    )
    deficit = [
        spectra.log_spectral_distance(part, images, below=limit, side="deficit")
        for part in (zscore(smooth), images)
    ]
    return {
        "noise_db": (measure_noise(noisy, images, limit), measure_noise(images, images, limit)),
        "deficit_db": (deficit[0], deficit[1]),
    }
