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
# # Does the network look at the discontinuity?
#
# **In short.** Class activation maps take the logit of a class apart by position. Of the energy of the
# maps of the class *salt*, {glue:text}`band_segmentation` lies within {glue:text}`width_px` pixels of the
# boundary of the salt for the classifier with a segmentation encoder, {glue:text}`band_classification`
# for the one from scratch and {glue:text}`band_untrained` for a network that was never trained; a map
# without any preference has {glue:text}`band_uniform` there. Inside the salt, away from its boundary, it
# is {glue:text}`inside_segmentation`, {glue:text}`inside_classification`,
# {glue:text}`inside_untrained` and {glue:text}`inside_uniform`. All of them are means over
# {glue:text}`n_shown` unseen patches with salt and background in them, from networks of one seed: what
# they say is about these networks, and no claim of the thesis is decided here.
#
# What can be set: the classifiers that are explained, and how many patches are shown.

# %% tags=["parameters", "hide-cell"]
classifiers: str = (
    "results/smoke/03_activation_maximization/classifiers.json"  # of chapter 3
)
n_cams: int = 4  # patches whose activation maps are shown
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/05_class_activation"  # where results go

# %% [markdown]
# The library supplies the maps and their tests; `page` keeps what this chapter computes.

# %%
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import distance_transform_cdt

from thesis_lib import chapters, plotting, study, xai
from thesis_lib.study.classification import load_classifier
from thesis_lib.xai.cam import randomize_cascade, split_energy, trace_curves

page = chapters.open_page("05_class_activation", globals())
titles = {
    "segmentation": "(a) segmentation encoder",
    "classification": "(b) classifier from scratch",
    "untrained": "untrained network",
}

# %% [markdown]
# ## What is explained
#
# The networks are those of {doc}`chapter 3 <03_activation_maximization>`, of its first seed: (a) took
# over the encoder of a segmentation network, (b) was trained from scratch, and the control was not
# trained at all.

# %% tags=["nbval-ignore-output"]
tasks = study.read_tasks(page.find(classifiers))
networks = page.run(task for task in tasks if task.seed == tasks[0].seed)

# %% [markdown]
# Each is loaded under its name:

# %%
names = {run.task.initialisation: run for run in networks}
loaded = {titles[name]: load_classifier(run) for name, run in names.items()}
ours, scratch, untrained = loaded

# %% [markdown]
# A boundary can only be looked at where there is one. So some unseen patches are taken that hold both
# salt and background:

# %%
unseen = tasks[0].patches.test(tasks[0].seed)
fractions = unseen.fractions
mixed = np.flatnonzero((fractions > 0.1) & (fractions < 0.9))
rng = np.random.default_rng(0)
chosen = unseen.take(np.sort(rng.permutation(mixed)[:n_cams]))
patches = chosen.tensors()
masks = torch.from_numpy(chosen.masks)[:, None]

# %% [markdown]
# ## Class activation maps
#
# Since the logit of class $c$ is linear in the means of the feature maps $f_k$, with weights
# $w_{ck}$ and bias $b_c$, it can be taken apart by position before the mean is taken
# {cite}`zhou2016cam`:
#
# $$
# C(x, y) = \sum_k w_{ck} f_k(x, y), \qquad \text{mean of } C + b_c = \text{logit}.
# $$
#
# Each of the four blocks has such a map at its own resolution, and the means of the four add up.

# %%
network = loaded[ours]
with torch.no_grad():
    maps = network.features(patches)
    weights = network.head.weight[1].split([m.shape[1] for m in maps])
    by_hand = [
        torch.einsum("k,nkhw->nhw", w, m)
        for w, m in zip(weights, maps, strict=True)
    ]
    logits = network(patches)[:, 1]
    bias = network.head.bias[1]

# %% [markdown]
# They have to add up to the logit, and to be those of the library, which enlarges them to the size of
# the patch and takes their sum:

# %%
total = sum(part.mean(dim=(1, 2)) for part in by_hand) + bias
assert torch.allclose(total, logits, atol=1e-4)
cams = {name: xai.cam(model, patches, 1) for name, model in loaded.items()}
for part, block in zip(by_hand, cams[ours].blocks, strict=True):
    assert torch.allclose(part, block[:, 0], atol=1e-4)

# %% [markdown]
# Signed maps are shown, on the patches that they explain: red speaks for salt, blue against it.

# %% tags=["training"] mystnb={"figure": {"name": "fig-cams", "caption": "Unseen patches with their true salt, and the class activation maps of the class salt; red speaks for salt, blue against it."}, "image": {"alt": "A row of grey patches with the outline of the salt in orange, and below them for each network a row of maps in red and blue with the same outline."}}
rows = {name: found.maps[:, 0].numpy() for name, found in cams.items()}
fig = plotting.plot_image_grid(
    {"patch": patches[:, 0].numpy(), **rows},
    masks=chosen.masks,
    signed=dict.fromkeys(rows, "map (logit)"),
)
# %% [markdown]
# ## Do they mean anything?
#
# Two tests show it. Pixels are *deleted* (replaced by the mean of their surroundings) or *inserted* in
# the order of the map: if it finds what decides, the probability of salt falls or rises faster than in
# a random order. Where a network takes even a patch without any details for salt, the curves do not
# end at zero, and only their distance to the random order counts.

# %% tags=["nbval-ignore-output"]
generator = torch.Generator().manual_seed(0)
anyhow = torch.rand(patches.shape, generator=generator)
curves = {
    name: trace_curves(loaded[name], patches, cams[name].maps, 1)
    for name in (ours, scratch)
}
curves["(a) in random order"] = trace_curves(network, patches, anyhow, 1)

