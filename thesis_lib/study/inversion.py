"""The task behind Figure 4: images that one block of one network takes for given patches."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from thesis_lib import xai
from thesis_lib._checks import check_choice
from thesis_lib.data.labels import LabelledPatches
from thesis_lib.patching import zscore
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
from thesis_lib.training import pick_precision, predict_patches
from thesis_lib.training.config import PRECISIONS
from thesis_lib.xai import measures

TASK = __name__
source_hash(TASK)  # of the code that is loaded, whatever is edited from here on
BLOCKS = ("block1", "block2", "block3", "block4")
MEASURES = (
    "residual",
    "distance",
    "converged",
    "evaluations",
    "correlation",
    "modification",
    "spectral_distance_db",
    "boundary_f1",
    "label_kept",
    "restart_correlation",
)
LABELS = ("block", "patch", "ni_seed")
IMAGES = "images.safetensors"


@dataclass(frozen=True)
class InversionConfig:
    """
    Settings of the inversion of one network.

    Parameters
    ----------
    blocks : tuple of str
        Of ``"block1"`` to ``"block4"``; each is a run of its own.
    ni_seeds : tuple of int
        One image per patch and seed.
    steps, tolerance, optimizer, lr, norm_weight, variation_weight
        As in :func:`thesis_lib.xai.invert`.
    precision : {"auto", "bf16-mixed", "32-true"}
        ``"auto"`` is bf16 autocast where the hardware computes in bf16, else float32. In bf16
        fewer images get to a small residual, which is the one in bf16. All other measures are in
        float32.

    Raises
    ------
    ValueError
        If a block or the precision is unknown, or blocks or NI seeds are none or not distinct.
    """

    blocks: tuple[str, ...] = BLOCKS
    ni_seeds: tuple[int, ...] = (0,)
    steps: int = 300
    tolerance: float = 0.01
    optimizer: str = "lbfgs"
    lr: float = 0.05
    norm_weight: float = 1e-5
    variation_weight: float = 1e-4
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for block in self.blocks:
            check_choice("block", block, BLOCKS)
        check_choice("precision", self.precision, PRECISIONS)
        for name, values in (("blocks", self.blocks), ("ni_seeds", self.ni_seeds)):
            if not 0 < len(values) == len(set(values)):
                raise ValueError(f"Invalid {name} {values}. Must be distinct, at least one.")


@dataclass(frozen=True)
class InvertedBlocks:
    """
    Images that the blocks of one network take for patches, sorted by patch, then by NI seed.

    Attributes
    ----------
    route : str
        Way in which the network was trained.
    seed : int
        Its seed.
    config : InversionConfig
        Settings.
    images : dict of str to Tensor of shape (n, 1, H, W)
        By block; amplitudes as those of the z-scored patches.
    histories : dict of str to Tensor of shape (n, steps + 1)
        Residual at the start and after each step, until the last image of the block is done.
    table : DataFrame
        One row an image: ``block``, ``patch`` (its row), ``ni_seed`` and

        - ``residual``: squared feature distance to the patch, over the squared norm of the
          patch's features; ``distance``: its root; ``converged``: whether the residual is below
          the tolerance; ``evaluations``: passes through the network;
        - ``correlation`` with the patch; ``modification``: 1 - SSIM; ``spectral_distance_db``;
        - ``boundary_f1``: of the boundary that the segmenter sees in the image, z-scored as all
          that it sees, against the one in the patch; NaN without a segmenter;
        - ``label_kept``: whether the network gives image and patch one class (1 or 0);
        - ``restart_correlation``: mean correlation with the images of the same patch from other
          seeds; NaN with one seed.
    outcomes : dict of str to Outcome
        By block: folder of the run, and whether it was computed now.
    """

    route: str
    seed: int
    config: InversionConfig
    images: dict[str, Tensor]
    histories: dict[str, Tensor]
    table: pd.DataFrame
    outcomes: dict[str, Outcome]


def invert_blocks(
    network: ClassifierRun,
    config: InversionConfig,
    *,
    patches: LabelledPatches,
    segmenter: Path | None,
    root: str | os.PathLike[str],
    progress: bool = True,
) -> InvertedBlocks:
    """
    Invert blocks of one network one by one, and compare the images with the patches.

    Parameters
    ----------
    network : ClassifierRun
        Which network.
    config : InversionConfig
        Settings; an ``optimizer`` of ``"adam"`` shows what a fixed number of steps does.
    patches : LabelledPatches
        What is inverted, each of at least 11 x 11 pixels, and none without a spectrum, as constant
        ones are.
    segmenter : Path, optional
        Folder of the segmentation run that finds salt in the images: one of another seed.
    root : path
        Folder of all runs. A block that is there is not repeated, so that a call that was killed
        goes on with the block it was at.
    progress : bool
        Whether to draw progress bars.

    Raises
    ------
    TypeError, ValueError, FloatingPointError
        As :func:`thesis_lib.xai.invert` and :func:`thesis_lib.xai.measures.structural_similarity`;
        ValueError also if a patch has no spectrum, or a file of a run was damaged.
    """
    outcomes = {}
    for block in config.blocks:
        run = make_run(
            TASK, network, config, patches.content_hash, segmenter, blocks=None, block=block
        )
        compute = partial(_invert, network, config, block, patches, segmenter, progress=progress)
        outcomes[block] = complete(run, compute, root=root)
    tensors = {block: read_tensors(outcomes[block].folder / IMAGES) for block in config.blocks}
    tables = [
        read_records(outcomes[block].scores["images"], LABELS, MEASURES) for block in config.blocks
    ]
    return InvertedBlocks(
        route=network.route,
        seed=network.seed,
        config=config,
        images={block: found["images"] for block, found in tensors.items()},
        histories={block: found["history"] for block, found in tensors.items()},
        table=pd.concat(tables, ignore_index=True),
        outcomes=outcomes,
    )


def _invert(
    network: ClassifierRun,
    config: InversionConfig,
    block: str,
    patches: LabelledPatches,
    segmenter: Path | None,
    folder: Path,
    *,
    progress: bool,
) -> dict[str, Any]:
    """Invert one block, save the images and return their measures."""
    model = load_network(network, config.precision)
    data = patches.tensors().to(pick_device())
    found = xai.invert(
        model,
        block,
        data,
        seeds=config.ni_seeds,
        steps=config.steps,
        tolerance=config.tolerance,
        optimizer=config.optimizer,
        lr=config.lr,
        norm_weight=config.norm_weight,
        variation_weight=config.variation_weight,
        precision=pick_precision(config.precision, data.device),
        progress=progress,
    )
    origins = list(found.patches)
    kept, given = (
        predict_patches(model, x, precision="32-true").argmax(dim=1) for x in (found.images, data)
    )
    table = pd.DataFrame({"block": block, "patch": found.patches, "ni_seed": found.seeds})
    columns = {
        "residual": found.residual,
        "distance": found.residual.sqrt(),
        "converged": found.converged,
        "evaluations": found.evaluations,
        **_compare(found.images, data[origins], segmenter),
        "label_kept": kept == given[origins],
        "restart_correlation": _correlate_restarts(found.images, len(config.ni_seeds)),
    }
    for name, column in columns.items():
        table[name] = column.double().cpu().numpy()
    save_tensors(folder / IMAGES, {"images": found.images, "history": found.history})
    return {"images": to_records(table)}


def _compare(images: Tensor, reference: Tensor, segmenter: Path | None) -> dict[str, Tensor]:
    """Measures of images (n, 1, H, W) against the patch of each."""
    distances = [
        measures.log_spectral_distance(image[None], patch[None])
        for image, patch in zip(images, reference, strict=True)
    ]
    boundary = torch.full((len(images),), torch.nan)
    if segmenter is not None:
        masks, truth = (predict_salt(segmenter, x) > 0.5 for x in (zscore(images), reference))
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
