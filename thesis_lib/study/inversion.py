"""Network inversion: images that blocks of a classifier can hardly tell from given patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import rankdata
from torch import Tensor

from saltvolumes._checks import check_choice, check_count, check_range
from thesis_lib.model import SaltClassifier
from thesis_lib.patches import LabelledPatches
from thesis_lib.patches.classes import PatchSource
from thesis_lib.patching import zscore
from thesis_lib.study.classification import Classify
from thesis_lib.study.judging import check_explanation, load_network, pick_device, predict_salt
from thesis_lib.study.segmentation import Train
from thesis_lib.study.tasks import Outcome, Parents, Task, check_distinct, save_tensors
from thesis_lib.training import predict_patches
from thesis_lib.xai import Inversion, invert, measures, spectra
from thesis_lib.xai.inversion import STARTS

BLOCKS = ("block1", "block2", "block3", "block4")
MEASURES = (
    *("residual", "prior", "reached", "evaluations", "boundary_f1", "correlation"),
    *("modification", "label_kept"),
)
MAX_FRACTION = 0.8  # of salt in a patch that is inverted
LEVEL = 0.05  # of the two-sided intervals
WEAK_NOISE = 0.1  # standard deviation of the noise in a patch that counts as the same


@dataclass(frozen=True)
class Invert(Task):
    """
    Invert the four blocks of one network, one by one, and compare the images with the patches.

    Parameters
    ----------
    network : Classify
        The network, whose unseen patches are inverted.
    judge : Train or None
        Segmentation network that finds salt in the images: one of another seed.
    n_patches : int
        Number of patches, half of them salt, see `pick_patches`.
    levels, start, steps
        As in :func:`thesis_lib.xai.invert`. The seed of the noise is that of the network.
    precision : {"auto", "bf16-mixed", "32-true"}
        ``"auto"`` becomes what it means on this machine. In bf16 residuals are those in bf16; all
        other measures are in float32.

    Raises
    ------
    TypeError, ValueError
        If the start or the precision is unknown, levels are empty or contain duplicates, or a
        number is not in its range.
    """

    network: Classify
    judge: Train | None
    n_patches: int = 2
    levels: tuple[float, ...] = (0.1, 0.03, 0.01)
    start: str = "patch"
    steps: int = 40
    precision: str = "32-true"
    title_format = "Invert from {0.start}, {0.network.initialisation}, seed {0.network.seed}"

    def __post_init__(self) -> None:
        check_choice("start", self.start, STARTS)
        check_distinct("levels", self.levels)
        for level in self.levels:
            check_range("level", level, low=0, exclusive=True)
        check_explanation(self)
        check_count("n_patches", self.n_patches)

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Invert the blocks.

        Returns
        -------
        dict
            ``images``: one record per block, level and patch: ``block``, ``level``, ``patch``
            (its row among the picked ones) and

            - ``residual``, ``prior``, ``reached``, ``evaluations``: see
              :class:`thesis_lib.xai.Inversion`;
            - ``boundary_f1``: of the boundary that the judge sees in the image, z-scored as all
              that it sees, against the one in the patch; None without a judge;
            - ``correlation`` with the patch, and ``modification``, 1 - SSIM, both below the
              frequency that holds 99 % of the power of the network's unseen patches;
            - ``label_kept``: whether the network gives image and patch one class (1 or 0).

            ``images.safetensors`` holds the images (n_levels, n, 1, H, W) of each block,
            amplitudes as those of the z-scored patches.
        """
        unseen = self.network.patches.test(self.network.seed)
        patches = pick_patches(unseen, n_patches=self.n_patches)
        model = load_network(parents["network"], self.precision)
        data, judge = patches.tensors().to(pick_device()), parents.get("judge")
        limit = spectra.band_limit(_with_spectrum(unseen))
        how: dict[str, Any] = {"levels": self.levels, "start": self.start, "steps": self.steps}
        how |= {"seed": self.network.seed, "precision": self.precision}
        found = {block: invert(model, block, data, **how) for block in BLOCKS}
        tables = [
            self._measure(block, each, data, judge, limit=limit, model=model)
            for block, each in found.items()
        ]
        images = {block: each.images for block, each in found.items()}
        save_tensors(folder / "images.safetensors", images)
        records = pd.concat(tables).to_dict("records")
        return {"images": records, "data": {"test": unseen.content_hash}}

    def _measure(
        self,
        block: str,
        found: Inversion,
        data: Tensor,
        judge: Outcome | None,
        *,
        limit: float,
        model: SaltClassifier,
    ) -> pd.DataFrame:
        images = found.images.flatten(0, 1)
        origins = list(range(len(data))) * len(self.levels)
        kept, given = (
            predict_patches(model, x, precision="32-true").argmax(dim=1) for x in (images, data)
        )
        columns = {
            "residual": found.residual.flatten(),
            "prior": found.prior.flatten(),
            "reached": found.reached.flatten(),
            "evaluations": found.evaluations.repeat(len(self.levels)),
            "boundary_f1": _compare_boundaries(images, data[origins], judge),
            **_compare_in_band(images, data[origins], limit),
            "label_kept": kept == given[origins],
        }
        levels = np.repeat(self.levels, len(data))
        table = pd.DataFrame({"block": block, "level": levels, "patch": origins})
        for name, column in columns.items():
            table[name] = column.double().cpu().numpy()
        return table


