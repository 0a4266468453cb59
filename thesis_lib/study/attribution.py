"""Attribution: where a classifier sees its evidence for salt, and which part of a patch decides."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saltvolumes._checks import check_count
from thesis_lib.study.classification import Classify
from thesis_lib.study.judging import load_network
from thesis_lib.study.tables import tabulate
from thesis_lib.study.tasks import Outcome, Parents, Task, save_tensors
from thesis_lib.training import predict_patches
from thesis_lib.xai.cam import (
    Cam,
    cam,
    find_regions,
    measure_drops,
    randomize_cascade,
    replace_regions,
    split_evidence,
)

FRACTIONS = (0.1, 0.9)  # of salt in a patch that is explained: a boundary needs both sides
MAX_SILENT = 0.5  # fraction of patches without evidence beyond which the others say little
N_CASCADE = 16  # patches whose maps are followed as weights are shuffled


@dataclass(frozen=True)
class Explain(Task):
    """
    Explain what a classifier takes for salt: by its activation maps, and by a cause.

    Parameters
    ----------
    network : Classify
        Classifier of background and salt, whose unseen patches with both are explained.
    n_patches : int
        Patches at most; all networks of one seed explain the same.
    width_px : int
        Pixels of the band on each side of the boundary of salt.
    n_fills : int
        Unseen patches without salt that take turns in replacing a part of a patch; where there
        are fewer, those of background with the least.
    n_shown : int
        Patches whose maps are kept.

    Raises
    ------
    TypeError, ValueError
        If a number is not a whole one above 0; on computing, if masks are not known, no unseen
        patch has salt and background, or fewer than ``n_fills`` are background.
    """

    network: Classify
    n_patches: int = 128
    width_px: int = 3
    n_fills: int = 3
    n_shown: int = 4
    title_format = "Explain, {0.network.initialisation}, seed {0.network.seed}"

    def __post_init__(self) -> None:
        for name in ("n_patches", "width_px", "n_fills", "n_shown"):
            check_count(name, getattr(self, name))

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Measure evidence and effects.

        Returns
        -------
        dict
            - ``evidence``: one record per ``map`` (``"all"`` blocks, ``"block1"``...), mean over
              patches: fraction of the positive evidence for salt against background in the
              ``band``, the ``interior`` and the ``exterior``; ``band_area``, the band's fraction
              of the patch, and ``band_excess``, by how much the first exceeds it; ``n_silent``,
              patches without any such evidence. Where these are more than half, all is None.
            - ``effects``: one record per ``region``: ``drop`` of the difference of the logits,
              salt minus background, as it is replaced, mean over fills and patches, in standard
              deviations of that difference over all unseen patches. Interior and exterior are as
              large as the band.
            - ``cascade``: one record per ``part`` of the network down to which weights are
              shuffled: mean ``correlation`` of the maps with the intact ones.
            - ``n_patches``; ``n_compared``, those whose interior and exterior are large enough;
              ``fill_salt``, the largest fraction of salt in what replaces them.

            ``shown.safetensors`` holds ``patches``, ``masks`` and ``maps`` (n_shown, 1, H, W), and
            the first compared patch with each region ``replaced`` (3, 1, H, W).
        """
        data = self.network.patches.test(self.network.seed)
        if data.fractions is None:
            raise ValueError("Invalid network: masks of its patches are not known. Must be.")
        salt = data.classes.index("salt")
        rows, others = self._pick(data.fractions, data.labels == salt)
        every, all_masks = data.tensors(), torch.from_numpy(data.masks)[:, None]
        patches, masks, fills = every[rows], all_masks[rows], every[others]
        model = load_network(parents["network"], "32-true")

        def decide(images: Tensor) -> Tensor:
            logits = predict_patches(model, images, precision="32-true").double()
            return logits[:, salt] - logits[:, 1 - salt]

        found = cam(model, patches, salt, against=1 - salt)
        regions = find_regions(masks, width_px=self.width_px)
        sizes = torch.stack([region.sum(dim=(1, 2, 3)) for region in regions.values()])
        compared = (sizes == sizes[0]).all(dim=0)
        kept = {name: region[compared] for name, region in regions.items()}
        drops = dict.fromkeys(regions, torch.full((1,), torch.nan))
        if compared.any():
            drops = measure_drops(decide, patches[compared], kept, fills[:, compared])
        spread = decide(every).std()
        cascade = randomize_cascade(
            model, patches[:N_CASCADE], salt, against=1 - salt, seed=self.network.seed
        )
        shown = compared.logical_not().sort(stable=True).indices[: self.n_shown]
        tensors = {"patches": patches, "masks": masks, "maps": found.maps.cpu()}
        tensors = {name: values[shown] for name, values in tensors.items()}
        first = (patches[compared][:1], fills[0, compared][:1])
        changed = [replace_regions(first[0], region[:1], first[1]) for region in kept.values()]
        save_tensors(folder / "shown.safetensors", tensors | {"replaced": torch.cat(changed)})
        return {
            "evidence": _measure_evidence(found, masks, self.width_px),
            "effects": [
                {"region": name, "drop": (drop.mean() / spread).item()}
                for name, drop in drops.items()
            ],
            "cascade": [
                {"part": part, "correlation": values.mean().item()}
                for part, values in cascade.items()
            ],
            "n_patches": len(patches),
            "n_compared": compared.sum().item(),
            "fill_salt": data.fractions[others].max(),
            "data": {"test": data.content_hash},
        }

    def _pick(
        self, fractions: NDArray[np.float64], is_salt: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of patches with salt and background (n,), and of what replaces them (n_fills, n)."""
        low, high = FRACTIONS
        mixed = np.flatnonzero((fractions > low) & (fractions < high))
        background = np.flatnonzero(~is_salt)
        check_count("number of unseen patches with salt and background", len(mixed))
        check_count("number of unseen patches of background", len(background), low=self.n_fills)
        clean = background[fractions[background].argsort(kind="stable")]
        clean = clean[: max(self.n_fills, np.count_nonzero(fractions == 0))]
        rng = np.random.default_rng(self.network.seed)
        rows = rng.permutation(mixed)[: self.n_patches]
        return rows, np.stack([rng.permutation(clean)[: self.n_fills] for _ in rows], axis=1)


def _measure_evidence(found: Cam, masks: Tensor, width_px: int) -> list[dict[str, Any]]:
    """Where the positive values of each map lie, mean over the patches that have some."""
    size = tuple(masks.shape[2:])
    large = [F.interpolate(block, size=size, mode="bilinear") for block in found.blocks]
    maps = {"all": found.maps} | {f"block{k}": block for k, block in enumerate(large, start=1)}
    area = split_evidence(torch.ones_like(found.maps), masks, width_px=width_px)["band"]
    records = []
    for name, values in maps.items():
        parts = split_evidence(values, masks, width_px=width_px)
        parts |= {"band_area": area, "band_excess": parts["band"] - area}
        silent = parts["band"].isnan()
        means = {part: fractions.nanmean().item() for part, fractions in parts.items()}
        if silent.double().mean() > MAX_SILENT:
            means = dict.fromkeys(means, math.nan)
        records.append({"map": name, "n_silent": silent.sum().item(), **means})
    return records


def tabulate_attribution(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """
    Lay out what decides the claims about attribution.

    Returns
    -------
    DataFrame
        One row per ``entry`` and ``seed``: ``band_excess`` of all blocks for an initialisation,
        ``drop`` for an initialisation and a region ("segmentation band").
    """
    outcomes = list(outcomes)
    columns = {"entry": "network.initialisation", "seed": "network.seed"}
    evidence = tabulate(outcomes, rows="evidence", **columns)
    effects = tabulate(outcomes, rows="effects", **columns)
    effects["entry"] += " " + effects["region"]
    scores = pd.concat([evidence[evidence["map"] == "all"], effects], ignore_index=True)
    return scores[["entry", "seed", "band_excess", "drop"]]
