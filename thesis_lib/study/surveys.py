"""From one's own volume and mask to a network, and from a network to a mask: what users type."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr
from safetensors.torch import save
from torch import nn

from saltvolumes import open_volume, save_volume
from saltvolumes._checks import check_choice, check_output
from saltvolumes.saving import WRITTEN_ENDINGS
from thesis_lib._json import to_plain
from thesis_lib._sources import hash_sources
from thesis_lib.model import SaltUNet
from thesis_lib.patches import Survey
from thesis_lib.patching import find_axes, section_dims
from thesis_lib.study.robust import ELSEWHERE, ROUGH, STATISTICS, TrainRobust, list_views
from thesis_lib.study.running import run_all
from thesis_lib.study.saltnet import N_STATISTICS, draw_patches
from thesis_lib.study.segmentation import (
    THRESHOLD,
    Score,
    Train,
    load_model,
    predict,
    score_prediction,
)
from thesis_lib.study.tasks import Outcome, read_task
from thesis_lib.study.workers import open_workers
from thesis_lib.training import SlabStore, TrainConfig, Zoomed, mix_statistics

logger = logging.getLogger(__name__)

SEGY_ENDINGS = (".sgy", ".segy")
VARIABLES = ("salt", "probability", "disagreement")
LAYOUT = ("iline_byte", "xline_byte", "single_line", "sample_format")  # of SEG-Y, to write as read


def train(
    path: Path,
    root: Path,
    *,
    reading: Mapping[str, Any],
    loss: str = "dice",
    seed: int = 0,
    epochs: int = 8,
    n_patches: int = 1024,
    patch: int = 64,
    split_axis: str = "crossline",
    test_lines: Sequence[int] = (),
    velocity_m_s: float | None = None,
    encoder: str = Train.encoder,
    robust: bool = False,
) -> tuple[Path, dict[str, float | None]]:
    """
    Train a network on a part of a volume, and score it on the rest.

    Parameters
    ----------
    path, root : Path
        The volume, and the folder of all runs.
    reading : mapping of str to object
        Arguments of :func:`saltvolumes.open_volume`, with the mask.
    loss, seed, epochs, n_patches, patch
        As in :class:`~thesis_lib.study.Train`; patches are square, overlap by half, and are cut in
        the directions in which they fit.
    split_axis, test_lines
        As in :class:`~thesis_lib.patches.Survey`; a patch's width is left out next to held-out
        lines.
    velocity_m_s
        As in :class:`~thesis_lib.study.Score`.
    encoder : str
        As in :class:`~thesis_lib.study.Train`.
    robust : bool
        Whether patches are changed as surveys differ, for a network that is to serve elsewhere.

    Returns
    -------
    tuple of (Path, dict)
        Folder of the network, and its scores: those of `Score`, of a robust one predicted as
        `segment` does: mean over the parts of the volume that are scored, None where unknown.

    Raises
    ------
    ValueError, OSError
        If an argument is not allowed, or the file is not what it should be.
    """
    survey = Survey(str(path), reading, split_axis, tuple(test_lines), guard_lines=patch)
    kind = partial(TrainRobust, changes=ELSEWHERE, augmentation=ROUGH) if robust else Train
    network = kind(
        seed,
        loss,
        survey,
        TrainConfig(epochs=epochs),
        patch=(patch, patch),
        stride=(patch // 2, patch // 2),
        axes=find_axes((*survey.train(seed), *survey.test()), (patch, patch)),
        n_patches=n_patches,
        encoder=encoder,
    )
    if not robust:
        (scored,) = run_all([Score(network, velocity_m_s=velocity_m_s)], root=root)
        return scored.parents["network"].folder, dict(scored.scores)
    (trained,) = run_all([network], root=root)
    model = load_model(trained)
    each = []
    for part in survey.test():
        ways = list_views(model, network)
        _move_statistics(model, ways, part)
        found = _blend([predict(way, part, task) for way, task in ways])
        each.append(score_prediction(found, part, velocity_m_s, Score.tolerance_m))
    means = pd.DataFrame(each).astype(float).mean(skipna=False)
    return trained.folder, {str(name): to_plain(value) for name, value in means.items()}


def read_network(path: Path) -> tuple[SaltUNet, Train]:
    """
    Read a trained segmentation network.

    Parameters
    ----------
    path : Path
        Folder of a training, ``runs/KEY``, or a ``.safetensors`` file next to its ``config.json``.

    Returns
    -------
    tuple of (SaltUNet, Train)
        On the CPU, with the task that trained it.

    Raises
    ------
    ValueError
        If there is no such network, or its files are damaged or of another version.
    """
    weights = path if path.suffix == ".safetensors" else path / "weights.safetensors"
    task = read_task(weights.parent)
    if not isinstance(task, Train):
        raise ValueError(f"Invalid network {path}: {type(task).__name__}. Must be a Train.")
    outcome = Outcome(task, weights.parent, {}, computed=False, seconds=0.0)
    try:
        model = load_model(outcome, weights.stem)
    except RuntimeError as error:  # many lines of names and shapes
        raise ValueError(
            f"Invalid network {path}: its weights do not fit its settings. Must be of this version "
            "of the library; train it again."
        ) from error
    if not all(values.isfinite().all() for values in model.state_dict().values()):
        raise ValueError(f"Invalid network {path}: weights that are not finite. Train it again.")
    return model, task


def segment(
    path: Path,
    output: Path,
    network: Path,
    *,
    reading: Mapping[str, Any],
    ensemble: Sequence[Path] = (),
    zooms: Sequence[float] = (),
    variable: str = "salt",
    velocity_m_s: float | None = None,
    force: bool = False,
) -> dict[str, float | None]:
    """
    Write the salt that a network, or several, see in a volume, which may be larger than memory.

    Probabilities are kept in ``.OUTPUT.slabs`` next to the output until this is complete: called
    again after a kill, it goes on with what is not there yet. Where the environment variable
    ``THESIS_SCHEDULER`` names a cluster, its workers share the work.

    Networks that were trained for other surveys see the sections at several sizes, and their
    statistics of batch normalisation move half-way to those of the volume.

    Parameters
    ----------
    path, output : Path
        The volume, and what is written: .sgy, .nc or .zarr. SEG-Y from SEG-Y keeps all headers.
    network : Path
        As for `read_network`.
    reading : mapping of str to object
        Arguments of :func:`saltvolumes.open_volume`. With a mask the salt is scored against it.
    ensemble : sequence of Path
        More networks: the probability is the mean of what all predict, and ``disagreement`` their
        standard deviation, which marks where to look.
    zooms : sequence of float
        Sizes at which sections are predicted, as in :class:`~thesis_lib.training.Zoomed`; by
        default several for networks that were trained for other surveys, and 1 for any other.
    variable : {"salt", "probability", "disagreement"}
        What SEG-Y gets: the mask, 0 and 1, or numbers in [0, 1]. Other formats hold all of them.
        Without an ensemble, ``disagreement`` is the difference between two directions (of several
        sizes, their mean).
    velocity_m_s : float or None
        As in :class:`~thesis_lib.study.Score`.
    force : bool
        Whether a file ``output`` that is there may be replaced.

    Returns
    -------
    dict
        ``salt_fraction`` of the samples, and the fields of :class:`~thesis_lib.metrics.Scores`
        where the volume has a mask.

    Raises
    ------
    ValueError, OSError
        If a file is not what it should be, or ``output`` cannot be written.
    """
    inputs = (path, network, *_list_files(reading.get("mask")))
    check_output("output", output, endings=WRITTEN_ENDINGS, inputs=inputs, force=force)
    check_choice("variable", variable, VARIABLES)
    networks = [read_network(each) for each in (network, *ensemble)]
    if variable == "disagreement" and len(networks) == len(networks[0][1].axes) == 1:
        raise ValueError("Invalid variable 'disagreement' of one direction. Must have an ensemble.")
    volume = open_volume(path, **reading)
    stores: list[SlabStore] = []
    found: list[xr.Dataset] = []
    with open_workers(1) as client:  # or those of a cluster
        for network_of, trained in networks:
            ways = list_views(network_of, trained, zooms)
            if isinstance(trained, TrainRobust):
                _move_statistics(network_of, ways, volume)
            views = []
            for model, task in ways:
                model.to("cuda" if torch.cuda.is_available() else "cpu")
                name = f".{output.name}{len(stores) or ''}.slabs"
                stores.append(SlabStore(output.with_name(name), _identify(volume, model)))
                options = {"progress": True, "store": stores[-1], "client": client}
                views.append(predict(model, volume, task, **options))
            found.append(_blend(views))
    predicted = found[0] if len(found) == 1 else _average(found)
    if variable not in {"salt", *predicted}:
        raise ValueError("Invalid variable 'disagreement' of one direction. Must have an ensemble.")
    salt = predicted["probability"] > THRESHOLD
    # In SEG-Y the mask is a number that is NaN where a trace is missing, as the amplitudes are.
    known = predicted["probability"].notnull()
    is_segy = output.suffix.lower() in SEGY_ENDINGS
    result = predicted.assign(salt=salt.where(known).astype("float32") if is_segy else salt)
    like = path if is_segy and path.suffix.lower() in SEGY_ENDINGS else None
    layout = {name: reading[name] for name in LAYOUT if name in reading}
    save_volume(result, output, variable=variable, like=like, **(layout if is_segy else {}))
    scores: dict[str, float | None] = {"salt_fraction": float(salt.sum() / known.sum())}
    if "salt" in volume:
        scores |= score_prediction(predicted, volume, velocity_m_s, Score.tolerance_m)
    for store in stores:
        store.remove()
    return scores


def _average(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Mean and standard deviation of probabilities, lazy where these are."""
    each = xr.concat([one["probability"] for one in found], "network")
    mean, spread = each.mean("network"), each.std("network")
    mean.attrs = found[0]["probability"].attrs
    spread.attrs = {"long_name": "standard deviation over networks", "units": "1"}
    return xr.Dataset({"probability": mean, "disagreement": spread})