@dataclass(frozen=True)
class Admit(Task):
    """
    Test the F1 of the boundary on pairs of patches that are known to be the same, or not.

    The same are a patch and itself with noise of a tenth of its standard deviation; different are
    two patches of salt. A measure that tells them apart has an AUC near 1.

    Parameters
    ----------
    patches : SaltPatches
        Of which unseen ones are taken.
    judge : Train
        Segmentation network that finds the boundaries.
    seed : int
        Of the patches and of the noise.
    n_patches : int
        Number of patches of salt.

    Raises
    ------
    TypeError, ValueError
        If there are fewer than two patches, or a number is not in its range.
    """

    patches: PatchSource
    judge: Train
    seed: int
    n_patches: int = 20
    title_format = "Admit the boundary, seed {0.seed}"

    def __post_init__(self) -> None:
        check_count("n_patches", self.n_patches, low=2)
        check_count("seed", self.seed, low=0)

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:  # noqa: ARG002
        """
        Compare the pairs.

        Returns
        -------
        dict
            ``auc``: probability that a pair of the same exceeds one of different patches, ties
            counted half; ``same``, ``different``: mean F1 of each; ``n_patches``.
        """
        picked = pick_patches(self.patches.test(self.seed), n_patches=2 * self.n_patches)
        salt = picked.take(picked.labels == 1).tensors().to(pick_device())
        noise = torch.randn(salt.shape, generator=torch.Generator().manual_seed(self.seed))
        noisy = salt + WEAK_NOISE * noise.to(salt)
        first, second = np.nonzero(~np.eye(len(salt), dtype=bool))
        masks = {name: _find_salt(x, parents["judge"]) for name, x in (("", salt), ("~", noisy))}
        same = [measures.boundary_f1(*pair) for pair in zip(masks["~"], masks[""], strict=True)]
        different = [
            measures.boundary_f1(masks[""][i], masks[""][j])
            for i, j in zip(first, second, strict=True)
        ]
        return {
            "auc": measure_auc(same, different),
            "same": float(np.mean(same)),
            "different": float(np.mean(different)),
            "n_patches": len(salt),
            "data": {"test": picked.content_hash},
        }


def measure_auc(above: Sequence[float], below: Sequence[float]) -> float:
    """
    Probability that a value of the first kind exceeds one of the second, ties counted half.

    Parameters
    ----------
    above, below : sequences of float
        Values of the two kinds.

    Returns
    -------
    float
        Area under the curve of receiver operating characteristics, in [0, 1].
    """
    ranks = rankdata([*above, *below])[: len(above)]
    return float((ranks.mean() - (len(above) + 1) / 2) / len(below))


