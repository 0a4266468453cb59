# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How does a seismic volume become something a network can learn from?
#
# **In short.** The volume of this page holds {glue:text}`n_sections` sections, and
# {glue:text}`salt_share` of its samples are salt. Its inlines, cut into overlapping patches, give
# {glue:text}`n_patches` of them, each brought to zero mean and unit spread. Stitching the patches
# back together returns the volume with an error of {glue:text}`round_trip_error`, relative to the
# largest amplitude, so whatever a network gets wrong later, the cutting is not to blame. For the
# chapters on explanation a patch is called *salt* when more than {glue:text}`threshold` of it is
# salt: that makes {glue:text}`salt_patch_share` of the patches. The earth comes in
# {glue:text}`n_presets` kinds, which {numref}`tab-distances` compares with {glue:text}`real_name`,
# statistic by statistic. A network trained on such earths alone ({glue:text}`budget`) reaches a mean
# Dice score of {glue:text}`transfer_dice` on {glue:text}`scored_on`; on the crosslines of F3 the
# study that the book stores reached {glue:text}`stored_dice`.

# %% tags=["parameters"]
data: str = "gulf"  # preset of the synthetic earth, or path of a volume
seed: int = 0  # of the synthetic earth
shape: list[int] = [48, 64, 64]  # earth: (n_inline, n_crossline, n_depth)
reading: dict = {}  # arguments of data.open_volume for a file, by name
patch: int = 32  # height and width of a patch, in samples
stride: int = 16  # step between patches, in samples
label_threshold: float = 0.2  # share of salt above which a patch is salt
real: str | None = None  # a file to compare with, in place of the stored one
real_reading: dict = {}  # arguments of data.open_volume for it
reference: str = "book/reference/f3"  # what a run with real has stored
section_axis: str = "crossline"  # sections compared: at fixed ones
n_sections: int = 8  # of each volume, at most
n_earths: int = 1  # of each preset that statistics are taken of
train_on: dict = {"gulf": [20.0]}  # presets, each with depth spacings (m)
train_volumes: int = 1  # earths per seed, of these presets in turn
train_shape: list[int] = [48, 64, 64]  # of each of them
train_axes: list[str] = ["inline", "crossline"]  # sections that are cut
train_seeds: list[int] = [0]  # a network each
train_epochs: int = 1  # rounds
train_patches: int = 128  # patches per round
augmentation: dict = {}  # fields of data.Augmentation that differ
transfer_to: str = "north_sea"  # preset to score on, unless real has a mask
ablations: str | list[str] = ["mirrored patches"]  # of ABLATIONS, or "all"
precision: str = "32-true"  # "auto": bf16 where hardware is good at it
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/01_preprocessing"  # where results go

# %%
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from myst_nb import glue

from thesis_lib import chapters, plotting, study
from thesis_lib.data import salt_labels
from thesis_lib.patching import PatchGrid, Stitcher, zscore
from thesis_lib.study import StudyData, open_source
from thesis_lib.synthetic import PRESETS
from thesis_lib.training import TrainConfig

results = chapters.open_results("01_preprocessing", globals())

# %% [markdown]
# ## The road from volume to score
#
# The thesis cuts every section into patches, normalises them, trains on some volumes and, for
# unseen ones, stitches the predicted patches into a volume that is scored in three dimensions.
# {numref}`fig-pipeline` draws that road; the coloured part is what the study varies.

# %% mystnb={"figure": {"name": "fig-pipeline", "caption": "The segmentation pipeline, after Figure 1 of the thesis. Coloured: what training and scoring are made of."}, "image": {"alt": "Flow chart: volume, patch extraction and normalisation lead to training and then to testing on unseen patches, stitching and scoring in three dimensions."}}
fig = plotting.plot_pipeline()
# %% [markdown]
# ## The volume
#
# A volume is an `xarray.Dataset` with the axes inline, crossline and depth (or two-way time), the
# migrated amplitude and, where it is known, the salt mask. Unless the parameter `data` names a
# file, it is a synthetic earth: layered, folded and faulted sediments below water, pierced by salt
# at a constant velocity, and turned into a migrated image by a point-spread function, weaker
# illumination below salt and noise. The mask is the salt body itself, without any interpretation.

# %%
source = StudyData(source=data, shape=tuple(shape), reading=reading)
volume = open_source(source, earth=seed)
volume.sizes

# %% tags=["nbval-ignore-output"]
volume