# %% [markdown]
# One point of these curves by hand: half of the pixels, those with the largest values of the map,
# become the mean over a window.

# %%
order = cams[ours].maps.flatten(1).argsort(dim=1, descending=True, stable=True)
rank = order.argsort(dim=1).reshape(patches.shape)
half = rank < patches[0].numel() // 2
smooth = torch.nn.AvgPool2d(31, 1, 15, count_include_pad=False)(patches)
with torch.no_grad():
    deleted = network(torch.where(half, smooth, patches)).softmax(dim=1)
middle = len(curves[ours].fractions) // 2
assert torch.allclose(
    curves[ours].deletion[:, middle], deleted[:, 1], atol=1e-4
)

# %% [markdown]
# And when the weights are shuffled part by part, from the head down, the map has to lose its likeness
# to what it was.

# %% tags=["nbval-ignore-output"]
cascade = {
    name: randomize_cascade(loaded[name], patches, 1, seed=0)
    for name in (ours, scratch)
}

# %% [markdown]
# {numref}`fig-cam-tests` has the outcome of both:

# %% tags=["training"] mystnb={"figure": {"name": "fig-cam-tests", "caption": "Tests of the maps: probability of salt as pixels go and come in the order of the map or, for (a), in a random one (bands: half of the patches), and correlation of the map with itself as weights are shuffled from the head down."}, "image": {"alt": "Three diagrams: the probability of salt against the fraction of pixels deleted, and against that of pixels inserted, and the correlation of the map with its intact self after each part of the network is shuffled."}}
fig = plotting.plot_cam_tests(
    curves[ours].fractions.numpy(),
    {name: curve.deletion.numpy() for name, curve in curves.items()},
    {name: curve.insertion.numpy() for name, curve in curves.items()},
    {
        name: {part: values.numpy() for part, values in parts.items()}
        for name, parts in cascade.items()
    },
)
# %% [markdown]
# In one number each, the area below these curves: a map that finds what decides has a small one for
# deletion and a large one for insertion.

# %%
areas = pd.DataFrame(
    {
        name: {
            "deletion": curve.deletion_area.mean().item(),
            "insertion": curve.insertion_area.mean().item(),
        }
        for name, curve in curves.items()
    }
).T.rename_axis("Order of pixels")
page.save(areas=areas.round(4))

# %% [markdown]
# ```{csv-table} Area below the curves of deletion and insertion, mean over the patches shown.
# :file: ../results/05_class_activation/areas.csv
# :header-rows: 1
# :name: tab-cam-areas
# ```
#
# ## Where is the evidence?
#
# Where masks are known, it can be counted. Does a network look at the boundary of the salt? The energy
# of a map is its square, since evidence for and against salt both count. A map that is the same
# everywhere has no preference: its fractions are those of the areas. Only the map of the first block is
# fine enough to lie within the band; deep blocks spill over on both sides.

# %%
width_px = 3
compared = {name: found.maps for name, found in cams.items()}
compared["no preference"] = torch.ones_like(patches)
energy = {
    name: split_energy(values, masks, width_px=width_px)
    for name, values in compared.items()
}

# %% [markdown]
# By hand, for the map of (a): a pixel is in the band if the other side of the boundary is at most as
# many steps away as the band is wide. The fraction of energy there is what the library finds.

# %%
steps = [
    distance_transform_cdt(side, "taxicab")
    + distance_transform_cdt(~side, "taxicab")
    for side in chosen.masks
]
band = torch.from_numpy(np.stack(steps))[:, None] <= width_px
squares = cams[ours].maps.double().square()
fraction = (squares * band).sum(dim=(1, 2, 3)) / squares.sum(dim=(1, 2, 3))
assert torch.allclose(fraction, energy[ours]["band"])

# %% [markdown]
# Averaged over the patches:

# %%
table = pd.DataFrame(
    {
        name: {part: values.mean().item() for part, values in parts.items()}
        for name, parts in energy.items()
    }
).T.rename_axis("Network")
headings = {"band": f"within {width_px} pixels of the boundary"}
page.save(energy=table.rename(columns=headings).map("{:.2f}".format))

# %% [markdown]
# ```{csv-table} Fraction of the energy of the class activation maps by position, mean over the patches shown.
# :file: ../results/05_class_activation/energy.csv
# :header-rows: 1
# :name: tab-energy
# ```
#
# ## Check
#
# The band, the inside and the outside are all there is. And a map that is nothing but the band has all of
# its energy there.

# %%
assert np.allclose(table.sum(axis=1), 1)
only = split_energy(band.float(), masks, width_px=width_px)
assert torch.allclose(only["band"], torch.ones(len(chosen)).double())

# %% [markdown]
# The numbers in the text come from here:

# %% tags=["nbval-ignore-output"]
uniform = {"no preference": "uniform"}
short = {title: name for name, title in titles.items()} | uniform
told = table.rename(index=short).map("{:.0%}".format)
page.tell(
    **told["band"].add_prefix("band_"),
    **told["inside"].add_prefix("inside_"),
    width_px=width_px,
    n_shown=len(chosen),
)
page.close()

# %% [markdown]
# ## Summary
#
# - Class activation maps add up to the logit: nothing is left out of them, and nothing is added.
# - {numref}`fig-cam-tests` shows whether they find what decides, and whether they depend on what was
#   learned. Only then does it matter where they lie.
# - Whether a network looks at the boundary of the salt is counted in {numref}`tab-energy`, against a map
#   without preference and a network without training.
#
# {doc}`The next chapter <06_landmass>` asks the same networks about more than salt.