def _blend(views: Sequence[xr.Dataset]) -> xr.Dataset:
    """What one network predicts at several sizes, as one prediction."""
    if len(views) == 1:
        return views[0]
    mean: xr.Dataset = xr.concat(views, "view").mean("view", skipna=False, keep_attrs=True)
    return mean


def _move_statistics(
    network: nn.Module, ways: Sequence[tuple[nn.Module, Train]], volume: xr.Dataset
) -> None:
    """
    Move statistics of batch normalisation half-way to those of a survey, whose mask is not needed.

    Missing samples are zeros, as they are to a network that predicts. Patches are drawn in all
    directions in which they fit; where none fits, the statistics stay and that is logged.
    """
    plain = xr.Dataset({"amplitude": volume["amplitude"].fillna(0.0)}, attrs=volume.attrs)
    plain = plain.assign(salt=xr.zeros_like(plain["amplitude"], dtype=bool))
    patches = []
    for model, task in ways:
        for axis in task.axes:
            sizes = [volume.sizes[dim] for dim in section_dims(volume, axis)[1:]]
            if all(size >= length for size, length in zip(sizes, task.patch, strict=True)):
                drawn = draw_patches(plain, task, axis, N_STATISTICS)
                patches.append(model.resize(drawn) if isinstance(model, Zoomed) else drawn)
    if not patches:
        logger.warning("Sections smaller than a patch: statistics stay those of the training.")
        return
    mix_statistics(network, torch.cat(patches), weight=STATISTICS)


def _identify(volume: xr.Dataset, model: nn.Module) -> str:
    """What a prediction depends on: content of the volume, code, weights and zoom."""
    weights = {name: values.contiguous() for name, values in model.state_dict().items()}
    zoom = model.zoom if isinstance(model, Zoomed) else None
    recipe = f"{volume.attrs['content_hash']} {hash_sources(Train)} {zoom}"
    return hashlib.sha256(recipe.encode() + save(weights)).hexdigest()


def _list_files(mask: Any) -> list[Path]:
    """Files that a mask of `open_volume` names: one, or pairs of horizons."""
    if isinstance(mask, list | tuple):
        return [path for part in mask for path in _list_files(part)]
    return [Path(mask)] if isinstance(mask, str | Path) else []