def pick_patches(test: LabelledPatches, *, n_patches: int, seed: int = 0) -> LabelledPatches:
    """
    Pick patches to look at: those of background first, then as many (or one more) of salt.

    Patches with salt are not full of it: at most four fifths. Each patch has a spectrum, so that
    its inversions can be measured: it is not constant, for instance.

    Parameters
    ----------
    test : LabelledPatches
        Of two classes, with masks.
    n_patches : int
        Number of patches, at least 1.
    seed : int
        Decides which.

    Raises
    ------
    ValueError
        If there are fewer of a class, or masks are not known.
    """
    check_count("n_patches", n_patches)
    if test.fractions is None:
        raise ValueError("Invalid patches without masks. Must have masks.")
    signal = spectra.has_spectrum(test.tensors()).numpy() & (test.fractions <= MAX_FRACTION)
    order = np.random.default_rng(seed).permutation(len(test))
    chosen = []
    for label, n_wanted in enumerate((n_patches // 2, -(-n_patches // 2))):
        fitting = order[((test.labels == label) & signal)[order]]
        check_count(f"number of {test.classes[label]} patches", n_wanted, low=0, high=len(fitting))
        chosen.append(fitting[:n_wanted])
    return test.take(np.concatenate(chosen))


def summarise_depth(
    images: pd.DataFrame, keys: Sequence[str], values: Sequence[str]
) -> pd.DataFrame:
    """
    Average measures over patches, then over seeds, with 95 % t-intervals over seeds.

    Parameters
    ----------
    images : DataFrame
        Records with the columns ``seed`` and keys.
    keys : sequence of str
        What is kept apart, such as ``initialisation`` and ``block``.
    values : sequence of str
        Columns that are averaged; what is missing is left out.

    Returns
    -------
    DataFrame
        One row per combination of keys: these, and of each measure ``<measure>``,
        ``<measure>_low`` and ``<measure>_high``, the mean and its bounds: NaN with fewer than
        two seeds.
    """
    keys, values = list(keys), list(values)
    networks = images.groupby([*keys, "seed"], sort=False, as_index=False)[values].mean()
    groups = networks.groupby(keys, sort=False)[values]
    means, counts = groups.mean(), groups.count()
    half = groups.sem() * stdtrit(counts - 1, 1 - LEVEL / 2)
    bounds = [(means - half).add_suffix("_low"), (means + half).add_suffix("_high")]
    curves: pd.DataFrame = pd.concat([means, *bounds], axis=1).reset_index()
    return curves


def score_blocks(readouts: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """
    Join what claims decide on: one row per network and block.

    Parameters
    ----------
    readouts, images : DataFrame
        Records of `Readout`, and of `Invert` at one level, with the columns ``initialisation``
        and ``seed`` of their network.

    Returns
    -------
    DataFrame
        Columns ``entry``, which is ``"<initialisation> <block>"``, ``seed``, ``lost`` and
        ``probe``, and ``boundary_f1``, ``correlation`` and ``modification``, means over patches.
    """
    keys = ["initialisation", "block", "seed"]
    means = images.groupby(keys, sort=False)[["boundary_f1", "correlation", "modification"]].mean()
    table = readouts.set_index(keys)[["lost", "probe"]].join(means).reset_index()
    table.insert(0, "entry", table["initialisation"] + " " + table["block"])
    return table.drop(columns=["initialisation", "block"])


def _with_spectrum(patches: LabelledPatches) -> Tensor:
    data = patches.tensors().to(pick_device())
    return data[spectra.has_spectrum(data)]


def _compare_boundaries(images: Tensor, reference: Tensor, judge: Outcome | None) -> Tensor:
    """F1 of the boundaries in images (n, 1, H, W) and in the patch of each; NaN without judge."""
    if judge is None:
        return torch.full((len(images),), torch.nan)
    masks, truth = (_find_salt(x, judge) for x in (zscore(images), reference))
    pairs = zip(masks, truth, strict=True)
    return torch.tensor([measures.boundary_f1(mask, true) for mask, true in pairs])


def _find_salt(images: Tensor, judge: Outcome) -> NDArray[np.bool_]:
    """Masks (n, H, W) that a judge sees."""
    masks: NDArray[np.bool_] = (predict_salt(judge, images) > 0.5)[:, 0].cpu().numpy()
    return masks


def _compare_in_band(images: Tensor, reference: Tensor, limit: float) -> dict[str, Tensor]:
    """Correlation and 1 - SSIM of images and patches below a frequency."""
    images, reference = (spectra.low_pass(x, limit) for x in (images, reference))
    return {
        "correlation": measures.correlation(images, reference),
        "modification": 1 - measures.structural_similarity(images, reference),
    }
