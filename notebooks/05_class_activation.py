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
# **In short.** A class activation map takes the logit of a class apart by position: it shows where a
# classifier finds its evidence for salt, as finely as its blocks are, and the deep ones are coarse. It does
# not show what the classifier could do without. So two questions are asked here. *Where does the
# evidence lie?* Of that of the classifier with a segmentation encoder, a fraction of
# {glue:text}`evidence_segmentation` lies within {glue:text}`width_px` pixels of the boundary of the salt, a
# band that fills {glue:text}`band_area` of the patches; that this is more than a map without preference
# has there is *{glue:text}`verdict_evidence`*. *What does the decision rest on?* With the band replaced by a
# piece of plain background its logit drops by {glue:text}`drop_band` standard deviations, with as much of
# the interior of the salt replaced by {glue:text}`drop_interior`, of the exterior by
# {glue:text}`drop_exterior`; that it recognises salt by the discontinuity is
# *{glue:text}`verdict_decides`*. The first answer is one about maps, the second one about the network, and
# where they differ the second counts. Both are means over unseen patches with salt and background, of
# {glue:text}`n_seeds` with {glue:text}`n_patches` patches or fewer each; fewer than three seeds decide
# nothing.
#
# ```{head-figure} fig-cams
# ```
#
# What can be set: the classifiers, how many patches are explained, how wide the band is, by how many
# pieces of background it is replaced in turn, and how many maps are shown.

# %% tags=["parameters", "hide-cell"]
classifiers: str = (
    "results/smoke/03_activation_maximization/classifiers.json"  # of chapter 3
)
n_patches: int = 16  # patches of each seed that are explained, at most
width_px: int = 3  # of the band, on each side of the boundary
n_fills: int = 2  # pieces of background that take turns
n_cams: int = 4  # patches whose activation maps are shown
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/05_class_activation"  # where results go

# %% [markdown]
# The library supplies the maps and the intervention; `page` keeps what this chapter computes.

# %% tags=["hide-cell"]
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import distance_transform_cdt, gaussian_filter
from torch.nn.functional import interpolate

from thesis_lib import chapters, plotting, study, xai
from thesis_lib.model import SaltClassifier
from thesis_lib.study.attribution import tabulate_attribution
from thesis_lib.study.claim_tables import count_verdicts
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.records import has_weights
from thesis_lib.study.tables import format_cell
from thesis_lib.xai.cam import find_regions, measure_drops, split_evidence

page = chapters.open_page("05_class_activation", globals())
titles = {
    "segmentation": "(a) segmentation encoder",
    "frozen": "(a) encoder frozen",
    "classification": "(b) from scratch",
    "untrained": "untrained",
}

# %% [markdown]
# ## What is explained
#
# The networks are those of {doc}`chapter 3 <03_activation_maximization>`, of all of its seeds: (a) took over
# the encoder of a segmentation network and was trained on, or kept it frozen, (b) was trained from scratch,
# and the control was not trained at all. A boundary can only be looked at where there is one: unseen patches
# of which 10 to 90 % are salt, the same for all networks of a seed. One task per network does all that needs
# its weights.

# %% tags=["nbval-ignore-output"]
networks = study.read_tasks(page.find(classifiers))
tasks = [
    study.Explain(network, n_patches, width_px, n_fills, n_cams)
    for network in networks
]
runs = page.run(tasks, partial=True)

# %% [markdown]
# What is shown are patches and maps of the first seed:

# %%
first = {
    run.task.network.initialisation: run.load_tensors("shown")
    for run in runs
    if run.task.network.seed == runs[0].task.network.seed
}
shown = next(iter(first.values()))
patches, masks = shown["patches"], shown["masks"]

