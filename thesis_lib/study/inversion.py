"""Network inversion: images that one block of a classifier cannot tell from given patches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import stdtrit
from torch import Tensor

from saltvolumes._checks import check_choice, check_count, check_range
from thesis_lib.patches import LabelledPatches
from thesis_lib.patching import zscore
from thesis_lib.study.classification import Classify
from thesis_lib.study.judging import check_explanation, load_network, pick_device, predict_salt
from thesis_lib.study.segmentation import Train
from thesis_lib.study.tasks import Outcome, Parents, Task, save_tensors
from thesis_lib.training import predict_patches
from thesis_lib.xai import invert, measures

BLOCKS = ("block1", "block2", "block3", "block4")
MEASURES = (
    *("residual", "distance", "converged", "evaluations", "correlation", "modification"),
    *("spectral_distance_db", "boundary_f1", "label_kept", "restart_correlation"),
)
MAX_FRACTION = 0.8  # of salt in a patch that is inverted
MIN_CONVERGED = 0.5  # fraction of a block's images that have to converge, or none of them count
LEVEL = 0.05  # of the two-sided intervals


@dataclass(frozen=True)
class Invert(Task):
    """
    Invert one block of one network, and compare the images with the patches.

    Parameters
    ----------
    network : Classify
        The network, whose unseen patches are inverted.
    judge : Train or None
        Segmentation network that finds salt in the images: one of another seed.
    block : {"block1", "block2", "block3", "block4"}
        What is inverted.
    n_patches : int
        Number of patches, half of them salt, see `pick_patches`.
    ni_seeds : tuple of int
        One image per patch and seed.
    steps, tolerance, optimizer, lr
        As in :func:`thesis_lib.xai.invert`; ``"adam"`` shows what a fixed number of steps does.
    precision : {"auto", "bf16-mixed", "32-true"}
        ``"auto"`` becomes what it means on this machine. In bf16 fewer images get to a small
        residual, which is the one in bf16. All other measures are in float32.

    Raises
    ------
    TypeError, ValueError
        If the block or the precision is unknown, NI seeds are empty or contain duplicates, or a
        number is not in its range.
    """

    network: Classify
    judge: Train | None
    block: str = "block1"
    n_patches: int = 2
    ni_seeds: tuple[int, ...] = (0,)
    steps: int = 300
    tolerance: float = 0.01
    optimizer: str = "lbfgs"
    lr: float = 0.05
    precision: str = "32-true"
    title_format = (
        "Invert {0.block} by {0.optimizer}, {0.network.initialisation}, seed {0.network.seed}"
    )

    def __post_init__(self) -> None:
        check_choice("block", self.block, BLOCKS)
        check_explanation(self, ni_seeds=self.ni_seeds)
        check_count("n_patches", self.n_patches)
        check_range("tolerance", self.tolerance, low=0)
        check_range("lr", self.lr, low=0, exclusive=True)

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Invert the block.

        Returns
        -------
        dict
            ``images``: one record per image, sorted by patch, then by NI seed: ``block``,
            ``patch`` (its row among the picked ones), ``ni_seed`` and

            - ``residual``: squared feature distance to the patch, over the squared norm of the
              patch's features; ``distance``: its root; ``converged``: whether the residual is
              below the tolerance; ``evaluations``: passes through the network;
            - ``correlation`` with the patch; ``modification``: 1 - SSIM; ``spectral_distance_db``;
            - ``boundary_f1``: of the boundary that the judge sees in the image, z-scored as all
              that it sees, against the one in the patch; None without a judge;
            - ``label_kept``: whether the network gives image and patch one class (1 or 0);
            - ``restart_correlation``: mean correlation with the images of the same patch from
              other seeds; None with one seed.

            ``images.safetensors`` holds ``images`` (n, 1, H, W), amplitudes as those of the
            z-scored patches, and ``history`` (n, steps + 1), the residual at the start and after
            each step, until the last image is done.
        """
        patches = pick_patches(
            self.network.patches.test(self.network.seed), n_patches=self.n_patches
        )
        model = load_network(parents["network"], self.precision)
        data = patches.tensors().to(pick_device())
        found = invert(
            model,
            self.block,
            data,
            seeds=self.ni_seeds,
            steps=self.steps,
            tolerance=self.tolerance,
            optimizer=self.optimizer,
            lr=self.lr,
            precision=self.precision,
        )
        origins = list(found.patches)
        kept, given = (
            predict_patches(model, x, precision="32-true").argmax(dim=1)
            for x in (found.images, data)
        )
        columns = {
            "residual": found.residual,
            "distance": found.residual.sqrt(),
            "converged": found.converged,
            "evaluations": found.evaluations,
            **_compare(found.images, data[origins], parents.get("judge")),
            "label_kept": kept == given[origins],
            "restart_correlation": _correlate_restarts(found.images, len(self.ni_seeds)),
        }
        table = pd.DataFrame({"block": self.block, "patch": found.patches, "ni_seed": found.seeds})
        for name, column in columns.items():
            table[name] = column.double().cpu().numpy()
        tensors = {"images": found.images, "history": found.history}
        save_tensors(folder / "images.safetensors", tensors)
        return {"images": table.to_dict("records"), "data": {"test": patches.content_hash}}


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
    signal = measures.has_spectrum(test.tensors()).numpy() & (test.fractions <= MAX_FRACTION)
    order = np.random.default_rng(seed).permutation(len(test))
    chosen = []
    for label, n_wanted in enumerate((n_patches // 2, -(-n_patches // 2))):
        fitting = order[((test.labels == label) & signal)[order]]
        check_count(f"number of {test.classes[label]} patches", n_wanted, low=0, high=len(fitting))
        chosen.append(fitting[:n_wanted])
    return test.take(np.concatenate(chosen))


def keep_converged(images: pd.DataFrame) -> pd.DataFrame:
    """
    Leave out the measures of images that did not converge: they show the optimiser.

    Where fewer than half of a network's images of a block have converged, all of their measures
    are left out: the few would be the easy patches.

    Parameters
    ----------
    images : DataFrame
        Records of `Invert`, with the columns ``initialisation`` and ``seed`` of their network.

    Returns
    -------
    DataFrame
        With NaN for every measure but ``converged``.
    """
    fraction = images.groupby(["initialisation", "seed", "block"])["converged"].transform("mean")
    counts = (images["converged"] == 1) & (fraction >= MIN_CONVERGED)
    judged = [measure for measure in MEASURES if measure != "converged"]
    return images.assign(**{name: images[name].where(counts, np.nan) for name in judged})


def average_blocks(images: pd.DataFrame) -> pd.DataFrame:
    """
    Average the measures over patches and restarts: one row per network and depth.

    Parameters
    ----------
    images : DataFrame
        As in `keep_converged`.

    Returns
    -------
    DataFrame
        Columns ``entry``, which is ``"<initialisation> block<k>"`` or, the mean of blocks 1 and 2,
        ``"<initialisation> shallow"``; ``seed``; and the measures.
    """
    rows = []
    for (initialisation, seed), table in images.groupby(["initialisation", "seed"], sort=False):
        means = table.groupby("block")[[*MEASURES]].mean()
        if {*BLOCKS[:2]} <= {*means.index}:
            means.loc["shallow"] = means.loc[[*BLOCKS[:2]]].mean(skipna=False)
        means.insert(0, "entry", [f"{initialisation} {depth}" for depth in means.index])
        means.insert(1, "seed", [seed] * len(means))
        rows.append(means)
    return pd.concat(rows, ignore_index=True)


def summarise_depth(images: pd.DataFrame) -> pd.DataFrame:
    """
    Average the measures of each initialisation and block, with 95 % t-intervals.

    A value is a patch of a network, averaged over its restarts.

    Parameters
    ----------
    images : DataFrame
        As in `keep_converged`.

    Returns
    -------
    DataFrame
        One row per initialisation and block. Columns ``initialisation``, ``block`` and of each
        measure ``<measure>``, ``<measure>_low`` and ``<measure>_high``, the mean and its bounds:
        NaN with fewer than one, or two, values.
    """
    keys = ["initialisation", "block"]
    values = images.groupby([*keys, "seed", "patch"], sort=False, as_index=False)[
        [*MEASURES]
    ].mean()
    groups = values.groupby(keys, sort=False)[[*MEASURES]]
    means, counts = groups.mean(), groups.count()
    half = groups.sem() * stdtrit(counts - 1, 1 - LEVEL / 2)
    bounds = [(means - half).add_suffix("_low"), (means + half).add_suffix("_high")]
    curves: pd.DataFrame = pd.concat([means, *bounds], axis=1).reset_index()
    return curves


def _compare(images: Tensor, reference: Tensor, judge: Outcome | None) -> dict[str, Tensor]:
    """Measures of images (n, 1, H, W) against the patch of each."""
    distances = [
        measures.log_spectral_distance(image[None], patch[None])
        for image, patch in zip(images, reference, strict=True)
    ]
    boundary = torch.full((len(images),), torch.nan)
    if judge is not None:
        masks, truth = (predict_salt(judge, x) > 0.5 for x in (zscore(images), reference))
        pairs = zip(masks[:, 0].cpu().numpy(), truth[:, 0].cpu().numpy(), strict=True)
        boundary = torch.tensor([measures.boundary_f1(mask, true) for mask, true in pairs])
    return {
        "correlation": measures.correlation(images, reference),
        "modification": 1 - measures.structural_similarity(images, reference),
        "spectral_distance_db": torch.cat(distances),
        "boundary_f1": boundary,
    }


def _correlate_restarts(images: Tensor, n_seeds: int) -> Tensor:
    """Mean correlation of each image with those of the same patch from other seeds, (n,)."""
    if n_seeds == 1:
        return torch.full((len(images),), torch.nan)
    groups = torch.split(images.flatten(1), n_seeds)
    return torch.cat([(torch.corrcoef(group).sum(dim=1) - 1) / (n_seeds - 1) for group in groups])
