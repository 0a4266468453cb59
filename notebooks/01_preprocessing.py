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
# salt: that makes {glue:text}`salt_patch_share` of the patches.

# %% tags=["parameters"]
data: str = "gulf"  # preset of the synthetic earth, or path of a volume
seed: int = 0  # of the synthetic earth
shape: list[int] = [48, 64, 64]  # earth: (n_inline, n_crossline, n_depth)
reading: dict = {}  # arguments of data.open_volume for a file, by name
patch: int = 32  # height and width of a patch, in samples
stride: int = 16  # step between patches, in samples
label_threshold: float = 0.2  # share of salt above which a patch is salt
results_dir: str = "results/smoke/01_preprocessing"  # where results go

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from thesis_lib import chapters, plotting
from thesis_lib.data import salt_labels
from thesis_lib.patching import PatchGrid, Stitcher, zscore
from thesis_lib.study import StudyData, open_source

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
source = StudyData(
    source=data,
    shape=tuple(shape),
    reading=reading,
)
volume = open_source(source, earth=seed)
volume.sizes

# %% tags=["nbval-ignore-output"]
volume

# %% mystnb={"figure": {"name": "fig-volume", "caption": "Three orthogonal slices through the middle of the volume, with the outline of the salt where a mask is known."}, "image": {"alt": "Three grey seismic slices, two vertical and one horizontal: layered reflections around a body with a bright top and a nearly transparent interior, outlined in orange."}}
middle = {
    axis: volume[axis].values[volume.sizes[axis] // 2] for axis in volume.sizes
}
inline, crossline, level = middle.values()
fig = plotting.plot_volume(
    volume, inline=inline, crossline=crossline, vertical=level
)
# %% [markdown]
# The network never sees the volume, only **sections**: planes of one inline or one crossline, with
# depth downward.

# %% mystnb={"figure": {"name": "fig-section", "caption": "The section at the middle inline."}, "image": {"alt": "One vertical section in grey with the salt outlined in orange."}}
amplitude = volume["amplitude"].sel(inline=inline).transpose(..., "crossline")
has_mask = "salt" in volume
truth = (
    volume["salt"].sel(inline=inline).transpose(..., "crossline")
    if has_mask
    else None
)
fig = plotting.plot_section(amplitude, salt=truth, title=f"Inline {inline}")
# %% [markdown]
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
patches = np.stack([view for view in views if np.isfinite(view).all()])
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
chapters.close_results(
    results, data={"volume": volume.attrs["content_hash"]}, seeds=[seed]
)

# %% [markdown]
# ## Summary
#
# - A volume is a labelled dataset; a section is one of its planes; a patch is what a network sees.
# - The grid loses no sample, and stitching is exact, so scores in three dimensions judge the
#   network alone.
# - The z-score makes patches comparable and leaves patches without variation at zero.
#
# {doc}`The next chapter <02_loss_study>` trains on such patches, once for every loss.