# %% [markdown]
# ## Class activation maps
#
# Since the logit of class $c$ is linear in the means of the feature maps $f_k$, with weights $w_{ck}$ and
# bias $b_c$, it can be taken apart by position before the mean is taken {cite}`zhou2016cam`:
#
# $$
# C_c(x, y) = \sum_k w_{ck} f_k(x, y), \qquad \text{mean of } C_c + b_c = \text{logit}_c.
# $$
#
# Each of the four blocks has such a map at its own resolution, and the means of the four add up. Of two
# classes the softmax sees nothing but the difference of their logits, and so does this chapter: a map is that
# of salt *against* background, $C_\text{salt} - C_\text{background}$. By hand, for a small network with
# random weights:

# %%
network = SaltClassifier(2, "resnet18", seed=0).eval()
with torch.no_grad():
    features = network.features(patches)
    weights = network.head.weight[1] - network.head.weight[0]
    parts = weights.split([f.shape[1] for f in features])
    by_hand = [
        torch.einsum("k,nkhw->nhw", w, f)
        for w, f in zip(parts, features, strict=True)
    ]
    logits, bias = network(patches), network.head.bias

# %% [markdown]
# They have to add up to the difference of the logits, and to be those of the library, which enlarges them
# to the size of the patch and takes their sum:

# %%
total = sum(part.mean(dim=(1, 2)) for part in by_hand) + bias[1] - bias[0]
assert torch.allclose(total, logits[:, 1] - logits[:, 0], atol=1e-4)
found = xai.cam(network, patches, 1, against=0)
for part, block in zip(by_hand, found.blocks, strict=True):
    assert torch.allclose(part, block[:, 0], atol=1e-4)

# %% [markdown]
# Signed maps of the networks are shown, on the patches that they explain: red speaks for salt, blue against
# it. Look for red along the outline of the salt, which would be evidence at the discontinuity, in contrast
# to red that fills the salt or lies beside it. Squares are the positions of the deep blocks.

# %% tags=["training"] mystnb={"figure": {"name": "fig-cams", "caption": "Unseen patches with their true salt, and the class activation maps of salt against background, first seed; red speaks for salt, blue against it."}, "image": {"alt": "A row of grey patches with the outline of the salt in orange, and below them for each network a row of maps in red and blue with the same outline."}}
rows = {
    title: first[name]["maps"][:, 0].numpy()
    for name, title in titles.items()
    if name in first
}
fig = plotting.plot_image_grid(
    {"patch": patches[:, 0].numpy(), **rows},
    masks=masks[:, 0].numpy(),
    signed=dict.fromkeys(rows, "map (logit)"),
)

# %% [markdown]
# Each map is the sum of those of the four blocks. Taken apart again, for the same patches:

# %% tags=["nbval-ignore-output"]
apart = page.run(
    [
        study.MapBlocks(run.task)
        for run in runs
        if run.task.network.seed == runs[0].task.network.seed
    ],
    partial=True,
)

# %% [markdown]
# Enlarged to the size of the patch, next to each other, with their sum as the last frame:

# %%
moving = {}
for run in apart:
    name = run.task.explained.network.initialisation
    blocks = run.load_tensors("blocks")
    parts = [
        interpolate(blocks[f"block{k}"], size=masks.shape[2:], mode="bilinear")
        for k in range(1, 5)
    ]
    frames = torch.stack([*parts, first[name]["maps"]])[:, :, 0].numpy()
    moving[titles[name]] = np.concatenate([*frames.swapaxes(0, 1)], axis=-1)
if apart:
    film = plotting.make_film(
        {title: moving[title] for title in titles.values() if title in moving},
        frames=[*(f"block {k}" for k in range(1, 5)), "all blocks"],
        mask=np.concatenate([*masks[:, 0].numpy()], axis=-1),
        signed=True,
        n_columns=1,
    )
    page.save(blocks=film)