# %% mystnb={"figure": {"name": "fig-volume", "caption": "Three orthogonal slices of the volume with the outline of the salt: the sections with the most of it (the middle ones where no mask is known) and the middle level."}, "image": {"alt": "Three grey seismic slices, two vertical and one horizontal: layered reflections around a body with a bright top and a nearly transparent interior, outlined in orange."}}
inline, crossline = (
    study.richest_section(volume, axis)[axis].item()
    for axis in ("inline", "crossline")
)
samples = volume[volume["amplitude"].dims[-1]].values
level = samples[samples.size // 2]
fig = plotting.plot_volume(
    volume, inline=inline, crossline=crossline, vertical=level
)
# %% [markdown]
# The network never sees the volume, only **sections**: planes of one inline or one crossline, with
# depth downward.

# %% mystnb={"figure": {"name": "fig-section", "caption": "The section with the most salt among the inlines, the middle one where no mask is known."}, "image": {"alt": "One vertical section in grey with the salt outlined in orange."}}
amplitude = volume["amplitude"].sel(inline=inline).transpose(..., "crossline")
has_mask = "salt" in volume
truth = (
    volume["salt"].sel(inline=inline).transpose(..., "crossline")
    if has_mask
    else None
)
fig = plotting.plot_section(amplitude, salt=truth, title=f"Inline {inline}")
# %% [markdown]
# ## Kinds of earth
#
# A **preset** says what kind of earth is made: water or not, which kinds of salt, how the layers
# lie, what the survey recorded and what the image lost. The seed decides about everything else.

# %% mystnb={"figure": {"name": "fig-presets", "caption": "The section with the most salt of one earth of every preset, after that of a real volume where the page was run with one."}, "image": {"alt": "Grey vertical sections side by side, one for each preset, with the salt outlined in orange: their salt bodies, layers and noise differ."}}
earths = {
    name: [
        open_source(StudyData(source=name, shape=tuple(shape)), earth=number)
        for number in range(seed, seed + n_earths)
    ]
    for name in PRESETS
}
beside = {}
if real:  # a file, never a preset: hence its whole path
    path = Path(real).resolve()
    real_source = StudyData(source=str(path), reading=real_reading)
    beside = {path.name: open_source(real_source)}
elif real_reading:
    raise ValueError("Invalid real_reading without real. Must be empty.")
gallery = {
    name: study.richest_section(part, section_axis)
    for name, part in beside.items()
} | {
    name: study.richest_section(parts[0], "inline")
    for name, parts in earths.items()
}
fig = plotting.plot_gallery(gallery)
# %% [markdown]
# ## How real do they look?
#
# What a network sees can be measured without any mask: how amplitudes are distributed, how their
# power is spread over frequencies along both axes, how layers dip and how planar they are, how
# alike neighbouring traces are, and how fast the energy changes along a line. All of it is taken
# from sections of mean 0 and standard deviation 1, in samples rather than metres or milliseconds,
# because that is how the network sees them.
#
# The measure is a real volume: the file that `real` names, or else what is stored of the F3 block
# (offshore Netherlands; the survey is under CC BY-SA 3.0, its crosslines and labels are those of
# the OLIVES data). Only statistics of it are kept in the book, no picture.
#
# {glue:text}`origin`

# %%
stored = chapters.project_root() / reference
has_stored = (stored / "statistics.nc").is_file()
real_name, measured = None, None
if real:
    (real_name,) = beside
    measured = study.section_statistics(
        beside[real_name], axes=(section_axis,), n_sections=n_sections
    )
    measured.to_netcdf(results / "statistics.nc", engine="h5netcdf")
elif has_stored:
    real_name = "F3"
    measured = xr.load_dataset(stored / "statistics.nc", engine="h5netcdf")

# %%
described = {
    name: xr.concat(
        [
            study.section_statistics(
                earth, axes=("inline",), n_sections=n_sections
            )
            for earth in parts
        ],
        "section",
        combine_attrs="drop_conflicts",
    )
    for name, parts in earths.items()
}
compared = ({} if measured is None else {real_name: measured}) | described
study.summarise_statistics(compared).T.round(3)

# %% mystnb={"figure": {"name": "fig-statistics", "caption": "Statistics of sections of every preset and, dark, of the real volume where one is known: means over sections, the range of the real ones shaded. What lies beyond an axis of amplitudes or energies counts in its last step."}, "image": {"alt": "Eight small diagrams, one for each statistic, with a line for every volume: amplitudes, two spectra, dip, planarity, coherence of neighbours and over distance, change of energy."}}
fig = plotting.plot_statistics(compared, reference=real_name)
# %% [markdown]
# {numref}`tab-distances` says each difference in one number. The measure of these numbers is the
# distance between two halves of the real sections, every other one, where there are several: what
# lies below it cannot be told from the difference between lines of one survey. Where no real volume
# is known, the first preset stands in its place.

# %%
yardstick = next(iter(described.values())) if measured is None else measured
distances = study.compare_all(described, yardstick)
table = distances.rename(columns=study.DISTANCES).T.rename_axis("Statistic")
table.round(3).to_csv(results / "distances.csv")

# %% [markdown]
# ```{csv-table} Distance of every preset to the sections of the real volume (or, without one, of the first preset): Wasserstein's distance of the distributions, the root mean square difference of spectra and of the coherence over distance.
# :file: ../results/01_preprocessing/distances.csv
# :header-rows: 1
# :name: tab-distances
# ```
#
# ## Patches
#
# A section is too large to train on. A grid of windows of $P \times P$ samples, $S$ samples apart,
# covers it; the last window of each axis is flush with the end, so that no sample is lost and none
# is invented. Along an axis of $L$ samples that makes
#
# $$n = 1 + \left\lceil \frac{L - P}{S} \right\rceil$$
#
# windows. The library's grid has to agree with this count.

# %%
grid = PatchGrid(amplitude.shape, (patch, patch), (stride, stride))
expected = [1 + -(-(length - patch) // stride) for length in amplitude.shape]
assert [len(starts) for starts in grid.starts] == expected
grid.starts

# %% [markdown]
# Patches that touch a missing trace are left out, of training as of this page.

# %%
views = [view for _, view in grid.extract(amplitude.values)]
complete = [view for view in views if np.isfinite(view).all()]
if not complete:
    raise ValueError(
        f"Invalid patch {patch}: each touches a missing trace of inline "
        f"{inline}. Must be smaller."
    )
patches = np.stack(complete)
patches.shape

# %% [markdown]
# ## Z-score
#
# Each patch loses its mean and is divided by its own standard deviation,
#
# $$z = \frac{x - \bar{x}}{\sigma_x},$$
#
# so that deep, dim parts of the image count as much as shallow, bright ones. A patch without any
# variation, water for instance, becomes zeros rather than amplified rounding errors.

# %%
normalised = zscore(patches)
spread = patches.std(axis=(1, 2))
varied = spread > 1e-6 * np.abs(patches).max(axis=(1, 2))
by_hand = (patches - patches.mean(axis=(1, 2), keepdims=True))[varied] / spread[
    varied, None, None
]
float(np.abs(normalised[varied] - by_hand).max()) < 1e-4, int((~varied).sum())

# %% mystnb={"figure": {"name": "fig-patches", "caption": "Twelve normalised patches of the section, evenly spaced, with the outline and the share of the salt where it is known."}, "image": {"alt": "A grid of twelve small grey patches; some cross the edge of the salt, which is outlined in orange."}}
masks = None
if has_mask:
    windows = [
        window
        for window, view in grid.extract(amplitude.values)
        if np.isfinite(view).all()
    ]
    masks = np.stack([truth.values[window] for window in windows])
shown = np.linspace(0, len(patches) - 1, 12).astype(int)
fig = plotting.plot_patches(
    normalised[shown], None if masks is None else masks[shown]
)
# %% [markdown]
# ## Stitching
#
# At test time the patches overlap, and every sample is a weighted mean of the patches that cover
# it. With weights $w_k > 0$ and values $v_k$,
#
# $$y(i) = \frac{\sum_k w_k(i)\, v_k(i)}{\sum_k w_k(i)}.$$
#
# If the values are the patches themselves, $y$ has to be the section again, whatever the weights.

# %%
filled = np.nan_to_num(amplitude.values)
errors = {}
for window_name in ("flat", "hann", "gauss"):
    stitcher = Stitcher(grid, window=window_name)
    for window, view in grid.extract(filled):
        stitcher.add(window, view)
    errors[window_name] = float(
        np.abs(stitcher.merge() - filled).max() / np.abs(filled).max()
    )
round_trip = pd.Series(
    errors, name="largest error, relative to the largest amplitude"
)
round_trip.to_csv(results / "round_trip.csv")
assert round_trip.max() < 1e-6
round_trip < 1e-6

# %% mystnb={"figure": {"name": "fig-round-trip", "caption": "The section, the same section after extraction and stitching, and their difference."}, "image": {"alt": "Two identical grey sections and a blank difference."}}
restored = amplitude.copy(data=stitcher.merge()).where(amplitude.notnull())
fig = plotting.plot_round_trip(amplitude, restored)
# %% [markdown]
# ## Labels for the classifiers
#
# The chapters on explanation need classes, not masks. The thesis calls a patch salt when more than
# a fifth of it is salt. There is no gap between the classes, so patches near the threshold are
# ambiguous: {numref}`fig-shares` shows how many there are.

# %%
ordered = volume.transpose("inline", ..., "crossline")
windows = [
    (line, window)
    for line, section in enumerate(ordered["amplitude"].values)
    for window, view in grid.extract(section)
    if np.isfinite(view).all()
]
if has_mask:
    salt = ordered["salt"].values
    salt_patches = np.stack([salt[line][window] for line, window in windows])
    labels = salt_labels(salt_patches, threshold=label_threshold)

# %% mystnb={"figure": {"name": "fig-shares", "caption": "Share of salt in the patches of all inlines, and the threshold that makes classes of them."}, "image": {"alt": "Histogram of the share of salt per patch: most patches have none, the rest spread between none and all, with the threshold as a vertical line."}}
if has_mask:
    shares = salt_patches.mean(axis=(1, 2))
    fig = plotting.plot_label_shares(shares, label_threshold)

# %% [markdown]
# ## Does the earth teach anything about another volume?
#
# Looking alike is not enough: the question is whether a network that has seen synthetic earths
# alone finds salt elsewhere. It is trained on the presets of `train_on`, never on the target, and
# scored by the Dice score of each of the target's sections with salt, and by their mean. The target
# is the real volume where one is given with a mask, or else an unseen earth of another preset. An
# **ablation** trains once more with one thing left out of the earths or of the augmentation; what
# that costs is what the thing contributes.

# %%
has_truth = bool(real) and "salt" in beside[real_name]
left_out = [ablations] if isinstance(ablations, str) else ablations
config = study.SegmentationConfig(
    loss="bce_dice",
    train=TrainConfig(epochs=train_epochs, precision=precision),
    patch=(patch, patch),
    stride=(stride, stride),
    axes=tuple(train_axes),
    n_patches=train_patches,
    augmentation=study.read_augmentation(augmentation),
)
transfer = study.TransferStudy(
    earths=train_on,
    target=real_source
    if has_truth
    else StudyData(source=transfer_to, shape=tuple(shape)),
    config=config,
    n_volumes=train_volumes,
    shape=tuple(train_shape),
    axis=section_axis if has_truth else "inline",
    n_sections=n_sections,
    ablations=tuple(study.ABLATIONS if left_out == ["all"] else left_out),
    seeds=tuple(train_seeds),
)

# %% tags=["nbval-ignore-output"]
runs = study.run_transfer(transfer, root=chapters.project_root() / runs_dir)

# %% tags=["training"] mystnb={"figure": {"name": "fig-transfer", "caption": "A section of the target with its true salt (solid) and what the full network and the first ablation predict (dashed), first seed."}, "image": {"alt": "The same grey section once with the true outline of the salt and again for each network, with the outline that it predicts dashed."}}
target = study.open_target(transfer)
section = study.richest_section(target, transfer.axis)
line = {transfer.axis: section[transfer.axis].item()}
fig = plotting.plot_predictions(
    section["amplitude"] - section["amplitude"].mean(),
    section["salt"],
    {
        f"left out: {run.left_out}": study.load_prediction(run)
        .sel(line)
        .transpose(*section["salt"].dims)
        for run in runs[:2]
    },
)
# %% [markdown]
# {numref}`tab-transfer` is what this page computed: {glue:text}`n_networks`, each trained on
# {glue:text}`budget` of {glue:text}`trained_on` and scored on {glue:text}`scored_on`. With so
# little training it shows that the study runs, not what an earth is worth, unless the banner on top
# says otherwise.
#
# The study on the crosslines of F3 takes too long for that and is stored. No training saw them; their
# statistics guided the presets, their masks did not: they were scored when the earth was final.
# Networks of the whole budget reached {glue:text}`stored_dice`.
# {glue:text}`origin`
#
# {numref}`tab-transfer-stored` leaves out one thing at a time, at a smaller budget.
# {glue:text}`ablations_origin`

# %%
scores = study.collect_transfer(
    (run.left_out, run.seed, run.outcome.scores) for run in runs
)
scores.to_csv(results / "transfer.csv", index=False)
without = stored.with_name(f"{stored.name}_ablations")
whole, kept = (
    pd.read_csv(folder / "transfer.csv")
    if (folder / "transfer.csv").is_file()
    else scores.iloc[:0]
    for folder in (stored, without)
)
for name, part in {"table": scores, "stored": kept}.items():
    formatted = study.format_transfer(part, list(study.ABLATIONS))
    formatted.to_csv(results / f"transfer_{name}.csv", index=False)

# %% [markdown]
# ```{csv-table} Transfer as computed by this page: mean Dice score over the target's sections with one thing left out, its difference to the full network, and the score of every section by its line number. With several seeds: mean ± one standard deviation.
# :file: ../results/01_preprocessing/transfer_table.csv
# :header-rows: 1
# :name: tab-transfer
# ```
#
# ```{csv-table} Transfer to the crosslines of F3 with one thing left out, from the stored run.
# :file: ../results/01_preprocessing/transfer_stored.csv
# :header-rows: 1
# :name: tab-transfer-stored
# ```
#
# ## Check
#
# Patches overlap, so their salt adds up to more than there is. Divided by the number of patches
# that cover each sample, it has to add up to the salt of the covered part of the volume.

# %%
if has_mask:
    cover = np.zeros(salt.shape)
    for line, window in windows:
        cover[line][window] += 1
    counted = sum(
        (salt[line][window] / cover[line][window]).sum()
        for line, window in windows
    )
    assert np.isclose(counted, salt[cover > 0].sum())

# %%
unknown = "an unknown share"  # without a mask
facts = {
    "n_sections": volume.sizes["inline"] + volume.sizes["crossline"],
    "salt_share": f"{salt.mean():.1%}" if has_mask else unknown,
    "n_patches": len(windows),
    "round_trip_error": f"{round_trip.max():.1g}",
    "threshold": f"{label_threshold:.0%}",
    "salt_patch_share": f"{labels.mean():.1%}" if has_mask else unknown,
}
for name, value in facts.items():
    glue(name, value, display=False)
pd.Series(facts, name="value").to_csv(results / "facts.csv")

# %% tags=["nbval-ignore-output"]
full = scores.loc[scores["left_out"] == study.FULL, "dice"]
by_seed = whole.groupby("seed")["dice"].mean()
spacings = ", ".join(f"{name} {steps} m" for name, steps in train_on.items())
facts = {
    "origin": chapters.tell_origin(stored),
    "ablations_origin": chapters.tell_origin(without),
    "stored_dice": f"a mean Dice score of {by_seed.mean():.2f} over "
    f"{whole['section'].nunique()} sections (seeds: "
    f"{', '.join(f'{dice:.2f}' for dice in by_seed)})"
    if len(whole)
    else "no score yet, for nothing is stored",
    "n_presets": len(PRESETS),
    "real_name": real_name or f"{data} (no real volume is known here)",
    "n_networks": f"{len(runs)} networks of {len(train_seeds)} seed(s)",
    "budget": f"{train_epochs * train_patches} patches of {patch} x {patch}",
    "trained_on": f"{train_volumes} earth(s) of {train_shape} ({spacings})",
    "scored_on": f"{target.sizes[transfer.axis]} sections of "
    f"{real_name if has_truth else transfer_to}",
    "transfer_dice": f"{full.mean():.2f}",
}
for name, value in facts.items():
    glue(name, value, display=False)

# %%
chapters.close_results(
    results,
    data={
        "volume": volume.attrs["content_hash"],
        "scored": target.attrs["content_hash"],
    },
    seeds=sorted({seed, *train_seeds}),
    compute_s=sum(run.seconds for run in runs),
)

# %% [markdown]
# ## Summary
#
# - A volume is a labelled dataset; a section is one of its planes; a patch is what a network sees.
# - The grid loses no sample, and stitching is exact, so scores in three dimensions judge the
#   network alone.
# - The z-score makes patches comparable and leaves patches without variation at zero.
# - How real an earth looks is measured without masks, and what it teaches by scoring on sections
#   that no training saw; {numref}`tab-distances` and {numref}`tab-transfer-stored` say both.
#
# {doc}`The next chapter <02_loss_study>` trains on such patches, once for every loss.
