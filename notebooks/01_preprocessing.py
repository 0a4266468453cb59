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
# {glue:text}`salt_fraction` of its samples are salt. Its inlines, cut into overlapping patches, give
# {glue:text}`n_patches` of them, each brought to zero mean and unit spread. Stitching the patches
# back together returns the volume with an error of {glue:text}`round_trip_error`, relative to the
# largest amplitude, so whatever a network gets wrong later, the cutting is not to blame. For the
# chapters on explanation a patch is called *salt* when more than {glue:text}`threshold` of it is
# salt: that makes {glue:text}`salt_patch_fraction` of the patches. The earth comes in
# {glue:text}`n_presets` kinds, which {numref}`tab-distances` compares with {glue:text}`real_name`,
# statistic by statistic. A network trained on such earths alone ({glue:text}`budget`) reaches a mean
# Dice score of {glue:text}`transfer_dice` on {glue:text}`scored_on`.
#
# ```{head-figure} fig-presets
# ```
#
# What can be set: the volume of this page and how it is cut, a survey to compare the earths with,
# and the networks that are trained on earths alone: on how many of which kind, with which budget, and
# what is left out of them.

# %% tags=["parameters", "hide-cell"]
data: str = "gulf"  # preset of the synthetic earth, or path of a volume
seed: int = 0  # of the synthetic earth
shape: list[int] = [48, 64, 64]  # earth: (n_inline, n_crossline, n_depth)
reading: dict = {}  # arguments of open_volume for a file, by name
patch: int = 32  # height and width of a patch, in samples
stride: int = 16  # step between patches, in samples
label_threshold: float = 0.2  # fraction of salt above which a patch is salt
real: str = "f3"  # survey to compare with: "f3", or a file
real_reading: dict = {}  # arguments of open_volume for a file
section_axis: str = "crossline"  # sections compared: at fixed ones
n_sections: int = 8  # of each volume, at most
n_earths: int = 1  # of each preset that statistics are taken of
train_on: dict = {"gulf": [20.0]}  # presets, each with depth spacings (m)
train_volumes: int = 1  # earths per seed, of these presets in turn
train_shape: list[int] = [48, 64, 64]  # of each of them
train_axes: list[str] = ["inline", "crossline"]  # sections that are cut
train_seeds: list[int] = [0]  # one network each
train_epochs: int = 1  # rounds
train_patches: int = 64  # patches per round
augmentation: dict = {}  # fields of Augmentation that differ
transfer_to: str = "north_sea"  # preset, or "real": the survey, with a mask
ablations: str | list[str] = ["mirrored patches"]  # what is left out, or "all"
precision: str = "32-true"  # "auto": bf16 where hardware is good at it
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/01_preprocessing"  # where results go

# %% [markdown]
# `saltearth` makes earths and measures sections, `saltvolumes` reads files, and the library of the
# thesis cuts patches; `page` keeps what this chapter computes.

# %% tags=["hide-cell"]
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import saltearth
from saltvolumes import SURVEYS, richest_section
from thesis_lib import chapters, plotting, study
from thesis_lib.patches import (
    Augmentation,
    Earths,
    Survey,
    choose_data,
    salt_labels,
)
from thesis_lib.patching import PatchGrid, Stitcher, zscore
from thesis_lib.study.segmentation import load_sections
from thesis_lib.study.tables import NOT_RUN, format_cell
from thesis_lib.training import TrainConfig

page = chapters.open_page("01_preprocessing", globals())

# %% [markdown]
# Networks are trained further down, on earths alone. Their settings are stated first, so that a wrong
# value is refused at once.

# %%
network = study.Train(
    seed=train_seeds[0],
    loss="bce_dice",
    data=Earths(train_on, train_shape, train_volumes, watched=False),
    train=TrainConfig(epochs=train_epochs, precision=precision),
    patch=(patch, patch),
    stride=(stride, stride),
    axes=tuple(train_axes),
    n_patches=train_patches,
    augmentation=Augmentation.build(augmentation),
)

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

# %% tags=["nbval-ignore-output"]
volume = choose_data(data, shape=shape, reading=reading).open(seed)
has_mask = "salt" in volume
volume

# %% [markdown]
# Three slices through it, those with the most salt:

# %% mystnb={"figure": {"name": "fig-volume", "caption": "Three orthogonal slices of the volume with the outline of the salt: the sections with the most of it (the middle ones where no mask is known) and the middle level."}, "image": {"alt": "Three grey seismic slices, two vertical and one horizontal: layered reflections around a body with a bright top and a nearly transparent interior, outlined in orange."}}
section, across = (
    richest_section(volume, axis) for axis in ("inline", "crossline")
)
inline = section["inline"].item()
samples = volume[section["amplitude"].dims[0]].values
fig = plotting.plot_volume(
    volume,
    inline=inline,
    crossline=across["crossline"].item(),
    vertical=samples[samples.size // 2],
)
# %% [markdown]
# The network never sees the volume, only **sections**: planes of one inline or one crossline, with
# depth downward.

# %% mystnb={"figure": {"name": "fig-section", "caption": "The section with the most salt among the inlines, the middle one where no mask is known."}, "image": {"alt": "One vertical section in grey with the salt outlined in orange."}}
amplitude, truth = section["amplitude"], section.get("salt")
fig = plotting.plot_section(amplitude, salt=truth, title=f"Inline {inline}")
# %% [markdown]
# ## Kinds of earth
#
# A **preset** states what kind of earth is made: water or not, which kinds of salt, how the layers
# lie, what the survey recorded and what the image lost. The seed decides about everything else.

# %%
earths = {
    name: [
        choose_data(name, shape=shape).open(number)
        for number in range(seed, seed + n_earths)
    ]
    for name in saltearth.PRESETS
}

# %% [markdown]
# They are compared with a real volume. Unless `real` names a file, that is what comes with this book of
# the F3 block (offshore Netherlands): crosslines whose labels are those of
# {cite}`alfarraj2018multiresolution`, in {doc}`../datasets` with its licences.

# %%
survey = Survey(real, real_reading)
real_volume = survey.open()
real_name = real if real in SURVEYS else Path(real).name

# %% [markdown]
# The richest section of each:

# %% mystnb={"figure": {"name": "fig-presets", "caption": "The section with the most salt of the real volume, and of one earth of every preset."}, "image": {"alt": "Grey vertical sections side by side, of the real volume and of each preset, with the salt outlined in orange: their salt bodies, layers and noise differ."}}
gallery = {real_name: richest_section(real_volume, section_axis)}
gallery |= {
    name: richest_section(parts[0], "inline") for name, parts in earths.items()
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

# %%
measured = saltearth.section_statistics(
    real_volume, axes=(section_axis,), n_sections=n_sections
)

# %% [markdown]
# The same of every earth, and a summary in numbers:

# %%
described = {
    name: xr.concat(
        [
            saltearth.section_statistics(
                earth, axes=("inline",), n_sections=n_sections
            )
            for earth in parts
        ],
        "section",
        combine_attrs="drop_conflicts",
    )
    for name, parts in earths.items()
}
compared = {real_name: measured} | described
saltearth.summarise_statistics(compared).T.round(3)

# %% [markdown]
# A line that leaves the shaded range of the real sections shows where an earth differs from them:

# %% mystnb={"figure": {"name": "fig-statistics", "caption": "Statistics of sections of every preset and, dark, of the real volume: means over sections, the range of the real ones shaded. What lies beyond an axis of amplitudes or energies counts in its last step."}, "image": {"alt": "Eight small diagrams, one for each statistic, with a line for every volume: amplitudes, two spectra, dip, planarity, coherence of neighbours and over distance, change of energy."}}
fig = plotting.plot_statistics(compared, reference=real_name)
# %% [markdown]
# {numref}`tab-distances` puts each difference into one number. The measure of these numbers is the
# distance between two halves of the real sections, every other one, where there are several: what
# lies below it cannot be distinguished from the difference between lines of one survey.

# %%
distances = saltearth.compare_all(described, measured)
table = distances.rename(columns=saltearth.DISTANCES).T
page.save(distances=table.rename_axis("Statistic").round(3))

# %% [markdown]
# ```{csv-table} Distance of every preset to the sections of the real volume: Wasserstein's distance of the distributions, the root mean square difference of spectra and of the coherence over distance.
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
def find_complete(values):
    """Find the windows of a section without a missing trace."""
    return [w for w, view in grid.extract(values) if np.isfinite(view).all()]


windows = find_complete(amplitude.values)
if not windows:
    raise ValueError(
        f"Invalid patch {patch}: each touches a missing trace of inline "
        f"{inline}. Must be smaller."
    )
patches = np.stack([amplitude.values[window] for window in windows])
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
spread = patches.std(axis=(1, 2), keepdims=True)
varied = spread.ravel() > 1e-6 * np.abs(patches).max(axis=(1, 2))
by_hand = patches - patches.mean(axis=(1, 2), keepdims=True)
by_hand = by_hand[varied] / spread[varied]
assert np.allclose(normalised[varied], by_hand, atol=1e-4)
assert not normalised[~varied].any()

# %% [markdown]
# What a network is trained on:

# %% mystnb={"figure": {"name": "fig-patches", "caption": "Twelve normalised patches of the section, evenly spaced, with the outline and the fraction of the salt where it is known."}, "image": {"alt": "A grid of twelve small grey patches; some cross the edge of the salt, which is outlined in orange."}}
shown = np.linspace(0, len(patches) - 1, 12).astype(int)
masks, below = None, {}
if has_mask:
    masks = np.stack([truth.values[windows[number]] for number in shown])
    below = {"patches": [f"{mask.mean():.0%} salt" for mask in masks]}
fig = plotting.plot_image_grid(
    {"patches": normalised[shown]}, masks=masks, captions=below, n_columns=6
)
# %% [markdown]
# ## Stitching
#
# At test time the patches overlap, and every sample is a weighted mean of the patches that cover
# it. With weights $w_k > 0$ and values $v_k$,
#
# $$y(i) = \frac{\sum_k w_k(i)\, v_k(i)}{\sum_k w_k(i)}.$$
#
# With random numbers for what a network predicts, and equal weights, by hand and by the library:

# %%
rng = np.random.default_rng(seed)
sums, weights = np.zeros(amplitude.shape), np.zeros(amplitude.shape)
stitcher = Stitcher(grid, window="flat")
for window, view in grid.extract(amplitude.values):
    predicted = rng.standard_normal(view.shape)
    stitcher.add(window, predicted)
    sums[window] += predicted
    weights[window] += 1
assert np.allclose(stitcher.merge(), sums / weights, atol=1e-5)

# %% [markdown]
# If the values are the patches themselves, $y$ has to be the section again, whatever the weights.

# %%
filled = np.nan_to_num(amplitude.values)
errors = {}
for name in ("flat", "hann", "gauss"):
    stitcher = Stitcher(grid, window=name)
    for window, view in grid.extract(filled):
        stitcher.add(window, view)
    error = np.abs(stitcher.merge() - filled).max() / np.abs(filled).max()
    errors[name] = float(error)

# %% [markdown]
# The error is what rounding makes of it:

# %%
round_trip = pd.Series(
    errors, name="largest error, relative to the largest amplitude"
).rename_axis("window")
page.save(round_trip=round_trip)
assert round_trip.max() < 1e-6
round_trip < 1e-6

# %% [markdown]
# The section stays what it is:

# %% mystnb={"figure": {"name": "fig-round-trip", "caption": "The section, the same section after extraction and stitching, and their difference."}, "image": {"alt": "Two identical grey sections and a blank difference."}}
restored = amplitude.copy(data=stitcher.merge()).where(amplitude.notnull())
fig = plotting.plot_round_trip(amplitude, restored)
# %% [markdown]
# ## Labels for the classifiers
#
# The chapters on explanation need classes, not masks. The thesis calls a patch salt when more than
# a fifth of it is salt. There is no gap between the classes, so patches near the threshold are
# ambiguous: {numref}`fig-fractions` shows how many there are.

# %%
ordered = volume.transpose("inline", ..., "crossline")
cut = [
    (line, window)
    for line, values in enumerate(ordered["amplitude"].values)
    for window in find_complete(values)
]
if has_mask:
    salt = ordered["salt"].values
    salt_patches = np.stack([salt[line][window] for line, window in cut])
    labels = salt_labels(salt_patches, threshold=label_threshold)
    fractions = salt_patches.mean(axis=(1, 2))
    assert np.array_equal(labels, fractions > label_threshold)

# %% [markdown]
# Patches of all inlines, counted on a logarithmic axis:

# %% mystnb={"figure": {"name": "fig-fractions", "caption": "Fraction of salt in the patches of all inlines, and the threshold that makes classes of them."}, "image": {"alt": "Histogram of the fraction of salt per patch: most patches have none, the rest spread between none and all, with the threshold as a vertical line."}}
if has_mask:
    with plotting.thesis_style():
        fig, ax = plt.subplots(figsize=(7.0, 2.9))
        for number, name in enumerate(("background", "salt")):
            members = fractions[labels == number]
            label = f"{name}: {len(members)} patches"
            ax.hist(members, np.linspace(0, 1, 21), label=label)
        ax.axvline(label_threshold, color="0.2", ls="--", label="threshold")
        ax.set(xlabel="fraction of salt", ylabel="patches")
        ax.set(yscale="log", xlim=(0, 1), ylim=(0.7, None))
        ax.legend()

# %% [markdown]
# ## Does the earth teach anything about another volume?
#
# Looking alike is not enough: the question is whether a network that has seen synthetic earths
# alone finds salt elsewhere. It is trained on the presets of `train_on`, never on the target, and
# scored by the Dice score of each of the target's sections with salt, and by their mean. The target
# is an unseen earth of another preset, or the real volume if its salt is known and one asks for it.

# %%
to_real = transfer_to == "real"
if to_real and "salt" not in real_volume:
    raise ValueError(f"Invalid transfer_to 'real': {real} has no mask.")
transfer = study.ScoreSections(
    network,
    survey if to_real else choose_data(transfer_to, shape=shape),
    axis=section_axis if to_real else "inline",
    n_sections=n_sections,
)

# %% [markdown]
# An **ablation** trains once more with one thing left out of the earths or of the augmentation; what
# that costs is what the thing contributes. These are fields of every preset, with the values that
# leave the thing out:

# %%
EARTH_ABLATIONS = {
    # geology
    "faults": {"faults": 0.0},
    "folds": {"fold": 0.0},
    "arches without salt": {"arches": 0.0},
    "upturned layers": {"upturn": 0.0},
    "foresets, channel and unconformity": {
        "clinoforms": 0.0,
        "channel": 0.0,
        "unconformity": 0.0,
    },
    "chaotic layers": {"chaos": 0.0},
    "markers and change of facies": {"markers": 0.0, "facies": 0.0},
    "rugose top": {"rugosity": 0.0},
    "salt interior": {"interior": 0.0, "stringers": 0.0, "sutures": 0.0},
    # imaging
    "shadow of the salt": {"shadow": 0.0},
    "loss of steep dips": {"max_dip_deg": 85.0},
    "noise of the image": {"noise": 0.0},
    "migration swings": {"swings": 0.0},
    "gain and clipping": {"gain": 0.0, "clip": 0.0},
}

# %% [markdown]
# And these are fields of the augmentation. The network that lacks none of them is what all others are
# compared with.

# %%
AUGMENTATION_ABLATIONS = {
    "mirrored patches": {"flip": 0.0},
    "both polarities": {"polarity": 0.0},
    "random gain": {"gain_db": 0.0},
    "noise on patches": {"noise": 0.0},
}
NO_ABLATION = "none"
known = [*EARTH_ABLATIONS, *AUGMENTATION_ABLATIONS]
wanted = known if ablations in ("all", ["all"]) else ablations
wanted = [wanted] if isinstance(wanted, str) else wanted
if unknown := set(wanted) - set(known):
    raise ValueError(f"Invalid ablations {unknown}. Must be among {known}.")

# %% [markdown]
# So the study is one task for every seed and for each thing left out, on the same patches in the same
# order:

# %% tags=["nbval-ignore-output"]
tasks = {
    (left_out, number): transfer.change(
        seed=number,
        data=replace(network.data, changes=EARTH_ABLATIONS.get(left_out, {})),
        augmentation=replace(
            network.augmentation, **AUGMENTATION_ABLATIONS.get(left_out, {})
        ),
    )
    for number in train_seeds
    for left_out in (NO_ABLATION, *wanted)
}
runs = dict(zip(tasks, page.run(tasks.values()), strict=True))

# %% [markdown]
# What the full network makes of a section, and the network of the first ablation:

# %% tags=["training"] mystnb={"figure": {"name": "fig-transfer", "caption": "A section of the target with its true salt (solid) and what the full network and the first ablation predict (dashed), first seed."}, "image": {"alt": "The same grey section once with the true outline of the salt and again for each network, with the outline that it predicts dashed."}}
target = transfer.open_target()
best = richest_section(target, transfer.axis)
line = {transfer.axis: best[transfer.axis].item()}
probabilities = {
    f"left out: {left_out}": load_sections(runs[left_out, train_seeds[0]])[
        "probability"
    ]
    .sel(line)
    .transpose(*best["salt"].dims)
    for left_out in (NO_ABLATION, *wanted[:1])
}
fig = plotting.plot_predictions(
    best["amplitude"] - best["amplitude"].mean(), best["salt"], probabilities
)
# %% [markdown]
# {numref}`tab-transfer` is what this page computed: {glue:text}`n_networks`, each trained on
# {glue:text}`budget` of {glue:text}`trained_on` and scored on {glue:text}`scored_on`. With so
# little training it shows that the study runs, not what an earth is worth, unless the banner on top
# states otherwise.

# %%
scores = pd.concat(
    {key: pd.DataFrame(run.scores["sections"]) for key, run in runs.items()},
    names=["left_out", "seed"],
).reset_index(["left_out", "seed"])
scores = scores[["left_out", "seed", "section", "dice"]]
page.save(transfer=scores.reset_index(drop=True))

# %% [markdown]
# One row per thing left out, the difference to the full network of the same seed, and every section by
# its line number:


# %%
def lay_out(scores):
    """Lay out mean Dice scores, what leaving a thing out costs, and sections."""
    rows = ["left_out", "seed"]
    dice = scores.groupby(rows)["dice"].mean().unstack()
    dice = dice.reindex([NO_ABLATION, *known])
    parts = {"Dice": dice, "Difference": dice - dice.loc[NO_ABLATION]}
    for line, part in scores.set_index(rows).groupby("section")["dice"]:
        parts[str(line)] = part.unstack().reindex(dice.index)
    cells = {
        title: [
            format_cell(row.dropna(), digits=3) for _, row in part.iterrows()
        ]
        for title, part in parts.items()
    }
    table = pd.DataFrame(cells, index=dice.index.rename("Left out"))
    table["Difference"] = table["Difference"].replace(
        r"^(?=\d)", "+", regex=True
    )
    table.loc[NO_ABLATION, "Difference"] = NOT_RUN
    table.iloc[:, 1:] = table.iloc[:, 1:].replace(NOT_RUN, "–")
    return table


page.save(transfer_table=lay_out(scores))

# %% [markdown]
# ```{csv-table} Transfer as computed by this page: mean Dice score over the target's sections with one thing left out, its difference to the full network, and the score of every section by its line number. With several seeds: mean ± half of its 95 % interval.
# :file: ../results/01_preprocessing/transfer_table.csv
# :header-rows: 1
# :name: tab-transfer
# ```
#
# ## Check
#
# Patches overlap, so their salt adds up to more than there is. Divided by the number of patches
# that cover each sample, it has to add up to the salt of the covered part of the volume.

# %%
if has_mask:
    cover = np.zeros(salt.shape)
    for line, window in cut:
        cover[line][window] += 1
    counted = sum((salt[k][w] / cover[k][w]).sum() for k, w in cut)
    assert np.isclose(counted, salt[cover > 0].sum())

# %% [markdown]
# The numbers in the text come from here. Those of the volume:

# %%
unknown = "an unknown fraction"  # without a mask
facts = {
    "n_sections": volume.sizes["inline"] + volume.sizes["crossline"],
    "salt_fraction": f"{salt.mean():.1%}" if has_mask else unknown,
    "n_patches": len(cut),
    "round_trip_error": f"{round_trip.max():.1g}",
    "threshold": f"{label_threshold:.0%}",
    "salt_patch_fraction": f"{labels.mean():.1%}" if has_mask else unknown,
}
page.tell(**facts)
page.save(facts=pd.Series(facts, name="value").rename_axis("fact"))

# %% [markdown]
# And those of the comparison and of the transfer:

# %% tags=["nbval-ignore-output"]
full = scores.loc[scores["left_out"] == NO_ABLATION, "dice"]
spacings = ", ".join(f"{name} {steps} m" for name, steps in train_on.items())
page.tell(
    n_presets=len(saltearth.PRESETS),
    real_name=real_name,
    n_networks=f"{len(runs)} networks of {len(train_seeds)} seed(s)",
    budget=f"{train_epochs * train_patches} patches of {patch} x {patch}",
    trained_on=f"{train_volumes} earth(s) of {train_shape} ({spacings})",
    scored_on=f"{target.sizes[transfer.axis]} sections of "
    f"{real_name if to_real else transfer_to}",
    transfer_dice=f"{full.mean():.2f}",
)
page.close(data={"volume": volume.attrs["content_hash"]}, seeds=[seed])

# %% [markdown]
# ## Summary
#
# - A volume is a labelled dataset; a section is one of its planes; a patch is what a network sees.
# - The grid loses no sample, and stitching is exact, so scores in three dimensions judge the
#   network alone.
# - The z-score makes patches comparable and leaves patches without variation at zero.
# - How real an earth looks is measured without masks, and what it teaches by scoring on sections
#   that no training saw: {numref}`tab-distances` and {numref}`tab-transfer` show both.
#
# {doc}`The next chapter <02_loss_study>` trains on such patches, once for every loss.