# %% [markdown]
# ```{film} ../results/05_class_activation/blocks.json
# :title: Step through the blocks
#
# Signed maps of each block, and of all of them, on the patches of {numref}`fig-cams`: red speaks for salt,
# blue against it. The colours of a network end at the same value in all of its frames.
# ```
#
# ## Where does the evidence lie?
#
# Where masks are known, it can be counted. The evidence for salt are the positive values of a map. A map
# that is the same everywhere has no preference: its fraction in the band along the boundary is that of the
# area. By how much a network's fraction $e$ exceeds the fraction $a$ of the area is measured for each patch,
#
# $$
# \text{excess} = e - a, \qquad
# e = \frac{\sum_\text{band} \max(C, 0)}{\sum \max(C, 0)},
# $$
#
# as a difference, which is bounded however short a boundary is. By hand, for the first of the maps above: a
# pixel is in the band if the other side of the boundary is at most as many steps away as the band is wide.

# %%
maps = shown["maps"].double().clamp(min=0)
steps = [
    distance_transform_cdt(side, "taxicab")
    + distance_transform_cdt(~side, "taxicab")
    for side in masks[:, 0].numpy()
]
band = torch.from_numpy(np.stack(steps))[:, None] <= width_px
fraction = (maps * band).sum(dim=(1, 2, 3)) / maps.sum(dim=(1, 2, 3))
evidence = split_evidence(maps, masks, width_px=width_px)
assert torch.allclose(fraction, evidence["band"], equal_nan=True)

# %% [markdown]
# The task did the same for all patches, for the sum of the blocks and for each block. A map that speaks
# against salt everywhere has no such fraction; where more than half of the patches are like that, the others
# say little, and nothing is shown:

# %%
columns = {"network": "network.initialisation", "seed": "network.seed"}
lying = study.tabulate(runs, rows="evidence", **columns)
lying["network"] = pd.Categorical(lying["network"].map(titles), titles.values())
lying["map"] = lying["map"].str.replace("block", "block ")
excess = lying.pivot(
    index=["network", "seed"], columns="map", values="band_excess"
).dropna(how="all")

# %% [markdown]
# {numref}`fig-evidence` has one dot per seed. Dots right of 0 are evidence at the boundary, by as much more
# than chance would put there. A fine map can lie in the band, a coarse one cannot: the map of block 4 spreads
# over both sides whatever the network looks at, so the sum of all blocks understates what the first ones
# show.

# %% tags=["training"] mystnb={"figure": {"name": "fig-evidence", "caption": "Fraction of the positive evidence for salt in the band along the boundary, less the band's fraction of the area: one dot per seed, of the map of all blocks and of each block; a bar is a mean. 0: no preference."}, "image": {"alt": "Five panels, for all blocks and for blocks one to four, each with a line of dots for every network about or right of zero."}}
fig = plotting.plot_measures(
    excess.reset_index(names=["group", "seed"]), list(excess.columns)
)
low, high = min(excess.min().min(), 0) - 0.03, excess.max().max() + 0.03
for ax in fig.axes[: excess.shape[1]]:
    ax.set_xlim(low, high)
    ax.axvline(0, color="0.4", linewidth=0.8)

# %% [markdown]
# The same in numbers, with the other parts of the patches:

# %%
whole = lying[lying["map"] == "all"].groupby("network", observed=True)
headings = {
    "band": f"Within {width_px} pixels of the boundary",
    "interior": "Interior",
    "exterior": "Exterior",
    "band_excess": "Band, beyond its area",
}
table = whole[[*headings]].agg(format_cell, digits=2)
table["Patches without any"] = whole["n_silent"].sum()
page.save(evidence=table.rename(columns=headings).rename_axis("Network"))

# %% [markdown]
# ```{csv-table} Where the positive evidence for salt lies, all blocks together: fractions, mean over seeds (and half of the 95 % interval).
# :file: ../results/05_class_activation/evidence.csv
# :header-rows: 1
# :name: tab-evidence
# ```
#
# ## What does the decision rest on?
#
# A map is no cause: a network can see evidence in a part and be as sure without it. So the part is taken
# away. It must not become zero or a local mean, since the networks take smooth texture for salt. It becomes
# the same part of an unseen patch *without salt* (or, where these are few, with the least),
# $f_i$, over an edge that is blurred by a pixel, and this is repeated with other such patches. With $w$ the blurred part, from 0 to 1, and $z$ the logit of salt less
# that of background,
#
# $$
# \text{drop} = \frac{z(x) - \frac1m \sum_{i=1}^m z\bigl(x + w\,(f_i - x)\bigr)}
# {\text{standard deviation of } z \text{ over unseen patches}}.
# $$
#
# Three parts are taken away in turn, all of the same area: the band along the boundary, and as many pixels
# of the interior and of the exterior, those farthest from the boundary. A patch that has not enough of them
# is left out. By hand, for a toy that decides by the mean square of a patch:


