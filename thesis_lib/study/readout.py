"""Readouts of the blocks of a classifier: how well a patch, and its mask, can be read from each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saltvolumes._checks import check_count
from thesis_lib.model import REDUCTIONS, SaltClassifier
from thesis_lib.patches import LabelledPatches
from thesis_lib.patches.classes import PatchSource
from thesis_lib.study.classification import Classify
from thesis_lib.study.inversion import BLOCKS, pick_patches
from thesis_lib.study.judging import load_network, pick_device
from thesis_lib.study.tasks import Parents, Task, save_tensors
from thesis_lib.xai.readout import CHUNK, Decoder, Probe, explained_variance, fit_readout


@dataclass(frozen=True)
class Readout(Task):
    """
    Train a decoder and a linear probe on each block of one network, and score them.

    They are trained on patches of the training volumes and scored on those of unseen ones. All
    blocks and networks of a seed have the same patches in the same order, and decoders of the
    same width, for the same number of steps. The network stays as it is.

    Parameters
    ----------
    network : Classify
        Whose blocks are read.
    patches : SaltPatches
        What is trained on and scored; with masks.
    n_shown : int
        Patches of the network whose decoded images are kept, those of
        ``study.inversion.pick_patches``.
    steps, batch_size : int
        As in ``xai.readout.fit_readout``.

    Raises
    ------
    TypeError, ValueError
        If a number is not a whole one above 0.
    """

    network: Classify
    patches: PatchSource
    n_shown: int = 2
    steps: int = 220
    batch_size: int = 16
    title_format = "Readout, {0.network.initialisation}, seed {0.network.seed}"

    def __post_init__(self) -> None:
        for name in ("n_shown", "steps", "batch_size"):
            check_count(name, getattr(self, name))

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Train and score.

        Returns
        -------
        dict
            ``blocks``: one record per block: ``block``; ``explained``, the explained variance
            R^2 of unseen patches; ``lost``, 1 - R^2; ``probe``, average precision of the mask,
            None where no pixel is salt. ``decoded.safetensors`` holds the decoded images (n, 1,
            H, W) of the shown patches by block.
        """
        seed = self.network.seed
        train, test = self.patches.train(seed), self.patches.test(seed)
        shown = pick_patches(self.network.patches.test(seed), n_patches=self.n_shown)
        model = load_network(parents["network"], "32-true")
        parts = [_read_features(model, part) for part in (train, test, shown)]
        how: dict[str, Any] = {"steps": self.steps, "batch_size": self.batch_size, "seed": seed}
        records, decoded = [], {}
        for block, reduction, fitted, unseen, kept in zip(BLOCKS, REDUCTIONS, *parts, strict=True):
            decode = fit_readout(
                Decoder, fitted, _images(train), F.mse_loss, reduction=reduction, **how
            )
            probe = fit_readout(
                Probe,
                fitted,
                _masks(train),
                F.binary_cross_entropy_with_logits,
                reduction=reduction,
                **how,
            )
            explained = explained_variance(decode(unseen), _images(test))
            precision = _average_precision(probe(unseen), _masks(test))
            lost = 1 - explained
            records.append(
                {"block": block, "explained": explained, "lost": lost, "probe": precision}
            )
            decoded[block] = decode(kept)
        save_tensors(folder / "decoded.safetensors", decoded)
        data = {"training": train.content_hash, "test": test.content_hash}
        return {"blocks": records, "data": data}


@torch.no_grad()
def _read_features(model: SaltClassifier, patches: LabelledPatches) -> list[Tensor]:
    """Outputs (n, C, h, w) of the four blocks."""
    batches = [model.features(batch) for batch in torch.split(_images(patches), CHUNK)]
    return [torch.cat(block) for block in zip(*batches, strict=True)]


def _images(patches: LabelledPatches) -> Tensor:
    return patches.tensors().to(pick_device())


def _masks(patches: LabelledPatches) -> Tensor:
    if patches.masks is None:
        raise ValueError("Invalid patches without masks. Must have masks.")
    return torch.from_numpy(patches.masks)[:, None].to(pick_device(), torch.float32)


def _average_precision(logits: Tensor, masks: Tensor) -> float | None:
    """Average precision over all pixels."""
    # Slow to import: it brings all of torchvision along.
    from torchmetrics.functional.classification import binary_average_precision

    if not masks.any():
        return None
    return float(binary_average_precision(logits.flatten().sigmoid(), masks.flatten().long()))