# %%
def decide(images):
    return images.square().mean(dim=(1, 2, 3))


regions = find_regions(masks, width_px=width_px)
fills = patches.flip(0)[None]
blurred = gaussian_filter(
    regions["band"].numpy().astype(float), (0, 0, 1, 1), mode="reflect"
)
changed = patches + torch.from_numpy(blurred).float() * (fills[0] - patches)
drop = measure_drops(decide, patches, regions, fills)["band"]
assert torch.allclose(decide(patches) - decide(changed), drop, atol=1e-5)

# %% [markdown]
# {numref}`fig-replaced` shows what the networks were given instead of one of these patches:

# %% mystnb={"figure": {"name": "fig-replaced", "caption": "An unseen patch, and the same with its band, as much of its interior and as much of its exterior replaced by parts of a patch without salt."}, "image": {"alt": "Four grey patches with the same outline of salt; in the second the reflections along the outline are gone, in the third the middle of the salt has layers, in the fourth a part far from the salt has others."}}
replaced = shown["replaced"]
names = ["as it is", "band", "interior", "exterior"][: len(replaced) + 1]
fig = plotting.plot_image_grid(
    {"patch": torch.cat([patches[:1], replaced])[:, 0].numpy()},
    masks=masks[:1, 0].repeat(len(names), 1, 1).numpy(),
    column_titles=names,
)

# %% [markdown]
# The drops of all networks:

# %%
effects = study.tabulate(runs, rows="effects", **columns)
effects["network"] = pd.Categorical(
    effects["network"].map(titles), titles.values()
)
drops = effects.pivot(
    index=["network", "seed"], columns="region", values="drop"
).dropna(how="all")[[*regions]]

# %% [markdown]
# If a network recognises salt by the discontinuity, its dots are farther right for the band than for the
# other two. If it recognises salt by its texture, the interior is in front; left of 0 it is surer of salt
# without a part than with it.

# %% tags=["training"] mystnb={"figure": {"name": "fig-drops", "caption": "Drop of the logit of salt less that of background as a part of the patch is replaced by plain background, in standard deviations over unseen patches: one dot per seed, a bar is a mean."}, "image": {"alt": "Three panels, for the band, the interior and the exterior, each with a line of dots for every network; zero is no effect."}}
fig = plotting.plot_measures(
    drops.reset_index(names=["group", "seed"]), list(drops.columns)
)
low, high = min(drops.min().min(), 0) - 0.1, drops.max().max() + 0.1
for ax in fig.axes:
    ax.set_xlim(low, high)
    ax.axvline(0, color="0.4", linewidth=0.8)

# %% [markdown]
# The same in numbers:

# %%
table = drops.groupby("network", observed=True).agg(format_cell, digits=2)
page.save(drops=table.rename(columns=str.capitalize).rename_axis("Network"))

# %% [markdown]
# ```{csv-table} Drop of the logits as a part is replaced, in standard deviations: mean over seeds (and half of the 95 % interval).
# :file: ../results/05_class_activation/drops.csv
# :header-rows: 1
# :name: tab-drops
# ```
#
# Geometry plays a part in this: a band touches more receptive fields than a compact piece of the same area,
# and the brightest reflections lie in it. The untrained network has the same geometry. What exceeds *its* drop
# was learned, and one of the claims below asks for that.
#
# ## Do the maps depend on what was learned?
#
# When the weights are shuffled part by part, from the head down, a map has to lose its likeness to what it was
# {cite}`adebayo2018sanity`. The table has the correlation with the intact map; with all parts shuffled it
# should be about 0.

# %%
cascade = study.tabulate(runs, rows="cascade", **columns)
cascade["network"] = cascade["network"].map(titles)
shuffled = cascade.pivot_table(
    index="part", columns="network", values="correlation", sort=False
)
page.save(cascade=shuffled.rename_axis("Shuffled down to").round(2))

# %% [markdown]
# ```{csv-table} Correlation of the maps with the intact ones, as weights are shuffled from the head down: mean over patches and seeds.
# :file: ../results/05_class_activation/cascade.csv
# :header-rows: 1
# :name: tab-cascade
# ```
#
# ## The claims
#
# Both statements of the thesis are decided by {ref}`the rule <verdict-rule>` of all claims, each with a check
# against the untrained network:

# %%
scores = tabulate_attribution(runs)
page.save(scores=scores)
decisions = page.decide("attribution", scores)

# %% [markdown]
# ```{csv-table} Verdicts on what the networks look at.
# :file: ../results/05_class_activation/claims.csv
# :header-rows: 1
# :name: tab-attribution-claims
# ```
#
# ## Check
#
# Does the intervention find what a decision rests on, where that is known? Three readers are made by hand
# for every patch, which look at nothing but one of the three parts. For each of them the drop must be largest
# for its own part, in every patch.

# %%
for name, region in regions.items():
    reader = patches * region

    def read(images, reader=reader):
        return (images * reader).sum(dim=(1, 2, 3))

    drops_of = measure_drops(read, patches, regions, torch.zeros_like(fills))
    others = [drops_of[other] for other in regions if other != name]
    assert (drops_of[name] >= torch.stack(others).amax(dim=0)).all()

# %% [markdown]
# A part that is replaced by itself changes nothing. And where the weights of the first network are there, its
# map is computed again:

# %%
same = measure_drops(decide, patches, regions, patches[None])
assert all(abs(values).max() < 1e-5 for values in same.values())
network = runs[0].parents["network"]
if has_weights(network):
    again = xai.cam(load_classifier(network), patches, 1, against=0).maps
    assert torch.allclose(again, shown["maps"], rtol=1e-2, atol=1e-2)

# %% [markdown]
# The numbers in the text come from here:

# %% tags=["nbval-ignore-output"]
means = scores.groupby("entry")["drop"].agg(format_cell, digits=2)
of_a = whole[["band", "band_area"]].agg(format_cell, digits=2)
of_a = of_a.reindex(titles.values(), fill_value="not run")
of_a = of_a.loc[titles["segmentation"]]
n_seeds = scores["seed"].nunique()
verdicts = {each.claim.id: each.verdict for each in decisions}
page.tell(
    evidence_segmentation=of_a["band"],
    band_area=of_a["band_area"],
    **{
        f"drop_{name}": means.get(f"segmentation {name}", "not run")
        for name in regions
    },
    verdict_evidence=verdicts["attribution-band-evidence"],
    verdict_decides=verdicts["attribution-band-decides"],
    width_px=width_px,
    n_patches=max(run.scores["n_patches"] for run in runs),
    n_compared=min(run.scores["n_compared"] for run in runs),
    n_seeds=f"{n_seeds} seed" + "s" * (n_seeds > 1),
    **count_verdicts(decisions),
)
page.close()

# %% [markdown]
# ## Summary
#
# - Class activation maps add up to the logit: nothing is left out of them, and nothing is added. They are as
#   fine as the blocks are, and show where evidence lies, not what it is worth.
# - {numref}`fig-drops` says what the decision rests on. Of the thesis' claims, {glue:text}`n_supported` are
#   supported and {glue:text}`n_open` open; {numref}`tab-attribution-claims` has the reasons.
# - In a seed at least {glue:text}`n_compared` patches had room for three parts of one size; salt that is
#   narrower than its band cannot be judged in this way.
#
# {doc}`The next chapter <06_landmass>` asks the same networks about more than salt.
